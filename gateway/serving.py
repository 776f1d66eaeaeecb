"""The running gateway: listeners, worker, jobs and the log's signer, opened in one order and closed in reverse.

Drives only: what an exchange is made of is `app`'s, what is served is `web`'s, what is decided is the flows'.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import structlog
from aiohttp import web

from gateway import receipt_proofs, statements, witnessed
from gateway.app import NotReadyError, Running, now_utc, open_exchange, reload_bundles
from gateway.config import Settings
from gateway.core.commands import ReleaseLeases
from gateway.core.errors import SafehandError
from gateway.home import Home
from gateway.jobs import Job, Jobs
from gateway.ports import Exchange
from gateway.watch import configure_logging
from gateway.web.admin import admin_app
from gateway.web.exchange import exchange_app, exchange_runner
from gateway.web.tls import server_context
from gateway.worker import Worker, guarded

STATE_EVERY: Final = timedelta(minutes=10)  # between two looks whether a daily statement is due
SIGN_EVERY: Final = timedelta(seconds=2)  # between two looks of the log signer (log.md A4: 1 to 5 s)
WITNESS_EVERY: Final = timedelta(seconds=20)  # the newest checkpoint to the witnesses (log.md A4: 60 s at most)
PROVE_EVERY: Final = timedelta(seconds=30)
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
            missing = running.keys.ring().missing(int(now_utc().timestamp()))
            if missing:
                roles = ", ".join(role.value for role in missing)
                raise NotReadyError(f"no active key for {roles}: safehand keys request, root sign, keys publish")
            if running.keys.ring().log(int(now_utc().timestamp())).origin != running.settings.log_origin:
                raise NotReadyError("no active key for this epoch of the log: keys request, root sign, keys publish")
            # Whoever was killed here held leases that nobody else will end: this process alone has the home.
            await running.exchange.store.write(ReleaseLeases(tokens=None, now=now_utc()))
            await witnessed.check_at_start(running.exchange)
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

    async def published() -> None:
        await reload_bundles(running.keys, exchange)

    async with contextlib.AsyncExitStack() as listeners, asyncio.TaskGroup() as tasks:
        await _listen(listeners, home, settings, exchange)
        await _listen_admin(listeners, home, exchange, published)
        working = tasks.create_task(worker.run(), name="worker")
        clockwork = tasks.create_task(_jobs(running).run(), name="jobs")
        ready(settings)
        log.info("serving", org=settings.org)
        await stop.wait()
        worker.stop()  # claim nothing more
        closing = tasks.create_task(listeners.aclose(), name="closing")  # accept nothing more; answer what is under way
        _, late = await asyncio.wait({working, closing}, timeout=STOP_WITHIN)
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


def _jobs(running: Running) -> Jobs:
    """Everything done by the clock."""
    exchange = running.exchange
    return Jobs(
        (
            Job(name="checkpoint", every=SIGN_EVERY, run=exchange.sign_log),
            Job(name="witnesses", every=WITNESS_EVERY, run=witnessed.Rounds(exchange).round),
            Job(name="receipt-proofs", every=PROVE_EVERY, run=lambda: receipt_proofs.fetch_round(exchange)),
            Job(name="statements", every=STATE_EVERY, run=lambda: statements.state_all(exchange)),
        ),
        exchange.clock,
    )
