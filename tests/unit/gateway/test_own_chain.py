"""Our own acts on an agreement: each is the next in our chain, says something new, and never forks what we said before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.events import Action
from contracts.lifecycle import ActError, State
from gateway import agreements, governing
from gateway.core.commands import Command
from gateway.core.errors import HeadsMovedError, SubmissionRefusedError
from gateway.core.lifecycle import State as MessageState
from tests.support.exchange import Town, make_town_in_force
from tests.support.messages import submission


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


async def suspend(town: Town, exchange: Any = None) -> governing.HeldAgreement:
    return await agreements.act_with_message_keys(
        town.digest, Action.SUSPEND, "dpo", exchange or town.a.exchange, by=None
    )


async def state(town: Town) -> State:
    held = await governing.load(town.a.exchange, town.digest, town.clock())
    assert held is not None
    return held.state.state


async def test_suspending_twice_is_refused_and_changes_nothing(town: Town) -> None:
    await suspend(town)
    events = len(town.a.memory.events)
    with pytest.raises(SubmissionRefusedError, match="already"):
        await suspend(town)
    assert len(town.a.memory.events) == events


async def test_signing_again_is_refused(town: Town) -> None:
    with pytest.raises(ActError, match="signed"):
        await town.act(town.a, Action.SIGN, push=False)


@pytest.mark.parametrize("action", [Action.SUSPEND, Action.TERMINATE, Action.SIGN])
async def test_nothing_can_be_said_on_a_terminated_agreement(town: Town, action: Action) -> None:
    await agreements.act_with_message_keys(town.digest, Action.TERMINATE, "dpo", town.a.exchange, by=None)
    with pytest.raises((ActError, SubmissionRefusedError), match="terminated"):
        await (suspend(town) if action is Action.SUSPEND else town.act(town.a, action, push=False))


class Racing:
    """A store before which, once, another act of ours gets in first."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.raced = False

    async def write(self, command: Command[Any]) -> Any:
        if not self.raced:
            self.raced = True
            await suspend(self.town)
        return await self.town.a.memory.write(command)


async def test_act_written_after_an_older_head_does_not_fork_the_chain(town: Town) -> None:
    """The event was written, then another got in: the store refuses, the flow runs again and finds it said already."""
    racing = replace(town.a.exchange, store=Racing(town))
    with pytest.raises(SubmissionRefusedError, match="already"):
        await suspend(town, racing)
    held = await governing.load(town.a.exchange, town.digest, town.clock())
    assert held is not None
    assert held.state.alarms == ()
    assert await state(town) is State.SUSPENDED


async def test_event_signed_elsewhere_on_an_older_head_is_refused_as_temporary(town: Town) -> None:
    """`agreement resume` waits at a passphrase prompt while somebody suspends once more."""
    await suspend(town)
    held = await governing.load(town.a.exchange, town.digest, town.clock())
    assert held is not None
    ring, at = town.a.ring, int(town.clock().timestamp())
    signer = agreements.Signer(org=town.a.own, bundle=ring.bundle.digest, pair=ring.agreement(at).pair)
    stale = agreements.prepare(held, town.a.own, Action.RESUME, "approver")
    jws = agreements.write_event(stale, signer, event_id="01938e7c-1111-7abc-8def-0123456789ab", at=at)
    await agreements.act_with_message_keys(town.digest, Action.TERMINATE, "dpo", town.a.exchange, by=None)
    with pytest.raises(HeadsMovedError):
        await agreements.record(jws, town.a.exchange, by=None)


async def test_fork_of_the_other_side_raises_the_alarm(town: Town) -> None:
    events = list(town.b.memory.events)
    await town.act(town.b, Action.SUSPEND)
    town.b.memory.events[:] = events  # the other side forgets what it said, and says something else
    await town.act(town.b, Action.TERMINATE)
    assert "agreement-chain" in town.a.alarms


async def test_event_that_no_longer_verifies_stops_its_agreement_and_nothing_else(town: Town) -> None:
    row = town.a.memory.events[-1]
    town.a.memory.events[-1] = replace(row, jws=row.jws.replace(b'"signature":"', b'"signature":"A', 1))
    held = await governing.load_all(town.a.exchange, town.clock())
    assert [(one.state.state, one.state.in_force) for one in held] == [(State.SUSPENDED, False)]
    assert town.a.alarms == ["event-unverifiable"]


async def test_replaced_message_expires_and_the_new_one_goes(town: Town) -> None:
    first = await submission(town.a.exchange)
    await suspend(town)
    await town.a.run()
    for gateway in (town.a, town.b):
        await town.act(gateway, Action.RESUME)
    second = await submission(town.a.exchange, replaces=first["id"], key="second")
    await town.a.run()
    states = {message_id: sent.state for message_id, sent in town.a.memory.sent.items()}
    assert states == {first["id"]: MessageState.EXPIRED, second["id"]: MessageState.DELIVERED}


async def test_message_that_arrived_is_not_replaced(town: Town) -> None:
    first = await submission(town.a.exchange)
    await town.a.run()
    with pytest.raises(SubmissionRefusedError, match="can be replaced"):
        await submission(town.a.exchange, replaces=first["id"], key="second")


class Protecting:
    """A store in which the child is put on the protection list between the check and the connection."""

    def __init__(self, town: Town) -> None:
        self.town = town

    async def write(self, command: Command[Any]) -> Any:
        from gateway import protection
        from gateway.core.commands import Claim
        from tests.support.messages import make_body

        answer = await self.town.a.memory.write(command)
        if isinstance(command, Claim):
            child = {"child": make_body()["child"]}
            await protection.add(child, frozenset({"location"}), self.town.a.exchange, by="A Person")
        return answer


async def test_child_protected_after_the_claim_is_not_sent(town: Town) -> None:
    from gateway import delivery

    await submission(town.a.exchange)
    (candidate,) = await town.a.exchange.outbox.due(town.clock(), 1)
    await delivery.hand_over(candidate, replace(town.a.exchange, store=Protecting(town)))
    assert town.a.wire.parcels == []
    await town.a.run()
    (sent,) = town.a.memory.sent.values()
    assert (sent.state, sent.held_for) == (MessageState.HELD, ("field.protected",))


async def test_attempt_that_breaks_in_the_middle_gives_its_lease_back(town: Town) -> None:
    from gateway import delivery

    await submission(town.a.exchange)

    def broken(_: Any) -> Any:
        raise RuntimeError("a bug")

    town.a.wire.before = broken
    (candidate,) = await town.a.exchange.outbox.due(town.clock(), 1)
    with pytest.raises(RuntimeError):
        await delivery.hand_over(candidate, town.a.exchange)
    assert len(await town.a.exchange.outbox.due(town.clock(), 1)) == 1
