"""Aim: ask the API without a token of one's own, or for more than one's token allows.

Held off by one lookup of a digest in rows that carry a mac; by scopes that are asked before anything else is; by answers
that are the same for every reason why a token is not in force; by idempotency keys that belong to the token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import tokens
from gateway.core.tokens import PREFIX, Scope, Token, digest_of
from gateway.web.api.description import Operation, operations
from tests.support.api import CaseSystem, api_served, make_token
from tests.support.exchange import Town, make_town_in_force
from tests.support.messages import B, make_body
from tests.support.store import Lab, open_lab, rows, tamper

NO_SUCH = "01890a5d-ac96-774b-bcce-b302099a8057"
SUBMISSION = {"partner": B, "type": "cme.transfer", "facts": {"urgency": "routine"}, "body": make_body()}
PLANT = (
    "INSERT INTO token SELECT 'fedcba9876543210', name, role, scopes, x'HASH', created_at, expires_at, revoked_at, mac"
    " FROM token"
)
PROTECTED = [one for one in operations().values() if one.scope is not None]


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


def path_of(operation: Operation) -> str:
    path = operation.path.replace("{id}", NO_SUCH).replace("{sender}", B).replace("{digest}", f"sha256:{'0' * 64}")
    return f"{path}?type=cme.transfer" if path.endswith("/fields") else path


# --- whoever can write to the database


@pytest.fixture
async def lab(database: Path) -> AsyncIterator[Lab]:
    async with open_lab(database) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Break:
    """A gateway whose tokens lie in a database that somebody changes behind its back."""

    town: Town
    lab: Lab

    @property
    def exchange(self) -> Any:
        return replace(self.town.a.exchange, store=self.lab.open.store, tokens=self.lab.open.read.tokens)

    async def tried(self, text: str) -> int:
        async with api_served(self.exchange) as port:
            return (await CaseSystem(port=port, token=text).get("/protection")).status


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE token SET scopes = 'agreements open protect read send'",
        "UPDATE token SET expires_at = expires_at + 86400",
        "UPDATE token SET role = 'approver'",
        "UPDATE token SET name = 'another'",
        "UPDATE token SET id = 'fedcba9876543210'",
        "UPDATE token SET mac = x'00'",
    ],
)
async def test_token_row_that_was_changed_lets_nobody_in_and_is_told(town: Town, lab: Lab, change: str) -> None:
    house = Break(town, lab)
    made = await tokens.create("Case system", "officer", ["read", "protect"], 30, house.exchange, by=None)
    assert await house.tried(made.text) == 200
    tamper(lab.path, change)
    assert await house.tried(made.text) == 401
    assert [code for code, _ in lab.alarms.raised] == ["row-tampered"]


async def test_revoked_row_made_good_again_lets_nobody_in(town: Town, lab: Lab) -> None:
    house = Break(town, lab)
    made = await make_token(house.exchange)
    await tokens.revoke(made.token.id, house.exchange, by=None)
    tamper(lab.path, "UPDATE token SET revoked_at = NULL")
    assert await house.tried(made.text) == 401


async def test_old_row_put_back_with_its_good_mac_is_found_by_the_log(town: Town, lab: Lab) -> None:
    house = Break(town, lab)
    made = await make_token(house.exchange)
    ((mac,),) = rows(lab.path, "SELECT mac FROM token")
    await tokens.revoke(made.token.id, house.exchange, by=None)
    tamper(lab.path, "UPDATE token SET revoked_at = NULL, mac = x'MAC'".replace("MAC", mac.hex()))
    assert await house.tried(made.text) == 200  # until the rows are compared: at a start, and every day
    assert [one.table for one in lab.open.comparison.run().rows] == ["token"]
    assert await house.tried(made.text) == 401


async def test_planted_row_lets_nobody_in(town: Town, lab: Lab) -> None:
    """The planter knows a text, its digest, and a row with a good mac to copy."""
    house = Break(town, lab)
    await make_token(house.exchange)
    text = PREFIX + "A" * 43
    digest = digest_of(text)
    assert digest is not None
    tamper(lab.path, PLANT.replace("HASH", digest.hex()))
    assert await house.tried(text) == 401


async def test_database_holds_no_token_s_text(town: Town, lab: Lab) -> None:
    house = Break(town, lab)
    made = await make_token(house.exchange)
    assert await house.tried(made.text) == 200
    files = b"".join(path.read_bytes() for path in lab.path.parent.glob("gateway.sqlite*"))
    assert made.text.encode() not in files
    assert made.text.removeprefix(PREFIX).encode() not in files
    assert rows(lab.path, "SELECT hash FROM token") == [(digest_of(made.text),)]


# --- whoever has none, or one that is over


@pytest.mark.parametrize("operation", PROTECTED, ids=lambda one: one.id)
async def test_nothing_is_answered_without_a_token(town: Town, operation: Operation) -> None:
    before = len(town.a.memory.log)
    async with api_served(town.a.exchange) as port:
        answer = await CaseSystem(port=port).ask(operation.method, path_of(operation), key="one")
    assert (answer.status, answer.code, answer.headers["WWW-Authenticate"]) == (401, "token.unknown", "Bearer")
    assert len(town.a.memory.log) == before


async def test_every_token_that_is_not_in_force_gets_the_same_answer(town: Town) -> None:
    exchange = town.a.exchange
    revoked, expired = await make_token(exchange), await make_token(exchange, days=1)
    await tokens.revoke(revoked.token.id, exchange, by="an operator")
    town.clock.forward(days=1)
    good = await make_token(exchange)
    shown = [
        None,
        "",
        revoked.text,
        expired.text,
        good.text[:-1],
        good.text + "A",
        good.text.removeprefix(PREFIX),
        PREFIX + "A" * 43,
        good.token.id,
        (digest_of(good.text) or b"").hex(),
        "Zebulonia " + "é" * 50,
    ]
    async with api_served(exchange) as port:
        answers = [await CaseSystem(port=port, token=text).get("/status") for text in shown]
        basic = await CaseSystem(port=port).get("/status", headers={"Authorization": f"Basic {good.text}"})
    told = {(one.status, one.body, one.headers["WWW-Authenticate"]) for one in (*answers, basic)}
    assert len(told) == 1
    assert {status for status, _, _ in told} == {401}


async def test_token_ends_with_its_last_second_and_at_once_when_revoked(town: Town) -> None:
    exchange = town.a.exchange
    one, other = await make_token(exchange, days=1), await make_token(exchange, days=1)
    async with api_served(exchange) as port:
        ours, theirs = CaseSystem(port=port, token=one.text), CaseSystem(port=port, token=other.text)
        town.clock.forward(seconds=86_399)
        assert (await ours.get("/status")).status == 200
        await tokens.revoke(other.token.id, exchange, by="an operator")
        assert (await theirs.get("/status")).status == 401
        town.clock.forward(seconds=1)
        assert (await ours.get("/status")).status == 401


@dataclass(slots=True)
class Watched:
    """Tokens that note what they are asked."""

    held: Any
    asked: list[bytes] = field(default_factory=list)

    async def of(self, digest: bytes) -> Token | None:
        self.asked.append(digest)
        found: Token | None = await self.held.of(digest)
        return found


async def test_only_a_digest_is_ever_looked_for_so_no_time_tells_of_a_part(town: Town) -> None:
    good = await make_token(town.a.exchange)
    watched = Watched(town.a.exchange.tokens)
    near = good.text[:-2] + ("AA" if not good.text.endswith("AA") else "BB")
    async with api_served(replace(town.a.exchange, tokens=watched)) as port:
        for text in (near, good.text, "safehand_short", "other_" + "A" * 43):
            await CaseSystem(port=port, token=text).get("/status")
    assert watched.asked == [digest_of(near), digest_of(good.text)]


async def test_wrong_tokens_of_one_address_are_slowed_down_and_a_good_one_is_not(town: Town) -> None:
    good = await make_token(town.a.exchange)
    async with api_served(town.a.exchange, failures_per_minute=3) as port:
        ours, wrong = CaseSystem(port=port, token=good.text), CaseSystem(port=port, token=PREFIX + "A" * 43)
        assert (await ours.get("/status")).status == 200
        statuses = [(await wrong.get("/status")).status for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert (await ours.get("/status")).status == 200
        town.clock.forward(seconds=20)
        assert (await wrong.get("/status")).status == 401


async def test_no_token_is_told_to_a_log(town: Town) -> None:
    good = await make_token(town.a.exchange)
    with capture_logs() as told:
        async with api_served(town.a.exchange) as port:
            for text in (good.text, PREFIX + "Z" * 43):
                await CaseSystem(port=port, token=text).get("/status")
                await CaseSystem(port=port, token=text).get("/nowhere")
    assert told
    assert PREFIX not in str(told) + repr(good)
    assert good.text not in str([entry.data for entry in town.a.memory.log])


# --- whoever has a token for something else


@pytest.mark.parametrize("operation", PROTECTED, ids=lambda one: one.id)
async def test_no_scope_opens_what_belongs_to_another(town: Town, operation: Operation) -> None:
    others = [scope for scope in Scope if scope != operation.scope]
    token = await make_token(town.a.exchange, *others, role="approver")
    before = len(town.a.memory.log)
    async with api_served(town.a.exchange) as port:
        answer = await CaseSystem(port=port, token=token.text).ask(operation.method, path_of(operation), key="one")
    assert (answer.status, answer.code) == (403, "token.scope")
    assert len(town.a.memory.log) == before


async def test_token_cannot_name_a_scope_or_a_role_in_the_request(town: Town) -> None:
    token = await make_token(town.a.exchange, "read")
    async with api_served(town.a.exchange) as port:
        ours = CaseSystem(port=port, token=token.text)
        for headers in ({"X-Scope": "send"}, {"X-Role": "approver"}, {"X-HTTP-Method-Override": "POST"}):
            assert (await ours.post("/messages", SUBMISSION, headers=headers)).status == 403
        assert (await ours.post("/messages", {**SUBMISSION, "scopes": ["send"]})).status == 403


# --- whoever knows another's idempotency key


async def test_key_of_another_token_shows_nothing_of_its_answer(town: Town) -> None:
    one, other = await make_token(town.a.exchange), await make_token(town.a.exchange)
    async with api_served(town.a.exchange) as port:
        ours, theirs = CaseSystem(port=port, token=one.text), CaseSystem(port=port, token=other.text)
        first = await ours.post("/messages", SUBMISSION, key="case-1")
        same = await theirs.post("/messages", SUBMISSION, key="case-1")
        assert (first.status, same.status) == (202, 202)
        assert first.said["id"] != same.said["id"]
        different = await theirs.post("/messages", {**SUBMISSION, "body": {}}, key="case-1")
        assert different.code == "idempotency.conflict"  # with their own first request, not with ours
        assert first.said["id"] not in different.body.decode()


async def test_operator_s_keys_are_not_the_tokens(town: Town) -> None:
    """Commands use a client name of their own, which no token can have as its id."""
    made = await make_token(town.a.exchange)
    assert made.token.id != "operator"
    assert len(made.token.id) == 16
