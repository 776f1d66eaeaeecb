"""Aim: use service messages, which need no grant, to destroy, correct, close or settle what is not one's own.

Held off by the receiver looking up what is named among what it exchanged with this partner, in the right direction; by fixed
bodies; and by the grants, wherever a value of a record travels. A partner that signs correctly is not believed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from contracts.events import Action
from gateway import inbound
from gateway.core.errors import RowTamperedError
from gateway.core.lifecycle import InboundState
from gateway.core.receipt import read_receipt
from tests.support.exchange import Town, make_message, make_town, make_town_in_force
from tests.support.messages import MESSAGE_ID, A, C, make_body, submission

EVIL_ID = "019bbd3c-8ac0-7abc-8def-0123456789e1"
STRANGER = "019bbd3c-8ac0-7abc-8def-0123456789ff"
TODAY = "2027-01-15"
SECRET = "Quillfeather"
GIVEN = "child.name.given"


@pytest.fixture
async def town() -> Town:
    """la-850 holds a transfer of la-207."""
    made = await make_town_in_force()
    await made.b.accept(await make_message(made), A, MESSAGE_ID)
    return made


async def bring(town: Town, message_type: str, body: Any, **changes: Any) -> set[tuple[str, str]]:
    """A service message of la-207 that no honest gateway made; what la-850's signed receipt says is wrong with it."""
    members: dict[str, Any] = {"id": EVIL_ID, "typ": message_type, "body": body, "thread": MESSAGE_ID} | changes
    receipt = read_receipt(await town.b.accept(await make_message(town, **members), A, members["id"]))
    if receipt.payload.event == "checked":
        return set()
    assert (receipt.payload.event, receipt.payload.code) == ("rejected", "agreement")
    assert isinstance(receipt.payload.breaches, tuple)
    assert SECRET not in str(receipt.payload.breaches)
    return {(breach.code, breach.path) for breach in receipt.payload.breaches}


def held(town: Town, own: str = MESSAGE_ID, sender: str = A) -> Any:
    return town.b.memory.arrived[sender, own]


def untouched(town: Town) -> bool:
    ledger = town.b.memory.ledger
    return not (ledger.duties or ledger.breaches or ledger.closures or ledger.erasures) and held(town).inner is not None


async def of_theirs(town: Town) -> str:
    """A message of la-850 to la-207."""
    answer = await submission(
        town.b.exchange, partner=A, type="cme.answer",
        body={"case": {"reference": "KC/2027/0042", "answer": "accepted"}}, thread=MESSAGE_ID,
    )  # fmt: skip
    return str(answer["id"])


async def test_honest_withdrawal_is_taken(town: Town) -> None:
    assert await bring(town, "exchange.withdrawal", {"message": MESSAGE_ID, "reason": "in-error"}) == set()
    assert held(town).state is InboundState.WITHDRAWN


async def test_message_of_another_is_not_withdrawn(town: Town) -> None:
    theirs = await of_theirs(town)
    third = held(town)
    town.b.memory.arrived[C, STRANGER] = dataclasses.replace(
        third, row=dataclasses.replace(third.row, sender=C, id=STRANGER)
    )
    for own in (theirs, STRANGER, EVIL_ID):
        found = await bring(town, "exchange.withdrawal", {"message": own, "reason": "in-error"}, id=_other(own))
        assert found == {("message.unknown", "message")}
    assert held(town, STRANGER, C).inner is not None
    assert untouched(town)


def _other(own: str) -> str:
    return own[:-2] + "e2" if own != EVIL_ID else "019bbd3c-8ac0-7abc-8def-0123456789e3"


async def test_message_that_was_refused_is_not_withdrawn(town: Town) -> None:
    refused = "019bbd3c-8ac0-7abc-8def-0123456789d1"
    await town.b.accept(await make_message(town, id=refused, typ="cme.unheard_of"), A, refused)
    found = await bring(town, "exchange.withdrawal", {"message": refused, "reason": "in-error"}, thread=refused)
    assert found == {("message.unknown", "message")}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"child": {"ethnicity": SECRET}}, {("field.not-allowed", "values.child.ethnicity")}),
        ({"child": {"nationality": [SECRET]}}, {("field.not-allowed", "values.child.nationality")}),
        ({"safeguarding": {"summary": SECRET}}, {("field.not-allowed", "values.safeguarding.summary")}),
        ({"note": SECRET}, {("field.unknown", "values.note")}),
    ],
)
async def test_correction_carries_nothing_that_the_message_could_not(town: Town, values: Any, expected: Any) -> None:
    paths = ["child.ethnicity", "child.nationality", "safeguarding.summary"]
    found = await bring(town, "exchange.correction", {"message": MESSAGE_ID, "paths": paths, "values": values})
    assert found == expected
    assert untouched(town)


async def test_correction_of_the_receivers_own_message_is_refused(town: Town) -> None:
    theirs = await of_theirs(town)
    values = {"case": {"answer": "wrong-council"}}
    body = {"message": theirs, "paths": ["case.answer"], "values": values}
    assert await bring(town, "exchange.correction", body) == {("message.unknown", "message")}


async def test_values_do_not_travel_while_the_agreement_is_suspended(town: Town) -> None:
    await town.act(town.b, Action.SUSPEND, push=False)
    body: dict[str, Any] = {"message": MESSAGE_ID, "paths": [GIVEN], "values": {"child": {"name": {"given": SECRET}}}}
    assert await bring(town, "exchange.correction", body) == {("agreement.not-in-force", "")}
    again = await bring(town, "exchange.correction", body | {"values": {}}, id=STRANGER)
    assert again == set()


async def test_agreement_that_was_never_in_force_carries_no_service_message() -> None:
    town = make_town()
    await town.act(town.a, Action.PROPOSE)
    found = await bring(town, "case.closed", {"on": TODAY, "status": "located"})
    assert found == {("agreement.not-in-force", "")}
    body = {"message": MESSAGE_ID, "reason": "in-error"}
    assert await bring(town, "exchange.withdrawal", body, id=STRANGER) == {("agreement.not-in-force", "")}


async def test_agreement_terminated_before_both_signed_carries_none() -> None:
    town = make_town()
    await town.act(town.a, Action.PROPOSE)
    await town.act(town.b, Action.TERMINATE)
    found = await bring(town, "case.closed", {"on": TODAY, "status": "located"})
    assert found == {("agreement.not-in-force", "")}


async def test_message_whose_row_names_another_agreement_than_its_sealed_bytes_is_not_spoken_of(town: Town) -> None:
    message = held(town)
    message.row = dataclasses.replace(message.row, agreement="sha256:" + "77" * 32)
    with pytest.raises(RowTamperedError):
        await bring(town, "exchange.withdrawal", {"message": MESSAGE_ID, "reason": "in-error"})
    assert untouched(town)


@pytest.mark.parametrize("thread", [None, STRANGER])
async def test_another_thread_than_the_messages_does_not_do(town: Town, thread: str | None) -> None:
    body = {"message": MESSAGE_ID, "reason": "in-error"}
    assert await bring(town, "exchange.withdrawal", body, thread=thread) == {("message.unknown", "thread")}
    closed = {"on": TODAY, "status": "located"}
    found = await bring(town, "case.closed", closed, thread=thread, id=STRANGER)
    assert found == {("message.unknown", "thread")}
    assert untouched(town)


async def test_thread_of_another_partner_is_not_closed(town: Town) -> None:
    message = held(town)
    town.b.memory.arrived[C, STRANGER] = dataclasses.replace(
        message, row=dataclasses.replace(message.row, sender=C, id=STRANGER, thread=STRANGER)
    )
    found = await bring(town, "case.closed", {"on": TODAY, "status": "located"}, thread=STRANGER)
    assert found == {("message.unknown", "thread")}


async def test_acknowledgement_settles_nothing_that_its_sender_never_received(town: Town) -> None:
    theirs = await of_theirs(town)
    ack = {"done": True, "on": TODAY}
    for number, own in enumerate((theirs, MESSAGE_ID, STRANGER)):
        found = await bring(
            town, "exchange.ack", {"message": own, **ack}, id=f"019bbd3c-8ac0-7abc-8def-0123456789b{number}"
        )
        assert found == {("message.unknown", "message")}


async def test_acknowledgement_of_an_acknowledgement_is_refused(town: Town) -> None:
    closed = {"on": TODAY, "status": "located"}
    assert await bring(town, "case.closed", closed) == set()
    body = {"message": EVIL_ID, "done": True, "on": TODAY}
    answer = await submission(town.b.exchange, partner=A, type="exchange.ack", body=body)
    found = await bring(town, "exchange.ack", body | {"message": answer["id"]}, id=STRANGER)
    assert found == {("message.unknown", "message")}


async def test_nobody_says_destroyed_of_what_it_was_not_sent(town: Town) -> None:
    theirs = await of_theirs(town)
    for number, messages in enumerate(([MESSAGE_ID], [STRANGER], [theirs, STRANGER])):
        body = {"messages": messages, "on": TODAY, "how": "deleted"}
        found = await bring(town, "destruction.receipt", body, id=f"019bbd3c-8ac0-7abc-8def-0123456789c{number}")
        assert found == {("message.unknown", "messages")}


async def test_free_text_finds_no_place(town: Town) -> None:
    body = {"message": MESSAGE_ID, "reason": SECRET, "note": SECRET}
    assert await bring(town, "exchange.withdrawal", body) == {("field.value", "reason"), ("field.unknown", "note")}
    paths = {"message": MESSAGE_ID, "paths": [SECRET.lower()], "reason": "unclear"}
    assert await bring(town, "exchange.question", paths, id=STRANGER) == {("message.unknown", "message")}
    notice = {"message": MESSAGE_ID, "right": "erase", "paths": [SECRET.lower()], "by": TODAY}
    assert await bring(town, "rights.notice", notice, id=_other(STRANGER)) == {("field.value", "paths")}
    assert not any(SECRET.encode() in entry.data for entry in town.b.memory.log)


async def test_day_of_another_time_is_refused(town: Town) -> None:
    assert await bring(town, "case.closed", {"on": "2099-01-01", "status": "located"}) == {("field.value", "on")}
    assert untouched(town)


async def test_withdrawal_that_comes_again_does_nothing_again(town: Town) -> None:
    await inbound.take(MESSAGE_ID, town.b.exchange)
    members = {"id": EVIL_ID, "typ": "exchange.withdrawal", "thread": MESSAGE_ID}
    envelope = await make_message(town, **members, body={"message": MESSAGE_ID, "reason": "wrong-child"})
    first = await town.b.accept(envelope, A, EVIL_ID)
    entries = len(town.b.memory.log)
    assert await town.b.accept(envelope, A, EVIL_ID) == first
    assert len(town.b.memory.log) == entries
    assert len(town.b.memory.ledger.breaches) == 1


async def test_rejected_service_message_keeps_nothing_of_its_content(town: Town) -> None:
    await bring(town, "exchange.correction", {"message": STRANGER, "paths": [GIVEN], "values": make_body()})
    assert held(town, EVIL_ID).inner is None
    assert town.b.kinds()[-1] == "refused-inbound"
