"""Rotation: which keys an organisation needs next, and the unsigned request that would list them.

Pure: the newest own bundle and an instant go in, the makers of keys are passed in, a `RotationPlan` comes out. Storing
the new secrets before the request leaves, and destroying old ones, is the caller's. Keys are never replaced early: each
role is covered without a gap from now to the end of the bundle planned, by what is listed already and then by new keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from keys.bundle import KeyBundle
from keys.bundle_payload import BUNDLE_LIFETIME, FIRST_SEQ, Endpoints, Revocation, UnsignedBundle
from keys.key import Ed25519Secret, Kid, MlDsa65Secret, SecretKey, XWingSecret
from keys.keyset import StoredKey
from keys.listed import DAY, KEM_ACTIVE, KEM_RETIRING, PAIRED, Holder, ListedKey, Role
from keys.suite import SUITE

SIGNING_ACTIVE: Final = 365 * DAY
SIGNING_RETIRING: Final = 30 * DAY  # what the old key signed last is read while the new one signs


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMakers:
    """Where new secret keys come from; in production the `generate` of each kind."""

    ed25519: Callable[[], Ed25519Secret]
    ml_dsa_65: Callable[[], MlDsa65Secret]
    x_wing: Callable[[], XWingSecret]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationPlan:
    """The request, and the new secrets by the keystore they belong to; they must be stored before it is signed."""

    request: UnsignedBundle
    gateway: tuple[StoredKey, ...] = field(repr=False)
    agreement: tuple[StoredKey, ...] = field(repr=False)


def plan_request(
    *,
    org: str,
    name: str,
    endpoints: Endpoints,
    origin: str,
    newest: KeyBundle | None,
    revoke: Sequence[Revocation],
    now: int,
    makers: KeyMakers,
) -> RotationPlan:
    """Return the request that follows `newest` (None: the first) and keeps every role active for 90 days from `now`.

    `origin` names the exchange log; keys in `revoke` are replaced from `now`. Raises BundleError where the settings
    could not stand in a bundle.
    """
    revoked = (*(newest.revoked if newest else ()), *revoke)
    gone = {entry.kid for entry in revoked}
    kept = [key for key in (newest.keys if newest else ()) if key.exp > now]
    made: list[StoredKey] = []
    listed: list[ListedKey] = []
    for role in Role:
        same = [key for key in kept if key.role is role]
        listed += same
        # a pair with one half revoked covers nothing
        broken = {(key.nbf, key.retire) for key in same if role in PAIRED and key.kid in gone}
        good = [key for key in same if key.kid not in gone and (key.nbf, key.retire) not in broken]
        if role is Role.LOG:
            good = [key for key in good if key.origin == origin]
        for start in _gaps(good, now, now + BUNDLE_LIFETIME, _active_for(role)):
            secrets = _make(role, makers)
            made += [StoredKey(role.value, secret) for secret in secrets]
            listed += [_entry(role, secret, start, origin, org) for secret in secrets]
    request = UnsignedBundle(
        org=org,
        name=name,
        seq=newest.seq + 1 if newest else FIRST_SEQ,
        prev=newest.digest if newest else None,
        iat=now,
        exp=now + BUNDLE_LIFETIME,
        suites=(SUITE,),
        keys=tuple(listed),
        revoked=revoked,
        endpoints=endpoints,
    )
    return RotationPlan(
        request=UnsignedBundle.from_bytes(
            request.to_bytes()
        ),  # held to the rules before anybody carries it to the root
        gateway=tuple(key for key in made if key.role != Role.AGREEMENT_SIGN),
        agreement=tuple(key for key in made if key.role == Role.AGREEMENT_SIGN),
    )


def witness_name(org: str) -> str:
    """Return the name under which an organisation's gateway cosigns the logs of others (C2SP tlog-cosignature)."""
    return f"safehand.{org}/witness/1"


def closed_kems(history: Sequence[KeyBundle], now: int) -> tuple[Kid, ...]:
    """Return the KEM keys, from every own bundle, that open nothing any more: their seeds and backups are destroyed."""
    newest = {key.kid: key for bundle in history for key in bundle.keys if key.role is Role.MESSAGE_KEM}
    return tuple(kid for kid, key in newest.items() if key.exp <= now)


def _gaps(listed: Sequence[ListedKey], start: int, end: int, period: int) -> tuple[int, ...]:
    """Return the `nbf` of each key that is missing for one to be active at every instant from `start` to `end`."""
    starts: list[int] = []
    while start < end:
        covered = max((key.retire for key in listed if key.active_at(start)), default=None)
        if covered is None:
            starts.append(start)
            covered = start + period
        start = covered
    return tuple(starts)


def _active_for(role: Role) -> int:
    return KEM_ACTIVE if role is Role.MESSAGE_KEM else SIGNING_ACTIVE


def _make(role: Role, makers: KeyMakers) -> tuple[SecretKey, ...]:
    if role is Role.MESSAGE_KEM:
        return (makers.x_wing(),)
    if role in PAIRED:
        return makers.ed25519(), makers.ml_dsa_65()
    return (makers.ed25519(),)


def _entry(role: Role, secret: SecretKey, start: int, origin: str, org: str) -> ListedKey:
    retire = start + _active_for(role)
    return ListedKey(
        role=role,
        holder=Holder.GATEWAY,
        public=secret.public,
        nbf=start,
        retire=retire,
        exp=retire + (KEM_RETIRING if role is Role.MESSAGE_KEM else SIGNING_RETIRING),
        origin=origin if role is Role.LOG else None,
        name=witness_name(org) if role is Role.WITNESS else None,
    )
