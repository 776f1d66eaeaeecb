"""A restored gateway comes back: every partner is asked at once, and who did not answer is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from adapters.port import DeliveryError, Handover
from contracts.events import Action
from contracts.lifecycle import State
from gateway import governing, returning
from tests.support.exchange import Town, Wire, make_town, make_town_in_force
from tests.support.messages import B

SILENT = ("la-101", "la-102", "la-103")


@dataclass
class PartlySilent(Wire):
    """Some partners take a request and never answer; `refusing` cannot be reached."""

    refusing: frozenset[str] = frozenset()

    async def fetch(self, partner: str, url: str, path: str, *, signed: bool) -> Handover:
        if partner in SILENT:
            await asyncio.Event().wait()
        if partner in self.refusing:
            raise DeliveryError("connect")
        return await super().fetch(partner, url, path, signed=signed)


def wire(town: Town, *refusing: str) -> None:
    town.a.wire = PartlySilent(own=town.a.own, gateways=town.a.wire.gateways, refusing=frozenset(refusing))


async def state(town: Town) -> State:
    held = await governing.load(town.a.exchange, town.digest, town.clock())
    assert held is not None
    return held.state.state


async def test_silent_partners_keep_nobody_from_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "PARTNER_WITHIN", 0.2)
    town = await make_town_in_force()
    rows = town.a.memory.partner_rows
    held = rows.pop(B)
    for org in SILENT:
        town.a.know(org)
    rows[B] = held  # asked last, where one is asked after another
    wire(town)
    await town.act(town.b, Action.SUSPEND, push=False)
    async with asyncio.timeout(0.2 * len(SILENT)):
        missed = await returning.catch_up(town.a.exchange)
    assert sorted(missed) == sorted(SILENT)
    assert await state(town) is State.SUSPENDED


async def test_partner_asked_a_moment_ago_counts_only_once_it_answers_now() -> None:
    town = make_town()  # no agreement: its bundles are all that it is asked for
    town.a.asked[B] = int(town.clock().timestamp())
    wire(town, B)
    assert await returning.catch_up(town.a.exchange) == (B,)
    assert await returning.catch_up(town.a.exchange) == (B,)
    wire(town)
    assert await returning.catch_up(town.a.exchange) == ()
    assert town.a.wire.fetches == ["/exchange/v1/bundles?after=1"]


async def test_partner_that_is_not_verified_is_not_waited_for() -> None:
    town = make_town()
    town.a.know("la-101", verified=False)
    assert await returning.catch_up(town.a.exchange) == ()
