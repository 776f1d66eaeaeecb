"""How often somebody may ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.web.api.rates import REMEMBERED, Rates

NOW = datetime(2026, 11, 2, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_burst_is_let_through_and_then_the_rate_holds() -> None:
    rates = Rates(per_minute=6, burst=2)
    for _ in range(2):
        assert rates.wait("a", NOW) == 0
        rates.count("a", NOW)
    assert rates.wait("a", NOW) == 10
    assert rates.wait("a", later(9.9)) == 1
    assert rates.wait("a", later(10)) == 0


def test_callers_do_not_share() -> None:
    rates = Rates(per_minute=1, burst=1)
    rates.count("a", NOW)
    assert (rates.wait("a", NOW), rates.wait("b", NOW)) == (60, 0)


def test_rest_gives_no_more_than_a_burst() -> None:
    rates = Rates(per_minute=60, burst=2)
    rates.count("a", NOW)
    for _ in range(2):
        rates.count("a", later(100_000))
    assert rates.wait("a", later(100_000)) == 1


def test_clock_set_back_gives_nothing() -> None:
    rates = Rates(per_minute=60, burst=1)
    rates.count("a", NOW)
    assert rates.wait("a", later(-3600)) == 1


def test_memory_has_an_end_and_the_oldest_is_forgotten() -> None:
    rates = Rates(per_minute=1, burst=1)
    for number in range(REMEMBERED + 1):
        rates.count(str(number), NOW)
    assert (rates.wait("0", NOW), rates.wait("1", NOW)) == (0, 60)


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 600), st.integers(1, 10))
def test_never_more_than_burst_and_rate_allow(gaps: list[float], per_minute: int, burst: int) -> None:
    rates, now, allowed = Rates(per_minute=per_minute, burst=burst), NOW, 0
    for gap in gaps:
        now += timedelta(seconds=gap)
        if rates.wait("a", now) == 0:
            rates.count("a", now)
            allowed += 1
    passed = (now - NOW).total_seconds()
    assert allowed <= burst + passed * per_minute / 60 + 1e-6
