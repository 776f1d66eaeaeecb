"""Instants between the two worlds: aware datetimes outside, microseconds since 1970 in the tables. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """Return whole microseconds since 1970; nothing is rounded."""
    return (instant - _EPOCH) // _MICROSECOND


def seconds(instant: datetime) -> int:
    """Return whole seconds since 1970, rounded down."""
    return micros(instant) // 1_000_000


def instant(value: int) -> datetime:
    """Return the instant of a stored number of microseconds."""
    return _EPOCH + value * _MICROSECOND
