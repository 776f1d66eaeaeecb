"""A gateway of the tests, its flows on a real database: for what an administrator of that database could do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gateway import partner_keys, partners
from gateway.ports import Exchange
from gateway.store.opening import OpenStore, open_store
from keys.fingerprint import to_words
from tests.support.exchange import Gateway
from tests.support.keys import make_origin
from tests.support.messages import bundle_of
from tests.support.store import KEYS, SELDOM, Alarms


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDisk:
    """The exchange, what the store offers besides, and the alarms raised."""

    path: Path
    exchange: Exchange
    opened: OpenStore
    alarms: Alarms


@asynccontextmanager
async def on_disk(gateway: Gateway, path: Path, *, look_every: float = SELDOM) -> AsyncIterator[OnDisk]:
    """Open the migrated database at `path` for this gateway; what it holds in memory is not carried over."""
    alarms = Alarms()
    async with open_store(
        path,
        own=gateway.own,
        origin=make_origin(gateway.own),
        keys=KEYS,
        alarm=alarms,
        fatal=_raise,
        floor=0,
        look_every=look_every,
    ) as opened:
        read = opened.read
        exchange = replace(
            gateway.exchange,
            store=opened.store,
            partners=read.partners,
            agreements=read.agreements,
            outbox=read.outbox,
            inbox=read.inbox,
            protection=read.protection,
            overview=read.overview,
            halves=read.halves,
            alarm=alarms,
        )
        yield OnDisk(path=path, exchange=exchange, opened=opened, alarms=alarms)


def _raise(error: BaseException) -> None:
    raise error


async def publish(disk: OnDisk) -> None:
    """Our own bundle, as `keys publish` puts it in force."""
    await partners.publish(bundle_of(disk.exchange.own.id).jws, disk.exchange, by="A Person")


async def meet(disk: OnDisk, org: str) -> None:
    """Add a partner by its bundle, and compare the fingerprint, two people."""
    introduced = partners.Introduction(
        org=org, url=None, bundles=(bundle_of(org).jws,), name=org, duty_number="02070 000000"
    )
    await partners.add(introduced, disk.exchange, by="A Person")
    words = " ".join(to_words(bundle_of(org).fingerprint))
    for by in ("A First Person", "A Second Person"):
        await partners.verify(org, words, disk.exchange, by=by, alone=False)


async def settle(disk: OnDisk, other: Gateway) -> None:
    """Know `other`, and hold every agreement event that it holds, as it would push them."""
    await publish(disk)
    await meet(disk, other.own)
    for event in other.memory.events:
        await partner_keys.keep_event(event.jws, from_org=other.own, exchange=disk.exchange)
