"""What waits for witnesses, and what never does: new routine messages, and everything else (log A4)."""

from __future__ import annotations

import pytest

from adapters.port import DeliveryError, Parcel
from gateway import witnessed
from gateway.config import WitnessSettings
from gateway.core.lifecycle import State
from tests.support.exchange import Gateway, Town, make_town_in_force
from tests.support.messages import B, submission
from tests.support.witnessing_town import give_witness_keys, grow


@pytest.fixture
async def town() -> Town:
    """Two councils that witness each other; the log of the first one has been witnessed so far."""
    town = await make_town_in_force()
    give_witness_keys((town.a, town.b))
    await grow(town.a)
    await witnessed.Rounds(town.a.exchange).round()
    return town


async def unwitnessed(town: Town, hours: float) -> None:
    """The log grows, and for so long no witness can be reached."""
    town.a.wire.cut.add(B)
    await grow(town.a)
    town.clock.forward(hours=hours)
    await witnessed.Rounds(town.a.exchange).round()
    for gateway in (town.a, town.b):
        for org in gateway.memory.fetched_at:
            gateway.memory.fetched_at[org] = int(town.clock().timestamp())


def only(gateway: Gateway) -> tuple[State, tuple[str, ...]]:
    (sent,) = gateway.memory.sent.values()
    return sent.state, sent.held_for


async def send(town: Town, urgency: str) -> tuple[State, tuple[str, ...]]:
    await submission(town.a.exchange, facts={"urgency": urgency})
    await town.a.run()
    return only(town.a)


async def test_a_routine_message_is_held_after_four_hours_without_a_quorum(town: Town) -> None:
    await unwitnessed(town, 4)
    assert await send(town, "routine") == (State.HELD, ("log.unwitnessed",))
    assert town.a.kinds()[-1] == "held"
    assert b"log.unwitnessed" in town.a.memory.log[-1].data


async def test_it_goes_on_its_way_once_the_quorum_is_there_again(town: Town) -> None:
    await unwitnessed(town, 4)
    await send(town, "routine")
    town.a.wire.cut.clear()
    await town.a.exchange.sign_log()
    await witnessed.Rounds(town.a.exchange).round()
    town.clock.forward(minutes=2)
    await town.a.run()
    assert only(town.a)[0] is State.DELIVERED


async def test_before_that_time_nothing_is_held(town: Town) -> None:
    await unwitnessed(town, 3.9)
    assert (await send(town, "routine"))[0] is State.DELIVERED


@pytest.mark.parametrize("urgency", ["priority", "immediate_risk"])
async def test_nothing_more_urgent_ever_waits_for_witnesses(town: Town, urgency: str) -> None:
    await unwitnessed(town, 24 * 2)
    assert (await send(town, urgency))[0] is State.DELIVERED


async def test_what_comes_in_never_waits_for_witnesses(town: Town) -> None:
    await unwitnessed(town, 24 * 2)
    await submission(town.b.exchange, partner=town.a.own)
    await town.b.run()
    assert only(town.b)[0] is State.DELIVERED
    assert town.a.kinds()[-1] == "received"


async def test_what_may_have_arrived_already_is_tried_on(town: Town) -> None:
    """Held back it would only keep its receipt away: the partner may have it."""

    def cut_off(parcel: Parcel) -> Parcel:
        raise DeliveryError("time-out")

    town.a.wire.before = cut_off
    assert (await send(town, "routine"))[0] is State.QUEUED
    town.a.wire.before = lambda parcel: parcel
    await unwitnessed(town, 5)
    await town.a.run()
    assert only(town.a)[0] is State.DELIVERED


async def test_the_age_is_the_operators_to_choose(town: Town) -> None:
    town.a.witness_settings = WitnessSettings(hold_after_hours=12)
    await unwitnessed(town, 11)
    assert (await send(town, "routine"))[0] is State.DELIVERED


async def test_where_nobody_is_asked_nothing_is_held(town: Town) -> None:
    town.a.witness_settings = WitnessSettings(without=(B,))
    await unwitnessed(town, 24 * 2)
    assert (await send(town, "routine"))[0] is State.DELIVERED
