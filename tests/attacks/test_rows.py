"""Aim: as administrator of the database, change a row that decides: another key, another state, a child unprotected.

Held off by the mac of each such row, and by the exchange log, which states how every one of them stands: what has no good
mac counts as absent at once, an old row put back from the next comparison on. Each is alarmed, and is an entry.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.lifecycle import State
from gateway import governing, inbound, integrity, protection
from gateway.core import commands, deciding
from gateway.core.errors import EnvelopeRejectedError
from gateway.core.receipt import read_receipt
from gateway.entries import Circumstance, about_own
from gateway.store.rows import MISSING, NOT_AS_LOGGED, OTHER, TAMPERED, UNKNOWN
from gateway.tlog.entry import parse
from keys.fingerprint import to_text
from tests.support.disk import OnDisk, on_disk, settle
from tests.support.exchange import Town, make_message, make_town_in_force
from tests.support.messages import MESSAGE_ID, A, C, bundle_of
from tests.support.store import rows, tamper

CHILD = {"child": {"upn": "A123456789012"}}


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


@pytest.fixture
async def disk(town: Town, database: Path) -> AsyncIterator[OnDisk]:
    """The receiving council on a real database, with its partner and the agreement in force."""
    async with on_disk(town.b, database) as opened:
        await settle(opened, town.a)
        yield opened


async def told(disk: OnDisk) -> list[tuple[str, tuple[str, ...]]]:
    """What the exchange log is told of refused rows: table and causes of each entry."""
    await integrity.record(disk.opened.refusals, disk.exchange)
    said = rows(disk.path, "SELECT entry FROM log_entry WHERE kind = 'row-refused' ORDER BY idx")
    entries = [parse(entry) for (entry,) in said]
    return [(str(entry.outcome), tuple(b.code for b in entry.breaches or ())) for entry in entries]


async def bring(disk: OnDisk, town: Town) -> str:
    """The partner's message is brought; answer what the receipt says."""
    arrival = inbound.Arrival(data=await make_message(town), http_org=A, idempotency_key=MESSAGE_ID)
    return read_receipt(await inbound.accept(arrival, disk.exchange)).payload.event


async def state(disk: OnDisk, town: Town) -> State | None:
    held = await governing.load(disk.exchange, town.digest, town.clock())
    return held.state.state if held else None


def row_of(disk: OnDisk, table: str, where: str) -> str:
    """A statement that puts this row back as it is now, its good mac and all."""
    (row,) = rows(disk.path, f"SELECT * FROM {table} WHERE {where}")  # noqa: S608 - a test's own words
    cells = [f"x'{c.hex()}'" if isinstance(c, bytes) else repr(c) for c in row]
    return f"REPLACE INTO {table} VALUES ({', '.join(cells)})"  # noqa: S608 - a test's own words


async def test_without_an_attack_everything_stands_and_the_message_is_taken(disk: OnDisk, town: Town) -> None:
    compared = disk.opened.comparison.run()
    assert (compared.rows, compared.log) == ((), ())
    assert await bring(disk, town) == "checked"
    assert await told(disk) == []


async def test_swapped_root_makes_the_partner_a_stranger(disk: OnDisk, town: Town) -> None:
    tamper(disk.path, f"UPDATE partner SET root = '{to_text(bundle_of(C).fingerprint)}'")  # noqa: S608 - hex
    with pytest.raises(EnvelopeRejectedError):
        await bring(disk, town)
    assert [code for code, _ in disk.alarms.raised] == [TAMPERED]
    assert await told(disk) == [("partner", ("row.mac",))]
    disk.opened.comparison.run()
    assert await told(disk) == [("partner", ("row.mac",))]  # once until a restart


async def test_swapped_keys_make_the_partner_a_stranger(disk: OnDisk, town: Town) -> None:
    planted = bundle_of(C).jws.hex()
    tamper(disk.path, f"UPDATE bundle SET jws = x'{planted}' WHERE org = '{A}'")  # noqa: S608 - hex
    disk.opened.comparison.run()
    with pytest.raises(EnvelopeRejectedError):
        await bring(disk, town)
    assert ("bundle", ("row.mac",)) in await told(disk)


async def test_planted_event_changes_nothing(disk: OnDisk, town: Town) -> None:
    tamper(
        disk.path,
        "INSERT INTO agreement_event SELECT digest, org, n + 1, hash, jws, received_at, mac FROM agreement_event",
    )
    assert await state(disk, town) is State.IN_FORCE
    assert await told(disk) == [("agreement_event", ("row.mac",))] * 2


async def test_planted_entry_of_the_log_names_no_organisation_that_is_none(disk: OnDisk) -> None:
    tamper(
        disk.path,
        "INSERT INTO partner SELECT 'A Child', name, root, verified_by, route, duty_number, 1, mac FROM partner",
    )
    assert len(await disk.exchange.partners.all()) == 1
    assert await told(disk) == [("partner", ("row.mac",))]
    ((entry,),) = rows(disk.path, "SELECT entry FROM log_entry WHERE kind = 'row-refused'")
    assert b"Child" not in entry


async def test_old_partner_row_put_back_is_used_no_more_once_it_was_compared(disk: OnDisk, town: Town) -> None:
    trusted = row_of(disk, "partner", f"org = '{A}'")
    held = await disk.exchange.partners.get(A)
    assert held is not None
    row = {"org": A, "name": A, "root": held.root, "verified_by": (), "route": "peer", "duty_number": "0"}
    what = Circumstance(outcome="withdrawn", rows=deciding.of_partner(**row))
    entry = about_own(disk.exchange.journal, "partner-withdrawn", town.clock(), what, partner=A)
    await disk.exchange.store.write(commands.PutPartner(**row, fetched_at=held.fetched_at, entry=entry))
    with pytest.raises(EnvelopeRejectedError):  # nobody trusts it any more
        await bring(disk, town)
    tamper(disk.path, trusted)
    compared = disk.opened.comparison.run()
    assert [(one.table, one.cause) for one in compared.rows] == [("partner", OTHER)]
    with pytest.raises(EnvelopeRejectedError):
        await bring(disk, town)
    assert [code for code, _ in disk.alarms.raised] == [NOT_AS_LOGGED]
    assert await told(disk) == [("partner", (OTHER,))]


async def test_suspension_taken_out_does_not_bring_the_agreement_back(disk: OnDisk, town: Town) -> None:
    tamper(disk.path, f"DELETE FROM agreement_event WHERE org = '{A}'")  # noqa: S608 - a test's own words
    disk.opened.comparison.run()
    assert await state(disk, town) is None
    assert await told(disk) == [("agreement_event", (MISSING,))]


async def test_child_whose_protection_was_deleted_stays_protected(disk: OnDisk) -> None:
    kinds = frozenset({"location"})
    await protection.add(CHILD, kinds, disk.exchange, by="An Officer")
    tamper(disk.path, "DELETE FROM protection")
    disk.opened.comparison.run()
    assert await disk.exchange.protection.kinds(disk.exchange.tags(CHILD)) == kinds
    assert await told(disk) == [("protection", (MISSING,))]


async def test_child_whose_protection_was_flipped_stays_protected(disk: OnDisk) -> None:
    kinds = frozenset({"location"})
    await protection.add(CHILD, kinds, disk.exchange, by="An Officer")
    tamper(disk.path, "UPDATE protection SET kind = 'nothing'")
    disk.opened.comparison.run()
    assert await disk.exchange.protection.kinds(disk.exchange.tags(CHILD)) == kinds
    assert {table for table, _ in await told(disk)} == {"protection"}


async def test_protection_that_was_taken_off_cannot_be_put_back_from_an_old_copy(disk: OnDisk) -> None:
    kinds = frozenset({"location"})
    await protection.add(CHILD, kinds, disk.exchange, by="An Officer")
    old = row_of(disk, "protection", "kind = 'location'")
    await protection.remove(CHILD, kinds, disk.exchange, by="An Officer", alone=True)
    tamper(disk.path, old)
    disk.opened.comparison.run()
    assert await disk.exchange.protection.kinds(disk.exchange.tags(CHILD)) == frozenset()
    assert await told(disk) == [("protection", (UNKNOWN,))]


async def test_log_cut_back_to_hide_the_change_is_told_apart(disk: OnDisk) -> None:
    """The openings are what rows are compared with: without one of them nobody can say which rows stand."""
    tamper(disk.path, "DELETE FROM log_detail WHERE field = 'rows' AND entry_idx = 2")
    compared = disk.opened.comparison.run()
    assert [fault.index for fault in compared.log] == [2]
    assert ("log_entry", ("row.unstated",)) in await told(disk)
