"""Which SQLite is used, and what its connections may do."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pysqlite3
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from gateway.store import sqlite


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 40, 1), (3, 51, 2)])
def test_an_sqlite_that_loses_commits_is_refused(version: tuple[int, int, int]) -> None:
    with pytest.raises(sqlite.SqliteVersionError, match="can lose committed data"):
        sqlite.check_version(version)


@pytest.mark.parametrize("version", [(3, 51, 3), (3, 53, 4), (4, 0, 0)])
def test_an_sqlite_without_the_fault_is_taken(version: tuple[int, int, int]) -> None:
    sqlite.check_version(version)


def test_the_sqlite_in_use_is_not_affected_and_the_standard_module_is_left_alone() -> None:
    sqlite.check_version(sqlite.sqlite_version())
    assert sqlite3 is not pysqlite3


def test_what_cannot_be_opened_is_said_to_be_so(tmp_path: Path) -> None:
    def raising(error: OSError) -> None:
        with sqlite.opening(tmp_path / "db.sqlite"):
            raise error

    with pytest.raises(sqlite.StoreUnavailableError, match=r"db.sqlite cannot be opened: Permission denied"):
        raising(PermissionError(13, "Permission denied"))


def test_sqlite_whose_disk_is_full_is_told_to_have_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "NO_ROOM", 1 << 62)
    with (
        pytest.raises(sqlite.StoreUnavailableError, match=r"disk I/O error: the disk is full: make room"),
        sqlite.opening(tmp_path / "db.sqlite"),
    ):
        raise pysqlite3.OperationalError("disk I/O error")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with (
        pytest.raises(sqlite.StoreUnavailableError, match=rf"open database file: {tmp_path} cannot be written"),
        sqlite.opening(tmp_path / "db.sqlite"),
    ):
        raise pysqlite3.OperationalError("unable to open database file")


def test_the_writer_is_durable_and_erases(tmp_path: Path) -> None:
    engine = sqlite.writer_engine(tmp_path / "db.sqlite")
    with engine.connect() as connection:
        answers = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
        }
        version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
    engine.dispose()
    assert answers == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}
    assert tuple(map(int, version.split("."))) == sqlite.sqlite_version()


def test_a_reader_uses_the_same_sqlite_and_cannot_write(tmp_path: Path) -> None:
    writer = sqlite.writer_engine(tmp_path / "db.sqlite")
    with writer.begin() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
    reader = sqlite.reader_engine(tmp_path / "db.sqlite", connections=2)
    with reader.connect() as connection:
        version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
        checkpoint = connection.execute(text("PRAGMA wal_autocheckpoint")).scalar_one()
        with pytest.raises(OperationalError, match="readonly"):
            connection.execute(text("INSERT INTO t VALUES (1)"))
    reader.dispose()
    writer.dispose()
    assert tuple(map(int, version.split("."))) == sqlite.sqlite_version()
    assert checkpoint == 0
