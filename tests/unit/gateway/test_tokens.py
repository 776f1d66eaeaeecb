"""Making and ending tokens: what may be asked for, and what the log is told."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import tokens
from gateway.core.errors import SubmissionRefusedError
from gateway.core.tokens import PREFIX, Scope, TokenUnknownError, digest_of
from tests.support.exchange import Town, make_town


@pytest.fixture
def town() -> Town:
    return make_town()


async def make(
    town: Town,
    *,
    name: str = "Case system 1",
    role: str = "officer",
    scopes: tuple[str, ...] = ("read",),
    days: int = 30,
) -> tokens.NewToken:
    return await tokens.create(name, role, scopes, days, town.a.exchange, by="Officer One")


async def test_token_is_random_text_behind_a_prefix_that_can_be_found(town: Town) -> None:
    one, other = await make(town), await make(town)
    assert one.text.startswith(PREFIX)
    assert len(one.text) == len(PREFIX) + 43
    assert (one.text != other.text, one.token.id != other.token.id) == (True, True)
    assert one.token.digest == digest_of(one.text)


async def test_token_shows_its_text_nowhere_but_once(town: Town) -> None:
    made = await make(town)
    assert made.text not in repr(made)
    assert made.token.digest.hex() not in repr(made.token)


async def test_making_and_end_are_entries_with_the_role_and_without_a_name(town: Town) -> None:
    made = await make(town)
    await tokens.revoke(made.token.id, town.a.exchange, by="Officer One")
    told = town.a.memory.log[-2:]
    assert [(entry.kind, entry.role, entry.outcome) for entry in told] == [
        ("token-created", "officer", "created"),
        ("token-revoked", "officer", "revoked"),
    ]
    for entry in told:
        assert b"Officer" not in entry.data
        assert b"Case system" not in entry.data
        assert made.token.id.encode() not in entry.data


async def test_token_in_force_is_the_one_that_was_made(town: Town) -> None:
    made = await make(town, scopes=("send", "open"))
    found = await tokens.authorise(made.text, town.a.exchange)
    assert (found, found.scopes) == (made.token, {Scope.SEND, Scope.OPEN})


async def test_token_made_in_the_future_is_not_in_force_yet(town: Town) -> None:
    made = await make(town)
    town.clock.forward(seconds=-1)
    with pytest.raises(TokenUnknownError):
        await tokens.authorise(made.text, town.a.exchange)


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ({"name": ""}, "name"),
        ({"name": "A Person <a@b.example>"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"role": "Officer"}, "role"),
        ({"role": "officer7"}, "role"),
        ({"role": "chaplain"}, "role"),
        ({"scopes": ()}, "scope"),
        ({"scopes": ("read", "everything")}, "scope"),
        ({"days": 0}, "expires_days"),
        ({"days": 401}, "expires_days"),
    ],
)
async def test_what_a_token_may_not_be_is_refused_by_its_place(town: Town, asked: dict[str, Any], place: str) -> None:
    with pytest.raises(SubmissionRefusedError) as refused:
        await make(town, **asked)
    assert refused.value.place == place
    assert await town.a.exchange.tokens.all() == ()


async def test_token_that_is_not_there_or_over_cannot_be_revoked(town: Town) -> None:
    made = await make(town)
    await tokens.revoke(made.token.id, town.a.exchange, by=None)
    for token_id in (made.token.id, "0000000000000000"):
        with pytest.raises(SubmissionRefusedError):
            await tokens.revoke(token_id, town.a.exchange, by=None)


async def test_every_token_that_could_be_used_is_revoked_with_an_entry_each(town: Town) -> None:
    exchange = town.a.exchange
    await tokens.revoke((await make(town)).token.id, exchange, by="Officer One")
    await make(town, days=1)
    town.clock.forward(days=2)
    ours = [await make(town, role="approver") for _ in range(2)]
    town.clock.forward(seconds=-1)  # a machine whose clock is behind: not in force, and would be in a moment
    before = len(town.a.memory.log)
    await tokens.revoke_all(exchange, outcome="from-backup")
    told = [(entry.kind, entry.role, entry.outcome) for entry in town.a.memory.log[before:]]
    assert told == [("token-revoked", "approver", "from-backup")] * 2
    town.clock.forward(seconds=2)
    for made in ours:
        with pytest.raises(TokenUnknownError):
            await tokens.authorise(made.text, exchange)
