"""What a store owes whoever knows that a partner is back: what waits for it is due at once."""

from __future__ import annotations

from gateway.core.lifecycle import Event, State
from gateway.core.retry import DeadLetter, HoldLane, RetryAt
from gateway.core.retrying import TryNow
from tests.conformance.steps import (
    MUCH_LATER,
    THIRD,
    claim_outgoing,
    due,
    hold,
    lease,
    move,
    owing,
    settle,
    state,
    submitted,
)
from tests.conformance.subject import Subject
from tests.support.store import PARTNER, at, make_complete, make_event, make_fail


def try_now(partner: str = PARTNER, now: float = 10) -> TryNow:
    return TryNow(partner=partner, now=at(now))


async def test_a_message_that_waits_for_its_next_attempt_is_due_at_once(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    await subject.store.write(make_fail(await lease(subject, submit), submit.message.id, RetryAt(at=at(300))))
    entries = subject.log()
    assert await subject.store.write(try_now()) == 1
    assert await due(subject, 9) == []
    assert await due(subject, 10) == [submit.message.id]
    assert (await lease(subject, submit, now=10)).attempt == 2
    assert await state(subject, behind) is State.QUEUED
    assert subject.log() == entries
    assert await subject.store.write(try_now()) == 0


async def test_a_held_message_is_looked_at_at_once(subject: Subject) -> None:
    submit = await submitted(subject)
    await subject.store.write(hold(submit, look_again=300))
    assert await subject.store.write(try_now()) == 1
    assert await due(subject, 10) == [submit.message.id]
    assert await state(subject, submit) is State.HELD


async def test_an_item_owed_that_waits_is_owed_at_once(subject: Subject) -> None:
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id))
    await subject.store.write(settle(item.id, RetryAt(at=at(300))))
    assert await subject.store.write(try_now()) == 1
    assert [one.id for one in await subject.outbox.owed(at(10), 10)] == [item.id]


async def test_what_waits_for_another_partner_goes_on_waiting(subject: Subject) -> None:
    submit = await submitted(subject, partner=THIRD)
    await subject.store.write(hold(submit, look_again=300))
    await subject.store.write(make_event(2, push_to=THIRD, now=at(300)))
    assert await subject.store.write(try_now()) == 0
    assert await due(subject, 299) == []
    assert await subject.outbox.owed(at(299), 10) == ()


async def test_what_waits_for_a_person_or_is_over_goes_on_as_it_was(subject: Subject) -> None:
    refused, dead, gone = [await submitted(subject, b"%d" % n) for n in range(3)]
    await subject.store.write(make_fail(await lease(subject, refused), refused.message.id, HoldLane(status=404)))
    await subject.store.write(make_fail(await lease(subject, dead), dead.message.id, DeadLetter()))
    await subject.store.write(move(gone, Event.CANCEL))
    assert await subject.store.write(try_now()) == 0
    assert await due(subject, MUCH_LATER) == []


async def test_what_is_being_sent_is_let_be(subject: Subject) -> None:
    submit = await submitted(subject)
    leased, item = await lease(subject, submit, length=60), await owing(subject)
    await subject.store.write(claim_outgoing(item.id))
    assert await subject.store.write(try_now()) == 0
    assert await due(subject, 59) == []
    assert await subject.store.write(make_complete(leased, submit.message.id)) is True
    assert await subject.store.write(settle(item.id, None)) is True
