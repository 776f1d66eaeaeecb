"""Taking turns between partners."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.lifecycle import State
from gateway.store.lanes import DELIVERY_STATE, in_turn

queues = st.lists(st.lists(st.integers(), max_size=5), max_size=5)


def test_a_long_queue_keeps_no_short_one_waiting() -> None:
    assert in_turn([[1, 2, 3, 4], [5], [6, 7]], 4) == [1, 5, 6, 2]


@given(queues)
def test_everything_is_taken_once(queues: list[list[int]]) -> None:
    taken = in_turn(queues, 1_000)
    assert sorted(taken) == sorted(item for queue in queues for item in queue)


@given(queues, st.integers(0, 10))
def test_no_queue_is_two_ahead_of_another_that_still_waits(queues: list[list[int]], limit: int) -> None:
    marked = [[(number, item) for item in queue] for number, queue in enumerate(queues)]
    taken = [number for number, _ in in_turn(marked, limit)]
    counts = [taken.count(number) for number in range(len(queues))]
    waiting = [count for count, queue in zip(counts, queues, strict=True) if count < len(queue)]
    assert all(max(counts) - count <= 1 for count in waiting)


def test_every_state_of_a_message_has_its_state_of_delivery() -> None:
    assert set(DELIVERY_STATE) == set(State)
