"""The worker: finds what is due and gives each piece to its flow. Drives, decides nothing.

Candidates and owed items -> a bounded number of attempts at once, four a partner -> `gateway.delivery`. Polling is the truth;
`wake` only makes it sooner. One of the two places where `except Exception` stands: an attempt must not end the worker.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from gateway import delivery, partner_keys
from gateway.ports import Exchange

PER_PARTNER = 4  # log.md B3
AT_ONCE = 20
POLL = 1.0  # seconds
ROUND_EVERY = timedelta(seconds=30)  # expiry, and partners whose keys were not asked for since yesterday
REFRESH_AFTER = timedelta(days=1)  # envelope section 5: bundles are refreshed daily

log = structlog.get_logger("safehand.worker")


class Worker:
    """Owns the attempts under way; `run` returns when `stop` was called and they have ended."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._wake = asyncio.Event()
        self._stopping = False
        self._busy: set[str] = set()
        self._load: Counter[str] = Counter()

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
                    await self._guard("expiry", self._expire)
                    await self._guard("refresh", lambda: self._start_refreshes(attempts))
                await self._guard("look", lambda: self._start_due(attempts))
                try:
                    async with asyncio.timeout(POLL):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _start_due(self, attempts: asyncio.TaskGroup) -> None:
        room = AT_ONCE - len(self._busy)
        if room <= 0:
            return
        now = self._exchange.clock()
        for candidate in await self._exchange.outbox.due(now, AT_ONCE * 2):
            self._start(
                attempts,
                f"message:{candidate.message_id}",
                candidate.partner,
                lambda c=candidate: delivery.hand_over(c, self._exchange),  # type: ignore[misc]
            )
        for item in await self._exchange.outbox.owed(now, AT_ONCE * 2):
            self._start(
                attempts,
                f"owed:{item.id}",
                item.partner,
                lambda i=item: delivery.send_owed(i, self._exchange),  # type: ignore[misc]
            )

    def _start(
        self, attempts: asyncio.TaskGroup, name: str, partner: str, attempt: Callable[[], Awaitable[object]]
    ) -> None:
        if name in self._busy or len(self._busy) >= AT_ONCE or self._load[partner] >= PER_PARTNER:
            return
        self._busy.add(name)
        self._load[partner] += 1
        attempts.create_task(self._run_one(name, partner, attempt), name=name)

    async def _run_one(self, name: str, partner: str, attempt: Callable[[], Awaitable[object]]) -> None:
        try:
            await self._guard("attempt", attempt)
        finally:
            self._busy.discard(name)
            self._load[partner] -= 1
            self._wake.set()

    async def _start_refreshes(self, attempts: asyncio.TaskGroup) -> None:
        now = self._exchange.clock()
        for partner in await self._exchange.partners.all():
            if now.timestamp() - partner.fetched_at >= REFRESH_AFTER.total_seconds():
                self._start(
                    attempts,
                    f"bundles:{partner.org}",
                    partner.org,
                    lambda p=partner: partner_keys.refresh(p, now, self._exchange),  # type: ignore[misc]
                )

    async def _expire(self) -> None:
        now = self._exchange.clock()
        for message_id in await self._exchange.outbox.expiring(now, 100):
            await delivery.expire(message_id, now, self._exchange)

    async def _guard(self, what: str, step: Callable[[], Awaitable[object]]) -> None:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - one attempt must not end the worker; the type alone is logged
            log.error(  # noqa: TRY400 - a traceback can hold values
                "worker-step-failed", step=what, error=type(error).__name__
            )
