"""The composition root: the one module that knows every concrete class, and where clock, entropy and threads come in.

Resources open in one place in order (keys, store, peer adapter, listeners, worker) and close in reverse. `open_exchange` is
for a command that holds the home itself, `open_readonly_exchange` for one that only reads, `serve` for the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from aiohttp import web

from adapters.peer import PeerAdapter
from contracts import register
from gateway.config import Settings
from gateway.core.commands import Command, PutCheckpoint, ReleaseLeases
from gateway.core.errors import LogInconsistentError, SafehandError
from gateway.core.tags import child_tags, lane_tag
from gateway.entries import Journal
from gateway.home import Home
from gateway.ports import Exchange, Organisation, Store
from gateway.store.opening import StoreKeys, open_readonly, open_store
from gateway.store.signer import LogSigner
from gateway.store.vault import Vault
from gateway.store.verify import LogRules, verify_live
from gateway.tlog.checkpoint import NoteKey, sign_checkpoint
from gateway.tlog.entry import row_mac
from gateway.tlog.fsck import CheckpointRow, Problem
from gateway.watch import configure_logging
from gateway.web.admin import admin_app
from gateway.web.exchange import exchange_app, exchange_runner
from gateway.web.tls import server_context
from gateway.worker import Worker, guarded
from keys.bundle import KeyBundle
from keys.errors import KeysError
from keys.http import sign_request
from keys.key import Ed25519Public
from keys.keyset import KeySet
from keys.listed import Role
from keys.ring import KeyRing
from keys.suite import MEDIA_TYPE

T = TypeVar("T")

SIGN_EVERY = 2.0  # seconds between two looks of the log signer (log.md A4: 1 to 5)
HANDSHAKE_WITHIN = 10.0  # seconds: a stranger who says nothing holds a connection no longer
STOP_WITHIN = 25.0  # seconds that attempts under way may take after a stop was asked for
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


def now_utc() -> datetime:
    """The clock: the one place where it is read."""
    return datetime.now(UTC)  # noqa: TID251 - this is that place


def _alarm(name: str, details: Mapping[str, str]) -> None:
    log.warning("alarm", alarm=name, **details)


def _exchange(
    settings: Settings, keys: Keys, store: Store, read: Any, peer: Any, waker: list[Callable[[], None]]
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
        peer=peer,
        clock=now_utc,
        entropy=secrets.token_bytes,
        tags=lambda body: child_tags(body, index),
        lane_key=lambda thread, urgent: lane_tag(index, thread, urgent=urgent),
        in_thread=in_thread,
        journal=Journal(org=settings.org, origin=settings.log_origin, entropy=secrets.token_bytes),
        asked={},
        wake=wake,
        alarm=_alarm,
    )


@contextlib.asynccontextmanager
async def open_exchange(home: Home, fatal: Callable[[BaseException], None]) -> AsyncIterator[Running]:
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
                alarm=_alarm,
                fatal=fatal,
            )
        )
        peer = await stack.enter_async_context(_peer(home, settings, keys))
        exchange = _exchange(settings, keys, opened.store, opened.read, peer, waker)
        await reload_bundles(keys, exchange)
        yield Running(exchange=exchange, settings=settings, keys=keys, waker=waker)


@contextlib.asynccontextmanager
async def open_readonly_exchange(home: Home) -> AsyncIterator[Running]:
    """Open what a reading command needs; works beside a running server, and cannot write."""
    settings = home.settings()
    keys = await asyncio.to_thread(Keys.load, home)
    async with open_readonly(
        home.database,
        own=settings.org,
        keys=keys.store_keys(),
        alarm=_alarm,
    ) as read:
        exchange = _exchange(settings, keys, _ReadOnlyStore(), read, None, [])
        await reload_bundles(keys, exchange)
        yield Running(exchange=exchange, settings=settings, keys=keys, waker=[])


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


# --- the log, verified on the live database


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What `safehand log verify` found: how many entries there are, and every fault."""

    entries: int
    problems: tuple[Problem, ...]


async def verify_log(home: Home) -> LogReport:
    """Verify the exchange log in the live database (log.md A5), beside a running server or alone."""
    async with open_readonly_exchange(home) as running:
        held, origin = running.keys.gateway.secrets, running.settings.log_origin
        bundles = running.keys.bundles

        def log_keys(row: CheckpointRow) -> tuple[NoteKey, ...]:
            at = row.signed_at
            publics = {key.raw for bundle in bundles for key in bundle.log_keys_for(origin, at)}
            return tuple(NoteKey(name=origin, public=raw) for raw in publics)

        rules = LogRules(
            origin=origin,
            mac=lambda index, data: row_mac(held["append"], origin, index, data),
            log_keys=log_keys,
            verify=_verify_note,
            vault=Vault(held["kek"]),
        )
        problems = await asyncio.to_thread(lambda: tuple(verify_live(home.database, rules)))
        counts = await running.exchange.overview.counts()
        return LogReport(entries=counts["log.size"], problems=problems)


def _verify_note(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519Public(public).verify(signature, message)
    except KeysError:
        return False
    return True


# --- the gateway itself


async def serve(home: Home, ready: Callable[[Settings], None]) -> None:
    """Run the gateway until SIGTERM or SIGINT; `ready` is called once it takes requests.

    Raises NotReadyError (no bundle, database behind), BusyError (locked), HomeError (a root seed beside it).
    """
    home.refuse_root()
    home.check_socket()
    configure_logging()
    _use_all_descriptors()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    failures: list[BaseException] = []

    def fatal(error: BaseException) -> None:
        failures.append(error)
        loop.call_soon_threadsafe(stop.set)

    with home.locked():
        async with open_exchange(home, fatal) as running:
            missing = running.keys.ring().missing(int(now_utc().timestamp()))
            if missing:
                roles = ", ".join(role.value for role in missing)
                raise NotReadyError(f"no active key for {roles}: safehand keys request, root sign, keys publish")
            # Whoever was killed here held leases that nobody else will end: this process alone has the home.
            await running.exchange.store.write(ReleaseLeases(tokens=None, now=now_utc()))
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            await _run(home, running, stop, ready)
    if failures:
        raise SafehandError("the writer stopped because the outcome of a commit is unknown: start again") from failures[
            0
        ]


def _use_all_descriptors() -> None:
    """Raise the soft limit of open files to the hard one: connections of strangers must not use up the database's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(home: Home, running: Running, stop: asyncio.Event, ready: Callable[[Settings], None]) -> None:
    exchange, settings = running.exchange, running.settings
    worker = Worker(exchange)
    running.waker.append(worker.wake)
    signer = _signer(home, running)

    async def published() -> None:
        await reload_bundles(running.keys, exchange)

    async with contextlib.AsyncExitStack() as listeners, asyncio.TaskGroup() as tasks:
        await _listen(listeners, home, settings, exchange)
        await _listen_admin(listeners, home, exchange, published)
        working = tasks.create_task(worker.run(), name="worker")
        signing = tasks.create_task(_sign_log(signer, exchange), name="log-signer")
        ready(settings)
        log.info("serving", org=settings.org)
        await stop.wait()
        worker.stop()  # claim nothing more
        closing = tasks.create_task(listeners.aclose(), name="closing")  # accept nothing more; answer what is under way
        _, late = await asyncio.wait({working, closing}, timeout=STOP_WITHIN)
        for task in (*late, signing):
            task.cancel()
    await guarded("last-checkpoint", lambda: checkpoint(signer, exchange))
    log.info("stopped", org=settings.org)


async def _listen(stack: contextlib.AsyncExitStack, home: Home, settings: Settings, exchange: Exchange) -> None:
    runner = exchange_runner(exchange_app(exchange, public_url=settings.public_url))
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    context = server_context(home.path / settings.tls_certificate, home.path / settings.tls_key)
    host, port = settings.listen
    if runner.server is None:
        raise SafehandError("the listener was not set up")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(runner.server, host, port, ssl=context, ssl_handshake_timeout=HANDSHAKE_WITHIN)
    stack.callback(server.close)  # accept nothing more, then end what is under way


async def _listen_admin(
    stack: contextlib.AsyncExitStack, home: Home, exchange: Exchange, published: Callable[[], Any]
) -> None:
    runner = web.AppRunner(admin_app(exchange, published), access_log=None, shutdown_timeout=STOP_WITHIN)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    home.socket.unlink(missing_ok=True)
    stack.callback(lambda: home.socket.unlink(missing_ok=True))
    await web.UnixSite(runner, str(home.socket)).start()
    home.socket.chmod(0o600)


def _signer(home: Home, running: Running) -> LogSigner:
    append = running.keys.gateway.secrets["append"]
    origin = running.settings.log_origin
    return LogSigner(
        home.database,
        home.signer,
        origin=origin,
        mac=lambda index, data: row_mac(append, origin, index, data),
    )


async def _sign_log(signer: LogSigner, exchange: Exchange) -> None:
    """Sign a checkpoint whenever the log has grown; a fault (a full disk, a key not in force) is tried again."""
    while True:
        await guarded("checkpoint", lambda: checkpoint(signer, exchange))
        await asyncio.sleep(SIGN_EVERY)


async def checkpoint(signer: LogSigner, exchange: Exchange) -> None:
    """One look of the signer: what the log has grown by is verified, appended to the signer's own tree, and signed."""
    try:
        grown = await asyncio.to_thread(signer.advance)
    except LogInconsistentError as error:
        exchange.alarm("log-inconsistent", {"cause": str(error)})
        return
    if grown is None:
        return
    at = int(exchange.clock().timestamp())
    signing = exchange.ring().log(at)
    key = NoteKey(name=signing.origin, public=signing.key.public.raw)
    note = sign_checkpoint(grown, key, signing.key.sign)
    await exchange.store.write(PutCheckpoint(size=grown.size, root=grown.root, note=note.decode(), signed_at=at))
