"""A verified partner's duty number, and the name shown for it, change by two people's word, and the log says so."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import partners
from gateway.core.deciding import of_partner, to_text
from gateway.core.errors import SubmissionRefusedError
from gateway.ports import Partner
from tests.support.exchange import Gateway, make_town
from tests.support.messages import B

OLD, NEW = "02070 000000", "020 7946 0123"


@pytest.fixture
def gateway() -> Gateway:
    return make_town().a


async def change(gateway: Gateway, by: str, *, alone: bool = False, **said: Any) -> Partner:
    named: dict[str, Any] = {"name": None, "duty_number": None} | said
    await partners.change(B, named["name"], named["duty_number"], gateway.exchange, by=by, alone=alone)
    return await partners.get(B, gateway.exchange)


def told(gateway: Gateway) -> list[tuple[str, str | None]]:
    return [
        (entry.kind, entry.outcome) for entry in gateway.memory.log if entry.kind in ("approval", "partner-changed")
    ]


async def test_one_person_changes_nothing_of_a_verified_partner_and_two_do(gateway: Gateway) -> None:
    assert (await change(gateway, "First", duty_number=NEW)).duty_number == OLD
    changed = await change(gateway, "Second", duty_number=NEW)
    assert (changed.duty_number, changed.name, changed.verified_by) == (
        NEW,
        B,
        ("a first person", "a second person"),
    )
    assert told(gateway) == [
        ("approval", "partner-change"),
        ("approval", "partner-change"),
        ("partner-changed", "changed"),
    ]


async def test_the_same_person_twice_is_one(gateway: Gateway) -> None:
    await change(gateway, "First", duty_number=NEW)
    assert (await change(gateway, " first ", duty_number=NEW)).duty_number == OLD


async def test_halves_of_different_changes_make_no_whole(gateway: Gateway) -> None:
    await change(gateway, "First", duty_number=NEW)
    assert (await change(gateway, "Second", duty_number="020 7946 0999")).duty_number == OLD
    assert (await change(gateway, "Third", duty_number=NEW, name="Council B")).duty_number == OLD


async def test_a_half_does_not_outlive_the_row_that_it_was_about(gateway: Gateway) -> None:
    await change(gateway, "First", duty_number=NEW)
    for who in ("Second", "Third"):
        await change(gateway, who, name="Council B")
    assert (await change(gateway, "Fourth", duty_number=NEW)).duty_number == OLD


async def test_the_entry_commits_to_the_row_as_it_then_stands_and_to_who(gateway: Gateway) -> None:
    for who in ("First", "Second"):
        await change(gateway, who, name="Council B", duty_number=NEW)
    held = await partners.get(B, gateway.exchange)
    rows = of_partner(
        org=B,
        name="Council B",
        root=held.root,
        verified_by=held.verified_by,
        route="peer",
        duty_number=NEW,
    )
    openings = {opening.field: opening.value.decode() for opening in gateway.memory.log[-1].openings}
    assert openings == {"by": "first, second", "rows": to_text(rows)}
    assert NEW.encode() not in gateway.memory.log[-1].data


async def test_one_person_is_enough_in_a_demonstration_and_that_is_logged(gateway: Gateway) -> None:
    assert (await change(gateway, "First", alone=True, duty_number=NEW)).duty_number == NEW
    assert told(gateway)[-1] == ("partner-changed", "changed.single-person")


async def test_an_unverified_partner_is_changed_by_one_as_it_was_added() -> None:
    gateway = make_town().a
    gateway.know(B, verified=False)
    changed = await change(gateway, "First", duty_number=NEW)
    assert (changed.duty_number, changed.verified_by) == (NEW, ())
    assert told(gateway)[-1] == ("partner-changed", "changed")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({}, "partner.unchanged"),
        ({"duty_number": OLD}, "partner.unchanged"),
        ({"duty_number": "999"}, "partner.duty-number"),
        ({"duty_number": "020 7946\n0123"}, "partner.duty-number"),
        ({"duty_number": "0" * 41}, "partner.duty-number"),
        ({"name": " "}, "partner.name"),
        ({"name": "x" * 201}, "partner.name"),
        ({"name": "Council\x1b[2JB"}, "partner.name"),
    ],
)
async def test_what_nobody_could_ring_or_read_is_refused(gateway: Gateway, said: dict[str, str], code: str) -> None:
    with pytest.raises(SubmissionRefusedError) as refused:
        await change(gateway, "First", **said)
    assert refused.value.code == code
    assert not told(gateway)


async def test_an_unknown_partner_is_not_changed(gateway: Gateway) -> None:
    with pytest.raises(SubmissionRefusedError) as refused:
        await partners.change("la-999", None, NEW, gateway.exchange, by="First", alone=False)
    assert refused.value.code == "partner.unknown"
