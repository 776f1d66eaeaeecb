"""What is append-only: UPDATE, DELETE and every form of REPLACE are refused, whichever connection tries (log A2)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pysqlite3.dbapi2 as pysqlite3
import pytest

from gateway.store.migrations import upgrade
from tests.support.store import APPEND_ONLY, make_event, open_lab, sign_log

HEAD = "log_head"
OTHERS = (  # what witnesses leave
    "INSERT INTO cosignature (size, witness, ts, line) VALUES (1, 'w', 1, 'a line')",
    "INSERT INTO log_epoch (size, origin, note) VALUES (1, 'before', x'00')",
    "INSERT INTO witness_conflict (origin, size, root, note, seen_at) VALUES ('o', 1, x'00', x'00', 1)",
)


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """A log of a few entries with a checkpoint."""
    path = tmp_path / "gateway.sqlite"
    upgrade(path)
    async with open_lab(path) as lab:
        for n in range(2, 5):
            await lab.open.store.write(make_event(n))
        await sign_log(lab, tmp_path / "signer")
    for statement in OTHERS:
        attempt(path, statement)
    return path


def attempt(path: Path, statement: str) -> None:
    """As another program would: an ordinary connection with the settings SQLite comes with."""
    connection = pysqlite3.connect(path)
    try:
        with connection:
            connection.execute(statement)
    finally:
        connection.close()


def columns(path: Path, table: str) -> list[str]:
    connection = pysqlite3.connect(path)
    try:
        return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    finally:
        connection.close()


def guarded(path: Path) -> set[str]:
    connection = pysqlite3.connect(path)
    try:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    finally:
        connection.close()
    return {name.removesuffix("_no_delete") for (name,) in found if name.endswith("_no_delete")}


def test_every_append_only_table_and_the_head_are_guarded(database: Path) -> None:
    assert guarded(database) >= {*APPEND_ONLY, HEAD}


@pytest.mark.parametrize("table", [*APPEND_ONLY, HEAD])
@pytest.mark.parametrize(
    "act",
    [
        "DELETE FROM {table}",
        "REPLACE INTO {table} SELECT * FROM {table} LIMIT 1",
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1",
        "INSERT OR IGNORE INTO {table} SELECT * FROM {table} LIMIT 1",
    ],
)
def test_nothing_is_deleted_or_takes_another_s_place(database: Path, table: str, act: str) -> None:
    if table not in guarded(database) or not has_rows(database, table):
        pytest.fail(f"{table} holds nothing here: this would prove nothing")
    with pytest.raises((sqlite3.IntegrityError, pysqlite3.IntegrityError)):
        attempt(database, act.format(table=table))


def has_rows(path: Path, table: str) -> bool:
    connection = pysqlite3.connect(path)
    try:
        return connection.execute(f"SELECT 1 FROM {table}").fetchone() is not None  # noqa: S608 - a table's name
    finally:
        connection.close()


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_nothing_is_updated(database: Path, table: str) -> None:
    column = columns(database, table)[-1]
    for act in ("UPDATE", "UPDATE OR REPLACE", "UPDATE OR IGNORE"):
        with pytest.raises(pysqlite3.IntegrityError):
            attempt(database, f"{act} {table} SET {column} = {column}")


def test_no_entry_takes_the_place_of_one_with_the_same_leaf(database: Path) -> None:
    with pytest.raises(pysqlite3.IntegrityError):
        attempt(
            database,
            "REPLACE INTO log_entry (idx, kind, at_us, leaf_hash, entry, mac)"
            " SELECT 900, kind, at_us, leaf_hash, entry, mac FROM log_entry WHERE idx = 1",
        )


def test_no_node_takes_the_place_of_another_by_sqlite_s_own_row_number(database: Path) -> None:
    with pytest.raises(pysqlite3.IntegrityError):
        attempt(database, "REPLACE INTO log_node (rowid, level, idx, hash) VALUES (1, 40, 40, x'00')")


async def test_writing_goes_on_under_the_triggers(database: Path) -> None:
    async with open_lab(database, agreement=False) as lab:
        await lab.open.store.write(make_event(5))
        assert await lab.open.store.write(make_event(5)) is False
