"""Two councils on real databases, one of whose administrators rewrites rows behind its gateway: for tests of attacks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from contracts.agreement import read_agreement
from contracts.document import write_wire
from contracts.events import Action
from gateway import agreements, governing, integrity, outbound
from gateway.core.ids import new_message_id
from gateway.core.message import Submission
from gateway.store.rows import DATABASE
from tests.support.councils import council, live_problems, open_councils
from tests.support.exchange import Gateway, Town
from tests.support.messages import transfer, transfer_toml
from tests.support.store import rows


@asynccontextmanager
async def in_force(folder: Path) -> AsyncIterator[Town]:
    """Two councils that know each other, with the transfer agreement in force."""
    async with open_councils(folder) as town:
        for one, other in ((town.a, town.b), (town.b, town.a)):
            await council(one).introduce(one.own)
            await council(one).introduce(other.own)
        await town.act(town.a, Action.PROPOSE)
        await town.act(town.b, Action.SIGN)
        yield town


async def second_agreement(town: Town) -> str:
    """Another agreement between the two, in force; its digest."""
    first = transfer()[0].id.encode()
    toml = transfer_toml().replace(b'"' + first + b'"', b'"second-transfer"', 1)
    agreement = read_agreement(toml, file="second.toml")
    for gateway in (town.a, town.b):
        held = await governing.load(gateway.exchange, agreement.digest, town.clock())
        act = agreements.first_act(agreement, "dpo")
        if held is not None:
            act = agreements.prepare(held, gateway.own, Action.SIGN, "dpo")
        at = int(town.clock().timestamp())
        bundle, pair = gateway.ring.bundle.digest, gateway.ring.agreement(at).pair
        signer = agreements.Signer(org=gateway.own, bundle=bundle, pair=pair)
        jws = agreements.write_event(act, signer, event_id=new_message_id(town.clock(), gateway.entropy), at=at)
        if held is None:
            await agreements.propose(toml, jws, gateway.exchange, by="A Person")
        else:
            await agreements.record(jws, gateway.exchange, by="A Person")
        await gateway.run()
    return agreement.digest


async def say(gateway: Gateway, partner: str, message_type: str, body: Any, thread: str) -> str:
    """A service message, delivered; its id."""
    submission = Submission(
        partner=partner, type=message_type, body=write_wire(body), facts={"urgency": "routine"},
        client="tests", key=f"{message_type} {thread}", thread=thread,
    )  # fmt: skip
    answer = json.loads(await outbound.accept(submission, gateway.exchange))
    await gateway.run()
    return str(answer["id"])


def path(gateway: Gateway) -> Path:
    return council(gateway).path


def kinds(gateway: Gateway, message_id: str) -> list[str]:
    """The kinds of the entries about a message, in order."""
    found = rows(path(gateway), "SELECT kind FROM log_entry WHERE message_id = :id ORDER BY idx", id=message_id)
    return [kind for (kind,) in found]


async def refused(gateway: Gateway) -> list[str]:
    """The tables whose rows the log says were refused; that somebody else wrote at all is said besides."""
    opened = council(gateway).opened
    assert opened is not None
    await integrity.record(opened.refusals, gateway.exchange)
    said = rows(path(gateway), "SELECT outcome FROM log_entry WHERE kind = 'row-refused'")
    return [table for (table,) in said if table != DATABASE]


def faults(gateway: Gateway) -> list[tuple[int, str]]:
    """What `log verify` finds: index and column of each fault."""
    return [(problem.index, problem.column) for problem in live_problems(gateway.own, path(gateway))]


def place(gateway: Gateway, kind: str, message_id: str) -> int:
    """The index of the entry of this kind about a message."""
    ((index,),) = rows(
        path(gateway),
        "SELECT max(idx) FROM log_entry WHERE kind = :kind AND message_id = :id",
        kind=kind,
        id=message_id,
    )
    return int(index)


def row_of(gateway: Gateway, table: str, where: str) -> list[str]:
    """Statements that put these rows back as they are now."""
    found = rows(path(gateway), f"SELECT * FROM {table} WHERE {where}")  # noqa: S608 - a test's own words
    made = [
        ", ".join(f"x'{c.hex()}'" if isinstance(c, bytes) else "NULL" if c is None else repr(c) for c in row)
        for row in found
    ]
    return [f"INSERT INTO {table} VALUES ({values})" for values in made]  # noqa: S608 - a test's own words
