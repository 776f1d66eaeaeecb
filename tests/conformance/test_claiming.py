"""What a store owes whoever claims a delivery: one lease at a time, and the head of a lane alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import HeadsMovedError
from gateway.core.lifecycle import State
from gateway.core.retry import DeadLetter, RetryAt
from tests.conformance.steps import due, found, in_turn, lease, state, submitted
from tests.conformance.subject import Subject
from tests.support.store import at, make_claim, make_complete, make_event, make_fail, message_id


async def test_a_claimed_message_is_sending_and_not_due_while_the_lease_lasts(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit, now=5)
    assert (leased.delivery, leased.attempt, leased.until) == (1, 1, at(65))
    stored = await found(subject, submit)
    assert (stored.state, stored.attempts) == (State.SENDING, 1)
    assert await due(subject, 64) == []


async def test_a_leased_message_cannot_be_claimed_again(subject: Subject) -> None:
    submit = await submitted(subject)
    candidate = await in_turn(subject, submit)
    leased = await subject.store.write(make_claim(candidate))
    assert await subject.store.write(make_claim(candidate)) is None
    assert (await found(subject, submit)).attempts == 1
    assert leased is not None
    assert await subject.store.write(make_complete(leased, submit.message.id)) is True


async def test_only_the_head_of_a_lane_in_its_turn_can_be_claimed(subject: Subject) -> None:  # I6
    first, second = await submitted(subject), await submitted(subject)
    head = await in_turn(subject, first)
    behind = replace(head, delivery=head.delivery + 1, message_id=second.message.id)
    for candidate in (behind, replace(head, delivery=behind.delivery), replace(head, message_id=message_id())):
        assert await subject.store.write(make_claim(candidate)) is None
    await subject.store.write(make_fail(await lease(subject, first), first.message.id, RetryAt(at=at(100))))
    assert await subject.store.write(make_claim(head, now=at(99))) is None
    assert await subject.store.write(make_claim(head, now=at(100))) is not None
    assert await state(subject, second) is State.QUEUED


async def test_a_claim_checked_against_events_that_moved_is_refused(subject: Subject) -> None:
    submit = await submitted(subject)
    candidate = await in_turn(subject, submit)
    await subject.store.write(make_event(2))
    with pytest.raises(HeadsMovedError):
        await subject.store.write(make_claim(candidate))
    stored = await found(subject, submit)
    assert (stored.state, stored.attempts) == (State.QUEUED, 0)


async def test_a_lease_that_ended_comes_back_as_a_queued_candidate(subject: Subject) -> None:
    submit = await submitted(subject)
    await lease(subject, submit, length=60)
    assert await due(subject, 59) == []
    candidate = await in_turn(subject, submit, 60)
    assert (candidate.state, candidate.attempts) == (State.QUEUED, 1)
    assert (candidate.first_attempt_at, candidate.last_statuses) == (at(0), (None,))
    again = await subject.store.write(make_claim(candidate, now=at(60)))
    assert again is not None
    assert again.attempt == 2


async def test_a_late_end_of_an_attempt_under_another_lease_changes_nothing(subject: Subject) -> None:  # I8
    submit = await submitted(subject)
    late = await lease(subject, submit)
    current = await lease(subject, submit, now=60)
    assert await subject.store.write(make_complete(late, submit.message.id, now=at(61))) is False
    assert await subject.store.write(make_fail(late, submit.message.id, DeadLetter(), now=at(61))) is False
    stored = await found(subject, submit)
    assert (stored.state, stored.receipts, stored.last_error) == (State.SENDING, (), None)
    assert subject.kinds(submit.message.id) == ["submitted"]
    assert await subject.store.write(make_complete(current, submit.message.id)) is True


async def test_a_late_completion_counts_while_nobody_has_taken_over(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit, length=60)
    assert await subject.store.write(make_complete(leased, submit.message.id, now=at(1_000))) is True
    assert await state(subject, submit) is State.DELIVERED


async def test_an_attempt_ends_once(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit)
    assert await subject.store.write(make_fail(leased, submit.message.id)) is True
    assert await subject.store.write(make_fail(leased, submit.message.id)) is False
    assert await subject.store.write(make_complete(leased, submit.message.id)) is False
    assert await state(subject, submit) is State.QUEUED


async def test_the_end_of_an_attempt_at_no_message_of_ours_changes_nothing(subject: Subject) -> None:
    leased = await lease(subject, await submitted(subject))
    assert await subject.store.write(make_complete(leased, message_id())) is False
    assert await subject.store.write(make_fail(leased, message_id())) is False
