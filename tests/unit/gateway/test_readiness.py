"""What takes a gateway out of service, what is only late, and what is neither."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.readiness import Check, Process, checks, is_ready
from tests.unit.gateway.test_doctor import HOUR, MINUTE, NOW, make_condition, pile

MIB = 2**20


def make_process(**changes: Any) -> Process:
    sound = Process(
        revision="head",
        stopping=False,
        drift=0,
        verified_at=NOW - 2,
        intact=True,
        free=2**40,
        floor=64 * MIB,
        writes=0,
        certificate_ends=NOW + 90 * 86_400,
        webhooks={},
    )
    return replace(sound, **changes)


def looked(condition: Any = None, **process: Any) -> tuple[Check, ...]:
    return checks(condition or make_condition(), make_process(**process), NOW)


def other(found: tuple[Check, ...]) -> dict[str, tuple[str, str]]:
    return {check.name: (check.level, check.code) for check in found if check.level != "ok"}


def test_a_sound_gateway_is_ready_and_says_so_of_each_thing() -> None:
    found = looked()
    assert is_ready(found)
    assert other(found) == {}
    names = ["serving", "database", "migrations", "keys", "clock", "queue", "log", "webhooks", "space"]
    assert [check.name for check in found] == names


@pytest.mark.parametrize(
    ("process", "said"),
    [
        ({"stopping": True}, {"serving": ("failing", "stopping")}),
        ({"revision": "newer"}, {"migrations": ("failing", "behind")}),
        ({"drift": 301}, {"clock": ("failing", "stepped")}),
        ({"drift": -301}, {"clock": ("failing", "stepped")}),
        ({"verified_at": None}, {"log": ("failing", "unverified")}),
        ({"verified_at": NOW - 61}, {"log": ("failing", "unverified")}),
        ({"intact": False}, {"log": ("failing", "inconsistent")}),
        ({"free": 63 * MIB}, {"space": ("failing", "full")}),
    ],
)
def test_what_the_gateway_cannot_do_without_takes_it_out_of_service(
    process: dict[str, Any], said: dict[str, tuple[str, str]]
) -> None:
    found = looked(**process)
    assert other(found) == said
    assert not is_ready(found)


def test_a_database_that_does_not_answer_takes_it_out_of_service() -> None:
    found = checks(None, make_process(), NOW)
    assert other(found) == {"database": ("failing", "unanswered")}
    assert not is_ready(found)


def test_keys_that_serving_needs_and_a_clock_behind_the_log_take_it_out_of_service() -> None:
    assert other(looked(make_condition(missing=("http",)))) == {"keys": ("failing", "missing")}
    assert other(looked(make_condition(log_at=NOW + 301))) == {"clock": ("failing", "behind-log")}


@pytest.mark.parametrize(
    ("late", "process", "said"),
    [
        (pile("queued", 2 * HOUR), {}, {"queue": ("late", "waiting")}),
        (pile("queued", 16 * MINUTE, urgent=True), {}, {"queue": ("late", "waiting")}),
        ({}, {"drift": 61}, {"clock": ("late", "drifting")}),
        ({}, {"free": 100 * MIB}, {"space": ("late", "low")}),
        ({}, {"webhooks": {"a": None, "b": NOW - HOUR - 1}}, {"webhooks": ("late", "waiting")}),
    ],
)
def test_what_is_late_is_told_and_refuses_nobody(
    late: dict[str, Any], process: dict[str, Any], said: dict[str, tuple[str, str]]
) -> None:
    """A gateway that cannot deliver must still receive."""
    found = looked(late.get("condition"), **process)
    assert other(found) == said
    assert is_ready(found)
