"""What a store holds back, how often it is logged, and when it is looked at again."""

from __future__ import annotations

import pytest

from gateway.core.lifecycle import Event, State
from gateway.core.retry import HoldLane
from tests.conformance.steps import (
    MUCH_LATER,
    OTHER_DIGEST,
    REACHED,
    THIRD,
    add,
    bring,
    due,
    found,
    hold,
    in_turn,
    lease,
    log_size,
    move,
    protect,
    put,
    state,
    submitted,
)
from tests.conformance.subject import Subject
from tests.support.keys import make_bundle
from tests.support.store import PARTNER, at, make_claim, make_complete, make_event, make_fail, make_file, make_submit


async def test_a_held_message_is_logged_once_for_the_same_cause(subject: Subject) -> None:
    submit = await submitted(subject)
    assert await subject.store.write(hold(submit, "agreement.not-in-force")) is True
    assert await subject.store.write(hold(submit, "agreement.not-in-force", look_again=120)) is False
    assert await due(subject, 119) == []
    assert await due(subject, 120) == [submit.message.id]
    assert await subject.store.write(hold(submit, "field.protected", "partner.keys-stale")) is True
    stored = await found(subject, submit)
    assert (stored.state, stored.held_for) == (State.HELD, ("field.protected", "partner.keys-stale"))
    assert subject.kinds(submit.message.id) == ["submitted", "held", "held"]


async def test_a_message_held_again_after_its_release_is_logged_again(subject: Subject) -> None:
    submit = await submitted(subject)
    await subject.store.write(hold(submit))
    await subject.store.write(move(submit, Event.RELEASE))
    assert await subject.store.write(hold(submit)) is True
    assert subject.kinds(submit.message.id) == ["submitted", "held", "did-release", "held"]


async def test_a_held_message_is_looked_at_again_in_time_and_can_be_claimed(subject: Subject) -> None:
    submit = await submitted(subject)
    await subject.store.write(hold(submit, look_again=60))
    assert await due(subject, 59) == []
    candidate = await in_turn(subject, submit, 60)
    assert candidate.state is State.HELD
    assert await subject.store.write(make_claim(candidate, now=at(60))) is not None
    stored = await found(subject, submit)
    assert (stored.state, stored.held_for) == (State.SENDING, ())


async def test_held_messages_are_looked_at_at_once_when_their_agreement_has_a_new_event(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    await subject.store.write(hold(submit, look_again=10_000))
    await subject.store.write(make_event(1, file=make_file(digest_=OTHER_DIGEST, version=2), now=at(20)))
    assert await due(subject, 30) == []
    await subject.store.write(make_event(2, now=at(20)))
    assert await due(subject, 19) == []
    assert await due(subject, 20) == [submit.message.id]
    assert await state(subject, behind) is State.QUEUED


async def test_held_messages_are_looked_at_at_once_when_a_child_is_taken_off_the_protection_list(
    subject: Subject,
) -> None:
    held = [await submitted(subject, b"1"), await submitted(subject, b"2", THIRD)]
    for submit in held:
        await subject.store.write(hold(submit, look_again=10_000))
    await subject.store.write(protect(now=20))
    assert await due(subject, 30) == []
    await subject.store.write(protect(add=False, now=20))
    assert await due(subject, 19) == []
    assert set(await due(subject, 20)) == {submit.message.id for submit in held}


async def test_held_messages_are_looked_at_at_once_when_their_partner_is_written_anew(subject: Subject) -> None:
    submit, other = await submitted(subject, b"1"), await submitted(subject, b"2", THIRD)
    for one in (submit, other):
        await subject.store.write(hold(one, "partner.unverified", look_again=10_000))
    await subject.store.write(put(when=20))
    assert await due(subject, 19) == []
    assert await due(subject, 20) == [submit.message.id]


async def test_held_messages_are_looked_at_at_once_when_their_partners_keys_are_fetched(subject: Subject) -> None:
    submit, other = await submitted(subject, b"1"), await submitted(subject, b"2", THIRD)
    bundle = make_bundle(PARTNER)
    await subject.store.write(put())
    for when in (20, 200):  # new, and held already but fetched again: no longer stale
        for one in (submit, other):
            await subject.store.write(hold(one, "partner.keys-stale", look_again=10_000))
        await subject.store.write(add(bundle, when=when))
        assert await due(subject, when - 1) == []
        assert await due(subject, when) == [submit.message.id]


async def test_what_waits_for_a_person_goes_on_waiting_whatever_changes(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    await subject.store.write(make_fail(await lease(subject, submit), submit.message.id, HoldLane(status=404)))
    for command in (make_event(2), put(), add(make_bundle(PARTNER)), protect(), protect(add=False)):
        await subject.store.write(command)
    await subject.store.write(move(behind, Event.CANCEL))  # and its lane is looked at anew
    assert await due(subject, MUCH_LATER) == []


@pytest.mark.parametrize("before", [state for state in REACHED if state not in (State.QUEUED, State.HELD)])
async def test_what_is_under_way_or_over_is_not_held(subject: Subject, before: State) -> None:
    submit = await submitted(subject)
    await bring(subject, submit, before)
    entries = subject.log()
    assert await subject.store.write(hold(submit)) is False
    assert await state(subject, submit) is before
    assert subject.log() == entries


async def test_a_hold_takes_no_attempt_from_the_one_who_leased_it(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit)
    assert await subject.store.write(hold(submit, now=59)) is False
    assert await subject.store.write(make_complete(leased, submit.message.id)) is True


async def test_a_message_whose_lease_ended_can_be_held(subject: Subject) -> None:
    submit = await submitted(subject)
    late = await lease(subject, submit)
    assert await subject.store.write(hold(submit, now=60, look_again=100)) is True
    assert await state(subject, submit) is State.HELD
    assert await subject.store.write(make_complete(late, submit.message.id)) is False
    assert await due(subject, 99) == []
    assert await due(subject, 100) == [submit.message.id]


async def test_no_message_of_ours_is_not_held(subject: Subject) -> None:
    assert await subject.store.write(hold(make_submit())) is False
    assert await log_size(subject) == 1
