"""A wall clock that steps is an entry; one that runs a little fast or slow is not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.clock import ClockWatch, watch
from gateway.tlog.entry import parse
from tests.support.exchange import Gateway, make_town


class Walls:
    """A gateway, and a monotonic clock that a test moves apart from its wall clock."""

    def __init__(self) -> None:
        self.gateway: Gateway = make_town().a
        self.ticks = 100.0
        self.watch = ClockWatch(self.gateway.clock(), lambda: self.ticks)

    async def look(self, *, passed: float, moved: float) -> list[str]:
        """Seconds pass, the wall clock moves by others; answer what the log says of it so far."""
        self.ticks += passed
        self.gateway.clock.now += timedelta(seconds=moved)
        await watch(self.watch, self.gateway.exchange)
        logged = [parse(entry.data) for entry in self.gateway.memory.log if entry.kind == "clock-step"]
        return [str(entry.outcome) for entry in logged]


@pytest.fixture
def walls() -> Walls:
    return Walls()


@pytest.mark.parametrize("moved", [5, 3.001, 6.999, 7, 3])
async def test_clock_that_drifts_or_is_slewed_is_no_step(walls: Walls, moved: float) -> None:
    assert await walls.look(passed=5, moved=moved) == []
    assert walls.gateway.alarms == []


@pytest.mark.parametrize(
    ("moved", "outcome"), [(7.001, "forward"), (86_405, "forward"), (2.999, "backward"), (-3_600, "backward")]
)
async def test_clock_that_steps_is_alarmed_and_logged(walls: Walls, moved: float, outcome: str) -> None:
    assert await walls.look(passed=5, moved=moved) == [outcome]
    assert walls.gateway.alarms == ["clock-step"]


async def test_step_is_told_once_and_the_next_by_itself(walls: Walls) -> None:
    await walls.look(passed=5, moved=3_605)
    assert await walls.look(passed=5, moved=5) == ["forward"]
    assert await walls.look(passed=5, moved=-3_595) == ["forward", "backward"]


async def test_small_drifts_do_not_add_up_to_a_step(walls: Walls) -> None:
    for _ in range(10):
        assert await walls.look(passed=5, moved=6) == []
