"""What is owed to partners besides messages: events, bundles and receipts, claimed and settled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.retry import DeadLetter, Expire, HoldLane, Next, RetryAt
from tests.conformance.steps import MUCH_LATER, THIRD, claim_outgoing, owing, settle
from tests.conformance.subject import Subject
from tests.support.store import PARTNER, at, make_event


async def test_an_item_that_arrived_is_owed_no_more(subject: Subject) -> None:
    item = await owing(subject)
    assert (item.attempts, item.first_attempt_at) == (0, None)
    assert await subject.store.write(claim_outgoing(item.id)) is True
    assert await subject.outbox.owed(at(59), 10) == ()
    assert await subject.store.write(settle(item.id, None)) is True
    assert await subject.outbox.owed(at(MUCH_LATER), 10) == ()
    assert await subject.store.write(claim_outgoing(item.id, now=MUCH_LATER)) is False
    assert await subject.store.write(settle(item.id, RetryAt(at=at(0)))) is False


async def test_an_item_that_failed_is_owed_again_when_it_was_decided(subject: Subject) -> None:
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id, now=5))
    await subject.store.write(settle(item.id, RetryAt(at=at(100))))
    assert await subject.outbox.owed(at(99), 10) == ()
    assert await subject.store.write(claim_outgoing(item.id, now=99)) is False
    assert await subject.outbox.owed(at(100), 10) == (replace(item, attempts=1, first_attempt_at=at(5)),)
    await subject.store.write(claim_outgoing(item.id, now=100))
    assert await subject.outbox.owed(at(160), 10) == (replace(item, attempts=2, first_attempt_at=at(5)),)


@pytest.mark.parametrize("what", [DeadLetter(), Expire(), HoldLane(status=404)])
async def test_an_item_given_up_is_owed_no_more(subject: Subject, what: Next) -> None:
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id))
    assert await subject.store.write(settle(item.id, what)) is True
    assert await subject.outbox.owed(at(MUCH_LATER), 10) == ()
    counts = await subject.overview.counts()
    assert (counts["owed"], counts["owed.dead"]) == (0, 1)
    assert await subject.store.write(claim_outgoing(item.id, now=MUCH_LATER)) is False


async def test_an_item_is_leased_to_one_at_a_time(subject: Subject) -> None:
    item = await owing(subject)
    assert await subject.store.write(claim_outgoing(item.id)) is True
    assert await subject.store.write(claim_outgoing(item.id, b"other")) is False
    assert await subject.store.write(settle(item.id, None, b"other")) is False
    assert await subject.store.write(settle(item.id, None)) is True


@pytest.mark.parametrize("what", [None, RetryAt(at=at(5))])
async def test_a_late_answer_under_another_lease_changes_nothing(subject: Subject, what: Next | None) -> None:
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id, b"late"))
    assert await subject.store.write(claim_outgoing(item.id, b"current", now=60)) is True
    assert await subject.store.write(settle(item.id, what, b"late")) is False
    assert await subject.outbox.owed(at(119), 10) == ()
    assert [again.id for again in await subject.outbox.owed(at(120), 10)] == [item.id]


async def test_what_is_not_owed_cannot_be_claimed_or_settled(subject: Subject) -> None:
    assert await subject.store.write(claim_outgoing(17)) is False
    assert await subject.store.write(settle(17, None)) is False


async def test_the_oldest_debts_come_first(subject: Subject) -> None:
    for n, when in ((2, 50), (3, 30), (4, 40)):
        await subject.store.write(make_event(n, push_to=PARTNER, now=at(when)))
    hashes = [make_event(n).event.hash for n in (3, 4, 2)]
    assert [item.ref for item in await subject.outbox.owed(at(100), 10)] == hashes
    assert [item.ref for item in await subject.outbox.owed(at(100), 2)] == hashes[:2]


async def test_partners_take_turns_in_what_they_are_owed(subject: Subject) -> None:
    for n in range(2, 7):
        await subject.store.write(make_event(n, push_to=PARTNER, now=at(n)))
    lone = make_event(7, push_to=THIRD, now=at(50))
    await subject.store.write(lone)
    mine = [make_event(n).event.hash for n in range(2, 7)]
    assert [item.ref for item in await subject.outbox.owed(at(50), 3)] == [mine[0], lone.event.hash, mine[1]]
    assert [item.ref for item in await subject.outbox.owed(at(49), 3)] == mine[:3]


async def test_the_partner_that_is_owed_longest_comes_first(subject: Subject) -> None:
    for n, partner, when in ((2, "la-904", 1), (3, PARTNER, 3), (4, THIRD, 2)):
        await subject.store.write(make_event(n, push_to=partner, now=at(when)))
    assert [item.partner for item in await subject.outbox.owed(at(10), 2)] == ["la-904", THIRD]
