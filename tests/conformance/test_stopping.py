"""What a graceful stop gives back: leases, of messages and of what else is owed."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.commands import ReleaseLeases
from gateway.core.lifecycle import State
from gateway.core.retry import DeadLetter
from tests.conformance.steps import claim_outgoing, due, in_turn, lease, owing, settle, state, submitted
from tests.conformance.subject import Subject
from tests.support.store import at, make_claim, make_complete, make_event, make_fail, make_heads


def release(*tokens: bytes, now: float = 10) -> ReleaseLeases:
    return ReleaseLeases(tokens=frozenset(tokens), now=at(now))


async def test_a_released_lease_leaves_its_message_queued_and_due_at_once(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    leased = await lease(subject, submit)
    entries = subject.log()
    assert await subject.store.write(release(leased.token)) == 1
    assert await state(subject, submit) is State.QUEUED
    assert await due(subject, 9) == []
    candidate = await in_turn(subject, submit, 10)
    assert (candidate.attempts, candidate.first_attempt_at, candidate.last_statuses) == (1, at(0), (None,))
    assert await state(subject, behind) is State.QUEUED
    assert subject.log() == entries
    assert (await lease(subject, submit, now=10)).attempt == 2


async def test_the_end_of_an_attempt_under_a_released_lease_changes_nothing(subject: Subject) -> None:  # I8
    submit = await submitted(subject)
    leased = await lease(subject, submit)
    await subject.store.write(release(leased.token))
    assert await subject.store.write(make_complete(leased, submit.message.id)) is False
    assert await subject.store.write(make_fail(leased, submit.message.id, DeadLetter())) is False
    assert await state(subject, submit) is State.QUEUED


async def test_a_lease_that_ended_is_released_while_nobody_has_taken_over(subject: Subject) -> None:
    submit = await submitted(subject)
    late = await lease(subject, submit)
    assert await subject.store.write(release(late.token, now=100)) == 1
    current = await lease(subject, submit, now=100)
    assert await subject.store.write(release(late.token, now=101)) == 0
    assert await subject.store.write(make_complete(current, submit.message.id)) is True


async def test_a_released_lease_leaves_its_item_owed_at_once(subject: Subject) -> None:
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id, b"mine"))
    assert await subject.store.write(release(b"mine")) == 1
    assert await subject.outbox.owed(at(9), 10) == ()
    assert await subject.outbox.owed(at(10), 10) == (replace(item, attempts=1, first_attempt_at=at(0)),)
    assert await subject.store.write(settle(item.id, None, b"mine")) is False
    assert await subject.store.write(claim_outgoing(item.id, b"next", now=10)) is True


async def test_only_the_leases_named_are_released_and_all_of_them(subject: Subject) -> None:
    one, two, other = [await submitted(subject, b"%d" % n) for n in range(3)]
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id, b"item"))
    heads = make_heads(a=make_event(2).event.hash)
    tokens = []
    for submit in (one, two, other):
        leased = await subject.store.write(make_claim(await in_turn(subject, submit), heads=heads))
        assert leased is not None
        tokens.append(leased.token)
    assert await subject.store.write(release(tokens[0], tokens[1], b"item", b"unknown")) == 3
    assert [await state(subject, submit) for submit in (one, two, other)] == [
        State.QUEUED,
        State.QUEUED,
        State.SENDING,
    ]
    assert await subject.store.write(release(tokens[0], b"item")) == 0
    assert await subject.store.write(release()) == 0


async def test_whoever_takes_over_the_home_releases_every_lease(subject: Subject) -> None:
    submit, item = await submitted(subject), await owing(subject)
    await subject.store.write(claim_outgoing(item.id, b"item"))
    heads = make_heads(a=make_event(2).event.hash)
    assert await subject.store.write(make_claim(await in_turn(subject, submit), heads=heads)) is not None
    assert await subject.store.write(ReleaseLeases(tokens=None, now=at(10))) == 2
    assert await state(subject, submit) is State.QUEUED
    assert await subject.store.write(ReleaseLeases(tokens=None, now=at(10))) == 0


async def test_what_was_settled_is_not_released(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit)
    await subject.store.write(make_complete(leased, submit.message.id))
    assert await subject.store.write(release(leased.token)) == 0
    assert await state(subject, submit) is State.DELIVERED
