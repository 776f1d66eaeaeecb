"""The running gateway: listeners, worker, jobs and the log's signer, opened in one order and closed in reverse.

Drives only: what an exchange is made of is `app`'s, what is served is `web`'s, what is decided is the flows'.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import structlog

from gateway import statements
from gateway.app import NotReadyError, Running, now_utc, open_exchange, reload_bundles, tell_alarm
from gateway.config import Settings
from gateway.core.commands import PutCheckpoint, ReleaseLeases
from gateway.core.errors import LogInconsistentError, SafehandError
from gateway.home import Home, HomeError
from gateway.jobs import Job, Jobs
from gateway.meters import MeteredStore, Meters
from gateway.ports import Exchange
from gateway.sight import Sight
from gateway.store.migrations import head
from gateway.store.opening import FLOOR
from gateway.store.signer import LogSigner
from gateway.tlog.checkpoint import NoteKey, sign_checkpoint
from gateway.tlog.entry import row_mac
from gateway.vitals import Vitals
from gateway.watch import configure_logging
from gateway.web.admin import admin_app
from gateway.web.exchange import exchange_app, exchange_runner
from gateway.web.listening import Runner
from gateway.web.metrics import metrics_app
from gateway.web.observing import observed
from gateway.web.tls import server_context
from gateway.worker import Worker, guarded

STATE_EVERY: Final = timedelta(minutes=10)  # between two looks whether a daily statement is due
SIGN_EVERY: Final = timedelta(seconds=2)  # between two looks of the log signer (log.md A4: 1 to 5 s)
HANDSHAKE_WITHIN: Final = 10.0  # seconds: a stranger who says nothing holds a connection no longer
STOP_WITHIN: Final = 25.0  # seconds that attempts under way may take after a stop was asked for

log = structlog.get_logger("safehand")


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

    meters = Meters()
    with home.locked():
        async with open_exchange(home, fatal, meters.alarmed(tell_alarm)) as opened:
            store = MeteredStore(opened.exchange.store, meters)
            running = replace(opened, exchange=replace(opened.exchange, store=store))
            missing = running.keys.ring().missing(int(now_utc().timestamp()))
            if missing:
                roles = ", ".join(role.value for role in missing)
                raise NotReadyError(f"no active key for {roles}: safehand keys request, root sign, keys publish")
            # Whoever was killed here held leases that nobody else will end: this process alone has the home.
            await running.exchange.store.write(ReleaseLeases(tokens=None, now=now_utc()))
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            await _run(home, running, meters, stop, ready)
    if failures:
        raise SafehandError("the writer stopped because the outcome of a commit is unknown: start again") from failures[
            0
        ]


def _use_all_descriptors() -> None:
    """Raise the soft limit of open files to the hard one: connections of strangers must not use up the database's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(
    home: Home, running: Running, meters: Meters, stop: asyncio.Event, ready: Callable[[Settings], None]
) -> None:
    exchange, settings = running.exchange, running.settings
    vitals = _vitals(home, running, meters)
    worker = Worker(exchange)
    running.waker.append(worker.wake)
    signer = _signer(home, running)

    async def published() -> None:
        await reload_bundles(running.keys, exchange)

    async with (
        contextlib.AsyncExitStack() as watched,  # left last: how a gateway stops can be watched too
        contextlib.AsyncExitStack() as listeners,
        asyncio.TaskGroup() as tasks,
    ):
        await _listen(listeners, home, settings, exchange, meters)
        await _listen_metrics(watched, running, meters, vitals)
        await _listen_admin(listeners, home, exchange, published, meters)
        working = tasks.create_task(worker.run(), name="worker")
        clockwork = tasks.create_task(_jobs(running, signer, vitals).run(), name="jobs")
        ready(settings)
        log.info("serving", org=settings.org)
        await stop.wait()
        vitals.stopping = True  # not ready, to whoever asks
        worker.stop()  # claim nothing more
        closing = tasks.create_task(listeners.aclose(), name="closing")  # accept nothing more; answer what is under way
        _, late = await asyncio.wait({working, closing}, timeout=STOP_WITHIN)
        for task in (*late, clockwork):
            task.cancel()
    await guarded("last-checkpoint", lambda: checkpoint(signer, exchange))
    log.info("stopped", org=settings.org)


async def _listen(
    stack: contextlib.AsyncExitStack, home: Home, settings: Settings, exchange: Exchange, meters: Meters
) -> None:
    runner = exchange_runner(observed(exchange_app(exchange, public_url=settings.public_url), "exchange", meters))
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    context = server_context(home.path / settings.tls_certificate, home.path / settings.tls_key)
    host, port = settings.listen
    loop = asyncio.get_running_loop()
    server = await loop.create_server(runner.protocol, host, port, ssl=context, ssl_handshake_timeout=HANDSHAKE_WITHIN)
    stack.callback(server.close)  # accept nothing more, then end what is under way


async def _listen_admin(
    stack: contextlib.AsyncExitStack, home: Home, exchange: Exchange, published: Callable[[], Any], meters: Meters
) -> None:
    app = observed(admin_app(exchange, published), "admin", meters)
    runner = Runner(app, shutdown_timeout=STOP_WITHIN)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    home.socket.unlink(missing_ok=True)
    stack.callback(lambda: home.socket.unlink(missing_ok=True))
    server = await asyncio.get_running_loop().create_unix_server(runner.protocol, str(home.socket))
    stack.callback(server.close)
    home.socket.chmod(0o600)


async def _listen_metrics(stack: contextlib.AsyncExitStack, running: Running, meters: Meters, vitals: Vitals) -> None:
    exchange = running.exchange
    sight = Sight(exchange, meters)
    await sight.look()
    app = metrics_app(meters, sight.look, vitals.process, lambda: int(exchange.clock().timestamp()))
    runner = Runner(observed(app, "metrics", meters, told=False), shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    host, port = running.settings.metrics_listen
    try:
        server = await asyncio.get_running_loop().create_server(runner.protocol, host, port)
    except OSError as error:
        raise HomeError(
            f"config.toml: metrics.listen: cannot listen at {host}, port {port} ({os.strerror(error.errno or 0)})"
        ) from error
    stack.callback(server.close)


def _vitals(home: Home, running: Running, meters: Meters) -> Vitals:
    return Vitals(
        clock=running.exchange.clock,
        revision=head(),
        folder=home.database.parent,
        floor=FLOOR,
        certificate=home.path / running.settings.tls_certificate,
        writes=running.writes,
        alarms=lambda code: meters.alarms[code],
    )


def _signer(home: Home, running: Running) -> LogSigner:
    append = running.keys.gateway.secrets["append"]
    origin = running.settings.log_origin
    return LogSigner(
        home.database,
        home.signer,
        origin=origin,
        mac=lambda index, data: row_mac(append, origin, index, data),
    )


def _jobs(running: Running, signer: LogSigner, vitals: Vitals) -> Jobs:
    """Everything done by the clock."""
    exchange = running.exchange

    async def look_at_log() -> None:
        await vitals.look_at_log(lambda: checkpoint(signer, exchange))

    return Jobs(
        (
            Job(name="checkpoint", every=SIGN_EVERY, run=look_at_log),
            Job(name="statements", every=STATE_EVERY, run=lambda: statements.state_all(exchange)),
        ),
        exchange.clock,
    )


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
