"""How often somebody may ask: a token bucket for each, in memory. Pure: the time is handed in.

A restart forgets it; it guards against a client that runs wild, and slows down who tries tokens. It is no count of anything.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from math import ceil
from typing import Final

REMEMBERED: Final = 10_000  # callers; beyond, the one that asked longest ago is forgotten


class Rates:
    """`burst` at once, and from then on `per_minute`."""

    def __init__(self, *, per_minute: int, burst: int) -> None:
        self._per_second = per_minute / 60
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, datetime]] = OrderedDict()

    def wait(self, who: str, now: datetime) -> int:
        """Return 0 where `who` may ask now, else the whole seconds until then; nothing is counted."""
        left = self._now(who, now)
        return 0 if left >= 1 else max(1, ceil((1 - left) / self._per_second))

    def count(self, who: str, now: datetime) -> None:
        """Count one request of `who`."""
        self._left[who] = (self._now(who, now) - 1, now)
        self._left.move_to_end(who)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)

    def _now(self, who: str, now: datetime) -> float:
        left, at = self._left.get(who, (float(self._burst), now))
        passed = max(0.0, (now - at).total_seconds())  # a clock set back gives nothing and takes nothing
        return min(float(self._burst), left + passed * self._per_second)
