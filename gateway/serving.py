"""The running gateway: listeners, worker, jobs and the log's signer, opened in one order and closed in reverse.

Drives only: what an exchange is made of is `app`'s, what is served is `web`'s, what is decided is the flows'.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import msgspec
import structlog

from gateway import (
    auditing,
    backups,
    destruction,
    duties,
    expiries,
    integrity,
    receipt_proofs,
    returning,
    statements,
    tokens,
    witnessed,
)
from gateway.app import (
    NotReadyError,
    Running,
    Writing,
    now_utc,
    open_exchange,
    open_targets,
    reload_bundles,
    steady,
    steady_clock,
    tell_alarm,
)
from gateway.clock import ClockWatch, watch
from gateway.config import Settings, is_loopback
from gateway.core.commands import ReleaseLeases
from gateway.core.errors import BusyError, LogInconsistentError, SafehandError
from gateway.core.message import CLOCK_SKEW
from gateway.expiries import Told
from gateway.home import Home, HomeError
from gateway.jobs import Job, Jobs
from gateway.meters import MeteredStore, Meters
from gateway.ports import Exchange
from gateway.sight import Sight
from gateway.store.comparison import Compared
from gateway.store.migrations import head
from gateway.store.opening import FLOOR
from gateway.vitals import Vitals
from gateway.watch import configure_logging
from gateway.web.admin import admin_app
from gateway.web.api.app import api_app, api_runner
from gateway.web.exchange import exchange_app, exchange_runner
from gateway.web.listening import Runner
from gateway.web.metrics import metrics_app
from gateway.web.observing import observed
from gateway.web.tls import server_context
from gateway.webhooks import Webhooks
from gateway.worker import Worker, guarded
from keys.errors import KeystoreError

COMPARE_EVERY: Final = timedelta(days=1)  # rows that decide with the log (log.md A6); at the start besides
VERIFY_EVERY: Final = timedelta(days=1)  # the whole log, old entries included, which the signer does not read again
VERIFY_FIRST: Final = timedelta(hours=1)
FAULTS_TOLD: Final = 10
TELL_EVERY: Final = timedelta(seconds=5)  # how long a refused row waits for its entry
LOOK_AT_CLOCK: Final = timedelta(seconds=5)
LOOK_AT_KEYS_EVERY: Final = timedelta(hours=1)  # between two looks at what ends, and at what is to be destroyed
STATE_EVERY: Final = timedelta(minutes=10)  # between two looks whether a daily statement is due
SIGN_EVERY: Final = timedelta(seconds=2)  # between two looks of the log signer (log.md A4: 1 to 5 s)
RETURN_EVERY: Final = timedelta(minutes=1)
RESTORED: Final = "the log may be behind what partners and witnesses hold: docs/operators.md, disaster recovery"
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

    meters = Meters()
    with home.locked():
        async with open_exchange(home, fatal, meters.alarmed(tell_alarm)) as opened:
            store = MeteredStore(opened.exchange.store, meters)
            running = replace(opened, exchange=replace(opened.exchange, store=store))
            found = await compare_rows(running)  # before anything is served: a row put back must not be used once
            if found.log:
                raise _unreadable(found)
            missing = running.keys.ring().missing(int(now_utc().timestamp()))
            if missing:
                roles = ", ".join(role.value for role in missing)
                why = await _behind(running.exchange) or "safehand keys request, root sign, keys publish"
                raise NotReadyError(f"no active key for {roles}: {why}")
            if running.keys.ring().log(int(now_utc().timestamp())).origin != running.settings.log_origin:
                raise NotReadyError("no active key for this epoch of the log: keys request, root sign, keys publish")
            # Whoever was killed here held leases that nobody else will end: this process alone has the home.
            await running.exchange.store.write(ReleaseLeases(tokens=None, now=now_utc()))
            await witnessed.check_at_start(running.exchange)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            await _run(home, running, meters, stop, ready, fatal)
    if failures and isinstance(failures[0], LogInconsistentError):
        raise failures[0]
    if failures:
        raise SafehandError("the writer stopped because the outcome of a commit is unknown: start again") from failures[
            0
        ]


async def _behind(exchange: Exchange) -> str | None:
    """What to do first where the clock is behind the newest entry of the log: then keys only seem not to be in force."""
    now = exchange.clock()
    behind = (await exchange.overview.standing(now)).log_at - int(now.timestamp())
    if behind <= CLOCK_SKEW:
        return None
    return f"the clock is {timedelta(seconds=behind)} behind the newest entry of the log: set it, keep it by NTP, start again"


def _use_all_descriptors() -> None:
    """Raise the soft limit of open files to the hard one: connections of strangers must not use up the database's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(
    home: Home,
    running: Writing,
    meters: Meters,
    stop: asyncio.Event,
    ready: Callable[[Settings], None],
    fatal: Callable[[BaseException], None],
) -> None:
    exchange, settings = running.exchange, running.settings
    vitals = _vitals(home, running, meters)
    worker = Worker(exchange)
    running.waker.append(worker.wake)

    async def published() -> None:
        await reload_bundles(running.keys, exchange)

    await _say_restored(home, exchange)  # before the API: a token that was revoked after the backup must open nothing
    async with (
        open_targets(home, settings) as targets,
        contextlib.AsyncExitStack() as watched,  # left last: how a gateway stops can be watched too
        contextlib.AsyncExitStack() as listeners,
        asyncio.TaskGroup() as tasks,
    ):
        await _listen(listeners, home, settings, exchange, meters)
        await _listen_metrics(watched, running, meters, vitals)
        await _listen_api(listeners, home, settings, exchange, meters)
        await _listen_admin(listeners, home, exchange, published, meters)
        await _come_back(home, exchange, vitals, stop)  # before the worker: suspended since the backup, nothing is sent
        webhooks = Webhooks(targets, exchange)
        running.waker.append(webhooks.wake)
        vitals.webhooks = webhooks.waiting_since
        working = tasks.create_task(worker.run(), name="worker")
        posting = tasks.create_task(webhooks.run(), name="webhooks")
        clockwork = tasks.create_task(_jobs(home, running, vitals, fatal).run(), name="jobs")
        ready(settings)
        log.info("serving", org=settings.org)
        await stop.wait()
        vitals.stopping = True  # not ready, to whoever asks
        worker.stop()  # claim nothing more
        webhooks.stop()
        closing = tasks.create_task(listeners.aclose(), name="closing")  # accept nothing more; answer what is under way
        _, late = await asyncio.wait({working, posting, closing}, timeout=STOP_WITHIN)
        for task in (*late, clockwork):
            task.cancel()
    await guarded("last-checkpoint", exchange.sign_log)
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


async def _listen_api(
    stack: contextlib.AsyncExitStack, home: Home, settings: Settings, exchange: Exchange, meters: Meters
) -> None:
    """The API of case systems, where one is configured: TLS with the gateway's certificate, plain on loopback alone."""
    api = settings.api
    if api is None:
        return
    runner = api_runner(observed(api_app(exchange, api), "api", meters))
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
    )


def _jobs(home: Home, running: Writing, vitals: Vitals, fatal: Callable[[BaseException], None]) -> Jobs:
    """Everything done by the clock. Where nobody can say any more which rows stand the process stops, as it would not start."""
    exchange = running.exchange
    walls = ClockWatch(exchange.clock(), steady)

    async def look_at_log() -> None:
        await vitals.look_at_log(exchange.sign_log)

    def judge(found: Compared | None) -> None:
        if found is not None and found.log:
            fatal(_unreadable(found))

    async def compare() -> None:
        judge(await compare_rows(running))

    async def tell() -> None:
        judge(await tell_refused(running))

    return Jobs(
        (
            Job(name="checkpoint", every=SIGN_EVERY, run=look_at_log),
            Job(name="refused-rows", every=TELL_EVERY, run=tell),
            Job(name="rows", every=COMPARE_EVERY, after=COMPARE_EVERY, run=compare),
            Job(name="clock", every=LOOK_AT_CLOCK, run=lambda: watch(walls, exchange)),
            Job(name="verify", every=VERIFY_EVERY, after=VERIFY_FIRST, run=lambda: verify_whole(home, exchange)),
            *_key_jobs(home, running, vitals),
            *_return_jobs(home, running.exchange),
            Job(name="witnesses", every=WITNESS_EVERY, run=witnessed.Rounds(exchange).round),
            Job(name="receipt-proofs", every=PROVE_EVERY, run=receipt_proofs.Rounds(exchange).round),
            Job(name="destruction-receipts", every=duties.TELL_EVERY, run=lambda: duties.send_receipts(exchange)),
            Job(name="reminders", every=duties.LOOK_EVERY, run=lambda: duties.remind(exchange)),
            Job(name="statements", every=STATE_EVERY, run=lambda: statements.state_all(exchange)),
        ),
        steady_clock,
    )


async def compare_rows(running: Writing) -> Compared:
    """Rows that decide compared with the log; what differs counts from now on as the log says, is alarmed and logged.
    So is a trigger that is not as it was made, which stops nothing."""
    await asyncio.to_thread(running.triggers.run)
    found = await asyncio.to_thread(running.comparison.run)
    await integrity.record(running.refusals, running.exchange)
    if found.rows:
        await reload_bundles(running.keys, running.exchange)
    return found


async def verify_whole(home: Home, exchange: Exchange) -> None:
    """The whole log held to itself, as `log verify` does: an entry altered long after it was signed is told by its index.
    That rows of messages are not as their entries say is logged too: what was accepted is not lost in silence."""
    report = await auditing.verify_log(home)
    for problem in report.problems[:FAULTS_TOLD]:
        told = {"row": f"{problem.index}", "kind": problem.column, "rule": problem.rule}
        exchange.alarm("log-altered", {**told, "count": str(len(report.problems))})
    await integrity.record(auditing.altered(report), exchange)


async def tell_refused(running: Writing) -> Compared | None:
    """Log the rows that readers refused; whoever changed one may have put back or taken out others: compare at once.
    Answers what that found, None where nothing waited."""
    if await integrity.record(running.refusals, running.exchange):
        return await compare_rows(running)
    return None


def _unreadable(found: Compared) -> LogInconsistentError:
    first = found.log[0]
    return LogInconsistentError(f"nobody can say which rows stand: entry {first.index}: {first.rule}")


def _key_jobs(home: Home, running: Running, vitals: Vitals) -> tuple[Job, ...]:
    """What ends soon is told; KEM seeds whose day has come are destroyed."""
    exchange, settings, told = running.exchange, running.settings, Told()

    async def tell_expiries() -> None:
        ends_at = await asyncio.to_thread(vitals.certificate_ends)
        certificate = (home.path / settings.tls_certificate).name
        await expiries.tell(told, () if ends_at is None else ((certificate, ends_at),), exchange)

    return (
        Job(name="expiries", every=LOOK_AT_KEYS_EVERY, run=tell_expiries),
        Job(name="destroy-seeds", every=LOOK_AT_KEYS_EVERY, run=lambda: destroy_seeds(exchange)),
    )


def _return_jobs(home: Home, exchange: Exchange) -> tuple[Job, ...]:
    """Partners that did not answer when a restored gateway started are asked again."""
    if backups.read_mark(home) is None:
        return ()
    return (Job(name="return", every=RETURN_EVERY, run=lambda: _return(home, exchange)),)


async def _say_restored(home: Home, exchange: Exchange) -> None:
    """In a home that was made of a backup: say so in the log, once, and end every token, whichever were revoked since."""
    mark = backups.read_mark(home)
    if mark is not None and not mark.logged:
        await returning.say_so(exchange)  # logged twice, rather than never, where it is cut off here
        await tokens.revoke_all(exchange, outcome=returning.FROM_BACKUP)
        backups.write_mark(home, msgspec.structs.replace(mark, logged=True))


async def _come_back(home: Home, exchange: Exchange, vitals: Vitals, stop: asyncio.Event) -> None:
    """One look at the log, so that who watches is not told for long that it is unverified; then `_return`, once."""
    await guarded("checkpoint", lambda: vitals.look_at_log(exchange.sign_log))
    await _unless(stop, lambda: guarded("return", lambda: _return(home, exchange)))


async def _unless(stop: asyncio.Event, step: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Run one step; it is given up at once where a stop is asked for."""
    async with asyncio.TaskGroup() as tasks:
        doing = tasks.create_task(step(), name="step")
        stopping = tasks.create_task(stop.wait(), name="stopping")
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        doing.cancel()
        stopping.cancel()


async def _return(home: Home, exchange: Exchange) -> None:
    """In a home that was made of a backup: ask partners until each has answered."""
    mark = backups.read_mark(home)
    if mark is None:
        return
    exchange.tell("restored", "", {"size": str(mark.size), "rule": RESTORED}, exchange.clock())
    if not await returning.catch_up(exchange):
        backups.remove_mark(home)
        exchange.wake()


async def destroy_seeds(exchange: Exchange) -> None:
    """Destroy what is due; where the keystore cannot be written a person must, and it is tried again."""
    try:
        await destruction.destroy_closed(exchange)
    except (HomeError, KeystoreError, BusyError) as error:
        exchange.alarm("seeds-not-destroyed", {"code": error.code, "cause": str(error)})
