"""What a person asks for instead of waiting for its time: a partner tried now, a log cosigned now."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from gateway import acts, witnessed
from gateway.core.errors import SubmissionRefusedError
from tests.support.exchange import Gateway, make_town_in_force
from tests.support.messages import A, B
from tests.support.witnessing_town import grow, make_witnessing_town


async def ask(gateway: Gateway, name: str, **arguments: str) -> Any:
    return orjson.loads(await acts.perform(name, arguments, gateway.exchange))


async def test_what_waits_for_a_partner_is_due_when_a_person_says_that_it_is_back() -> None:
    gateway = (await make_town_in_force()).a
    later = gateway.clock() + timedelta(hours=6)
    gateway.memory.owe(B, "event", "ref", b"an event", later)
    before = await gateway.exchange.outbox.owed(gateway.clock(), 10)
    assert await ask(gateway, "partner.retry", org=B) == {"org": B, "tried": 1}
    assert len(await gateway.exchange.outbox.owed(gateway.clock(), 10)) == len(before) + 1
    assert await ask(gateway, "partner.retry", org=B) == {"org": B, "tried": 0}


async def test_nobody_unknown_is_tried() -> None:
    gateway = (await make_town_in_force()).a
    with pytest.raises(SubmissionRefusedError) as caught:
        await ask(gateway, "partner.retry", org="la-903")
    assert caught.value.code == "partner.unknown"


async def test_a_witness_that_was_away_is_asked_at_once_when_a_person_says_so() -> None:
    town = make_witnessing_town(A, B)
    rounds = witnessed.Rounds(town.a.exchange)
    await grow(town.a, 5)
    town.a.wire.cut.add(B)
    await rounds.round()
    town.a.wire.cut.clear()
    await rounds.round()  # it is left alone for a minute
    assert (await ask(town.a, "status"))["log"]["witnessed"] == 0
    said = await ask(town.a, "log.cosign")
    assert (said["witnessed"], said["size"]) == (5, 5)
    assert [witness["cosigned"] for witness in said["witnesses"]] == [5]
