"""What a store owes a partner's message: kept once with its receipt, or refused whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.commands import Reception
from gateway.core.errors import HeadsMovedError
from gateway.core.lifecycle import InboundState
from tests.conformance.steps import TAGS, THIRD, arrived
from tests.conformance.subject import Subject
from tests.support.store import PARTNER, START, make_acknowledge, make_event, make_heads, make_receive, message_id


async def test_a_new_message_is_stored_with_its_receipt_and_one_entry(subject: Subject) -> None:  # I2
    receive = make_receive()
    received = await subject.store.write(receive)
    assert (received.reception, received.receipt) == (Reception.NEW, receive.receipt)
    stored = await arrived(subject, receive.message.id)
    assert (stored.state, stored.inner) == (InboundState.RECEIVED, receive.inner)
    assert (stored.sender, stored.env, stored.received_at) == (PARTNER, receive.message.env, int(START.timestamp()))
    assert stored.receipts == (("checked", receive.receipt),)
    assert subject.kinds(receive.message.id) == ["received"]
    assert await subject.inbox.message(message_id()) is None


async def test_the_same_bytes_again_get_the_identical_receipt_and_change_nothing(subject: Subject) -> None:  # I7
    own = message_id()
    first = await subject.store.write(make_receive(id=own))
    await subject.store.write(make_event(2))  # whatever became of the agreement
    again = await subject.store.write(make_receive(id=own))  # another receipt was made for it, and is dropped
    assert (again.reception, again.receipt) == (Reception.DUPLICATE, first.receipt)
    assert (await arrived(subject, own)).receipts == (("checked", first.receipt),)
    assert subject.kinds(own) == ["received"]


async def test_the_same_bytes_under_another_id_are_the_message_they_were(subject: Subject) -> None:
    receive, again = make_receive(), make_receive()
    first = await subject.store.write(receive)
    same = replace(again, message=replace(again.message, env=receive.message.env))
    answer = await subject.store.write(same)
    assert (answer.reception, answer.receipt) == (Reception.DUPLICATE, first.receipt)
    assert await subject.inbox.message(same.message.id) is None


async def test_the_same_id_with_other_bytes_is_a_conflict_and_changes_nothing(subject: Subject) -> None:  # I7
    own = message_id()
    await subject.store.write(make_receive(id=own))
    before = await arrived(subject, own)
    for other in (make_receive(id=own, data=b"other bytes"), make_receive(id=own, data=b"other bytes", refused=True)):
        answer = await subject.store.write(other)
        assert (answer.reception, answer.receipt) == (Reception.CONFLICT, b"")
        assert await subject.inbox.stored_receipt(PARTNER, other.message.env) is None
    assert await arrived(subject, own) == before
    assert subject.kinds(own) == ["received"]


async def test_a_rejected_message_is_kept_without_a_body_and_with_one_entry(subject: Subject) -> None:
    receive = make_receive(refused=True)
    answer = await subject.store.write(receive)
    assert (answer.reception, answer.receipt) == (Reception.NEW, receive.receipt)
    stored = await arrived(subject, receive.message.id)
    assert (stored.state, stored.inner) == (InboundState.REFUSED, None)
    assert stored.receipts == (("rejected", receive.receipt),)
    assert subject.kinds(receive.message.id) == ["refused-inbound"]


async def test_a_rejected_message_sent_again_gets_the_identical_rejection(subject: Subject) -> None:
    own = message_id()
    first = await subject.store.write(make_receive(id=own, refused=True))
    again = await subject.store.write(make_receive(id=own))  # it would be accepted by now
    assert (again.reception, again.receipt) == (Reception.DUPLICATE, first.receipt)
    assert (await arrived(subject, own)).state is InboundState.REFUSED


async def test_a_message_checked_against_events_that_moved_is_refused(subject: Subject) -> None:
    receive = make_receive()
    await subject.store.write(make_event(2))
    with pytest.raises(HeadsMovedError):
        await subject.store.write(receive)
    assert await subject.inbox.env_of(PARTNER, receive.message.id) is None
    again = make_receive(id=receive.message.id, heads=make_heads(a=make_event(2).event.hash))
    assert (await subject.store.write(again)).reception is Reception.NEW


async def test_a_rejection_depends_on_no_events(subject: Subject) -> None:
    await subject.store.write(make_event(2))
    assert (await subject.store.write(make_receive(refused=True))).reception is Reception.NEW


async def test_the_stored_receipt_is_found_by_the_bytes_alone(subject: Subject) -> None:
    receive = make_receive()
    await subject.store.write(receive)
    row = receive.message
    assert await subject.inbox.stored_receipt(row.sender, row.env) == receive.receipt
    assert await subject.inbox.stored_receipt(THIRD, row.env) is None
    assert await subject.inbox.env_of(row.sender, row.id) == row.env
    assert await subject.inbox.env_of(row.sender, message_id()) is None


async def test_one_id_from_two_senders_is_two_messages(subject: Subject) -> None:
    own = message_id()
    for sender in (PARTNER, THIRD):
        assert (await subject.store.write(make_receive(id=own, sender=sender))).reception is Reception.NEW
    await subject.store.write(make_acknowledge(own, sender=THIRD))
    assert (await arrived(subject, own, PARTNER)).state is InboundState.RECEIVED
    third = await arrived(subject, own, THIRD)
    assert (third.sender, third.state, len(third.receipts)) == (THIRD, InboundState.TAKEN, 2)
    assert await subject.inbox.message(own) is None  # not to be guessed which


async def test_a_protected_child_that_arrives_is_listed_and_logged_once(subject: Subject) -> None:
    for _ in range(2):
        await subject.store.write(make_receive(protect=TAGS))
    assert await subject.protection.kinds(TAGS) == {"location"}
    assert [kind for kind, _ in subject.log()][1:] == ["received", "protection-added", "received"]
