"""Key ceremonies of a gateway in memory: a request by rotation, the root's signature, publication, all by the test's clock."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from gateway import partners
from keys.bundle import KeyBundle, Revocation
from keys.keyset import StoredKey
from keys.listed import ListedKey, Role
from keys.ring import KeyRing
from keys.rotation import plan_request
from tests.support.exchange import Gateway
from tests.support.keys import make_endpoints, make_jws, make_makers, make_origin


def request_keys(gateway: Gateway, *, early: Set[Role] = frozenset(), revoke: Sequence[Revocation] = ()) -> bytes:
    """What `keys request` and `root sign` do: the gateway holds the new keys; the bundle is returned, not published."""
    newest, now = gateway.memory.history(gateway.own)[-1], int(gateway.clock().timestamp())
    plan = plan_request(
        org=gateway.own,
        name=newest.name,
        endpoints=make_endpoints(gateway.own),
        origin=make_origin(gateway.own),
        newest=newest,
        revoke=revoke,
        now=now,
        makers=make_makers(f"{gateway.own} {now} {newest.seq}"),
        early=early,
    )
    made: tuple[StoredKey, ...] = plan.gateway + plan.agreement
    gateway.ring = replace(gateway.ring, secrets=gateway.ring.secrets + made)
    return make_jws(plan.request)


async def publish(gateway: Gateway, jws: bytes) -> KeyBundle:
    """What `keys publish` does; the running server takes it up."""
    bundle = await partners.publish(jws, gateway.exchange, by=None)
    gateway.ring = KeyRing(bundle=bundle, secrets=gateway.ring.secrets)
    return bundle


async def hold_ceremony(
    gateway: Gateway, *, early: Set[Role] = frozenset(), revoke: Sequence[Revocation] = ()
) -> KeyBundle:
    """All of it within a moment."""
    return await publish(gateway, request_keys(gateway, early=early, revoke=revoke))


def active_kems(bundle: KeyBundle, at: int) -> tuple[ListedKey, ...]:
    """The keys that a partner may seal to at an instant."""
    return bundle.active_keys(Role.MESSAGE_KEM, at)
