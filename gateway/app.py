"""The composition root: the one module that knows every concrete class, and where clock, entropy and threads come in.

Resources open in one place in order (keys, store, peer adapter) and close in reverse. `open_exchange` is for whoever holds
the home itself, a command or the gateway (`serving`); `open_readonly_exchange` for a command that only reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar

import holidays
import structlog

from adapters.peer import PeerAdapter
from adapters.webhook import WebhookAdapter
from contracts import register
from gateway import integrity
from gateway.config import Settings, Webhook
from gateway.core.alarms import Alarm, AlarmCode
from gateway.core.commands import Command
from gateway.core.errors import SafehandError
from gateway.core.tags import child_tags, lane_tag
from gateway.entries import Journal
from gateway.home import Home, HomeError
from gateway.ports import Exchange, Organisation, Refusals, Store
from gateway.signing import Signing
from gateway.store.comparison import RowComparison
from gateway.store.log import entry_mac, epochs_of
from gateway.store.opening import StoreKeys, open_readonly, open_store
from gateway.store.seeds import StoredDestructions
from gateway.store.signer import LogSigner, check_not_behind
from gateway.store.triggers import TriggerCheck
from gateway.webhooks import Target
from keys.bundle import KeyBundle
from keys.http import sign_request
from keys.key import Kid
from keys.keyset import KeySet
from keys.listed import Role
from keys.ring import KeyRing
from keys.suite import MEDIA_TYPE

T = TypeVar("T")

Clock = Callable[[], datetime]

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


@dataclass(frozen=True, slots=True)
class HomeSeeds:
    """`ports.Seeds`: the keys in memory, their keystore in the home, and what the log says of them."""

    keys: Keys
    destructions: StoredDestructions

    def held(self) -> frozenset[Kid]:
        return frozenset(key.kid for key in self.keys.gateway.keys if key.role == Role.MESSAGE_KEM)

    def destroy(self, kids: Set[Kid]) -> frozenset[Kid]:
        self.keys.gateway = self.keys.gateway.destroy(*kids)
        return self.keys.home.destroy_seeds(kids)

    async def logged(self) -> frozenset[str]:
        return await self.destructions.logged()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An open exchange and what only a driver needs of it."""

    exchange: Exchange
    settings: Settings
    keys: Keys
    waker: list[Callable[[], None]]
    writes: Callable[[], int]  # commands that wait for the writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing(Running):
    """An exchange that is open for writing: also what compares the rows that decide with the log, and what was refused."""

    comparison: RowComparison
    triggers: TriggerCheck
    refusals: Refusals


def now_utc() -> datetime:
    """The clock: the one place where it is read."""
    return datetime.now(UTC)  # noqa: TID251 - this is that place


@lru_cache(maxsize=16)
def _bank_holidays(year: int) -> frozenset[date]:
    """The bank holidays of England in a year, from the library's own tables: no network."""
    return frozenset(holidays.country_holidays("GB", subdiv="ENG", years=year))


def steady() -> float:
    """Seconds that pass whatever is done to the clock; they count from no particular instant."""
    return time.monotonic()


def steady_clock() -> datetime:
    """`steady` as an instant, for waits alone: it names no time of day."""
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=steady())


def tell_alarm(name: AlarmCode, details: Mapping[str, str]) -> None:
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
    clock: Clock,
    look: Callable[[Exchange], Awaitable[bool]],
) -> Exchange:
    index = keys.index

    def wake() -> None:
        for call in waker:
            call()

    async def in_thread(step: Callable[[], T]) -> T:
        return await asyncio.to_thread(step)

    exchange = Exchange(
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
        seeds=HomeSeeds(keys, read.destructions),
        statements=read.statements,
        log=read.log,
        witnesses=read.witnesses,
        service=read.service,
        bank_holidays=_bank_holidays,
        events=read.events,
        webhooks=read.webhooks,
        arrivals=read.arrivals,
        enquiries=read.enquiries,
        tokens=read.tokens,
        halves=read.halves,
        peer=peer,
        witness_line=peer,
        witness_settings=settings.witnesses,
        clock=clock,
        entropy=secrets.token_bytes,
        tags=lambda body: child_tags(body, index),
        lane_key=lambda thread, urgent: lane_tag(index, thread, urgent=urgent),
        in_thread=in_thread,
        journal=Journal(org=settings.org, origin=settings.log_origin, entropy=secrets.token_bytes),
        asked={},
        standing={},
        told={},
        wake=wake,
        sign_log=lambda: look(exchange),
        alarm=alarm,
    )
    return exchange


@contextlib.asynccontextmanager
async def open_exchange(
    home: Home,
    fatal: Callable[[BaseException], None],
    alarm: Alarm = tell_alarm,
    *,
    clock: Clock = now_utc,
    behind: bool = False,
) -> AsyncIterator[Writing]:
    """Open everything that a flow may touch, for writing. The caller holds the home's lock.

    Raises LogInconsistentError where the log's signer has seen more than the database holds; `behind` is for the one act
    that mends this, the next epoch.
    """
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
        if not behind:
            await asyncio.to_thread(check_not_behind, home.database, home.signer, settings.log_origin)
        peer = await stack.enter_async_context(_peer(home, settings, keys.ring, clock))
        signing = Signing(lambda: _signer(home, settings, keys))
        exchange = _exchange(settings, keys, opened.store, opened.read, peer, waker, alarm, clock, signing.look)
        await reload_bundles(keys, exchange)
        try:
            yield Writing(
                exchange=exchange,
                settings=settings,
                keys=keys,
                waker=waker,
                writes=lambda: opened.store.waiting,
                comparison=opened.comparison,
                triggers=opened.triggers,
                refusals=opened.refusals,
            )
        finally:
            with contextlib.suppress(SafehandError):  # a writer that has stopped; whoever opens next finds them again
                await integrity.record(opened.refusals, exchange)


@contextlib.asynccontextmanager
async def open_readonly_exchange(
    home: Home, alarm: Alarm = tell_alarm, *, asking: bool = False
) -> AsyncIterator[Running]:
    """Open what a reading command needs; works beside a running server, and cannot write. `asking` is for one that asks
    partners and witnesses something."""
    settings = home.settings()
    keys = await asyncio.to_thread(Keys.load, home)
    async with contextlib.AsyncExitStack() as stack:
        read = await stack.enter_async_context(
            open_readonly(
                home.database, own=settings.org, origin=settings.log_origin, keys=keys.store_keys(), alarm=alarm
            )
        )
        peer = await stack.enter_async_context(_peer(home, settings, keys.ring, now_utc)) if asking else None
        exchange = _exchange(settings, keys, _ReadOnlyStore(), read, peer, [], alarm, now_utc, _signs_nothing)
        await reload_bundles(keys, exchange)
        yield Running(exchange=exchange, settings=settings, keys=keys, waker=[], writes=lambda: 0)


def _signer(home: Home, settings: Settings, keys: Keys) -> LogSigner:
    mac = entry_mac(keys.gateway.secrets["append"], epochs_of(home.database, settings.log_origin))
    return LogSigner(home.database, home.signer, origin=settings.log_origin, mac=mac)


async def _signs_nothing(_: Exchange) -> bool:
    """What a reading command has in place of the log's signer."""
    raise SafehandError("this command only reads (sign-log)")


async def reload_bundles(keys: Keys, exchange: Exchange) -> None:
    """Take the own bundles as stored, and the keystore as it now is where the newest lists keys made since, for now or later."""
    keys.bundles = await exchange.partners.own_bundles()
    if not keys.bundles:
        return
    held_elsewhere = Role.AGREEMENT_SIGN  # in a keystore of its own, which no server opens
    ring, now = KeyRing(bundle=keys.bundles[-1], secrets=keys.gateway.keys), int(exchange.clock().timestamp())
    if any(listed.role is not held_elsewhere and listed.exp > now for listed in ring.not_held()):
        keys.gateway = await asyncio.to_thread(keys.home.keystore("gateway").load)


@contextlib.asynccontextmanager
async def open_target(home: Home, settings: Settings, webhook: Webhook) -> AsyncIterator[Target]:
    """Open the way to one receiver of events. Raises HomeError where its secret or its authorities cannot be read."""
    secret = await asyncio.to_thread(home.webhook_secret, settings, webhook)
    try:
        receiver = WebhookAdapter(
            webhook.url,
            ca_file=home.path / webhook.ca_file if webhook.ca_file else None,
            allowed_private=webhook.allowed_private,
            on_loopback=webhook.on_loopback,
        )
    except OSError:  # ssl.SSLError is one
        raise home.webhook_fault(settings, webhook, "ca_file", "cannot be read as certificates") from None
    try:
        yield Target(name=webhook.name, types=frozenset(webhook.events), secret=secret, receiver=receiver)
    finally:
        await receiver.close()


@contextlib.asynccontextmanager
async def open_targets(home: Home, settings: Settings) -> AsyncIterator[tuple[Target, ...]]:
    """Open the way to every receiver of events; raises as `open_target`."""
    async with contextlib.AsyncExitStack() as stack:
        yield tuple(
            [await stack.enter_async_context(open_target(home, settings, webhook)) for webhook in settings.webhooks]
        )


async def unusable_files(home: Home, settings: Settings) -> tuple[str, ...]:
    """What is wrong with the files that the configuration names: authorities of partners, secrets and authorities of
    receivers. Whoever serves is refused for each."""

    def no_ring() -> KeyRing:
        raise NotReadyError("nothing is asked of anybody")

    ways = [
        _peer(home, settings, no_ring, now_utc),
        *(open_target(home, settings, webhook) for webhook in settings.webhooks),
    ]
    wrong = []
    for way in ways:
        try:
            async with way:
                pass
        except HomeError as error:
            wrong.append(str(error))
    return tuple(wrong)


@contextlib.asynccontextmanager
async def _peer(
    home: Home, settings: Settings, ring: Callable[[], KeyRing], clock: Clock
) -> AsyncIterator[PeerAdapter]:
    def sign(method: str, target_uri: str, body: bytes | None, idempotency_key: str | None) -> Mapping[str, str]:
        at = int(clock().timestamp())
        return sign_request(
            method=method,
            target_uri=target_uri,
            body=body,
            idempotency_key=idempotency_key,
            content_type=None if body is None else MEDIA_TYPE,
            created=at,
            nonce=secrets.token_bytes(_NONCE),
            org=settings.org,
            secret=ring().http(at),
        )

    ca_file = home.path / settings.ca_file if settings.ca_file else None
    try:
        adapter = PeerAdapter(sign=sign, ca_file=ca_file, allowed_private=settings.allowed_private)
    except OSError as error:  # an SSLError is one: no certificate in it
        raise HomeError(
            f"{home.config.name}: partners.ca_file: {ca_file} must be a file of certificates in PEM"
        ) from error
    try:
        yield adapter
    finally:
        await adapter.close()
