"""The composition root: the one module that knows every concrete class, and where clock, entropy and threads come in.

Resources open in one place in order (keys, store, peer adapter) and close in reverse. `open_exchange` is for whoever holds
the home itself, a command or the gateway (`serving`); `open_readonly_exchange` for a command that only reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog

from adapters.peer import PeerAdapter
from contracts import register
from gateway.config import Settings
from gateway.core.commands import Command
from gateway.core.errors import SafehandError
from gateway.core.tags import child_tags, lane_tag
from gateway.entries import Journal
from gateway.home import Home
from gateway.ports import Exchange, Organisation, Store
from gateway.store.opening import StoreKeys, open_readonly, open_store
from keys.bundle import KeyBundle
from keys.http import sign_request
from keys.keyset import KeySet
from keys.listed import Role
from keys.ring import KeyRing
from keys.suite import MEDIA_TYPE

T = TypeVar("T")

_NONCE = 16

log = structlog.get_logger("safehand")


class NotReadyError(SafehandError):
    """The gateway cannot serve yet; says which command comes next."""

    code = "not-ready"


class _ReadOnlyStore:
    """What a reading command has in place of the writer."""

    async def write(self, command: Command[Any]) -> Any:
        raise SafehandError(f"this command only reads ({type(command).__name__})")


@dataclass(slots=True)
class Keys:
    """The secrets of this home and the own bundles that say which are in force; reloaded when a bundle is published."""

    home: Home
    gateway: KeySet = field(repr=False)
    index: bytes = field(repr=False)
    bundles: tuple[KeyBundle, ...] = ()

    @classmethod
    def load(cls, home: Home) -> Keys:
        """Open the gateway and index keystores (argon2id: in a thread where there is a loop)."""
        return cls(
            home=home,
            gateway=home.keystore("gateway").load(),
            index=home.keystore("index").load().secrets["index"],
        )

    def ring(self) -> KeyRing:
        """The keys in force by the newest own bundle; raises NotReadyError where there is none."""
        if not self.bundles:
            raise NotReadyError("no key bundle is published yet: safehand keys publish")
        return KeyRing(bundle=self.bundles[-1], secrets=self.gateway.keys)

    def store_keys(self) -> StoreKeys:
        held = self.gateway.secrets
        return StoreKeys(append=held["append"], store=held["store"], kek=held["kek"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An open exchange and what only a driver needs of it."""

    exchange: Exchange
    settings: Settings
    keys: Keys
    waker: list[Callable[[], None]]
    writes: Callable[[], int]  # commands that wait for the writer


def now_utc() -> datetime:
    """The clock: the one place where it is read."""
    return datetime.now(UTC)  # noqa: TID251 - this is that place


Alarm = Callable[[str, Mapping[str, str]], None]


def tell_alarm(name: str, details: Mapping[str, str]) -> None:
    """Raise an alarm: one line in the log, which wants a person."""
    log.warning("alarm", alarm=name, **details)


def _exchange(
    settings: Settings,
    keys: Keys,
    store: Store,
    read: Any,
    peer: Any,
    waker: list[Callable[[], None]],
    alarm: Alarm,
) -> Exchange:
    index = keys.index

    def wake() -> None:
        for call in waker:
            call()

    async def in_thread(step: Callable[[], T]) -> T:
        return await asyncio.to_thread(step)

    return Exchange(
        own=Organisation(id=settings.org, name=settings.name, url=settings.public_url),
        vocabulary=register.vocabulary(),
        ring=keys.ring,
        store=store,
        partners=read.partners,
        agreements=read.agreements,
        outbox=read.outbox,
        inbox=read.inbox,
        protection=read.protection,
        overview=read.overview,
        statements=read.statements,
        peer=peer,
        clock=now_utc,
        entropy=secrets.token_bytes,
        tags=lambda body: child_tags(body, index),
        lane_key=lambda thread, urgent: lane_tag(index, thread, urgent=urgent),
        in_thread=in_thread,
        journal=Journal(org=settings.org, origin=settings.log_origin, entropy=secrets.token_bytes),
        asked={},
        wake=wake,
        alarm=alarm,
    )


@contextlib.asynccontextmanager
async def open_exchange(
    home: Home, fatal: Callable[[BaseException], None], alarm: Alarm = tell_alarm
) -> AsyncIterator[Running]:
    """Open everything that a flow may touch, for writing. The caller holds the home's lock."""
    settings = home.settings()
    keys = await asyncio.to_thread(Keys.load, home)
    waker: list[Callable[[], None]] = []
    async with contextlib.AsyncExitStack() as stack:
        opened = await stack.enter_async_context(
            open_store(
                home.database,
                own=settings.org,
                origin=settings.log_origin,
                keys=keys.store_keys(),
                alarm=alarm,
                fatal=fatal,
            )
        )
        peer = await stack.enter_async_context(_peer(home, settings, keys))
        exchange = _exchange(settings, keys, opened.store, opened.read, peer, waker, alarm)
        await reload_bundles(keys, exchange)
        yield Running(exchange=exchange, settings=settings, keys=keys, waker=waker, writes=lambda: opened.store.waiting)


@contextlib.asynccontextmanager
async def open_readonly_exchange(home: Home, alarm: Alarm = tell_alarm) -> AsyncIterator[Running]:
    """Open what a reading command needs; works beside a running server, and cannot write."""
    settings = home.settings()
    keys = await asyncio.to_thread(Keys.load, home)
    async with open_readonly(
        home.database,
        own=settings.org,
        keys=keys.store_keys(),
        alarm=alarm,
    ) as read:
        exchange = _exchange(settings, keys, _ReadOnlyStore(), read, None, [], alarm)
        await reload_bundles(keys, exchange)
        yield Running(exchange=exchange, settings=settings, keys=keys, waker=[], writes=lambda: 0)


async def reload_bundles(keys: Keys, exchange: Exchange) -> None:
    """Take the own bundles as stored, and the keystore as it now is where the newest lists keys made since, for now or later."""
    keys.bundles = await exchange.partners.own_bundles()
    if not keys.bundles:
        return
    held_elsewhere = Role.AGREEMENT_SIGN  # in a keystore of its own, which no server opens
    ring = KeyRing(bundle=keys.bundles[-1], secrets=keys.gateway.keys)
    if any(listed.role is not held_elsewhere for listed in ring.not_held()):
        keys.gateway = await asyncio.to_thread(keys.home.keystore("gateway").load)


@contextlib.asynccontextmanager
async def _peer(home: Home, settings: Settings, keys: Keys) -> AsyncIterator[PeerAdapter]:
    def sign(method: str, target_uri: str, body: bytes | None, idempotency_key: str | None) -> Mapping[str, str]:
        at = int(now_utc().timestamp())
        return sign_request(
            method=method,
            target_uri=target_uri,
            body=body,
            idempotency_key=idempotency_key,
            content_type=None if body is None else MEDIA_TYPE,
            created=at,
            nonce=secrets.token_bytes(_NONCE),
            org=settings.org,
            secret=keys.ring().http(at),
        )

    ca_file = home.path / settings.ca_file if settings.ca_file else None
    adapter = PeerAdapter(sign=sign, ca_file=ca_file, allowed_private=settings.allowed_private)
    try:
        yield adapter
    finally:
        await adapter.close()
