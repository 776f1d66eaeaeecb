"""Migrations lead to the tables of the code, quietly, and nothing else is accepted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from gateway.store.migrations import at_head, upgrade
from gateway.store.opening import SchemaError, open_readonly
from gateway.store.schema import metadata
from gateway.store.sqlite import reader_engine, writer_engine
from tests.support.store import APPEND_ONLY, KEYS, ORIGIN, OWN, Alarms


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "db.sqlite"
    upgrade(path)
    return path


def test_the_migrations_lead_to_the_tables_of_the_code(database: Path) -> None:
    with reader_engine(database).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        held, wanted = inspect(connection), metadata.tables
        for name, table in wanted.items():
            checks = {check["name"] for check in held.get_check_constraints(name)}
            assert checks == {str(c.name) for c in table.constraints if c.name and str(c.name).startswith("ck_")}
            columns = {column["name"]: column["nullable"] for column in held.get_columns(name)}
            assert columns == {column.name: column.nullable for column in table.columns}


def test_indices_keep_their_conditions(database: Path) -> None:
    with reader_engine(database).connect() as connection:
        partial = connection.execute(
            text("SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'")
        ).scalars()
        wanted = {
            str(index.name)
            for table in metadata.tables.values()
            for index in table.indexes
            if index.dialect_options["sqlite"]["where"] is not None
        }
        assert set(partial) == wanted


def test_upgrading_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    upgrade(tmp_path / "db.sqlite")
    upgrade(tmp_path / "db.sqlite")
    assert capfd.readouterr() == ("", "")


def test_the_database_is_readable_by_its_owner_only(database: Path) -> None:
    assert stat.S_IMODE(os.stat(database).st_mode) == 0o600


def test_a_database_at_the_newest_revision_is_recognised(database: Path) -> None:
    with reader_engine(database).connect() as connection:
        assert at_head(connection)


async def test_a_database_at_another_revision_is_refused(database: Path) -> None:
    _write(database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="another revision"):
        async with open_readonly(database, own=OWN, origin=ORIGIN, keys=KEYS, alarm=Alarms()):
            pass


async def test_an_absent_database_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="there is no database"):
        async with open_readonly(tmp_path / "none.sqlite", own=OWN, origin=ORIGIN, keys=KEYS, alarm=Alarms()):
            pass
    assert os.listdir(tmp_path) == []


ROWS = {
    "log_entry": "(idx, kind, at_us, leaf_hash, entry, mac) VALUES (0, 'search', 0, x'00', x'00', x'00')",
    "log_node": "(level, idx, hash) VALUES (1, 0, x'00')",
    "checkpoint": "(size, root, note, signed_at) VALUES (1, x'00', '', 0)",
    "cosignature": "(size, witness, ts, line) VALUES (1, '', 0, '')",
    "log_epoch": "(size, origin, note) VALUES (1, '', x'00')",
    "witness_conflict": "(origin, size, root, note, seen_at) VALUES ('', 1, x'00', x'00', 0)",
}


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("act", ["DELETE FROM {}", "UPDATE {} SET rowid = 9"])
def test_what_is_append_only_is_neither_changed_nor_deleted(database: Path, table: str, act: str) -> None:
    _write(database, f"INSERT INTO {table} {ROWS[table]}")
    with pytest.raises(IntegrityError, match="append-only"):
        _write(database, act.format(table))


def _write(database: Path, statement: str) -> None:
    engine = writer_engine(database)
    try:
        with engine.begin() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()
