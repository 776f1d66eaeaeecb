"""What is done by the clock: at the start, then every so often; a fault ends nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gateway import jobs
from gateway.jobs import Job, Jobs

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


async def _run(clock: Clock, *all_jobs: Job, turns: int = 1, step: timedelta = timedelta(0)) -> None:
    running = asyncio.create_task(Jobs(all_jobs, clock).run())  # noqa: TID251 - ended below
    for _ in range(turns):
        for _ in range(20):
            await asyncio.sleep(0)
        clock.now += step
        await asyncio.sleep(0.005)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LOOK", 0.001)


async def test_a_job_runs_at_the_start_and_again_when_its_time_has_come() -> None:
    clock, ran = Clock(), []

    async def note() -> None:
        ran.append(clock.now)

    await _run(clock, Job(name="note", every=timedelta(hours=1), run=note), turns=5, step=timedelta(minutes=31))
    assert ran[0] == START
    assert [at - START for at in ran[1:]] == [timedelta(minutes=62), timedelta(minutes=124)]


async def test_a_fault_in_one_job_ends_neither_it_nor_another() -> None:
    clock, ran = Clock(), []

    async def fail() -> None:
        ran.append("fail")
        raise RuntimeError("invented")

    async def note() -> None:
        ran.append("note")

    hourly = timedelta(hours=1)
    await _run(
        clock, Job(name="fail", every=hourly, run=fail), Job(name="note", every=hourly, run=note), turns=3, step=hourly
    )
    assert ran.count("fail") >= 2
    assert ran.count("note") >= 2


async def test_a_job_never_overlaps_itself() -> None:
    clock, started = Clock(), []

    async def hang() -> None:
        started.append(clock.now)
        await asyncio.Event().wait()

    await _run(clock, Job(name="hang", every=timedelta(seconds=1), run=hang), turns=3, step=timedelta(hours=1))
    assert len(started) == 1


async def test_a_job_may_run_first_some_time_after_the_start() -> None:
    clock, ran = Clock(), []

    async def note() -> None:
        ran.append(clock.now)

    day = timedelta(days=1)
    await _run(clock, Job(name="note", every=day, after=day, run=note), turns=5, step=timedelta(hours=9))
    assert [at - START for at in ran] == [timedelta(hours=27)]
