"""Working days: what a clock that counts them says. Pure: the bank holidays are handed in."""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_LONDON: Final = ZoneInfo("Europe/London")
_SATURDAY: Final = 5
_DAY: Final = timedelta(days=1)


def is_working(day: date, holidays: Set[date]) -> bool:
    """Whether it is a day from Monday to Friday and no bank holiday."""
    return day.weekday() < _SATURDAY and day not in holidays


def after(day: date, count: int, holidays: Set[date]) -> date:
    """Return the `count`th working day after `day`, which itself does not count; `count` from 1."""
    while count > 0:
        day += _DAY
        count -= is_working(day, holidays)
    return day


def start_of(day: date) -> datetime:
    """Return the instant at which a day begins in London."""
    return datetime.combine(day, time.min, tzinfo=_LONDON).astimezone(UTC)


def end_of(day: date) -> datetime:
    """Return the instant at which a day is over in London."""
    return start_of(day + _DAY)
