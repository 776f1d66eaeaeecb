"""How a store ends an attempt at a delivery: done with its receipt, or failed as was decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import ReceiptRejectedError
from gateway.core.lifecycle import Event, ReceiptEvent, State
from gateway.core.retry import DeadLetter, Expire, HoldLane, RetryAt
from tests.conformance.steps import MUCH_LATER, due, found, in_turn, lease, move, state, submitted, take
from tests.conformance.subject import Subject
from tests.support.store import at, make_complete, make_entry, make_event, make_fail


async def test_a_delivery_is_done_with_its_receipt_and_one_entry(subject: Subject) -> None:  # I3
    submit = await submitted(subject)
    complete = make_complete(await lease(subject, submit), submit.message.id)
    assert await subject.store.write(complete) is True
    stored = await found(subject, submit)
    assert (stored.state, stored.receipts) == (State.DELIVERED, (("checked", complete.receipt.data),))
    assert subject.kinds(submit.message.id) == ["submitted", "delivered"]
    assert await due(subject, MUCH_LATER) == []


async def test_a_rejection_is_final_and_is_no_delivery(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    complete = make_complete(await lease(subject, submit), submit.message.id, ReceiptEvent.REJECTED)
    assert await subject.store.write(complete) is True
    stored = await found(subject, submit)
    assert (stored.state, stored.receipts) == (State.REJECTED, (("rejected", complete.receipt.data),))
    assert subject.kinds(submit.message.id) == ["submitted", "rejected"]
    assert await due(subject, MUCH_LATER) == [behind.message.id]


async def test_a_completion_with_a_used_entry_is_refused_and_ends_no_attempt(subject: Subject) -> None:
    first, second = await submitted(subject, b"1"), await submitted(subject, b"2")
    leaf = b"l" * 32
    await subject.store.write(take(first, ReceiptEvent.CHECKED, leaf=leaf))
    leased = await lease(subject, second)
    complete = make_complete(leased, second.message.id)
    with pytest.raises(ReceiptRejectedError):
        await subject.store.write(replace(complete, receipt=replace(complete.receipt, leaf=leaf)))
    stored = await found(subject, second)
    assert (stored.state, stored.receipts) == (State.SENDING, ())
    assert await subject.store.write(make_fail(leased, second.message.id)) is True


async def test_a_failed_attempt_is_tried_again_when_it_was_decided(subject: Subject) -> None:
    submit = await submitted(subject)
    await submitted(subject)  # waits behind it
    leased = await lease(subject, submit)
    assert await subject.store.write(make_fail(leased, submit.message.id, RetryAt(at=at(300)), status=503)) is True
    stored = await found(subject, submit)
    assert (stored.state, stored.attempts, stored.last_error) == (State.QUEUED, 1, "http.503")
    assert subject.kinds(submit.message.id) == ["submitted"]
    assert await due(subject, 299) == []
    candidate = await in_turn(subject, submit, 300)
    assert (candidate.attempts, candidate.first_attempt_at, candidate.last_statuses) == (1, at(0), (503,))


async def test_a_candidate_shows_the_latest_answers_newest_last(subject: Subject) -> None:
    submit = await submitted(subject)
    for number, status in enumerate((404, None, 503)):
        leased = await lease(subject, submit, now=number)
        assert leased.attempt == number + 1
        what = RetryAt(at=at(number + 1))
        await subject.store.write(make_fail(leased, submit.message.id, what, status=status))
    candidate = await in_turn(subject, submit, 3)
    assert (candidate.attempts, candidate.first_attempt_at) == (3, at(0))
    assert candidate.last_statuses == (404, None, 503)


async def test_a_lane_held_for_a_refusing_partner_waits_for_a_person(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    other = await submitted(subject, b"other")
    held = make_entry("held", msg=submit.message.id)
    leased = await lease(subject, submit)
    await subject.store.write(make_fail(leased, submit.message.id, HoldLane(status=404), status=404, entry=held))
    stored = await found(subject, submit)
    assert (stored.state, stored.held_for) == (State.HELD, ("lane.held",))
    assert subject.kinds(submit.message.id) == ["submitted", "held"]
    await subject.store.write(make_event(2))  # does not release what waits for a person
    assert await due(subject, MUCH_LATER) == [other.message.id]
    assert await subject.store.write(move(submit, Event.RELEASE, 100)) is State.QUEUED
    candidate = await in_turn(subject, submit, 100)
    assert (candidate.attempts, candidate.first_attempt_at, candidate.last_statuses) == (0, None, ())
    assert (await found(subject, submit)).held_for == ()
    assert behind.message.id not in await due(subject, 100)


async def test_a_dead_message_holds_its_lane_and_no_other(subject: Subject) -> None:  # I6
    dead, behind = await submitted(subject, b"1"), await submitted(subject, b"1")
    other = await submitted(subject, b"2")
    entry = make_entry("dead-lettered", msg=dead.message.id)
    await subject.store.write(make_fail(await lease(subject, dead), dead.message.id, DeadLetter(), entry=entry))
    assert await state(subject, dead) is State.DEAD
    assert subject.kinds(dead.message.id) == ["submitted", "dead-lettered"]
    assert await due(subject, MUCH_LATER) == [other.message.id]
    await subject.store.write(move(dead, Event.CANCEL))
    assert set(await due(subject)) == {behind.message.id, other.message.id}


async def test_an_attempt_that_ends_past_its_time_expires_the_message(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    entry = make_entry("expired", msg=submit.message.id)
    await subject.store.write(make_fail(await lease(subject, submit), submit.message.id, Expire(), entry=entry))
    assert await state(subject, submit) is State.EXPIRED
    assert subject.kinds(submit.message.id) == ["submitted", "expired"]
    assert await due(subject) == [behind.message.id]
