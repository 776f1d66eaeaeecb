"""A partner follows a root change: by push in whatever order, or by fetching; agreements made under the old root hold."""

from __future__ import annotations

import pytest

from contracts.events import Action
from gateway import governing
from gateway.core.lifecycle import State
from gateway.partner_keys import refresh
from keys.bundle import reissue_request
from tests.support.ceremonies import publish
from tests.support.exchange import Town, make_town_in_force
from tests.support.keys import follow, make_jws
from tests.support.messages import A, submission


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


def change_root(town: Town) -> tuple[bytes, bytes]:
    """What `root sign` writes with the keystore of a root change."""
    request = follow(town.a.ring.bundle)
    four = make_jws(request, generation=2, old_generation=1)
    return four, make_jws(reissue_request(request, four), generation=2)


async def test_partner_is_told_of_both_bundles_and_everything_goes_on(town: Town) -> None:
    for jws in change_root(town):
        await publish(town.a, jws)
    await town.a.run(2)
    partner = await town.b.exchange.partners.get(A)
    assert partner is not None
    assert (partner.newest.seq, len(partner.newest.content.keys)) == (3, len(town.a.ring.bundle.keys))
    assert partner.verified_by
    await submission(town.a.exchange)
    await town.a.run()
    assert [sent.state for sent in town.a.memory.sent.values()] == [State.DELIVERED]
    assert (town.a.alarms, town.b.alarms) == ([], [])


async def test_second_bundle_that_comes_first_waits_for_the_change(town: Town) -> None:
    four, two = change_root(town)
    await publish(town.a, four)
    await publish(town.a, two)
    *_, first, second = sorted(town.a.memory.outgoing)
    town.a.memory.outgoing[first].run_at, kept = None, town.a.memory.outgoing[first].run_at
    await town.a.run()
    assert len(town.b.memory.bundles[A]) == 1
    town.a.memory.outgoing[first].run_at = kept
    await town.a.run()
    town.clock.forward(minutes=10)
    await town.a.run()
    assert town.b.memory.bundles[A][1:] == [four, two]
    assert town.a.memory.outgoing[second].run_at is None
    assert town.b.alarms == []


async def test_partner_that_was_away_fetches_the_whole_change(town: Town) -> None:
    for jws in change_root(town):
        await publish(town.a, jws)
    town.clock.forward(hours=25)
    partner = await town.b.exchange.partners.get(A)
    assert partner is not None
    refreshed = await refresh(partner, town.clock(), town.b.exchange)
    assert [bundle.seq for bundle in refreshed.bundles] == [1, 2, 3]


async def test_agreement_that_names_the_old_root_stays_in_force_and_takes_new_events(town: Town) -> None:
    for jws in change_root(town):
        await publish(town.a, jws)
    await town.a.run(2)
    await town.act(town.a, Action.SUSPEND)
    await town.act(town.a, Action.RESUME)
    await town.act(town.b, Action.RESUME)
    for gateway in (town.a, town.b):
        held = await governing.load(gateway.exchange, town.digest, town.clock())
        assert held is not None
        assert held.state.in_force
