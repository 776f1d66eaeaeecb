"""What a page of metrics says, and that nothing from outside becomes a label on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.core.commands import Complete, Fail, Lease
from gateway.meters import MeteredStore, Meters
from gateway.ports import Noted
from gateway.readiness import checks
from tests.support.canary import CANARIES, leaks
from tests.support.store import START, make_complete, make_fail, message_id
from tests.unit.gateway.test_doctor import HOUR, NOW, make_condition, partner, pile
from tests.unit.gateway.test_readiness import make_process


def page(meters: Meters, condition: Any = None) -> dict[str, float]:
    """The page as Prometheus reads it: sample -> value."""
    process, condition = make_process(), condition or make_condition()
    text = meters.show(condition, process, checks(condition, process, NOW), NOW).decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def noted(kind: str, direction: str, *codes: str) -> Noted:
    return Noted(index=0, kind=kind, dir=direction, codes=codes)


def test_messages_are_shown_by_direction_partner_and_state() -> None:
    shown = page(Meters(), pile("queued", HOUR)["condition"])
    assert shown['safehand_messages{direction="out",partner="la-850",state="queued"}'] == 1
    assert shown["safehand_oldest_queued_seconds"] == HOUR


def test_what_is_gone_is_no_longer_shown() -> None:
    meters = Meters()
    page(meters, pile("queued", HOUR)["condition"])
    shown = page(meters, partner(ahead=7)["condition"])
    assert not [name for name in shown if name.startswith("safehand_messages{")]
    assert shown["safehand_oldest_queued_seconds"] != shown["safehand_oldest_queued_seconds"], "no such message: NaN"
    assert shown['safehand_partner_clock_ahead_seconds{partner="la-850"}'] == 7


def test_how_far_each_webhook_is_behind_is_shown() -> None:
    meters, process = Meters(), make_process(webhooks={"a": None, "b": NOW - HOUR})
    shown = meters.show(make_condition(), process, (), NOW).decode()
    assert 'safehand_webhook_waiting_seconds{webhook="a"} 0.0' in shown
    assert f'safehand_webhook_waiting_seconds{{webhook="b"}} {HOUR:.1f}' in shown


def test_entries_count_as_receipts_and_refusals_too() -> None:
    meters = Meters()
    meters.noted(
        [
            noted("delivered", "out"),
            noted("collected", "in"),
            noted("refused", "out", "field.not-allowed", "field.missing"),
            noted("refused-inbound", "in", "expired"),
            noted("rejected", "out", "agreement.none"),
        ]
    )
    shown = page(meters)
    assert shown['safehand_entries_total{direction="out",kind="refused"}'] == 1
    assert shown['safehand_receipts_total{direction="in",event="checked"}'] == 1
    assert shown['safehand_receipts_total{direction="out",event="collected"}'] == 1
    assert shown['safehand_refusals_total{code="field.missing",direction="out"}'] == 1
    assert shown['safehand_refusals_total{code="expired",direction="in"}'] == 1
    assert shown['safehand_refusals_total{code="agreement.none",direction="returned"}'] == 1


def test_an_alarm_is_counted_and_still_raised() -> None:
    meters, raised = Meters(), []

    def alarm(code: str, details: Mapping[str, str]) -> None:
        raised.append((code, details))

    counted = meters.alarmed(alarm)
    counted("row-tampered", {"table": "partner"})
    assert raised == [("row-tampered", {"table": "partner"})]
    assert page(meters)['safehand_alarms_total{code="row-tampered"}'] == 1


def test_settled_attempts_are_counted_by_outcome_and_late_ones_are_not() -> None:
    class Answers:
        answer = True

        async def write(self, command: Any) -> Any:
            return self.answer

    inner, meters = Answers(), Meters()
    store = MeteredStore(inner, meters)
    own = message_id()
    lease = Lease(delivery=1, token=b"t", attempt=1, until=START)
    complete: Complete = make_complete(lease, own)
    fail: Fail = make_fail(lease, own)
    for answer in (True, False):
        inner.answer = answer
        for command in (complete, fail):
            assert asyncio.run(store.write(command)) is answer
    shown = page(meters)
    assert shown['safehand_attempts_total{outcome="receipt"}'] == 1
    assert shown['safehand_attempts_total{outcome="http.503"}'] == 1


@pytest.mark.parametrize("canary", CANARIES)
def test_nothing_from_outside_becomes_a_label(canary: str) -> None:
    """A method is the stranger's word, and the code of a returned message the partner's."""
    meters = Meters()
    meters.answered("exchange", canary, "unmatched", 400)
    meters.noted([noted("rejected", "out", canary)])
    shown = page(meters)
    assert not leaks("\n".join(shown).encode())
    assert shown['safehand_requests_total{listener="exchange",method="other",route="unmatched",status="400"}'] == 1
    assert shown['safehand_refusals_total{code="other",direction="returned"}'] == 1


@pytest.mark.parametrize("text", ["Zebulonia", "zebulonia quark", "a@b.example", "", "x" * 300, "2013-02-17", "a..b"])
def test_what_has_not_the_form_of_a_code_is_counted_as_other(text: str) -> None:
    meters = Meters()
    meters.noted([noted(text, "out")])
    meters.attempted(text)
    meters.alarmed(lambda code, details: None)(text, {})
    shown = page(meters, make_condition(held={text: 1}))
    assert shown['safehand_entries_total{direction="out",kind="other"}'] == 1
    assert shown['safehand_attempts_total{outcome="other"}'] == 1
    assert shown['safehand_alarms_total{code="other"}'] == 1
    assert shown['safehand_held{code="other"}'] == 1


def test_codes_without_end_become_one() -> None:
    meters = Meters()
    for number in range(1000):
        meters.attempted(f"answered.{number}")
    labels = [name for name in page(meters) if name.startswith("safehand_attempts_total{")]
    assert len(labels) == 201
    assert 'safehand_attempts_total{outcome="other"}' in labels
