"""The worker: finds what is due and gives each piece to its flow. Drives, decides nothing.

Candidates and owed items -> a bounded number of attempts at once, four a partner -> the flows. Polling is the truth; `wake`
only makes it sooner. `guarded` is where a fault in one step is kept from ending everything; what failed is left alone for a
while, so that a fault that stays is no busy loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from gateway import delivery, owed, partner_keys
from gateway.ports import Exchange

PER_PARTNER = 4  # log.md B3
AT_ONCE = 20
POLL = 1.0  # seconds
ROUND_EVERY = timedelta(seconds=30)  # expiry, and partners whose keys were not asked for since yesterday
REFRESH_AFTER = timedelta(days=1)  # envelope section 5: bundles are refreshed daily
FIRST_PAUSE = timedelta(seconds=5)  # after a fault of ours, doubling
LONGEST_PAUSE = timedelta(minutes=5)

log = structlog.get_logger("safehand.worker")

Step = Callable[[], Awaitable[object]]


async def guarded(what: str, step: Step) -> bool:
    """Run one step of a driver; False where it failed, which is logged by its type alone and ends nothing."""
    try:
        await step()
    except Exception as error:  # noqa: BLE001 - one step must not end the driver
        log.error("step-failed", step=what, error=type(error).__name__)  # noqa: TRY400 - a traceback can hold values
        return False
    return True


class Worker:
    """Owns the attempts under way; `run` returns when `stop` was called and they have ended."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._wake = asyncio.Event()
        self._stopping = False
        self._busy: set[str] = set()
        self._load: Counter[str] = Counter()
        self._pauses: dict[str, tuple[timedelta, datetime]] = {}

    def wake(self) -> None:
        """Look at once: something was queued, arrived or changed."""
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing more; attempts under way go on."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Look, start what there is room for, wait; until stopped."""
        next_round = self._exchange.clock()
        async with asyncio.TaskGroup() as attempts:
            while not self._stopping:
                self._wake.clear()
                now = self._exchange.clock()
                if now >= next_round:
                    next_round = now + ROUND_EVERY
                    await guarded("expiry", self._expire)
                    await guarded("refresh", lambda: self._start_refreshes(attempts))
                await guarded("look", lambda: self._start_due(attempts))
                try:
                    async with asyncio.timeout(POLL):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _start_due(self, attempts: asyncio.TaskGroup) -> None:
        if len(self._busy) >= AT_ONCE:
            return
        exchange, now = self._exchange, self._exchange.clock()
        for candidate in await exchange.outbox.due(now, AT_ONCE * 2):
            name = f"message:{candidate.message_id}"
            self._start(attempts, name, candidate.partner, _bound(delivery.hand_over, candidate, exchange))
        for item in await exchange.outbox.owed(now, AT_ONCE * 2):
            self._start(attempts, f"owed:{item.id}", item.partner, _bound(owed.send, item, exchange))

    async def _start_refreshes(self, attempts: asyncio.TaskGroup) -> None:
        now = self._exchange.clock()
        for partner in await self._exchange.partners.all():
            if now.timestamp() - partner.fetched_at >= REFRESH_AFTER.total_seconds():
                step = _bound(partner_keys.refresh, partner, now, self._exchange)
                self._start(attempts, f"bundles:{partner.org}", partner.org, step)

    def _start(self, attempts: asyncio.TaskGroup, name: str, partner: str, step: Step) -> None:
        if name in self._busy or len(self._busy) >= AT_ONCE or self._load[partner] >= PER_PARTNER:
            return
        if name in self._pauses and self._exchange.clock() < self._pauses[name][1]:
            return
        self._busy.add(name)
        self._load[partner] += 1
        attempts.create_task(self._run_one(name, partner, step), name=name)

    async def _run_one(self, name: str, partner: str, step: Step) -> None:
        try:
            if await guarded("attempt", step):
                self._pauses.pop(name, None)
                self._wake.set()
            else:
                self._pause(name)
        finally:
            self._busy.discard(name)
            self._load[partner] -= 1

    def _pause(self, name: str) -> None:
        last = self._pauses.get(name)
        pause = FIRST_PAUSE if last is None else min(last[0] * 2, LONGEST_PAUSE)
        self._pauses[name] = (pause, self._exchange.clock() + pause)

    async def _expire(self) -> None:
        now = self._exchange.clock()
        for message_id in await self._exchange.outbox.expiring(now, 100):
            await guarded("expire", _bound(delivery.expire, message_id, now, self._exchange))


def _bound(flow: Callable[..., Awaitable[object]], *given: object) -> Step:
    """A flow with its arguments, to be run later."""
    return lambda: flow(*given)
