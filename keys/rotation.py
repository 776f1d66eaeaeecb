"""Rotation: which keys an organisation needs next, and the unsigned request that would list them.

Pure: the newest own bundle and an instant go in, the makers of keys are passed in, a `RotationPlan` comes out. Storing
the new secrets before the request leaves, and destroying old ones, is the caller's. Each role is covered without a gap
from now to the end of the bundle planned, by what is listed already and then by new keys; KEM keys never overlap either.
A key is replaced before its time only where it is revoked, or where its role is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Final

from keys.bundle import KeyBundle
from keys.bundle_payload import BUNDLE_LIFETIME, FIRST_SEQ, Endpoints, Revocation, UnsignedBundle
from keys.key import Ed25519Secret, Kid, MlDsa65Secret, SecretKey, XWingSecret
from keys.keyset import StoredKey
from keys.listed import DAY, KEM_ACTIVE, KEM_RETIRING, PAIRED, Holder, ListedKey, Role
from keys.suite import SUITE

SIGNING_ACTIVE: Final = 365 * DAY
SIGNING_RETIRING: Final = 30 * DAY  # what the old key signed last is read while the new one signs
# A KEM key that is replaced early is sealed to for so long yet: four days to publish, three in which every partner that
# still sends has fetched the bundle (envelope section 5). Messages sealed meanwhile keep their whole life.
KEM_NOTICE: Final = 7 * DAY


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
    early: Set[Role] = frozenset(),
) -> RotationPlan:
    """Return the request that follows `newest` (None: the first) and keeps every role active for 90 days from `now`.

    `origin` names the exchange log; keys in `revoke` are replaced from `now`. The active keys of the roles in `early`
    retire before their time: signing keys now, and their signatures are read as long as they would have been; a KEM key
    in seven days. Raises BundleError where the settings could not stand in a bundle.
    """
    revoked = (*(newest.revoked if newest else ()), *revoke)
    gone = {entry.kid for entry in revoked}
    kept = [_handed_over(key, early, now) for key in (newest.keys if newest else ()) if key.exp > now]
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
        for start, retire in _gaps(good, now, now + BUNDLE_LIFETIME, role):
            secrets = _make(role, makers)
            made += [StoredKey(role.value, secret) for secret in secrets]
            listed += [_entry(role, secret, start, retire, origin, org) for secret in secrets]
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
    """Return the KEM keys, from every own bundle, that open nothing any more, because their last day has passed or they
    are revoked: their seeds and backups are destroyed."""
    newest = {key.kid: key for bundle in history for key in bundle.keys if key.role is Role.MESSAGE_KEM}
    return tuple(kid for kid, key in newest.items() if key.exp <= now or history[-1].is_revoked(kid))


def covered_until(bundle: KeyBundle, role: Role, now: int) -> int:
    """Return the first instant from `now` on without an unrevoked active key of a role; `now` itself where there is none."""
    good = bundle.active_pairs if role in PAIRED else bundle.active_keys
    while now < (end := max((listed.retire for listed in good(role, now)), default=now)):
        now = end
    return now


def _handed_over(key: ListedKey, early: Set[Role], now: int) -> ListedKey:
    """Return the entry as the next bundle lists it: where its role is replaced early, it retires early.

    `exp` of a signing key stays: between the request and its publication the old key goes on signing, and messages that
    live longer than a shorter `exp` would be refused.
    """
    if key.role not in early or not key.active_at(now):
        return key
    if key.role is not Role.MESSAGE_KEM:
        return replace(key, retire=max(now, key.nbf + 1))
    retire = min(key.retire, now + KEM_NOTICE)
    return replace(key, retire=retire, exp=retire + KEM_RETIRING)


def _gaps(listed: Sequence[ListedKey], start: int, end: int, role: Role) -> tuple[tuple[int, int], ...]:
    """Return (`nbf`, `retire`) of each key that is missing for one to be active at every instant from `start` to `end`.

    A KEM key ends where the next one that is listed begins: there is one to seal to at a time.
    """
    missing: list[tuple[int, int]] = []
    while start < end:
        covered = max((key.retire for key in listed if key.active_at(start)), default=None)
        if covered is None:
            following = [key.nbf for key in listed if key.nbf > start] if role is Role.MESSAGE_KEM else []
            covered = min([start + _active_for(role), *following])
            missing.append((start, covered))
        start = covered
    return tuple(missing)


def _active_for(role: Role) -> int:
    return KEM_ACTIVE if role is Role.MESSAGE_KEM else SIGNING_ACTIVE


def _make(role: Role, makers: KeyMakers) -> tuple[SecretKey, ...]:
    if role is Role.MESSAGE_KEM:
        return (makers.x_wing(),)
    if role in PAIRED:
        return makers.ed25519(), makers.ml_dsa_65()
    return (makers.ed25519(),)


def _entry(role: Role, secret: SecretKey, start: int, retire: int, origin: str, org: str) -> ListedKey:
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
