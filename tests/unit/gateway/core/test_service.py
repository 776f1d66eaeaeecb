"""What follows from a service message, decided without a store: clocks, breaches, destruction."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from contracts.names import SERVICE_TYPES
from gateway.core.lifecycle import InboundState
from gateway.core.service import (
    ANSWER_WITHIN,
    Asked,
    Duty,
    DutyState,
    answer_due,
    answered_by_destruction,
    breach_opens,
    decide_by,
    destroyed_at_once,
    reminder_due,
)

FRIDAY = datetime(2026, 12, 4, 10, tzinfo=UTC)


def due(message_type: str, **how: Any) -> datetime | None:
    said: dict[str, Any] = {
        "urgency": "routine",
        "asked_at": FRIDAY,
        "by": None,
        "agreed": None,
        "holidays": frozenset(),
    }
    return answer_due(message_type, **(said | how))


def test_every_type_but_the_acknowledgement_is_owed_an_answer() -> None:
    assert ANSWER_WITHIN.keys() == SERVICE_TYPES - {"exchange.ack"}
    assert due("exchange.ack") is None


@pytest.mark.parametrize(
    ("message_type", "how", "last_day"),
    [
        ("exchange.withdrawal", {}, date(2026, 12, 8)),
        ("exchange.withdrawal", {"holidays": frozenset({date(2026, 12, 7)})}, date(2026, 12, 9)),
        ("exchange.withdrawal", {"agreed": 10}, date(2026, 12, 8)),
        ("exchange.question", {}, date(2026, 12, 9)),
        ("exchange.question", {"agreed": 10}, date(2026, 12, 18)),
        ("exchange.question", {"agreed": 10, "urgency": "priority"}, date(2026, 12, 7)),
        ("breach.notice", {}, date(2026, 12, 7)),
        ("rights.notice", {"by": date(2027, 1, 31)}, date(2027, 1, 31)),
        ("rights.notice", {"by": date(2027, 1, 31), "urgency": "priority"}, date(2026, 12, 7)),
    ],
)
def test_answer_is_due_when_the_last_working_day_is_over(
    message_type: str, how: dict[str, Any], last_day: date
) -> None:
    assert due(message_type, **how) == datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC) + timedelta(
        days=1
    )


def test_immediate_risk_knows_no_weekend() -> None:
    saturday = FRIDAY + timedelta(days=1)
    assert due("exchange.question", urgency="immediate_risk", asked_at=saturday) == saturday + timedelta(hours=1)


def test_only_what_nobody_has_seen_is_destroyed_by_a_withdrawal_alone() -> None:
    assert {state for state in InboundState if destroyed_at_once(state, released=False)} == {InboundState.RECEIVED}
    assert not any(destroyed_at_once(state, released=True) for state in InboundState)


@pytest.mark.parametrize(
    ("message_type", "code", "opens"),
    [
        ("exchange.withdrawal", "wrong-recipient", True),
        ("exchange.withdrawal", "wrong-child", True),
        ("exchange.withdrawal", "in-error", False),
        ("exchange.withdrawal", "child-found", False),
        ("breach.notice", "lost", True),
        ("exchange.question", "mismatch", False),
    ],
)
def test_breach_opens_where_somebody_saw_what_was_not_theirs(message_type: str, code: str, opens: bool) -> None:
    assert breach_opens(message_type, code) is opens


def test_breach_is_decided_within_72_hours_weekend_or_not() -> None:
    assert decide_by(FRIDAY) == datetime(2026, 12, 7, 10, tzinfo=UTC)


def test_destruction_answers_withdrawals_and_erasure_alone() -> None:
    assert answered_by_destruction("exchange.withdrawal", "in-error")
    assert answered_by_destruction("rights.notice", "erase")
    assert not answered_by_destruction("rights.notice", "rectify")
    assert not answered_by_destruction("exchange.correction", None)


def test_reminder_comes_once_a_day() -> None:
    at = int(FRIDAY.timestamp())
    assert reminder_due(None, FRIDAY)
    assert not reminder_due(at, FRIDAY + timedelta(hours=23))
    assert reminder_due(at, FRIDAY + timedelta(hours=24))


def test_only_what_is_open_can_be_overdue() -> None:
    asked = Asked(
        sender="la-850", message_id="m", partner="la-850", type="exchange.question", code="missing", thread="t",
        about=(), since=0, due=100,
    )  # fmt: skip
    late = datetime.fromtimestamp(100, tz=UTC)
    for state in DutyState:
        duty = Duty(asked=asked, state=state, answered_by=None, answer_code=None, told_at=None)
        assert duty.overdue(late) is (state is DutyState.OPEN)
        assert not duty.overdue(late - timedelta(seconds=1))
