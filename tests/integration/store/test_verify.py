"""`log verify` on the live database names whatever was changed, by index and column (log A5, invariants I4 and I11)."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.commands import Record
from gateway.core.lifecycle import ReceiptEvent
from gateway.core.payload import Governing
from gateway.core.receipt import ReceiptFor, Verdict, issue
from gateway.store.vault import Vault
from gateway.tlog.checkpoint import NoteKey
from tests.support.keys import ed25519, make_pair
from tests.support.store import (
    DIGEST,
    LOG_KEY,
    ORIGIN,
    OWN,
    PARTNER,
    ZEROS,
    Lab,
    make_acknowledge,
    make_entry,
    make_receive,
    make_submit,
    open_lab,
    problems,
    rows,
    seconds,
    sign_log,
    tamper,
)

SIZE = 9


@pytest.fixture(scope="module")
def filled(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of nine entries with two checkpoints, paths, openings, and two receipts given."""
    folder = tmp_path_factory.mktemp("filled")
    path = folder / "gateway.sqlite"
    shutil.copyfile(template, path)

    async def fill() -> None:
        async with open_lab(path) as lab:
            for number in range(5):
                await lab.open.store.write(make_submit(lane=b"%d" % number))
            await sign_log(lab, folder / "signer")
            await receive_one(lab)
            await lab.open.store.write(Record(entry=make_entry(by="dpo.one")))
            await sign_log(lab, folder / "signer")

    asyncio.run(fill())
    return path


async def receive_one(lab: Lab) -> None:
    """Receive a message and hand it over, with receipts that are bound to their entries."""
    receive = make_receive()
    about = ReceiptFor(
        msg=receive.message.id,
        env=receive.message.env,
        jws=receive.message.jws,
        agreement=Governing(id="lab-agreement", version=1, digest=DIGEST, heads=(ZEROS, ZEROS)),
        sender=PARTNER,
        recipient=OWN,
    )

    def receipt(event: ReceiptEvent, entry: bytes) -> bytes:
        return issue(
            Verdict(event=event),
            about,
            make_pair("la-901 message-sign"),
            receipt_id=receive.message.id,
            bundle=ZEROS,
            at=seconds(),
            origin=ORIGIN,
            entry=entry,
        )

    await lab.open.store.write(replace(receive, receipt=receipt(ReceiptEvent.CHECKED, receive.entry.data)))
    taken = make_acknowledge(receive.message.id)
    await lab.open.store.write(replace(taken, receipt=receipt(ReceiptEvent.TAKEN, taken.entry.data)))


@pytest.fixture
def log(filled: Path, tmp_path: Path) -> Path:
    path = tmp_path / "log.sqlite"
    shutil.copyfile(filled, path)
    return path


def test_a_whole_log_has_no_problem(log: Path) -> None:
    assert rows(log, "SELECT size FROM log_head") == [(SIZE,)]
    assert problems(log) == []


async def test_a_log_is_verified_beside_the_running_writer(lab: Lab) -> None:
    for _ in range(3):
        await lab.open.store.write(Record(entry=make_entry()))
        assert problems(lab.path) == []


CHANGES = [
    ("UPDATE log_entry SET entry = replace(entry, '\"search\"', '\"export\"') WHERE idx = 8", (8, "entry")),
    ("UPDATE log_entry SET entry = 5 WHERE idx = 3", (3, "entry")),
    ("UPDATE log_entry SET leaf_hash = zeroblob(32) WHERE idx = 3", (3, "leaf_hash")),
    ("UPDATE log_entry SET mac = zeroblob(32) WHERE idx = 3", (3, "mac")),
    ("UPDATE log_entry SET kind = 'export' WHERE idx = 3", (3, "kind")),
    ("UPDATE log_entry SET at_us = at_us + 1 WHERE idx = 3", (3, "at_us")),
    ("UPDATE log_entry SET message_id = NULL WHERE idx = 3", (3, "message_id")),
    ("UPDATE log_entry SET partner = 'la-903' WHERE idx = 3", (3, "partner")),
    ("UPDATE log_entry SET dir = 'in' WHERE idx = 3", (3, "dir")),
    ("UPDATE log_entry SET type = 'cme.answer' WHERE idx = 3", (3, "type")),
    ("UPDATE log_entry SET agreement = 'other' WHERE idx = 3", (3, "agreement")),
    ("UPDATE log_entry SET outcome = 'sent' WHERE idx = 3", (3, "outcome")),
    ("UPDATE log_entry SET role = 'officer' WHERE idx = 3", (3, "role")),
    ("DELETE FROM log_path WHERE idx = 3 AND path = 'child.name.family'", (3, "log_path")),
    ("INSERT INTO log_path VALUES ('child.upn', 3)", (3, "log_path")),
    ("UPDATE log_node SET hash = zeroblob(32) WHERE level = 2 AND idx = 1", (1, "node[2].hash")),
    ("DELETE FROM log_node WHERE level = 1 AND idx = 2", (2, "node[1].idx")),
    ("INSERT INTO log_node VALUES (3, 1, zeroblob(32))", (1, "node[3].idx")),
    ("UPDATE log_head SET size = 8, frontier = zeroblob(32)", (8, "head.size")),
    ("UPDATE log_head SET size = 'nine'", (-1, "head.size")),
    ("UPDATE log_node SET idx = 'two' WHERE level = 1 AND idx = 2", (2, "node[1].idx")),
    ("UPDATE checkpoint SET size = 'six' WHERE size = 6", (-1, "checkpoint.size")),
    ("UPDATE checkpoint SET note = 5 WHERE size = 6", (6, "checkpoint.note")),
    ("UPDATE log_head SET frontier = zeroblob(64)", (SIZE, "head.frontier")),
    ("UPDATE log_head SET updated_at = updated_at + 1", (SIZE, "head.updated_at")),
    ("UPDATE log_head SET origin = 'other.example/log'", (SIZE, "head.origin")),
    ("UPDATE checkpoint SET root = zeroblob(32) WHERE size = 6", (6, "checkpoint.root")),
    ("UPDATE checkpoint SET note = replace(note, '\n6\n', '\n7\n') WHERE size = 6", (6, "checkpoint.note")),
    ("UPDATE checkpoint SET size = 5 WHERE size = 6", (5, "checkpoint.size")),
    ("UPDATE log_detail SET value = zeroblob(40) WHERE entry_idx = 8", (8, "log_detail.by")),
    ("UPDATE log_detail SET entry_idx = 0 WHERE entry_idx = 8", (0, "log_detail.by")),
    ("UPDATE inbox SET receipt_digest = 'sha256:00'", (-1, "inbox.receipt_digest")),
    ("UPDATE inbox SET envelope_digest = 'sha256:00'", (-1, "inbox.receipt")),
    ("UPDATE outgoing SET bytes = (SELECT receipt FROM inbox), ref = 'other/taken'", (-1, "outgoing.bytes")),
    ("UPDATE outgoing SET bytes = x'7b7d'", (-1, "outgoing.bytes")),
]


@pytest.mark.parametrize(("change", "found"), CHANGES, ids=[change for change, _ in CHANGES])
def test_a_changed_row_is_named_by_index_and_column(log: Path, change: str, found: tuple[int, str]) -> None:
    tamper(log, change)
    assert problems(log)[0] == found


def test_an_entry_taken_out_is_named(log: Path) -> None:
    tamper(log, "DELETE FROM log_path WHERE idx = 3", "DELETE FROM log_detail", "DELETE FROM log_subject")
    tamper(log, "DELETE FROM log_entry WHERE idx = 3")
    assert problems(log)[0] == (3, "idx")


def test_two_entries_that_changed_places_are_named(log: Path) -> None:
    tamper(log, "DELETE FROM log_path", "DELETE FROM log_detail", "DELETE FROM log_subject")
    tamper(
        log,
        "UPDATE log_entry SET idx = 100 WHERE idx = 2",
        "UPDATE log_entry SET idx = 2 WHERE idx = 3",
        "UPDATE log_entry SET idx = 3 WHERE idx = 100",
    )
    assert {(2, "mac"), (3, "mac")} <= set(problems(log))


def test_a_log_without_a_head_is_named(log: Path) -> None:
    tamper(log, "DELETE FROM log_head")
    assert problems(log) == [(0, "head.size")]


def test_a_receipt_whose_entry_is_gone_is_named(log: Path) -> None:
    """The log's end is cut off, cleanly: only the receipt still knows of it."""
    tamper(log, "DELETE FROM log_detail WHERE entry_idx >= 7", "DELETE FROM log_subject WHERE entry_idx >= 7")
    tamper(log, "DELETE FROM log_entry WHERE idx >= 7")
    assert (-1, "outgoing.bytes") in problems(log)


def test_a_note_under_a_key_that_was_not_the_logs_is_named(log: Path) -> None:
    other = NoteKey(ORIGIN, ed25519("somebody else").public.raw)
    assert problems(log, log_keys=lambda _: [other]) == [(6, "checkpoint.note"), (SIZE, "checkpoint.note")]


def test_the_keys_of_a_note_are_those_of_the_time_it_was_signed(log: Path) -> None:
    keys = {seconds(): [LOG_KEY]}
    assert problems(log, log_keys=lambda row: keys.get(row.signed_at, [])) == []
    assert problems(log, log_keys=lambda row: keys.get(row.signed_at + 1, []))[0] == (6, "checkpoint.note")


def test_openings_under_another_key_encryption_key_are_named(log: Path) -> None:
    assert (8, "log_detail.by") in problems(log, vault=Vault(b"x" * 32))


CELLS = [
    *[("log_entry", f"idx = {idx}", "entry", idx) for idx in range(SIZE)],
    *[("log_entry", f"idx = {idx}", "leaf_hash", idx) for idx in range(SIZE)],
    *[("log_entry", f"idx = {idx}", "mac", idx) for idx in range(SIZE)],
    *[("log_node", f"level = 1 AND idx = {idx}", "hash", idx) for idx in range(4)],
    *[("log_node", f"level = 2 AND idx = {idx}", "hash", idx) for idx in range(2)],
    ("log_node", "level = 3 AND idx = 0", "hash", 0),
    ("log_head", "id = 1", "frontier", SIZE),
    ("checkpoint", "size = 6", "root", 6),
    ("checkpoint", "size = 6", "note", 6),
]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cell=st.sampled_from(CELLS), place=st.integers(0, 10_000), bit=st.integers(0, 6))
def test_any_single_changed_bit_is_named_at_its_index(
    filled: Path, tmp_path: Path, cell: tuple[str, str, str, int], place: int, bit: int
) -> None:
    table, where, column, index = cell
    path = tmp_path / "bit.sqlite"
    shutil.copyfile(filled, path)
    ((value,),) = rows(path, f"SELECT {column} FROM {table} WHERE {where}")  # noqa: S608 - from CELLS
    data = bytearray(value.encode() if isinstance(value, str) else value)
    data[place % len(data)] ^= 1 << bit
    changed = f"CAST(x'{data.hex()}' AS TEXT)" if isinstance(value, str) else f"x'{data.hex()}'"
    tamper(path, f"UPDATE {table} SET {column} = {changed} WHERE {where}")  # noqa: S608 - hex
    assert index in {found for found, _ in problems(path)}
