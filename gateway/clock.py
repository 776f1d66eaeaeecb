"""A wall clock that steps: found by holding it against the monotonic clock, and told to the exchange log.

Instants in the log are the wall clock's word, so a log in which that clock was moved must say so itself. A clock that is
slewed, as time services do, moves too little between two looks to count. Reads no clock of its own: both are handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from gateway import entries
from gateway.core import commands
from gateway.ports import Exchange

STEP: Final = timedelta(seconds=2)  # log A3: what is more than this is an entry


class ClockWatch:
    """Remembers where both clocks stood at the last look. `steady` answers seconds that nobody can set."""

    def __init__(self, now: datetime, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._wall, self._ticks = now, steady()

    def look(self, now: datetime) -> timedelta:
        """Return by how much the wall clock moved more (or less) than time passed since the last look."""
        ticks = self._steady()
        step = (now - self._wall) - timedelta(seconds=ticks - self._ticks)
        self._wall, self._ticks = now, ticks
        return step


async def watch(clock: ClockWatch, exchange: Exchange) -> None:
    """One look; a step of more than two seconds, either way -> alarm and 'clock-step' entry."""
    now = exchange.clock()
    step = clock.look(now)
    if abs(step) <= STEP:
        return
    direction = "forward" if step > timedelta(0) else "backward"
    exchange.alarm("clock-step", {"outcome": direction, "cause": f"{round(abs(step).total_seconds())} s"})
    what = entries.Circumstance(outcome=direction)
    await exchange.store.write(commands.Record(entry=entries.about_own(exchange.journal, "clock-step", now, what)))
