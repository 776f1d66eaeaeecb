"""What a store owes a submission: stored with its answer, once, against the events it was checked with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import HeadsMovedError, IdempotencyConflictError
from gateway.core.lifecycle import State
from gateway.ports import Candidate
from tests.conformance.steps import OTHER_DIGEST, due, found, in_turn, log_size
from tests.conformance.subject import Subject
from tests.support.store import PARTNER, at, make_event, make_heads, make_submit, message_id


async def test_a_submission_is_stored_with_its_bytes_and_one_entry(subject: Subject) -> None:
    submit = make_submit(inner=b"signed bytes")
    accepted = await subject.store.write(submit)
    assert (accepted.index, accepted.repeated, accepted.response) == (1, False, submit.idempotency.response)
    stored = await found(subject, submit)
    assert (stored.state, stored.envelope, stored.inner) == (State.QUEUED, submit.envelope, b"signed bytes")
    assert (stored.attempts, stored.last_error, stored.held_for, stored.receipts) == (0, None, (), ())
    assert subject.kinds(submit.message.id) == ["submitted"]
    assert await subject.outbox.message(message_id()) is None


async def test_a_submission_is_due_from_when_it_was_made(subject: Subject) -> None:
    submit = make_submit(when=at(50))
    await subject.store.write(submit)
    assert await due(subject, 49) == []
    assert await in_turn(subject, submit, 50) == Candidate(
        delivery=1,
        message_id=submit.message.id,
        partner=PARTNER,
        state=State.QUEUED,
        attempts=0,
        first_attempt_at=None,
        last_statuses=(),
    )


async def test_a_repeated_request_gets_the_first_answer_and_nothing_more(subject: Subject) -> None:  # I1
    submit = make_submit(key="same")
    first = await subject.store.write(submit)
    again = await subject.store.write(make_submit(key="same", lane=b"another"))
    assert (again.response, again.repeated, again.index) == (first.response, True, None)
    assert await due(subject) == [submit.message.id]
    assert [listed.id for listed in await subject.overview.outbox(10)] == [submit.message.id]
    assert [kind for kind, _ in subject.log()] == ["agreement-event", "submitted"]
    assert await subject.outbox.response("cli", "same") == (b"request", first.response)
    assert await subject.outbox.response("cli", "other") is None


async def test_a_repeated_request_is_answered_whatever_became_of_the_agreement(subject: Subject) -> None:
    first = await subject.store.write(make_submit(key="same"))
    await subject.store.write(make_event(2))
    assert (await subject.store.write(make_submit(key="same"))).response == first.response


async def test_another_request_under_the_same_key_is_refused(subject: Subject) -> None:
    submit, other = make_submit(key="same"), make_submit(key="same", request=b"another")
    await subject.store.write(submit)
    with pytest.raises(IdempotencyConflictError):
        await subject.store.write(other)
    assert await subject.outbox.message(other.message.id) is None
    assert await log_size(subject) == 2


async def test_a_submission_checked_against_events_that_moved_is_refused(subject: Subject) -> None:
    await subject.store.write(make_event(2))
    submit = make_submit()
    with pytest.raises(HeadsMovedError):
        await subject.store.write(submit)
    assert await subject.outbox.message(submit.message.id) is None
    assert await subject.outbox.response("cli", submit.message.id) is None
    current = make_heads(a=make_event(2).event.hash)
    assert (await subject.store.write(make_submit(heads=current))).index == 2


async def test_a_submission_under_an_agreement_that_is_not_held_is_refused(subject: Subject) -> None:
    with pytest.raises(HeadsMovedError):
        await subject.store.write(make_submit(heads=replace(make_heads(), agreement=OTHER_DIGEST)))
