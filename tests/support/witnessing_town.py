"""Councils that witness each other: the towns of `tests.support.exchange`, with a witness key in every bundle."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import cast

from gateway.core.commands import Record
from gateway.tlog.checkpoint import Checkpoint, NoteKey, parse_note, sign_checkpoint
from gateway.tlog.cosignature import CosignerKey
from gateway.tlog.merkle import root_of
from gateway.tlog.proof import consistency_proof
from gateway.tlog.witness import AddCheckpoint
from keys.bundle import Endpoints
from keys.keyset import StoredKey
from keys.listed import Role
from keys.ring import KeyRing
from keys.rotation import witness_name
from tests.support.exchange import Gateway, Town, make_gateway, make_town
from tests.support.keys import ed25519, make_bundle, make_endpoints, make_entries, make_entry, make_origin, make_secrets
from tests.support.memory import Clock
from tests.support.messages import A, B
from tests.support.store import make_entry as make_log_entry


@cache
def witness_ring(org: str) -> KeyRing:
    """The ring of an organisation that witnesses others."""
    secret = ed25519(f"{org} witness")
    url = make_endpoints(org).exchange
    bundle = make_bundle(
        org,
        keys=(*make_entries(org), make_entry(Role.WITNESS, secret, name=witness_name(org))),
        endpoints=Endpoints(exchange=url, witness=url, police=None),
    )
    return KeyRing(bundle=bundle, secrets=(*make_secrets(org), StoredKey(Role.WITNESS, secret)))


def witness_key(org: str) -> CosignerKey:
    return CosignerKey(witness_name(org), ed25519(f"{org} witness").public.raw)


def give_witness_keys(gateways: Iterable[Gateway]) -> None:
    """Put the bundle with a witness key in the place of the one without, everywhere."""
    everyone = tuple(gateways)
    for gateway in everyone:
        gateway.ring = witness_ring(gateway.own)
        for holder in everyone:
            if gateway.own in holder.memory.bundles:
                holder.memory.bundles[gateway.own] = [gateway.ring.bundle.jws]


def make_witnessing_town(a: str = A, b: str = B) -> Town:
    """Two councils that know and witness each other; nothing is signed yet."""
    town = make_town(a, b)
    give_witness_keys((town.a, town.b))
    return town


def make_circle(*orgs: str) -> list[Gateway]:
    """Councils of which each knows and witnesses every other."""
    clock, gateways = Clock(), cast("dict[str, Gateway]", {})
    circle = [make_gateway(org, gateways, clock) for org in orgs]
    for gateway in circle:
        for other in orgs:
            if other != gateway.own:
                gateway.know(other)
    give_witness_keys(circle)
    return circle


async def grow(gateway: Gateway, count: int = 1) -> None:
    """Log some entries and have a checkpoint signed."""
    for _ in range(count):
        await gateway.memory.write(Record(entry=make_log_entry(when=gateway.clock())))
    await gateway.exchange.sign_log()


def ask(
    org: str, leaves: list[bytes], *, old: int = 0, signer: str | None = None, proven: list[bytes] | None = None
) -> AddCheckpoint:
    """A request for the log of `org` with these leaves, from `old` on; signed with the log key of `signer`, `org`'s where
    none is named. `proven` are the leaves that the proof is made of, where they are others."""
    secret, origin = ed25519(f"{signer or org} log"), make_origin(org)
    checkpoint = Checkpoint(origin=origin, size=len(leaves), root=root_of(leaves))
    note = sign_checkpoint(checkpoint, NoteKey(origin, secret.public.raw), secret.sign)
    tree = proven or leaves
    path: tuple[bytes, ...] = ()
    if 0 < old < len(leaves):
        path = consistency_proof(old, len(leaves), lambda level, at: root_of(tree[at << level : (at + 1) << level]))
    return AddCheckpoint(old=old, proof=path, note=parse_note(note))
