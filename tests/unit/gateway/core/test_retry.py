"""What follows a failed attempt: waits, the hold, the dead letter, expiry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.retry import DeadLetter, Expire, Failure, HoldLane, RetryAt, after_failure, repeated_refusal, wait

NOW = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
JUST = timedelta(microseconds=1)

jitters = st.floats(0, 1, exclude_max=True)
statuses = st.lists(st.one_of(st.none(), st.integers(200, 599)), max_size=5).map(tuple)


def make_failure(
    attempts: int = 1,
    first: datetime = NOW,
    statuses: tuple[int | None, ...] = (None,),
    retry_after: timedelta | None = None,
) -> Failure:
    return Failure(attempts=attempts, first_attempt_at=first, statuses=statuses, retry_after=retry_after)


@pytest.mark.parametrize(
    ("attempts", "longest"),
    [(1, 10), (2, 20), (3, 40), (10, 5120), (12, 20480), (13, 21600), (14, 21600), (1_000_000, 21600)],
)
def test_waits_are_spread_from_5_seconds_to_a_ceiling_that_doubles_up_to_6_hours(attempts: int, longest: int) -> None:
    assert wait(attempts, None, 0.0) == timedelta(seconds=5)
    assert wait(attempts, None, 0.5) == timedelta(seconds=(5 + longest) / 2)
    assert timedelta(seconds=longest - 1) < wait(attempts, None, 0.9999999) <= timedelta(seconds=longest)


@given(st.integers(1, 10_000), jitters, st.none() | st.timedeltas(timedelta(0), timedelta(days=400)))
def test_no_wait_is_shorter_than_5_seconds_or_longer_than_6_hours(
    attempts: int, jitter: float, retry_after: timedelta | None
) -> None:
    assert timedelta(seconds=5) <= wait(attempts, retry_after, jitter) <= timedelta(hours=6)


def test_the_partners_retry_after_is_honoured_up_to_6_hours() -> None:
    assert wait(1, timedelta(minutes=10), 0.0) == timedelta(minutes=10)
    assert wait(1, timedelta(days=10), 0.0) == timedelta(hours=6)
    assert wait(1, timedelta(seconds=1), 0.0) == timedelta(seconds=5)
    failure = make_failure(statuses=(503, 503, 503), retry_after=timedelta(minutes=10))
    assert after_failure(failure, now=NOW, expires_at=LATER, jitter=0.0) == RetryAt(at=NOW + timedelta(minutes=10))


@pytest.mark.parametrize("jitter", [-0.1, 1.0, float("nan")])
def test_jitter_outside_its_range_is_refused(jitter: float) -> None:
    with pytest.raises(ValueError, match="jitter"):
        wait(1, None, jitter)


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ((400, 400, 400), 400),
        ((None, 503, 409, 409, 409), 409),
        ((400, 400), None),
        ((400, 400, 401), None),
        ((400, 400, None), None),
        ((400, None, 400), None),
        ((500, 500, 500), None),
        ((200, 200, 200), None),
        ((399, 399, 399), None),
        ((499, 499, 499), 499),
        ((None, None, None), None),
        ((), None),
    ],
)
def test_three_equal_4xx_in_a_row_are_a_refusal_that_repeats(
    statuses: tuple[int | None, ...], status: int | None
) -> None:
    assert repeated_refusal(statuses) == status


def test_a_refusal_that_repeats_holds_the_lane_and_names_the_status() -> None:
    failure = make_failure(attempts=3, statuses=(400, 400, 400))
    assert after_failure(failure, now=NOW, expires_at=LATER, jitter=0.0) == HoldLane(status=400)


def test_after_five_days_of_attempts_it_is_dead() -> None:
    first = NOW - timedelta(days=5)
    for statuses in ((None,), (400, 400, 400), (503,)):
        failure = make_failure(attempts=30, first=first, statuses=statuses)
        assert after_failure(failure, now=NOW, expires_at=LATER, jitter=0.0) == DeadLetter()
    failure = make_failure(attempts=30, first=first + JUST)
    assert isinstance(after_failure(failure, now=NOW, expires_at=LATER, jitter=0.0), RetryAt)


@pytest.mark.parametrize("failure", [make_failure(), make_failure(first=NOW - timedelta(days=9), statuses=(400,) * 3)])
def test_at_exp_it_is_expired_and_never_dead(failure: Failure) -> None:
    assert after_failure(failure, now=NOW, expires_at=NOW, jitter=0.0) == Expire()
    assert after_failure(failure, now=NOW, expires_at=NOW + JUST, jitter=0.0) != Expire()


def test_a_wait_ends_at_exp() -> None:
    failure = make_failure(retry_after=timedelta(hours=1))
    expires_at = NOW + timedelta(minutes=1)
    assert after_failure(failure, now=NOW, expires_at=expires_at, jitter=0.0) == RetryAt(at=expires_at)


@given(
    st.integers(1, 1000), st.timedeltas(timedelta(0), timedelta(days=10)), statuses,
    st.none() | st.timedeltas(timedelta(0), timedelta(days=2)), st.timedeltas(timedelta(days=-1), timedelta(days=30)),
    jitters,
)  # fmt: skip
def test_every_history_has_an_answer_and_a_retry_lies_ahead(
    attempts: int,
    age: timedelta,
    statuses: tuple[int | None, ...],
    retry_after: timedelta | None,
    left: timedelta,
    jitter: float,
) -> None:
    failure = make_failure(attempts=attempts, first=NOW - age, statuses=statuses, retry_after=retry_after)
    match after_failure(failure, now=NOW, expires_at=NOW + left, jitter=jitter):
        case RetryAt(at=at):
            assert NOW < at <= NOW + min(left, timedelta(hours=6))
            assert age < timedelta(days=5)
        case HoldLane(status=status):
            assert 400 <= status < 500
            assert left > timedelta(0)
        case DeadLetter():
            assert age >= timedelta(days=5)
            assert left > timedelta(0)
        case Expire():
            assert left <= timedelta(0)
