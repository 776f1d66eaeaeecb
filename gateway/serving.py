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
from datetime import timedelta
from typing import Any, Final

import structlog
from aiohttp import web

from gateway import integrity, statements
from gateway.app import (
    NotReadyError,
    Writing,
    now_utc,
    open_exchange,
    open_targets,
    reload_bundles,
    steady,
    steady_clock,
)
from gateway.clock import ClockWatch, watch
from gateway.config import Settings, is_loopback
from gateway.core.commands import ReleaseLeases
from gateway.core.errors import LogInconsistentError, SafehandError
from gateway.home import Home, HomeError
from gateway.jobs import Job, Jobs
from gateway.ports import Exchange
from gateway.store.comparison import Compared
from gateway.watch import configure_logging
from gateway.web.admin import admin_app
from gateway.web.api.app import api_app, api_runner
from gateway.web.exchange import exchange_app, exchange_runner
from gateway.web.listening import Runner
from gateway.web.tls import server_context
from gateway.webhooks import Webhooks
from gateway.worker import Worker, guarded

COMPARE_EVERY: Final = timedelta(days=1)  # rows that decide with the log (log.md A6); at the start besides
TELL_EVERY: Final = timedelta(seconds=5)  # how long a refused row waits for its entry
LOOK_AT_CLOCK: Final = timedelta(seconds=5)
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

    with home.locked():
        async with open_exchange(home, fatal) as running:
            found = await compare_rows(running)  # before anything is served: a row put back must not be used once
            if found.log:
                first = found.log[0]
                raise LogInconsistentError(f"nobody can say which rows stand: entry {first.index}: {first.rule}")
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


async def _run(home: Home, running: Writing, stop: asyncio.Event, ready: Callable[[Settings], None]) -> None:
    exchange, settings = running.exchange, running.settings
    worker = Worker(exchange)
    running.waker.append(worker.wake)

    async def published() -> None:
        await reload_bundles(running.keys, exchange)

    async with (
        open_targets(home, settings) as targets,
        contextlib.AsyncExitStack() as listeners,
        asyncio.TaskGroup() as tasks,
    ):
        await _listen(listeners, home, settings, exchange)
        await _listen_api(listeners, home, settings, exchange)
        await _listen_admin(listeners, home, exchange, published)
        webhooks = Webhooks(targets, exchange)
        running.waker.append(webhooks.wake)
        working = tasks.create_task(worker.run(), name="worker")
        posting = tasks.create_task(webhooks.run(), name="webhooks")
        clockwork = tasks.create_task(_jobs(running).run(), name="jobs")
        ready(settings)
        log.info("serving", org=settings.org)
        await stop.wait()
        worker.stop()  # claim nothing more
        webhooks.stop()
        closing = tasks.create_task(listeners.aclose(), name="closing")  # accept nothing more; answer what is under way
        _, late = await asyncio.wait({working, posting, closing}, timeout=STOP_WITHIN)
        for task in (*late, clockwork):
            task.cancel()
    await guarded("last-checkpoint", exchange.sign_log)
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


async def _listen_api(stack: contextlib.AsyncExitStack, home: Home, settings: Settings, exchange: Exchange) -> None:
    """The API of case systems, where one is configured: TLS with the gateway's certificate, plain on loopback alone."""
    api = settings.api
    if api is None:
        return
    runner = api_runner(api_app(exchange, api))
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    context, within = None, None
    if not is_loopback(api.listen[0]):
        context, within = (
            server_context(home.path / settings.tls_certificate, home.path / settings.tls_key),
            HANDSHAKE_WITHIN,
        )
    host, port = api.listen
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(runner.protocol, host, port, ssl=context, ssl_handshake_timeout=within)
    except OSError as error:
        raise HomeError(
            f"config.toml: api.listen: cannot listen at {host}, port {port} ({os.strerror(error.errno or 0)})"
        ) from error
    stack.callback(server.close)


async def _listen_admin(
    stack: contextlib.AsyncExitStack, home: Home, exchange: Exchange, published: Callable[[], Any]
) -> None:
    runner = Runner(admin_app(exchange, published), shutdown_timeout=STOP_WITHIN)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    home.socket.unlink(missing_ok=True)
    stack.callback(lambda: home.socket.unlink(missing_ok=True))
    await web.UnixSite(runner, str(home.socket)).start()
    home.socket.chmod(0o600)


def _jobs(running: Writing) -> Jobs:
    """Everything done by the clock."""
    exchange = running.exchange
    walls = ClockWatch(exchange.clock(), steady)
    return Jobs(
        (
            Job(name="checkpoint", every=SIGN_EVERY, run=exchange.sign_log),
            Job(name="refused-rows", every=TELL_EVERY, run=lambda: tell_refused(running)),
            Job(name="rows", every=COMPARE_EVERY, after=COMPARE_EVERY, run=lambda: compare_rows(running)),
            Job(name="clock", every=LOOK_AT_CLOCK, run=lambda: watch(walls, exchange)),
            Job(name="statements", every=STATE_EVERY, run=lambda: statements.state_all(exchange)),
        ),
        steady_clock,
    )


async def compare_rows(running: Writing) -> Compared:
    """Rows that decide compared with the log; what differs counts from now on as the log says, is alarmed and logged."""
    found = await asyncio.to_thread(running.comparison.run)
    await integrity.record(running.refusals, running.exchange)
    if found.rows:
        await reload_bundles(running.keys, running.exchange)
    return found


async def tell_refused(running: Writing) -> None:
    """Log the rows that readers refused; whoever changed one may have put back or taken out others: compare at once."""
    if await integrity.record(running.refusals, running.exchange):
        await compare_rows(running)
