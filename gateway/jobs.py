"""Jobs: what a running gateway does by the clock, each at the start and then every so often. Drives, decides nothing.

A job MUST be safe to repeat: what has been done is read from the store, not remembered here. A fault in one is logged by
its type and ends nothing; the job runs again when its time comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.worker import guarded

LOOK: Final = 1.0  # seconds between two looks at the clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One thing to do, `after` the start (at once) and then `every` so often. `name` is a code, for the log of a failure."""

    name: str
    every: timedelta
    run: Callable[[], Awaitable[object]]
    after: timedelta = timedelta(0)


class Jobs:
    """Owns the tasks of its jobs; `run` goes on until it is cancelled. A job never overlaps itself.

    `clock` is asked for waits alone, and is best one that nobody can set: a wall clock put back would stop every job.
    """

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._due = {job: clock() + job.after for job in jobs}
        self._busy: set[Job] = set()

    async def run(self) -> None:
        """Start every job whose time has come, look again a moment later."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                now = self._clock()
                for job, at in self._due.items():
                    if at <= now and job not in self._busy:
                        self._due[job] = now + job.every
                        self._busy.add(job)
                        tasks.create_task(self._run_one(job), name=f"job:{job.name}")
                await asyncio.sleep(LOOK)

    async def _run_one(self, job: Job) -> None:
        try:
            await guarded(job.name, job.run)
        finally:
            self._busy.discard(job)
