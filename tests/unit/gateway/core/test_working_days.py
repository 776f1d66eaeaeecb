"""Working days: weekends and bank holidays do not count, and neither does the day itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import _bank_holidays
from gateway.core.working_days import after, end_of, is_working, start_of

CHRISTMAS = frozenset({date(2026, 12, 25), date(2026, 12, 28)})  # Boxing Day 2026 is a Saturday: its Monday is off


@pytest.mark.parametrize(
    ("day", "count", "reached"),
    [
        (date(2026, 12, 1), 1, date(2026, 12, 2)),
        (date(2026, 12, 4), 1, date(2026, 12, 7)),  # from a Friday over a weekend
        (date(2026, 12, 5), 1, date(2026, 12, 7)),  # from a Saturday
        (date(2026, 12, 24), 2, date(2026, 12, 30)),  # over Christmas
        (date(2026, 12, 24), 1, date(2026, 12, 29)),
    ],
)
def test_working_days_go_over_weekends_and_bank_holidays(day: date, count: int, reached: date) -> None:
    assert after(day, count, CHRISTMAS) == reached


@given(st.dates(date(2020, 1, 1), date(2040, 1, 1)), st.integers(1, 30), st.frozensets(st.dates(), max_size=5))
def test_as_many_working_days_lie_between_as_were_counted(day: date, count: int, holidays: frozenset[date]) -> None:
    reached = after(day, count, holidays)
    between = [day + timedelta(days=n) for n in range(1, (reached - day).days + 1)]
    assert sum(is_working(one, holidays) for one in between) == count
    assert is_working(reached, holidays)


def test_days_begin_and_end_in_london() -> None:
    assert start_of(date(2027, 7, 1)) == datetime(2027, 6, 30, 23, tzinfo=UTC)
    assert end_of(date(2027, 1, 15)) == datetime(2027, 1, 16, tzinfo=UTC)
    assert end_of(date(2027, 3, 28)) - start_of(date(2027, 3, 28)) == timedelta(hours=23)  # the clocks go forward


def test_bank_holidays_are_those_of_england_and_need_no_network() -> None:
    known = _bank_holidays(2026)
    assert {date(2026, 4, 6), date(2026, 8, 31), date(2026, 12, 25), date(2026, 12, 28)} <= known
    assert date(2026, 1, 2) not in known  # Scotland's
