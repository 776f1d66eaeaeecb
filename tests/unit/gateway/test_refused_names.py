"""A refused submission is logged for ever: what it named is repeated only where this gateway knows it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.breach import ContractBreachError
from gateway.core.errors import SubmissionRefusedError
from tests.support.exchange import Town, make_town_in_force
from tests.support.messages import B, submission


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


async def refused(town: Town, **said: Any) -> dict[str, Any]:
    with pytest.raises((ContractBreachError, SubmissionRefusedError)):
        await submission(town.a.exchange, **said)
    entry: dict[str, Any] = json.loads(town.a.memory.log[-1].data)
    assert entry["kind"] == "refused"
    return entry


async def test_an_organisation_that_is_no_partner_is_not_repeated(town: Town) -> None:
    entry = await refused(town, partner="zebulonia-quark")
    assert "partner" not in entry
    assert b"zebulonia" not in town.a.memory.log[-1].data
    assert town.a.memory.log[-1].partner is None


async def test_a_type_that_no_agreement_lists_is_not_repeated(town: Town) -> None:
    entry = await refused(town, type="zebulonia.quark")
    assert "type" not in entry
    assert entry["partner"] == B


async def test_a_known_partner_and_type_are_named(town: Town) -> None:
    entry = await refused(town, body=b"{")
    assert {"partner", "type"} <= set(entry)
