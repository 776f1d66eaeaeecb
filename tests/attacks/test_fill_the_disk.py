"""Aim: as a partner with good keys, to fill the other's disk and log, or to hide one true loss among many false claims.

Whatever a partner signs is kept as evidence, so a partner could sign without end. What holds is that a day has room for so
many statements, that two of a kind prove a lie and a third is not kept, and that no claim keeps another from being told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway import statements, witnessing
from gateway.core import daily
from gateway.core.errors import NotYetError
from gateway.core.ids import new_message_id
from tests.support.exchange import Gateway, Town, make_town_in_force
from tests.support.independent_log import IndependentLog
from tests.support.keys import make_origin, seed
from tests.support.messages import A, B, pair_of
from tests.support.witnessing_town import make_witnessing_town

Change = Callable[[dict[str, Any]], None]


async def said_by_b(town: Town) -> daily.StatementPayload:
    """b states its first day, which a holds."""
    for gateway in (town.a, town.b):
        await gateway.checkpoint()
        await statements.state_all(gateway.exchange)
    await town.b.run()
    [kept] = town.a.memory.stated.kept["in", B, 1]
    return daily.read_daily(kept.data).payload


def fresh(town: Town) -> str:
    return new_message_id(town.clock(), town.b.entropy)


async def lie(town: Town, honest: daily.StatementPayload, **changes: Any) -> None:
    """Another statement of b under the same number, signed with its own keys."""
    members = msgspec.to_builtins(honest) | {"id": fresh(town)} | changes
    data = daily.sign_daily(msgspec.convert(members, daily.StatementPayload), pair_of(B))
    await statements.take(data, members["id"], B, town.a.exchange)


def claims(town: Town, count: int) -> list[dict[str, str]]:
    ids = sorted(fresh(town) for _ in range(count))
    return [{"id": one, "env": "sha256:" + "ab" * 32} for one in ids]


async def test_statements_under_one_number_are_heard_a_few_times_a_day_and_two_of_them_kept_whole() -> None:
    town = await make_town_in_force()
    honest = await said_by_b(town)
    for _ in range(daily.MOST_A_DAY - 1):
        await lie(town, honest)
    size = len(town.a.memory.log)
    for _ in range(20):
        with pytest.raises(NotYetError):
            await lie(town, honest)
    assert len(town.a.memory.log) == size
    whole = [one for one in town.a.memory.stated.kept["in", B, 1] if one.data]
    assert len(whole) == 2
    town.clock.forward(days=1)
    await lie(town, honest)
    assert len(town.a.memory.log) > size


async def test_a_day_without_room_is_the_day_of_the_partner_that_filled_it() -> None:
    town = await make_town_in_force()
    honest = await said_by_b(town)
    for _ in range(daily.MOST_A_DAY - 1):
        await lie(town, honest)
    await town.a.run()
    assert town.b.memory.stated.kept["in", A, 1], "what a says is heard all the same"


async def test_many_false_claims_are_each_logged_and_a_person_is_told_once() -> None:
    town = await make_town_in_force()
    honest = await said_by_b(town)
    alarms, size = len(town.a.alarms), len(town.a.memory.log)
    await lie(town, honest, sent=claims(town, 250))
    logged = [entry.outcome for entry in town.a.memory.log[size:] if entry.kind == "statement-differs"]
    assert logged.count("claimed-sent") == 250
    assert town.a.alarms[alarms:] == ["statement-differs"] * 2  # that it forks, and what it claims


# --- the witness


class Wordy(IndependentLog):
    """A log that signs a book under its checkpoint."""

    book = ""

    def text(self, size: int | None = None) -> str:
        return super().text(size) + self.book


def history(first: bytes, book: str = "") -> Wordy:
    entries = [first, *(f"entry {n}".encode() for n in range(4))]
    log = Wordy(make_origin(A), seed(f"{A} log ed25519"), entries)
    log.book = book
    return log


async def shown(witness: Gateway, request: bytes) -> int:
    return (await witnessing.add_checkpoint(request, witness.exchange)).status


async def test_of_many_histories_of_one_size_the_first_two_are_kept() -> None:
    witness = make_witnessing_town(A, B).b
    assert await shown(witness, history(b"honest").request(0)) == 200
    for number in range(20):
        assert await shown(witness, history(f"other {number}".encode()).request(5)) == 409
    assert len(witness.memory.conflicts) == 1
    assert witness.kinds() == ["witness-conflict"]
    assert witness.alarms == ["split-view"]


async def test_a_checkpoint_with_a_book_under_it_is_neither_cosigned_nor_kept() -> None:
    witness = make_witnessing_town(A, B).b
    line = "zebulonia quark\n"
    assert await shown(witness, history(b"honest", line * 1000).request(0)) == 400
    assert await shown(witness, history(b"honest").request(0)) == 200
    assert await shown(witness, history(b"other", line * 1000).request(5)) == 400
    assert witness.memory.conflicts == []
    assert await shown(witness, history(b"other", line).request(5)) == 409
    assert len(witness.memory.conflicts[0].note) < 2 * witnessing.MOST_TEXT


async def test_a_signature_that_is_repeated_without_end_is_kept_once() -> None:
    witness = make_witnessing_town(A, B).b
    await shown(witness, history(b"honest").request(0))
    request = history(b"other").request(5)
    signature = request[request.rindex("\u2014".encode()) :]
    assert await shown(witness, request + signature * 50) in (400, 409)
    assert all(kept.note.count(signature) == 1 for kept in witness.memory.conflicts)
