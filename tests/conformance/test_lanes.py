"""The order that a store keeps: within a lane, and between partners."""

from __future__ import annotations

from gateway.core.lifecycle import State
from tests.conformance.steps import MUCH_LATER, THIRD, bring, due, lease, submitted
from tests.conformance.subject import Subject
from tests.support.store import PARTNER, START, at, make_complete, make_submit


async def test_a_lane_goes_in_order_and_one_at_a_time(subject: Subject) -> None:  # I6
    waiting = [await submitted(subject) for _ in range(3)]
    for number, submit in enumerate(waiting):
        assert await due(subject, number) == [submit.message.id]
        leased = await lease(subject, submit, now=number)
        assert await due(subject, number) == []
        await subject.store.write(make_complete(leased, submit.message.id, now=at(number)))
    assert await due(subject, MUCH_LATER) == []


async def test_one_lane_key_is_another_lane_for_another_partner(subject: Subject) -> None:
    first, second = await submitted(subject), await submitted(subject, partner=THIRD)
    assert set(await due(subject)) == {first.message.id, second.message.id}


async def test_a_message_joins_a_lane_that_was_empty_again(subject: Subject) -> None:
    await bring(subject, await submitted(subject), State.DELIVERED)
    later = await submitted(subject)
    assert await due(subject) == [later.message.id]


async def test_the_oldest_of_a_partner_is_due_first(subject: Subject) -> None:
    for number in (3, 1, 2):
        await subject.store.write(make_submit(lane=b"%d" % number, when=at(number), key=str(number)))
    candidates = await subject.outbox.due(at(10), 20)
    created = [(await subject.outbox.message(one.message_id)) for one in candidates]
    assert [one.created_at - int(START.timestamp()) for one in created if one is not None] == [1, 2, 3]


async def test_partners_take_turns(subject: Subject) -> None:
    for number in range(5):
        await submitted(subject, b"a%d" % number)
    lone = await submitted(subject, b"b", THIRD)
    first_two = await subject.outbox.due(at(0), 2)
    assert len(first_two) == 2
    assert lone.message.id in {candidate.message_id for candidate in first_two}


async def test_the_partner_that_waited_longest_is_first_to_have_its_turn(subject: Subject) -> None:
    for partner, when in (("la-904", 1), (PARTNER, 3), (THIRD, 2)):
        await subject.store.write(make_submit(partner=partner, when=at(when)))
    candidates = await subject.outbox.due(at(10), 2)
    assert [candidate.partner for candidate in candidates] == ["la-904", THIRD]
