"""What comes after a failed attempt: decided from its history and the time, without doing any of it.

Pure: the clock is read and the dice are thrown by the caller. Numbers: log B3.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

SHORTEST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(hours=6)  # caps the partner's Retry-After too
GIVE_UP_AFTER: Final = timedelta(days=5)  # since the first attempt
EQUAL_ANSWERS: Final = 3  # equal 4xx answers in a row that no further attempt will change: a person is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """Why one attempt failed: a code for the log, the HTTP status if there was an answer, and what it asked for."""

    code: str
    status: int | None
    retry_after: timedelta | None

    @classmethod
    def answer(cls, status: int, retry_after: int | None) -> Setback:
        """Something was answered, and it was no verified receipt; `retry_after` in seconds."""
        asked = None if retry_after is None else timedelta(seconds=retry_after)
        return cls(code=f"answered.{status}", status=status, retry_after=asked)

    @classmethod
    def unanswered(cls, code: str) -> Setback:
        """Nothing was answered."""
        return cls(code=code, status=None, retry_after=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Attempts at one delivery so far, the last one failed; every answer but a verified receipt is a failure.

    `attempts` counts since it was queued or sent again, the last one included. `statuses` are the HTTP statuses of the
    latest ones, newest last, None for no answer; three are enough. `retry_after` is what the last answer asked for.
    """

    attempts: int
    first_attempt_at: datetime
    statuses: tuple[int | None, ...]
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAt:
    """Try again, not before `at`."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLane:
    """The partner gives the same refusal again and again: hold the lane, tell a person. `status` is the answer."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Tried for too long: a person may send it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """Past its `exp`: it expires, and is never dead."""


Next = RetryAt | HoldLane | DeadLetter | Expire


def after_failure(failure: Failure, *, now: datetime, expires_at: datetime, jitter: float) -> Next:
    """Decide what follows a failed attempt. `jitter` is random in [0, 1); datetimes are aware.

    In this order: past `exp` it expires; after five days of attempts it is dead; three equal 4xx answers hold the lane;
    else a wait. A wait ends at `exp` at the latest, so that an expired message does not go on looking queued.
    """
    if now >= expires_at:
        return Expire()
    if now - failure.first_attempt_at >= GIVE_UP_AFTER:
        return DeadLetter()
    status = repeated_refusal(failure.statuses)
    if status is not None:
        return HoldLane(status=status)
    return RetryAt(at=min(now + wait(failure.attempts, failure.retry_after, jitter), expires_at))


def wait(attempts: int, retry_after: timedelta | None, jitter: float) -> timedelta:
    """Return how long to wait after so many attempts: full jitter between 5 s and 5 s * 2^attempts, at most 6 h.

    Never shorter than what the partner asked for, up to 6 h. Raises ValueError for jitter outside [0, 1).
    """
    if not 0 <= jitter < 1:
        raise ValueError("jitter is in [0, 1)")
    ceiling = min(SHORTEST_WAIT * (1 << min(max(attempts, 1), 16)), LONGEST_WAIT)
    backoff = SHORTEST_WAIT + (ceiling - SHORTEST_WAIT) * jitter
    return backoff if retry_after is None else max(backoff, min(retry_after, LONGEST_WAIT))


def repeated_refusal(statuses: tuple[int | None, ...]) -> int | None:
    """Return the 4xx status that the last three answers share, or None."""
    last = statuses[-EQUAL_ANSWERS:]
    if len(last) < EQUAL_ANSWERS or len(set(last)) > 1:
        return None
    status = last[-1]
    return status if status is not None and 400 <= status < 500 else None
