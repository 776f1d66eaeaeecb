"""What the doctor finds of what waits: nothing waits silently, nothing that was asked is forgotten. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.condition import Condition
from gateway.doctor.kinds import DAY, HOUR, Finding, length, or_ok, told
from gateway.readiness import QUEUED_LATE, URGENT_LATE

STUCK: Final = DAY
OWED_LATE: Final = DAY
UNOPENED_LATE: Final = 3 * DAY
UNOPENED_URGENT: Final = HOUR
UNACKNOWLEDGED_LATE: Final = 5 * DAY
_LANE_HELD: Final = "lane.held"


def waiting(condition: Condition) -> list[Finding]:
    return or_ok(
        [*_going(condition), *_owed(condition), *_came(condition), *_ended(condition)],
        "waiting",
        "nothing waits for too long",
    )


def _going(condition: Condition) -> Iterator[Finding]:
    open_states = ("queued", "sending", "held")
    urgent = _age(condition, condition.oldest("out", *open_states, urgent=True))
    if urgent > URGENT_LATE:
        yield told("waiting.urgent", f"undelivered for {length(urgent)}, and at immediate risk")
    queued = _age(condition, condition.oldest("out", "queued", "sending"))
    if queued > STUCK:
        yield told("waiting.stuck", f"undelivered for {length(queued)}")
    elif queued > QUEUED_LATE:
        yield told("waiting.queued", f"undelivered for {length(queued)}")
    if lane := condition.held.get(_LANE_HELD):
        yield told("waiting.lane", f"{lane} held because the partner kept refusing them")
    codes = ", ".join(f"{code} ({n})" for code, n in sorted(condition.held.items()) if code != _LANE_HELD)
    if codes:
        yield told("waiting.held", f"held: {codes}")
    if dead := condition.count("out", "dead"):
        yield told("waiting.dead", f"{dead} given up after days of attempts")


def _owed(condition: Condition) -> Iterator[Finding]:
    if dead := condition.owed.get("dead"):
        yield told("waiting.owed-dead", f"{dead} receipts, events or bundles given up")
    age = _age(condition, condition.owed_since)
    if age > OWED_LATE:
        yield told("waiting.owed", f"receipts, events or bundles tried for {length(age)}")


def _came(condition: Condition) -> Iterator[Finding]:
    urgent = _age(condition, condition.oldest("in", "received", urgent=True))
    if urgent > UNOPENED_URGENT:
        yield told("waiting.unopened-urgent", f"at immediate risk, and unopened for {length(urgent)}")
    unopened = _age(condition, condition.oldest("in", "received", urgent=False))
    if unopened > UNOPENED_LATE:
        yield told("waiting.unopened", f"unopened for {length(unopened)}")


def _ended(condition: Condition) -> Iterator[Finding]:
    arrived = _age(condition, condition.oldest("out", "delivered"))
    if arrived > UNACKNOWLEDGED_LATE:
        yield told("waiting.unacknowledged", f"arrived {length(arrived)} ago, and nobody there took it")
    for state, code in (("rejected", "waiting.returned"), ("expired", "waiting.expired")):
        recent = sum(pile.recent for pile in condition.piles if pile.direction == "out" and pile.state == state)
        if recent:
            yield told(code, f"{recent} written this week")


def _age(condition: Condition, instant: int | None) -> int:
    return 0 if instant is None else condition.at - instant


_OVERDUE: Final[Mapping[str, str]] = {
    "answers-owed": "answers.owed",
    "answers-awaited": "answers.awaited",
    "breaches-open": "breaches.open",
    "receipts-unproven": "receipts.unproven",
}


def overdue(condition: Condition) -> Iterator[Finding]:
    for what, code in _OVERDUE.items():
        if count := condition.overdue.get(what, 0):
            yield told(code, f"{count} of them")
