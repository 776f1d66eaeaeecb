"""Rows that decide compared with the log (log A6): on the real database, changed as its administrator could."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.core import deciding
from gateway.core.commands import AddBundle, Protect, PutPartner
from gateway.core.deciding import RowsError
from gateway.core.errors import HeadsMovedError
from gateway.store.rows import MAC, MISSING, NOT_AS_LOGGED, OTHER, TAMPERED, UNKNOWN
from keys.bundle import KeyBundle
from tests.support.keys import make_bundle
from tests.support.store import (
    DIGEST,
    OWN,
    PARTNER,
    Lab,
    at,
    make_entry,
    make_event,
    make_receive,
    make_submit,
    noticed,
    rows,
    tamper,
)

TAGS = frozenset({b"t" * 32, b"u" * 32})


def put(*, name: str = "Council B", verified_by: tuple[str, ...] = ("one", "two"), fetched_at: int = 100) -> PutPartner:
    root = "sha256:" + "00" * 32
    changes = deciding.of_partner(
        org=PARTNER, name=name, root=root, verified_by=verified_by, route="peer", duty_number="020 7946 0000"
    )
    return PutPartner(
        org=PARTNER,
        name=name,
        root=root,
        verified_by=verified_by,
        route="peer",
        duty_number="020 7946 0000",
        fetched_at=fetched_at,
        entry=make_entry("partner-verified", partner=PARTNER, rows=changes),
    )


@cache
def bundle_of(seq: int) -> KeyBundle:
    return make_bundle(PARTNER, history=() if seq == 1 else (bundle_of(seq - 1),))


def add(seq: int = 1, *, fetched_at: int = 200) -> AddBundle:
    bundle = bundle_of(seq)
    changes = deciding.of_bundle(org=PARTNER, seq=seq, jws=bundle.jws)
    entry = make_entry("key-bundle-accepted", partner=PARTNER, rows=changes)
    return AddBundle(org=PARTNER, seq=seq, jws=bundle.jws, fetched_at=fetched_at, entry=entry)


def protect(*, on: bool = True, tags: frozenset[bytes] = TAGS) -> Protect:
    kinds = frozenset({"location"})
    entry = make_entry("protection-added", rows=deciding.of_protection(tags, kinds, add=on))
    return Protect(tags=tags, kinds=kinds, add=on, now=at(), entry=entry)


def found(lab: Lab) -> set[tuple[str, str]]:
    """Table and cause of every row that a comparison finds."""
    compared = lab.open.comparison.run()
    assert compared.log == ()
    return {(one.table, one.cause) for one in compared.rows}


def faults(lab: Lab) -> list[int]:
    return [fault.index for fault in lab.open.comparison.run().log]


def saved(lab: Lab, table: str) -> list[str]:
    """Statements that put the rows of `table` back as they are now, macs and all."""
    return [
        f"REPLACE INTO {table} VALUES ({', '.join(_literal(cell) for cell in row)})"  # noqa: S608 - our own rows
        for row in rows(lab.path, f"SELECT * FROM {table}")  # noqa: S608 - a table's name
    ]


def _literal(cell: object) -> str:
    if isinstance(cell, bytes):
        return f"x'{cell.hex()}'"
    return "NULL" if cell is None else str(cell) if isinstance(cell, int) else "'" + str(cell).replace("'", "''") + "'"


async def fill(lab: Lab) -> None:
    """Every act that changes a row that decides, repeats included."""
    for command in (put(verified_by=()), add(), put(), add(), add(2), add(2, fetched_at=300), protect(), protect()):
        await lab.open.store.write(command)
    await lab.open.store.write(make_receive(protect=frozenset({b"v" * 32})))
    await lab.open.store.write(make_receive(protect=frozenset({b"v" * 32, b"w" * 32})))
    await lab.open.store.write(protect(on=False, tags=frozenset({b"u" * 32})))
    await lab.open.store.write(make_event(2))
    await lab.open.store.write(make_event(2))
    await lab.open.store.write(make_event(1, org=PARTNER))


async def test_what_commands_left_is_what_the_log_says(lab: Lab) -> None:
    await fill(lab)
    assert found(lab) == set()
    assert lab.alarms.raised == []


async def test_an_empty_store_compares(lab: Lab) -> None:
    assert found(lab) == set()


async def test_an_old_partner_row_put_back_is_found_and_counts_as_absent(lab: Lab) -> None:
    await lab.open.store.write(add())
    await lab.open.store.write(put(name="Before"))
    old = saved(lab, "partner")
    await lab.open.store.write(put())
    tamper(lab.path, *old)
    stored = await lab.open.read.partners.get(PARTNER)
    assert stored is not None
    assert stored.name == "Before"  # its mac is good: nothing else could tell
    assert found(lab) == {("partner", OTHER)}
    assert await lab.open.read.partners.get(PARTNER) is None
    assert lab.alarms.raised == [(NOT_AS_LOGGED, {"table": "partner", "row": PARTNER})]
    await noticed(lab.open.store)
    await lab.open.store.write(put())  # a person writes it anew
    stored = await lab.open.read.partners.get(PARTNER)
    assert stored is not None
    assert stored.name == "Council B"
    assert found(lab) == set()


async def test_an_older_row_put_back_after_another_was_found_is_refused_without_a_new_comparison(lab: Lab) -> None:
    older = []
    for name in ("First", "Second", "Third"):
        await lab.open.store.write(put(name=name))
        older.append(saved(lab, "partner"))
    await lab.open.store.write(add())
    tamper(lab.path, *older[0])
    assert found(lab) == {("partner", OTHER)}
    tamper(lab.path, *older[1])
    assert await lab.open.read.partners.get(PARTNER) is None
    tamper(lab.path, *older[2])
    assert await lab.open.read.partners.get(PARTNER) is not None  # as the log says


async def test_a_protection_that_was_taken_off_and_put_back_is_unknown(lab: Lab) -> None:
    await lab.open.store.write(protect())
    old = saved(lab, "protection")
    await lab.open.store.write(protect(on=False))
    tamper(lab.path, *old)
    assert await lab.open.read.protection.kinds(TAGS) == {"location"}
    assert found(lab) == {("protection", UNKNOWN)}
    assert await lab.open.read.protection.kinds(TAGS) == frozenset()


async def test_a_protection_that_was_deleted_protects_all_the_same(lab: Lab) -> None:
    await lab.open.store.write(protect())
    tamper(lab.path, "DELETE FROM protection")
    assert await lab.open.read.protection.kinds(TAGS) == frozenset()
    assert found(lab) == {("protection", MISSING)}
    assert await lab.open.read.protection.kinds(TAGS) == {"location"}
    assert await lab.open.read.protection.kinds({b"x" * 32}) == frozenset()
    assert {code for code, _ in lab.alarms.raised} == {NOT_AS_LOGGED}
    await noticed(lab.open.store)
    await lab.open.store.write(protect(on=False))  # two people took it off
    assert await lab.open.read.protection.kinds(TAGS) == frozenset()
    assert found(lab) == set()


async def test_a_protection_that_was_flipped_protects_all_the_same(lab: Lab) -> None:
    await lab.open.store.write(protect())
    tamper(lab.path, "UPDATE protection SET kind = 'identity'")
    assert found(lab) == {("protection", MAC), ("protection", MISSING)}
    assert await lab.open.read.protection.kinds(TAGS) == {"location"}


async def test_an_agreement_whose_newest_event_was_deleted_counts_as_absent(lab: Lab) -> None:
    await lab.open.store.write(make_event(2))
    tamper(lab.path, "DELETE FROM agreement_event WHERE n = 2")
    assert await lab.open.read.agreements.get(DIGEST) is not None
    assert found(lab) == {("agreement_event", MISSING)}
    assert await lab.open.read.agreements.get(DIGEST) is None
    with pytest.raises(HeadsMovedError):
        await lab.open.store.write(make_submit())
    await lab.open.store.write(make_event(2, org=OWN))  # it comes again, from the partner
    assert await lab.open.read.agreements.get(DIGEST) is not None


async def test_a_partner_whose_newest_bundle_was_deleted_counts_as_absent(lab: Lab) -> None:
    for command in (put(), add(), add(2)):
        await lab.open.store.write(command)
    tamper(lab.path, "DELETE FROM bundle WHERE seq = 2")
    assert found(lab) == {("bundle", MISSING)}
    assert await lab.open.read.partners.get(PARTNER) is None
    await noticed(lab.open.store)
    await lab.open.store.write(add(2))
    assert await lab.open.read.partners.get(PARTNER) is not None


async def test_an_act_while_a_comparison_runs_is_not_pinned_to_what_was_before(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lab.open.store.write(put(name="Before"))
    old = saved(lab, "partner")
    await lab.open.store.write(put())
    await lab.open.store.write(add())
    tamper(lab.path, *old)
    await noticed(lab.open.store)
    compare = lab.open.comparison._compare

    def slow(connection: Any) -> Any:
        result = compare(connection)
        lab.open.store.submit(put(name="Meanwhile")).result(10)
        return result

    monkeypatch.setattr(lab.open.comparison, "_compare", slow)
    lab.open.comparison.run()
    stored = await lab.open.read.partners.get(PARTNER)
    assert stored is not None
    assert stored.name == "Meanwhile"


async def test_each_refused_row_waits_once_for_its_entry(lab: Lab) -> None:
    await lab.open.store.write(put())
    await lab.open.store.write(add())
    tamper(lab.path, "UPDATE partner SET name = 'Another'")
    for _ in range(3):
        assert await lab.open.read.partners.get(PARTNER) is None
        assert found(lab) == {("partner", MAC)}
    assert [code for code, _ in lab.alarms.raised] == [TAMPERED]
    refused = lab.open.refusals.take()
    assert refused == deciding.RefusedRow(table="partner", cause=MAC, org=PARTNER)
    assert lab.open.refusals.take() is None


# --- the log that the rows are compared with


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM log_detail WHERE field = 'rows' AND entry_idx = 1",
        "UPDATE log_detail SET value = salt WHERE field = 'rows' AND entry_idx = 1",
        "UPDATE log_detail SET entry_idx = 9 WHERE field = 'rows' AND entry_idx = 1",
        "UPDATE log_entry SET mac = x'00' WHERE idx = 1",
    ],
)
async def test_an_opening_or_entry_that_is_not_as_written_is_told_apart(lab: Lab, change: str) -> None:
    await fill(lab)
    tamper(lab.path, change)
    assert faults(lab) == [1]
    lab.open.comparison.run()
    assert [code for code, _ in lab.alarms.raised].count("rows-unreadable") == 1


async def test_an_entry_that_was_taken_out_is_a_fault_of_the_log(lab: Lab) -> None:
    await fill(lab)
    tamper(
        lab.path,
        "DELETE FROM log_detail WHERE entry_idx = 3",
        "DELETE FROM log_subject WHERE entry_idx = 3",
        "DELETE FROM log_entry WHERE idx = 3",
    )
    assert faults(lab) == [3]


async def test_a_row_that_no_entry_states_is_not_written(lab: Lab) -> None:
    for command in (put(), add(), protect(), make_event(2)):
        unsaid = make_entry("partner-verified")
        object.__setattr__(command, "entry", unsaid)
        with pytest.raises(RowsError):
            await lab.open.store.write(command)
    assert rows(lab.path, "SELECT count(*) FROM log_entry") == [(1,)]
    assert found(lab) == set()


async def test_a_row_that_the_entry_states_otherwise_is_not_written(lab: Lab) -> None:
    command = put()
    object.__setattr__(command, "entry", put(name="Somebody else").entry)
    with pytest.raises(RowsError):
        await lab.open.store.write(command)
    assert found(lab) == set()


async def test_no_tag_of_a_child_stands_in_the_clear(lab: Lab, database: Path) -> None:
    await lab.open.store.write(protect())
    for table in ("log_entry", "log_detail"):
        for row in rows(lab.path, f"SELECT * FROM {table}"):  # noqa: S608 - a table's name
            for cell in row:
                said = cell if isinstance(cell, bytes) else str(cell).encode()
                assert not any(tag in said or tag.hex().encode() in said for tag in TAGS)
