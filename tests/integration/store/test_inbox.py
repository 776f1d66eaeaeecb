"""Partners' messages: T4 and T5, and the invariants I2 and I7 of log B4."""

from __future__ import annotations

import pytest

from gateway.core.commands import Reception
from gateway.core.errors import HeadsMovedError, IllegalTransitionError
from gateway.core.lifecycle import InboundState, ReceiptEvent
from gateway.ports import InboundMessage
from tests.support.store import (
    Lab,
    at,
    make_acknowledge,
    make_event,
    make_heads,
    make_receive,
    message_id,
    rows,
)

COUNTS = "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM message), (SELECT count(*) FROM handoff)"
ENTRIES = "SELECT kind FROM log_entry WHERE kind != 'agreement-event' ORDER BY idx"


async def found(lab: Lab, own: str, sender: str | None = None) -> InboundMessage:
    stored = await lab.open.read.inbox.message(own, sender)
    assert stored is not None
    return stored


async def test_a_new_message_is_stored_with_one_handoff_and_one_entry(lab: Lab) -> None:  # I2
    receive = make_receive()
    received = await lab.open.store.write(receive)
    assert (received.reception, received.receipt) == (Reception.NEW, receive.receipt)
    stored = await found(lab, receive.message.id)
    assert (stored.state, stored.inner) == (InboundState.RECEIVED, receive.inner)
    assert stored.receipts == (("checked", receive.receipt),)
    assert rows(lab.path, COUNTS) == [(1, 1, 1)]
    assert rows(lab.path, ENTRIES) == [("received",)]


async def test_the_same_bytes_again_get_the_identical_receipt_and_change_nothing(lab: Lab) -> None:  # I7
    own = message_id()
    first = await lab.open.store.write(make_receive(id=own))
    again = await lab.open.store.write(make_receive(id=own))  # another receipt was made for it, and is dropped
    assert (again.reception, again.receipt) == (Reception.DUPLICATE, first.receipt)
    assert rows(lab.path, COUNTS) == [(1, 1, 1)]
    assert rows(lab.path, ENTRIES) == [("received",)]


async def test_the_same_bytes_twice_at_once_are_one_message(lab: Lab) -> None:  # I2
    own = message_id()
    futures = [lab.open.store.submit(make_receive(id=own)) for _ in range(10)]
    answers = [future.result(10) for future in futures]
    assert [answer.reception for answer in answers] == [Reception.NEW] + [Reception.DUPLICATE] * 9
    assert len({answer.receipt for answer in answers}) == 1
    assert rows(lab.path, COUNTS) == [(1, 1, 1)]


async def test_the_same_id_with_other_bytes_is_a_conflict_and_changes_nothing(lab: Lab) -> None:  # I7
    own = message_id()
    first = await lab.open.store.write(make_receive(id=own))
    other = await lab.open.store.write(make_receive(id=own, data=b"other bytes"))
    assert (other.reception, other.receipt) == (Reception.CONFLICT, b"")
    assert rows(lab.path, ENTRIES) == [("received",)]
    assert (await found(lab, own)).receipts == (("checked", first.receipt),)


async def test_a_rejected_message_has_an_inbox_row_and_an_entry_and_no_handoff(lab: Lab) -> None:
    receive = make_receive(refused=True)
    await lab.open.store.write(receive)
    stored = await found(lab, receive.message.id)
    assert (stored.state, stored.inner) == (InboundState.REFUSED, None)
    assert stored.receipts == (("rejected", receive.receipt),)
    assert rows(lab.path, "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM handoff)") == [(1, 0)]
    assert rows(lab.path, "SELECT count(*) FROM content") == [(0,)]
    assert rows(lab.path, ENTRIES) == [("refused-inbound",)]


async def test_a_rejected_message_sent_again_gets_the_identical_rejection(lab: Lab) -> None:
    own = message_id()
    first = await lab.open.store.write(make_receive(id=own, refused=True))
    again = await lab.open.store.write(make_receive(id=own))  # it would be accepted by now
    assert (again.reception, again.receipt) == (Reception.DUPLICATE, first.receipt)
    assert (await found(lab, own)).state is InboundState.REFUSED


async def test_a_message_checked_against_events_that_moved_is_refused(lab: Lab) -> None:
    receive = make_receive()
    await lab.open.store.write(make_event(2))
    with pytest.raises(HeadsMovedError):
        await lab.open.store.write(receive)
    assert rows(lab.path, COUNTS) == [(0, 0, 0)]
    again = make_receive(id=receive.message.id, heads=make_heads(a=make_event(2).event.hash))
    assert (await lab.open.store.write(again)).reception is Reception.NEW


async def test_the_stored_receipt_is_found_by_the_bytes_alone(lab: Lab) -> None:
    receive = make_receive()
    await lab.open.store.write(receive)
    inbox, row = lab.open.read.inbox, receive.message
    assert await inbox.stored_receipt(row.sender, row.env) == receive.receipt
    assert await inbox.stored_receipt("la-903", row.env) is None
    assert await inbox.env_of(row.sender, row.id) == row.env
    assert await inbox.env_of(row.sender, message_id()) is None


async def test_one_id_from_two_senders_is_two_messages(lab: Lab) -> None:
    own = message_id()
    for sender in ("la-902", "la-903"):
        assert (await lab.open.store.write(make_receive(id=own, sender=sender))).reception is Reception.NEW
    assert (await found(lab, own, "la-903")).sender == "la-903"
    assert await lab.open.read.inbox.message(own) is None  # not to be guessed which


async def test_a_protected_child_that_arrives_is_listed_once(lab: Lab) -> None:
    tags = frozenset({b"t" * 32, b"u" * 32})
    await lab.open.store.write(make_receive(protect=tags))
    await lab.open.store.write(make_receive(protect=tags))
    assert await lab.open.read.protection.kinds([b"u" * 32]) == {"location"}
    assert rows(lab.path, ENTRIES) == [("received",), ("protection-added",), ("received",)]


@pytest.mark.parametrize(
    ("event", "state", "handoff"),
    [
        (ReceiptEvent.TAKEN, InboundState.TAKEN, "done"),
        (ReceiptEvent.COLLECTED, InboundState.COLLECTED, "waiting"),
    ],
)
async def test_an_acknowledgement_changes_state_logs_and_owes_the_receipt(
    lab: Lab, event: ReceiptEvent, state: InboundState, handoff: str
) -> None:
    receive = make_receive()
    await lab.open.store.write(receive)
    acknowledge = make_acknowledge(receive.message.id, event)
    assert await lab.open.store.write(acknowledge) == acknowledge.receipt
    stored = await found(lab, receive.message.id)
    assert stored.state is state
    assert stored.receipts == (("checked", receive.receipt), (str(event), acknowledge.receipt))
    assert rows(lab.path, "SELECT state FROM handoff") == [(handoff,)]
    (owed,) = await lab.open.read.outbox.owed(at(0), 10)
    assert (owed.partner, owed.kind, owed.data) == ("la-902", "receipt", acknowledge.receipt)


async def test_a_repeated_acknowledgement_answers_the_first_receipt(lab: Lab) -> None:
    receive = make_receive()
    await lab.open.store.write(receive)
    first = await lab.open.store.write(make_acknowledge(receive.message.id))
    assert await lab.open.store.write(make_acknowledge(receive.message.id)) == first
    assert rows(lab.path, ENTRIES) == [("received",), ("handed-over",)]
    assert len(await lab.open.read.outbox.owed(at(0), 10)) == 1


async def test_a_message_opened_first_can_still_be_handed_over(lab: Lab) -> None:
    receive = make_receive()
    await lab.open.store.write(receive)
    for event in (ReceiptEvent.COLLECTED, ReceiptEvent.TAKEN):
        await lab.open.store.write(make_acknowledge(receive.message.id, event))
    stored = await found(lab, receive.message.id)
    assert stored.state is InboundState.COLLECTED
    assert [event for event, _ in stored.receipts] == ["checked", "collected", "taken"]
    assert rows(lab.path, "SELECT state FROM handoff") == [("done",)]


async def test_what_was_refused_or_never_came_cannot_be_acknowledged(lab: Lab) -> None:
    refused = make_receive(refused=True)
    await lab.open.store.write(refused)
    for own in (refused.message.id, message_id()):
        with pytest.raises(IllegalTransitionError):
            await lab.open.store.write(make_acknowledge(own))
    assert await lab.open.read.outbox.owed(at(0), 10) == ()


async def test_lists_show_headers_and_no_body(lab: Lab) -> None:
    receive = make_receive()
    await lab.open.store.write(receive)
    (listed,) = await lab.open.read.overview.inbox(10)
    assert (listed.id, listed.inner) == (receive.message.id, None)
    assert (await lab.open.read.overview.counts())["inbound.received"] == 1
