"""Looking at the exchange for whoever watches it, and not too often. Drives readings, judges nothing.

A look counts every message, so it costs as much as there are messages: the next one waits for ten times as long as the
last took, and whoever asks meanwhile is given that one. A database that does not answer in time is no condition (None).
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway import condition
from gateway.condition import Condition
from gateway.meters import Meters
from gateway.ports import Exchange
from gateway.worker import guarded

FRESH: Final = 1.0  # seconds in which nobody looks again
_SHARE: Final = 10  # a look takes at most one part of the time in so many
_PATIENCE: Final = 10.0  # seconds
_PAGE: Final = 1_000  # entries counted at once


class Sight:
    """The newest look at one exchange; the log's entries are counted from the first look on."""

    def __init__(self, exchange: Exchange, meters: Meters) -> None:
        self._exchange = exchange
        self._meters = meters
        self._lock = asyncio.Lock()
        self._newest: Condition | None = None
        self._again_at = 0.0
        self._counted: int | None = None

    async def look(self) -> Condition | None:
        """Return the condition as it was at most a moment ago; None where it cannot be had."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            began = loop.time()
            if began < self._again_at:
                return self._newest
            if not await guarded("look", self._look):
                self._newest = None
            self._again_at = loop.time() + max(FRESH, _SHARE * (loop.time() - began))
            return self._newest

    async def _look(self) -> None:
        async with asyncio.timeout(_PATIENCE):
            self._newest = await condition.read(self._exchange)
            await self._count(self._newest.log_size)

    async def _count(self, size: int) -> None:
        if self._counted is None:
            self._counted = size
        while self._counted < size:
            found = await self._exchange.overview.noted(self._counted, _PAGE)
            if not found:
                break
            self._meters.noted(found)
            self._counted = found[-1].index + 1
