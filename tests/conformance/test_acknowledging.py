"""What a store owes the acts of a receiver: one receipt for each, and every opening logged."""

from __future__ import annotations

import pytest

from gateway.core.errors import IllegalTransitionError
from gateway.core.lifecycle import InboundState, ReceiptEvent
from tests.conformance.steps import MUCH_LATER, arrived, claim_outgoing, log_size, settle
from tests.conformance.subject import Subject
from tests.support.store import PARTNER, at, make_acknowledge, make_receive, message_id


@pytest.mark.parametrize("event", [ReceiptEvent.TAKEN, ReceiptEvent.COLLECTED])
async def test_an_acknowledgement_changes_state_logs_and_owes_the_receipt(
    subject: Subject, event: ReceiptEvent
) -> None:
    receive = make_receive()
    await subject.store.write(receive)
    acknowledge = make_acknowledge(receive.message.id, event)
    assert await subject.store.write(acknowledge) == acknowledge.receipt
    stored = await arrived(subject, receive.message.id)
    assert stored.state is InboundState(event)
    assert stored.receipts == (("checked", receive.receipt), (str(event), acknowledge.receipt))
    assert subject.kinds(receive.message.id) == ["received", acknowledge.entry.kind]
    assert await subject.outbox.owed(at(-1), 10) == ()
    (owed,) = await subject.outbox.owed(at(0), 10)
    assert (owed.partner, owed.kind, owed.ref, owed.data) == (
        PARTNER,
        "receipt",
        f"{receive.message.id}/{event}",
        acknowledge.receipt,
    )


async def test_a_repeated_acknowledgement_answers_the_first_receipt(subject: Subject) -> None:
    own = message_id()
    await subject.store.write(make_receive(id=own))
    first = await subject.store.write(make_acknowledge(own))
    assert await subject.store.write(make_acknowledge(own)) == first
    assert subject.kinds(own) == ["received", "handed-over"]
    assert len(await subject.outbox.owed(at(0), 10)) == 1


async def test_every_opening_is_logged_and_there_is_one_receipt_for_all(subject: Subject) -> None:
    own = message_id()
    await subject.store.write(make_receive(id=own))
    opening = make_acknowledge(own, ReceiptEvent.COLLECTED)
    first = await subject.store.write(opening)
    (owed,) = await subject.outbox.owed(at(0), 10)
    for event in (ReceiptEvent.COLLECTED, ReceiptEvent.TAKEN, ReceiptEvent.TAKEN, ReceiptEvent.COLLECTED):
        answer = await subject.store.write(make_acknowledge(own, event))
        assert (answer == first) is (event is ReceiptEvent.COLLECTED)
    assert subject.kinds(own) == ["received", "collected", "collected", "handed-over", "collected"]
    stored = await arrived(subject, own)
    assert stored.state is InboundState.COLLECTED
    assert [event for event, _ in stored.receipts] == ["checked", "collected", "taken"]
    assert [item.ref for item in await subject.outbox.owed(at(0), 10)] == [owed.ref, f"{own}/taken"]


async def test_a_repeated_acknowledgement_answers_the_first_receipt_after_it_arrived(subject: Subject) -> None:
    own = message_id()
    await subject.store.write(make_receive(id=own))
    first = await subject.store.write(make_acknowledge(own))
    (item,) = await subject.outbox.owed(at(0), 10)
    await subject.store.write(claim_outgoing(item.id))
    await subject.store.write(settle(item.id, None))
    assert await subject.store.write(make_acknowledge(own)) == first
    assert await subject.outbox.owed(at(MUCH_LATER), 10) == ()


async def test_a_message_opened_first_can_still_be_handed_over(subject: Subject) -> None:
    own = message_id()
    await subject.store.write(make_receive(id=own))
    for event in (ReceiptEvent.COLLECTED, ReceiptEvent.TAKEN):
        await subject.store.write(make_acknowledge(own, event))
    stored = await arrived(subject, own)
    assert stored.state is InboundState.COLLECTED
    assert [event for event, _ in stored.receipts] == ["checked", "collected", "taken"]
    assert subject.kinds(own) == ["received", "collected", "handed-over"]


async def test_what_was_refused_or_never_came_cannot_be_acknowledged(subject: Subject) -> None:
    refused = make_receive(refused=True)
    await subject.store.write(refused)
    for own in (refused.message.id, message_id()):
        with pytest.raises(IllegalTransitionError):
            await subject.store.write(make_acknowledge(own))
    assert await subject.outbox.owed(at(0), 10) == ()
    assert await log_size(subject) == 2


@pytest.mark.parametrize("event", [ReceiptEvent.CHECKED, ReceiptEvent.REJECTED])
async def test_only_a_receivers_acts_acknowledge(subject: Subject, event: ReceiptEvent) -> None:
    own = message_id()
    await subject.store.write(make_receive(id=own))
    with pytest.raises(IllegalTransitionError):
        await subject.store.write(make_acknowledge(own, event))
    assert (await arrived(subject, own)).state is InboundState.RECEIVED
