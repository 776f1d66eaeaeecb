"""Keys, bundles and rings of invented organisations, for tests that need some and do not care which.

Every key comes from its label, so the same call has the same keys in every run (ML-DSA signatures are hedged and
differ). An organisation has all of its keys ten days old at NOW: `make_ring("la-207")` is usually enough, its
`.bundle` is what partners hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container
from dataclasses import replace
from functools import cache
from typing import Any

from contracts.document import write_wire
from keys.bundle import (
    Endpoints,
    KeyBundle,
    Revocation,
    UnsignedBundle,
    accept_bundle,
    issue_bundle,
)
from keys.key import Ed25519Secret, Kid, MlDsa65Secret, SecretKey, SigningPair, XWingSecret
from keys.keyset import StoredKey
from keys.listed import DAY, KEM_ACTIVE, KEM_RETIRING, Holder, ListedKey, Mark, Role
from keys.ring import KeyRing
from keys.rotation import SIGNING_ACTIVE, SIGNING_RETIRING, KeyMakers
from keys.statement import read_statement, sign_statement
from keys.suite import BUNDLE_TYPE

NOW = 1_800_000_000  # 15 January 2027
ORG = "la-850"
ISSUED = NOW - 10 * DAY


def seed(label: str) -> bytes:
    """Return the 32 bytes that stand for a label."""
    return hashlib.sha256(label.encode()).digest()


@cache
def ed25519(label: str) -> Ed25519Secret:
    return Ed25519Secret.from_seed(seed(f"{label} ed25519"))


@cache
def ml_dsa_65(label: str) -> MlDsa65Secret:
    return MlDsa65Secret.from_seed(seed(f"{label} ml-dsa-65"))


@cache
def x_wing(label: str) -> XWingSecret:
    return XWingSecret.from_seed(seed(f"{label} x-wing"))


def make_pair(label: str) -> SigningPair:
    return SigningPair(ed25519(label), ml_dsa_65(label))


def make_roots(org: str = ORG, generation: int = 1) -> SigningPair:
    """Return a root pair; generation n + 1 is what the bundles of generation n announce."""
    return make_pair(f"{org} root {generation}")


def make_makers(label: str) -> KeyMakers:
    """Return makers of keys that count upwards: every call is another key."""
    numbers = iter(range(1_000_000))
    return KeyMakers(
        ed25519=lambda: ed25519(f"{label} {next(numbers)}"),
        ml_dsa_65=lambda: ml_dsa_65(f"{label} {next(numbers)}"),
        x_wing=lambda: x_wing(f"{label} {next(numbers)}"),
    )


def make_origin(org: str = ORG) -> str:
    return f"safehand.{org}.example/exchange-log/1"


def make_endpoints(org: str = ORG) -> Endpoints:
    return Endpoints(exchange=f"https://safehand.{org}.example", witness=None, police=None)


def make_secrets(org: str = ORG, label: str = "") -> tuple[StoredKey, ...]:
    """Return one secret key (or pair) for every role that a gateway has, and three KEM keys."""
    name = f"{org} {label}".strip()
    signing, agreeing = make_pair(f"{name} message-sign"), make_pair(f"{name} agreement-sign")
    return (
        *(StoredKey(Role.MESSAGE_KEM, x_wing(f"{name} message-kem {number}")) for number in (1, 2, 3)),
        *(StoredKey(Role.MESSAGE_SIGN, secret) for secret in signing.signers),
        StoredKey(Role.HTTP, ed25519(f"{name} http")),
        StoredKey(Role.LOG, ed25519(f"{name} log")),
        *(StoredKey(Role.AGREEMENT_SIGN, secret) for secret in agreeing.signers),
    )


def make_entry(
    role: Role,
    secret: SecretKey,
    *,
    nbf: int = ISSUED,
    retire: int | None = None,
    exp: int | None = None,
    holder: Holder = Holder.GATEWAY,
    origin: str | None = None,
    name: str | None = None,
) -> ListedKey:
    """Return an entry; times not given are those that rotation would choose."""
    kem = role is Role.MESSAGE_KEM
    retire = retire if retire is not None else nbf + (KEM_ACTIVE if kem else SIGNING_ACTIVE)
    exp = exp if exp is not None else retire + (KEM_RETIRING if kem else SIGNING_RETIRING)
    return ListedKey(
        role=role,
        holder=holder,
        public=secret.public,
        nbf=nbf,
        retire=retire,
        exp=exp,
        origin=origin if origin or role is not Role.LOG else make_origin(),
        name=name,
    )


def make_entries(org: str = ORG, *, issued: int = ISSUED, label: str = "") -> tuple[ListedKey, ...]:
    """Return the entries of `make_secrets`; the KEM keys have consecutive periods from `issued`."""
    entries = []
    kem_starts = iter(range(issued, issued + 3 * KEM_ACTIVE, KEM_ACTIVE))
    for stored in make_secrets(org, label):
        role = Role(stored.role)
        nbf = next(kem_starts) if role is Role.MESSAGE_KEM else issued
        entries.append(make_entry(role, stored.secret, nbf=nbf, origin=make_origin(org) if role is Role.LOG else None))
    return tuple(entries)


def make_request(org: str = ORG, *, issued: int = ISSUED, **changes: Any) -> UnsignedBundle:
    """Return the request of a first bundle, with `changes` to its members."""
    members: dict[str, Any] = {
        "org": org,
        "name": "Invented Council",
        "seq": 1,
        "prev": None,
        "iat": issued,
        "exp": issued + 90 * DAY,
        "suites": ("sh1",),
        "keys": make_entries(org, issued=issued),
        "revoked": (),
        "endpoints": make_endpoints(org),
    }
    return UnsignedBundle(**(members | changes))


def make_jws(request: UnsignedBundle, *, generation: int = 1, old_generation: int | None = None) -> bytes:
    """Return the published bytes, signed by the roots of a generation; four signatures with `old_generation`."""
    return issue_bundle(
        request,
        make_roots(request.org, generation),
        make_roots(request.org, generation + 1).public.kids,
        old_roots=None if old_generation is None else make_roots(request.org, old_generation),
    )


def make_bundle(
    org: str = ORG, *, issued: int = ISSUED, history: tuple[KeyBundle, ...] = (), generation: int = 1, **changes: Any
) -> KeyBundle:
    """Return an accepted bundle: the first, or the one after `history` with the same content; `changes` as above."""
    request = follow(history[-1], **changes) if history else make_request(org, issued=issued, **changes)
    return accept(make_jws(request, generation=generation), history=history, now=request.iat)


def follow(bundle: KeyBundle, **changes: Any) -> UnsignedBundle:
    """Return the request of the bundle after `bundle`: its content under the next `seq`, with `changes`."""
    members: dict[str, Any] = {"seq": bundle.seq + 1, "prev": bundle.digest}
    return replace(bundle.content, **(members | changes))


def accept(
    jws: bytes,
    *,
    org: str | None = None,
    history: tuple[KeyBundle, ...] = (),
    foreign: Container[Mark] = frozenset(),
    now: int = NOW,
    fingerprint: bytes | None = None,
) -> KeyBundle:
    """Call `accept_bundle` where only the given matters; `org` is what the payload says."""
    claimed = org if org is not None else payload_of(jws)["org"]
    return accept_bundle(jws, org=claimed, history=history, foreign=foreign, now=now, fingerprint=fingerprint)


def payload_of(jws: bytes) -> Any:
    """Return the payload of published bytes as plain JSON values."""
    return json.loads(read_statement(jws, limit=len(jws)).payload)


def make_altered_jws(alter: Callable[[Any], object], *, write: Callable[[Any], bytes] = write_wire) -> bytes:
    """Return a first bundle whose members `alter` changed in place before its root pair truly signed them.

    For what `issue_bundle` would refuse to sign; `write` makes the payload's bytes.
    """
    members = payload_of(make_jws(make_request()))
    alter(members)
    return sign_statement(write(members), BUNDLE_TYPE, make_roots().signers)


def make_revocation(kid: Kid, *, since: int = NOW, reason: str = "lost") -> Revocation:
    return Revocation(kid=kid, since=since, reason=reason)


def make_ring(org: str = ORG, *, issued: int = ISSUED, bundle: KeyBundle | None = None) -> KeyRing:
    """Return the ring of an organisation that holds every key of its bundle, those for agreements too."""
    return KeyRing(bundle=bundle or make_bundle(org, issued=issued), secrets=make_secrets(org))
