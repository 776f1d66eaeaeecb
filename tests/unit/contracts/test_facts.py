"""Facts and three-valued conditions by themselves."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.conditions import CompiledCondition, Truth, condition_faults, evaluate, parts_first, reachable
from contracts.facts import FACTS, Trust, age_in_years, civil_date, derived_facts
from contracts.terms import Comparison, Condition


@pytest.mark.parametrize(
    ("born", "on", "age"),
    [
        ("2010-12-01", date(2026, 11, 30), 15),
        ("2010-12-01", date(2026, 12, 1), 16),
        ("2012-02-29", date(2025, 2, 28), 12),
        ("2012-02-29", date(2025, 3, 1), 13),
        ("2012-02-29", date(2024, 2, 29), 12),
        ("2026-12-01", date(2026, 12, 1), 0),
        ("2026-12-02", date(2026, 12, 1), None),
        ("2026-02-29", date(2026, 12, 1), None),
        (None, date(2026, 12, 1), None),
        (20101201, date(2026, 12, 1), None),
    ],
)
def test_age_is_reached_at_the_start_of_the_anniversary(born: object, on: date, age: int | None) -> None:
    assert age_in_years(born, on) == age


@given(st.dates(date(1990, 1, 1), date(2030, 1, 1)), st.integers(0, 12_000))
def test_age_never_falls_and_rises_once_a_year(born: date, days: int) -> None:
    on = born + timedelta(days=days)
    today, tomorrow = age_in_years(born.isoformat(), on), age_in_years(born.isoformat(), on + timedelta(days=1))
    assert today is not None
    assert tomorrow in (today, today + 1)
    assert today <= days / 365
    assert today >= days // 366 - 1


@pytest.mark.parametrize("body", [None, [], {}, {"child": None}, {"child": []}, {"child": {"date_of_birth": []}}])
def test_age_is_unknown_without_a_date_of_birth(body: object) -> None:
    assert derived_facts(body, date(2026, 12, 1)) == {}


def test_civil_date_is_that_of_london() -> None:
    assert civil_date(datetime(2026, 7, 1, 22, 59, tzinfo=UTC)) == date(2026, 7, 1)
    assert civil_date(datetime(2026, 7, 1, 23, 0, tzinfo=UTC)) == date(2026, 7, 2)
    assert civil_date(datetime(2026, 12, 1, 23, 59, tzinfo=UTC)) == date(2026, 12, 1)
    with pytest.raises(ValueError, match="naive"):
        civil_date(datetime(2026, 7, 1, 23, 0))


def test_list_of_facts_is_that_of_the_design() -> None:
    by_trust = {trust: {name for name, fact in FACTS.items() if fact.trust is trust} for trust in Trust}
    assert by_trust[Trust.DERIVED] == {"age_years"}
    assert by_trust[Trust.ASSERTED] == {"urgency", "subject_informed_risk"}
    assert len(FACTS) == 10


def test_fact_accepts_only_its_type() -> None:
    assert FACTS["request.verified"].accepts(True)
    assert not FACTS["request.verified"].accepts(1)
    assert not FACTS["age_years"].accepts(True)
    assert not FACTS["age_years"].accepts(13.0)
    assert FACTS["consent.by"].accepts("young_person")
    assert not FACTS["consent.by"].accepts("neighbour")


YES, NO, MAYBE = True, False, None


def fact_test(fact: str, operator: str, value: object) -> Condition:
    test = Comparison(fact=fact, operator=operator, value=value)  # type: ignore[arg-type]
    return Condition(says="s", test=test, all_of=None, any_of=None)


def group(*, all_of: tuple[str, ...] | None = None, any_of: tuple[str, ...] | None = None) -> Condition:
    return Condition(says="s", test=None, all_of=all_of, any_of=any_of)


def truth(conditions: dict[str, Condition], name: str, facts: dict[str, object]) -> Truth:
    compiled = [
        CompiledCondition(
            name=each,
            says="s",
            test=conditions[each].test,
            all_of=conditions[each].all_of,
            any_of=conditions[each].any_of,
        )
        for each in parts_first(conditions)
    ]
    return evaluate(compiled, facts)[name]  # type: ignore[arg-type]


@pytest.mark.parametrize(("p", "q"), [*product([YES, NO, MAYBE], repeat=2)])
def test_all_and_any_follow_kleene(p: Truth, q: Truth) -> None:
    parts = {
        "p": fact_test("request.verified", "=", True),
        "q": fact_test("request.by_telephone", "=", True),
        "both": group(all_of=("p", "q")),
        "either": group(any_of=("p", "q")),
    }
    values = {"request.verified": p, "request.by_telephone": q}
    facts: dict[str, object] = {name: value for name, value in values.items() if value is not None}
    rank = {False: 0, None: 1, True: 2}
    assert truth(parts, "both", facts) is min((p, q), key=rank.__getitem__)
    assert truth(parts, "either", facts) is max((p, q), key=rank.__getitem__)


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("=", 13, False),
        ("!=", 13, True),
        ("<", 13, True),
        ("<=", 12, True),
        (">", 12, False),
        (">=", 12, True),
        ("in", (11, 12), True),
        ("in", (13,), False),
    ],
)
def test_every_operator_compares_and_is_unknown_without_the_fact(operator: str, value: object, expected: bool) -> None:
    condition = {"c": fact_test("age_years", operator, value)}
    assert truth(condition, "c", {"age_years": 12}) is expected
    assert truth(condition, "c", {}) is None


def test_parts_come_before_what_uses_them_even_in_a_long_chain() -> None:
    chain = {f"c{n}": group(all_of=(f"c{n + 1}",)) for n in range(150)} | {"c150": fact_test("age_years", "<", 5)}
    order = parts_first(chain)
    assert order[0] == "c150"
    assert len(order) == 151
    assert truth(chain, "c0", {"age_years": 4}) is True
    assert reachable(chain, ["c148"]) == {"c148", "c149", "c150"}


def test_cycle_is_named_at_each_condition_on_it_and_at_no_other() -> None:
    conditions = {
        "a": group(all_of=("b",)),
        "b": group(any_of=("a",)),
        "above": group(all_of=("a",)),
        "self": group(any_of=("self",)),
        "fine": fact_test("urgency", "=", "routine"),
    }
    assert condition_faults(conditions) == {name: ["refers to itself"] for name in ("a", "b", "self")}
