"""Aim: as administrator of the database, change a row for a moment, have the gateway decide on it, and put it back.

Held off by the writer, which notices any commit that was not its own: nothing that was decided before is written, rows
that decide are compared with the log first, and the log says that somebody else wrote. Without a command to carry out it
looks every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.breach import ContractBreachError
from gateway import governing, integrity, protection
from gateway.core import commands
from gateway.core.errors import StoreChangedError
from gateway.store.rows import DATABASE, FOREIGN, FOREIGN_WRITE
from gateway.tlog.entry import parse
from tests.support.disk import OnDisk, on_disk, settle
from tests.support.exchange import Town, make_town_in_force
from tests.support.messages import make_body, submission
from tests.support.store import rows, tamper

KINDS = frozenset({"location"})


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


@pytest.fixture
async def disk(town: Town, database: Path) -> AsyncIterator[OnDisk]:
    """The sending council on a real database, with its partner, the agreement in force, and a protected child."""
    async with on_disk(town.a, database) as opened:
        await settle(opened, town.b)
        await protection.add(make_body(), KINDS, opened.exchange, by="An Officer")
        yield opened


def listed(disk: OnDisk) -> list[str]:
    """Statements that put the rows of the protection list back as they are now, their good macs and all."""
    held = rows(disk.path, "SELECT hex(tag), kind, added_at, hex(mac) FROM protection")
    return [f"INSERT INTO protection VALUES (x'{tag}', '{kind}', {at}, x'{mac}')" for tag, kind, at, mac in held]  # noqa: S608 - a test's own words


async def told(disk: OnDisk) -> int:
    """How often the exchange log says that somebody else wrote."""
    await integrity.record(disk.opened.refusals, disk.exchange)
    held = rows(disk.path, "SELECT entry FROM log_entry WHERE kind = 'row-refused'")
    said = [parse(entry) for (entry,) in held]
    return sum(entry.outcome == DATABASE and [b.code for b in entry.breaches or ()] == [FOREIGN] for entry in said)


async def test_child_whose_protection_is_taken_out_for_one_message_stays_protected(disk: OnDisk) -> None:
    back = listed(disk)
    tamper(disk.path, "DELETE FROM protection")
    with pytest.raises(ContractBreachError):  # decided once without the row, and then again
        await submission(disk.exchange)
    tamper(disk.path, *back)
    with pytest.raises(ContractBreachError):
        await submission(disk.exchange, key="second")
    assert rows(disk.path, "SELECT count(*) FROM message") == [(0,)]
    assert await told(disk) == 2
    assert [code for code, _ in disk.alarms.raised].count(FOREIGN_WRITE) == 2


async def test_row_taken_out_and_put_back_while_the_flow_decides_is_decided_on_again(disk: OnDisk) -> None:
    """The row is back when the flow writes: nothing differs any more, and what was read meanwhile counts for nothing."""
    back = listed(disk)

    class PutsBack:
        """The store as the flow sees it; between the decision and the commit the administrator covers his tracks."""

        tried = 0

        async def write(self, command: object) -> object:
            if isinstance(command, commands.Submit):
                self.tried += 1
                tamper(disk.path, *back)
            return await disk.exchange.store.write(command)

    tamper(disk.path, "DELETE FROM protection")
    putting_back = PutsBack()
    with pytest.raises(ContractBreachError):
        await submission(replace(disk.exchange, store=putting_back))
    assert putting_back.tried == 1
    assert rows(disk.path, "SELECT count(*) FROM message") == [(0,)]


async def test_suspended_agreement_whose_event_is_taken_out_governs_nothing(disk: OnDisk, town: Town) -> None:
    tamper(disk.path, f"DELETE FROM agreement_event WHERE org = '{town.b.own}'")  # noqa: S608 - a test's own words
    with pytest.raises(StoreChangedError):  # any write looks first
        await protection.add(make_body(), KINDS, disk.exchange, by="An Officer")
    assert await governing.load(disk.exchange, town.digest, town.clock()) is None


async def test_without_a_command_it_is_noticed_by_itself(town: Town, database: Path) -> None:
    async with on_disk(town.a, database, look_every=0.05) as disk:
        await settle(disk, town.b)
        await protection.add(make_body(), KINDS, disk.exchange, by="An Officer")
        tamper(disk.path, "DELETE FROM protection")
        for _ in range(400):
            if FOREIGN_WRITE in [code for code, _ in disk.alarms.raised]:
                break
            await asyncio.sleep(0.05)
        assert FOREIGN_WRITE in [code for code, _ in disk.alarms.raised]
        for _ in range(400):
            if await disk.exchange.protection.kinds(disk.exchange.tags(make_body())) == KINDS:
                break
            await asyncio.sleep(0.05)
        assert await disk.exchange.protection.kinds(disk.exchange.tags(make_body())) == KINDS


async def test_who_cannot_decide_again_is_asked_to_come_back(disk: OnDisk) -> None:
    tamper(disk.path, "UPDATE partner SET mac = mac")
    child = {"child": {"upn": "A123456789012"}}
    with pytest.raises(StoreChangedError):
        await protection.add(child, KINDS, disk.exchange, by="An Officer")
    assert await disk.exchange.protection.kinds(disk.exchange.tags(child)) == frozenset()
    await protection.add(child, KINDS, disk.exchange, by="An Officer")
    assert await disk.exchange.protection.kinds(disk.exchange.tags(child)) == KINDS
