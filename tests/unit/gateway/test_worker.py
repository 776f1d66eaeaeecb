"""The worker: what is due is started, what fails is left alone for a while, and a stop ends it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gateway.core.lifecycle import State
from gateway.worker import FIRST_PAUSE, Worker, guarded
from tests.support.exchange import Town, make_town_in_force
from tests.support.messages import B, submission


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


async def settle(worker: Worker, rounds: int) -> None:
    """Let the worker go round so many times, each time woken at once."""
    for _ in range(rounds):
        worker.wake()
        for _ in range(20):
            await asyncio.sleep(0)


async def test_what_is_due_is_delivered(town: Town) -> None:
    await submission(town.a.exchange)
    worker = Worker(town.a.exchange)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        await settle(worker, 5)
        worker.stop()
    (sent,) = town.a.memory.sent.values()
    assert sent.state is State.DELIVERED


async def test_attempt_that_cannot_succeed_is_no_busy_loop(town: Town) -> None:
    """A partner's row that fails its mac counts as absent: nothing to do, and no reason to try two hundred times a second."""
    await submission(town.a.exchange)
    row = town.a.memory.partner_rows.pop(B)
    looked: list[str] = []
    exchange = town.a.exchange
    get = type(exchange.partners).get

    async def counted(self: object, org: str) -> object:
        looked.append(org)
        return await get(self, org)  # type: ignore[arg-type]

    worker = Worker(exchange)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(exchange.partners), "get", counted)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run())
            await settle(worker, 10)
            first = len(looked)
            town.a.memory.partner_rows[B] = row
            town.clock.now += FIRST_PAUSE + timedelta(seconds=1)
            await settle(worker, 10)
            worker.stop()
    assert first == 1
    (sent,) = town.a.memory.sent.values()
    assert sent.state is State.DELIVERED


async def test_step_that_fails_is_reported_and_ends_nothing() -> None:
    async def broken() -> None:
        raise RuntimeError("with a value in it")

    async def fine() -> None:
        return

    assert (await guarded("one", broken), await guarded("two", fine)) == (False, True)
