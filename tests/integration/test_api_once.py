"""Every POST of the API, cut off right after what it did was committed: its repeat gets the answer of what was done.

The store that is cut off answers the command, and then the gateway is gone, as far as anybody who asked can tell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest

from gateway.core.commands import Command
from gateway.core.errors import BusyError
from gateway.core.lifecycle import State
from gateway.ports import Store
from tests.support.api import Answer, CaseSystem, api_served, make_token
from tests.support.exchange import Town, make_town_in_force
from tests.support.messages import A, B, make_body

R = TypeVar("R")

ROUTINE = {"urgency": "routine"}
CHILD = {"child": {"upn": "A123456789012"}, "kind": "location"}
ENQUIRY = {
    "case": {"reference": "KC/26/0117", "reply_by": "2026-12-11"},
    "child": {"name": {"family": "Okafor-Lind", "given": "Zoë"}, "date_of_birth": "2015-03-14"},
}


@dataclass(slots=True)
class CutOff:
    """A store that is never heard of again after so many writes."""

    store: Store
    after: int = 1

    async def write(self, command: Command[R]) -> R:
        answer = await self.store.write(command)
        self.after -= 1
        if self.after == 0:
            raise BusyError("gone")  # a refusal, for telling a fault with its traceback takes long on a busy machine
        return answer


@dataclass(frozen=True, slots=True)
class House:
    town: Town
    ours: CaseSystem
    theirs: CaseSystem

    async def sent(self) -> str:
        said = {"partner": B, "type": "cme.transfer", "facts": ROUTINE, "body": make_body()}
        answer = await self.ours.post("/messages", said)
        assert answer.status == 202, answer.body
        return str(answer.said["id"])

    async def arrived(self) -> str:
        own = await self.sent()
        await self.town.a.run(2)
        return own

    async def cut_off_and_repeated(self, who: CaseSystem, path: str, body: Any = None, after: int = 1) -> Answer:
        """Ask once, of a gateway that is cut off after its first write (or so many), and again of one that is not."""
        exchange = (self.town.a if who is self.ours else self.town.b).exchange
        async with api_served(replace(exchange, store=CutOff(exchange.store, after))) as port:
            first = await CaseSystem(port=port, token=who.token).post(path, body, key="once")
        assert (first.status, first.code) == (503, "busy")
        return await who.post(path, body, key="once")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    town = await make_town_in_force()
    async with api_served(town.a.exchange) as a, api_served(town.b.exchange) as b:
        ours, theirs = await make_token(town.a.exchange), await make_token(town.b.exchange)
        yield House(town, CaseSystem(port=a, token=ours.text), CaseSystem(port=b, token=theirs.text))


async def test_message_is_sent_once(house: House) -> None:
    said = {"partner": B, "type": "cme.transfer", "facts": ROUTINE, "body": make_body()}
    again = await house.cut_off_and_repeated(house.ours, "/messages", said)
    assert (again.status, list(house.town.a.memory.sent)) == (202, [again.said["id"]])


async def test_cancelled_message_is_told_cancelled(house: House) -> None:
    own = await house.sent()
    again = await house.cut_off_and_repeated(house.ours, f"/messages/{own}/cancel")
    assert (again.status, again.said) == (200, {"id": own, "state": "cancelled"})
    assert house.town.a.kinds().count("cancelled") == 1


async def test_message_sent_again_is_told_queued_though_it_went_on_since(house: House) -> None:
    own = await house.sent()
    house.town.a.memory.sent[own].enter(State.DEAD)
    path = f"/messages/{own}/resend"
    exchange = house.town.a.exchange
    async with api_served(replace(exchange, store=CutOff(exchange.store))) as port:
        assert (await CaseSystem(port=port, token=house.ours.token).post(path, key="once")).status == 503
    await house.town.a.run(2)
    again = await house.ours.post(path, key="once")
    assert (again.status, again.said) == (200, {"id": own, "state": "queued"})
    assert (await house.ours.get(f"/messages/{own}")).said["state"] == "delivered"
    assert house.town.a.kinds().count("resent") == 1


@pytest.mark.parametrize(
    ("act", "body", "event", "kind"),
    [("taken", {}, "taken", "handed-over"), ("opened", {"role": "duty"}, "collected", "collected")],
)
async def test_receipt_is_told_and_the_act_logged_once(
    house: House, act: str, body: dict[str, str], event: str, kind: str
) -> None:
    own = await house.arrived()
    again = await house.cut_off_and_repeated(house.theirs, f"/inbox/{A}/{own}/{act}", body)
    assert (again.status, again.said["event"]) == (200, event)
    assert house.town.b.kinds().count(kind) == 1
    shown = (await house.theirs.get(f"/inbox/{A}/{own}")).said
    assert again.said in shown["receipts"]


async def test_child_is_listed_once(house: House) -> None:
    again = await house.cut_off_and_repeated(house.ours, "/protection", CHILD)
    assert (again.status, again.said) == (200, {"listed": True})
    assert house.town.a.kinds().count("protection-added") == 1


async def test_first_half_of_a_removal_is_stated_once(house: House) -> None:
    await house.ours.post("/protection", CHILD)
    again = await house.cut_off_and_repeated(house.ours, "/protection/removals", {**CHILD, "by": "A Person"})
    assert (again.status, again.said) == (202, {"removed": False, "confirmed": 1})
    assert house.town.a.kinds().count("approval") == 1


@pytest.mark.parametrize(("after", "status", "removed"), [(2, 200, True), (1, 202, False)])
async def test_second_half_of_a_removal_is_told_as_it_is(house: House, after: int, status: int, removed: bool) -> None:
    """Cut off between the second statement and the removal, the child is still on the list, and that is what is told."""
    await house.ours.post("/protection", CHILD)
    await house.ours.post("/protection/removals", {**CHILD, "by": "A Person"})
    other = await make_token(house.town.a.exchange, "protect", role="approver")
    senior = CaseSystem(port=house.ours.port, token=other.text)
    exchange = house.town.a.exchange
    said = {**CHILD, "by": "Another Person"}
    async with api_served(replace(exchange, store=CutOff(exchange.store, after))) as port:
        first = await CaseSystem(port=port, token=senior.token).post("/protection/removals", said, key="once")
    assert first.status == 503
    again = await senior.post("/protection/removals", said, key="once")
    assert (again.status, again.said["removed"]) == (status, removed)
    assert (await house.ours.get("/protection")).said["location"] == (0 if removed else 1)


async def test_enquiry_cut_off_between_two_councils_asks_the_other_and_nobody_twice(house: House) -> None:
    said = {"partners": [B, "la-999"], "facts": ROUTINE, "body": ENQUIRY}
    again = await house.cut_off_and_repeated(house.ours, "/enquiries", said)
    assert (again.status, [one["outcome"] for one in again.said["results"]]) == (202, ["accepted", "refused"])
    assert [one["message"]["id"] for one in again.said["results"][:1]] == list(house.town.a.memory.sent)


async def test_enquiry_cut_off_is_told_what_was_sent_though_the_limit_was_reached_since(house: House) -> None:
    partners = [B, *(f"la-90{number}" for number in range(4))]
    for org in partners[1:]:
        house.town.a.know(org)
    said = {"partners": partners, "facts": ROUTINE, "body": ENQUIRY}
    exchange = house.town.a.exchange
    async with api_served(replace(exchange, store=CutOff(exchange.store))) as port:
        await CaseSystem(port=port, token=house.ours.token).post("/enquiries", said, key="once")
    (own,) = house.town.a.memory.sent
    asked = replace(exchange, enquiries=_AskedElsewhere())
    async with api_served(asked) as port:
        again = await CaseSystem(port=port, token=house.ours.token).post("/enquiries", said, key="once")
    first, *others = again.said["results"]
    assert (again.status, first["message"]["id"]) == (202, own)
    assert {one["problem"]["code"] for one in others} == {"enquiry.needs-approver"}


class _AskedElsewhere:
    """Five councils were asked about this child meanwhile."""

    async def asked(self, *_: object) -> frozenset[str]:
        return frozenset({B, "la-301", "la-302", "la-303", "la-304"})
