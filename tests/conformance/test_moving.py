"""What people and the clock may do with a message, by the state table, and what expires."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import IllegalTransitionError
from gateway.core.lifecycle import TRANSITIONS, Event, State
from tests.conformance.steps import REACHED, bring, did, due, found, in_turn, lease, move, state, submitted
from tests.conformance.subject import Subject
from tests.support.store import START, at, make_fail, make_submit

MOVES = (Event.RELEASE, Event.EXPIRE, Event.CANCEL, Event.RESEND)


@pytest.mark.parametrize(
    ("before", "event", "wanted"),
    [
        (State.QUEUED, Event.EXPIRE, State.EXPIRED),
        (State.QUEUED, Event.CANCEL, State.CANCELLED),
        (State.HELD, Event.RELEASE, State.QUEUED),
        (State.HELD, Event.EXPIRE, State.EXPIRED),
        (State.HELD, Event.CANCEL, State.CANCELLED),
        (State.DEAD, Event.RESEND, State.QUEUED),
        (State.DEAD, Event.EXPIRE, State.EXPIRED),
        (State.DEAD, Event.CANCEL, State.CANCELLED),
    ],
)
async def test_an_act_moves_the_message_and_its_lane(
    subject: Subject, before: State, event: Event, wanted: State
) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    await bring(subject, submit, before)
    assert await subject.store.write(move(submit, event, 100)) is wanted
    stored = await found(subject, submit)
    assert (stored.state, stored.held_for) == (wanted, ())
    assert subject.kinds(submit.message.id)[-1] == did(event)
    assert await due(subject, 100) == [(submit if wanted is State.QUEUED else behind).message.id]


@pytest.mark.parametrize("before", REACHED)
async def test_an_act_that_the_state_table_refuses_changes_nothing(subject: Subject, before: State) -> None:
    submit = await submitted(subject)
    await bring(subject, submit, before)
    entries = subject.log()
    for event in Event:
        if event not in MOVES or event not in TRANSITIONS[before]:
            with pytest.raises(IllegalTransitionError):
                await subject.store.write(move(submit, event))
    assert await state(subject, submit) is before
    assert subject.log() == entries


async def test_no_act_moves_what_was_never_submitted(subject: Subject) -> None:
    for event in MOVES:
        with pytest.raises(IllegalTransitionError):
            await subject.store.write(move(make_submit(), event))


async def test_an_act_without_an_entry_is_not_logged(subject: Subject) -> None:
    submit = await submitted(subject)
    assert await subject.store.write(replace(move(submit, Event.CANCEL), entry=None)) is State.CANCELLED
    assert subject.kinds(submit.message.id) == ["submitted"]


async def test_a_dead_message_sent_again_keeps_id_and_bytes_and_begins_a_new_round(subject: Subject) -> None:  # I12
    submit = await submitted(subject)
    before = await found(subject, submit)
    await bring(subject, submit, State.DEAD)
    await subject.store.write(move(submit, Event.RESEND, 500))
    after = await found(subject, submit)
    assert (after.id, after.env, after.envelope, after.inner) == (
        before.id,
        before.env,
        before.envelope,
        before.inner,
    )
    assert after.attempts == 0
    assert await due(subject, 499) == []
    candidate = await in_turn(subject, submit, 500)
    assert (candidate.attempts, candidate.first_attempt_at, candidate.last_statuses) == (0, None, ())
    assert (await lease(subject, submit, now=500)).attempt == 1


async def test_a_message_past_its_time_is_found_and_expires(subject: Subject) -> None:
    later, gone = make_submit(lane=b"1", expires=at(200)), make_submit(lane=b"2", expires=at(100))
    for submit in (later, gone):
        await subject.store.write(submit)
    assert await subject.outbox.expiring(at(99), 10) == ()
    assert await subject.outbox.expiring(at(100), 10) == (gone.message.id,)
    assert set(await subject.outbox.expiring(at(200), 10)) == {gone.message.id, later.message.id}
    assert len(await subject.outbox.expiring(at(200), 1)) == 1
    await subject.store.write(move(gone, Event.EXPIRE, 100))
    assert await subject.outbox.expiring(at(100), 10) == ()


@pytest.mark.parametrize("before", REACHED)
async def test_only_what_can_expire_is_said_to_be_past_its_time(subject: Subject, before: State) -> None:
    submit = await submitted(subject)
    await bring(subject, submit, before)
    past = submit.message.expires_at - int(START.timestamp())
    wanted = () if Event.EXPIRE not in TRANSITIONS[before] and before is not State.SENDING else (submit.message.id,)
    assert await subject.outbox.expiring(at(past), 10) == wanted


async def test_a_message_past_its_time_expires_when_its_lease_has_ended(subject: Subject) -> None:
    submit = make_submit(expires=at(10))
    await subject.store.write(submit)
    late = await lease(subject, submit, length=60)
    assert await subject.outbox.expiring(at(59), 10) == ()
    with pytest.raises(IllegalTransitionError):
        await subject.store.write(move(submit, Event.EXPIRE, 59))
    assert await subject.outbox.expiring(at(60), 10) == (submit.message.id,)
    assert await subject.store.write(move(submit, Event.EXPIRE, 60)) is State.EXPIRED
    assert await subject.store.write(make_fail(late, submit.message.id)) is False
