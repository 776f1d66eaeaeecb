"""What a store makes of receipts that come by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import IllegalTransitionError, ReceiptRejectedError
from gateway.core.lifecycle import ReceiptEvent, State
from gateway.core.retry import DeadLetter
from tests.conformance.steps import bring, due, found, lease, log_size, state, submitted, take
from tests.conformance.subject import Subject
from tests.support.store import make_complete, make_fail, make_submit

UNDELIVERED = [State.QUEUED, State.SENDING, State.HELD, State.DEAD, State.EXPIRED, State.CANCELLED]


@pytest.mark.parametrize("before", UNDELIVERED)
async def test_a_receipt_is_the_truth_from_every_state_before_delivery(subject: Subject, before: State) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    await bring(subject, submit, before)
    assert await subject.store.write(take(submit, ReceiptEvent.TAKEN)) is True
    stored = await found(subject, submit)
    assert (stored.state, stored.held_for) == (State.TAKEN, ())
    assert [event for event, _ in stored.receipts] == ["taken"]
    assert subject.kinds(submit.message.id)[-2:] == ["delivered", "taken"]
    assert await due(subject) == [behind.message.id]


async def test_a_receipt_that_came_by_itself_ends_the_attempt_under_way(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit)
    await subject.store.write(take(submit, ReceiptEvent.CHECKED))
    assert await subject.store.write(make_complete(leased, submit.message.id)) is False
    assert await subject.store.write(make_fail(leased, submit.message.id, DeadLetter())) is False
    assert await state(subject, submit) is State.DELIVERED
    assert subject.kinds(submit.message.id) == ["submitted", "delivered"]


async def test_receipts_in_any_order_lead_on_and_never_back(subject: Subject) -> None:
    submit = await submitted(subject)
    for event in (ReceiptEvent.COLLECTED, ReceiptEvent.CHECKED, ReceiptEvent.TAKEN, ReceiptEvent.REJECTED):
        assert await subject.store.write(take(submit, event)) is True  # kept as evidence
        assert await state(subject, submit) is State.COLLECTED
    assert [event for event, _ in (await found(subject, submit)).receipts] == [
        "collected",
        "checked",
        "taken",
        "rejected",
    ]
    assert subject.kinds(submit.message.id) == ["submitted", "delivered", "collected"]


@pytest.mark.parametrize("event", list(ReceiptEvent))
async def test_a_repeated_receipt_changes_nothing(subject: Subject, event: ReceiptEvent) -> None:
    submit = await submitted(subject)
    first = take(submit, event)
    assert await subject.store.write(first) is True
    before = await found(subject, submit), subject.log()
    assert await subject.store.write(take(submit, event)) is False
    assert await subject.store.write(take(submit, event, leaf=b"n" * 32)) is False
    assert (await found(subject, submit), subject.log()) == before
    assert before[0].receipts == ((str(event), first.receipt.data),)


async def test_a_receipt_whose_entry_stood_in_an_earlier_one_is_refused(subject: Subject) -> None:
    first, second = await submitted(subject, b"1"), await submitted(subject, b"2")
    leaf = b"l" * 32
    await subject.store.write(take(first, ReceiptEvent.TAKEN, leaf=leaf))
    for used in (take(second, ReceiptEvent.TAKEN, leaf=leaf), take(first, ReceiptEvent.COLLECTED, leaf=leaf)):
        with pytest.raises(ReceiptRejectedError):
            await subject.store.write(used)
    assert await state(subject, second) is State.QUEUED
    assert await state(subject, first) is State.TAKEN
    assert subject.kinds(second.message.id) == ["submitted"]
    assert await subject.store.write(take(second, ReceiptEvent.TAKEN)) is True


async def test_a_receipt_without_an_entry_for_the_state_it_leads_to_is_a_bug(subject: Subject) -> None:
    submit = await submitted(subject)
    receipt = take(submit, ReceiptEvent.TAKEN)
    entries = {state: entry for state, entry in receipt.entries.items() if state is not State.TAKEN}
    with pytest.raises(IllegalTransitionError):
        await subject.store.write(replace(receipt, entries=entries))
    stored = await found(subject, submit)
    assert (stored.state, stored.receipts) == (State.QUEUED, ())
    assert subject.kinds(submit.message.id) == ["submitted"]


async def test_a_receipt_for_no_message_of_ours_is_refused(subject: Subject) -> None:
    with pytest.raises(ReceiptRejectedError):
        await subject.store.write(take(make_submit(), ReceiptEvent.TAKEN))
    assert await log_size(subject) == 1
