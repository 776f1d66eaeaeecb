"""The one SQLite this process uses, and how every connection to it is set up.

SQLite 3.7.0 to 3.51.2 can lose commits (the WAL-reset bug), and most systems ship one of those. So this is the one
place that knows `pysqlite3`, which carries its own and is given to SQLAlchemy. No table is known here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pysqlite3.dbapi2 as pysqlite3
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from gateway.core.errors import SafehandError

FIRST_AFFECTED: Final = (3, 7, 0)
LAST_AFFECTED: Final = (3, 51, 2)
BUSY_TIMEOUT_MS: Final = 10_000
SCRUB_TIMEOUT_MS: Final = 500  # nothing is written meanwhile
DISK_FULL: Final = "SQLITE_FULL"
NO_ROOM: Final = 1024 * 1024  # bytes: with less SQLite cannot so much as open a database that is written in WAL mode

_COMMON: Final = (f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}", "PRAGMA foreign_keys = ON")
# FULL always: NORMAL lost acknowledged messages in most simulated power cuts and gains nothing once batched (log B1).
_WRITER: Final = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA secure_delete = ON")
_READER: Final = ("PRAGMA query_only = ON", "PRAGMA wal_autocheckpoint = 0")


class SqliteVersionError(SafehandError):
    """The SQLite at hand can lose commits."""

    code = "sqlite.version"


class StoreUnavailableError(SafehandError):
    """The database file cannot be opened: not ours to read, no database, or another process keeps it."""

    code = "store.unavailable"


def check_version(version: tuple[int, int, int]) -> None:
    """Refuse an SQLite with the WAL-reset bug; raises SqliteVersionError."""
    if FIRST_AFFECTED <= version <= LAST_AFFECTED:
        text = ".".join(map(str, version))
        raise SqliteVersionError(
            f"SQLite {text} can lose committed data (3.7.0 to 3.51.2 can): install pysqlite3 0.6.1 or later"
        )


def sqlite_version() -> tuple[int, int, int]:
    """The version of the one SQLite that this process uses for its store."""
    major, minor, patch = pysqlite3.sqlite_version_info
    return major, minor, patch


def error_name(error: BaseException) -> str:
    """SQLite's own name of what went wrong (`SQLITE_FULL`), or an empty text."""
    return str(getattr(getattr(error, "orig", error), "sqlite_errorname", ""))


def writer_engine(path: Path) -> Engine:
    """The engine of the only connection that writes; every transaction begins IMMEDIATE."""
    check_version(sqlite_version())
    engine = create_engine(
        f"sqlite:///{path}",
        module=pysqlite3,
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
        hide_parameters=True,
    )
    _set_up(engine, (*_COMMON, *_WRITER), begin="BEGIN IMMEDIATE")
    return engine


def reader_engine(path: Path, connections: int = 0) -> Engine:
    """Connections that are `query_only` and never checkpoint; `connections` are kept open, by default none."""
    check_version(sqlite_version())
    pool: dict[str, Any] = (
        {"poolclass": QueuePool, "pool_size": connections, "max_overflow": 0}
        if connections
        else {"poolclass": NullPool}
    )
    engine = create_engine(
        f"sqlite:///{path}",
        module=pysqlite3,
        connect_args={"check_same_thread": False},
        hide_parameters=True,
        **pool,
    )
    _set_up(engine, (*_COMMON, *_READER), begin="BEGIN")
    return engine


def empty_wal(connection: Any) -> bool:
    """Move everything into the database and empty the write-ahead log; `connection` is the driver's, outside any
    transaction. False where a reader is in the way: then it is to be tried again."""
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {SCRUB_TIMEOUT_MS}")
        busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    except pysqlite3.OperationalError:  # the disk is full, or a lock: what was committed is committed all the same
        return False
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.close()


def data_version(connection: Any) -> int:
    """A number that another one follows as soon as any other connection has committed something; `connection` is the
    driver's. What it committed itself does not count."""
    cursor = connection.cursor()
    try:
        return int(cursor.execute("PRAGMA data_version").fetchone()[0])
    finally:
        cursor.close()


def snapshot(database: Path, to: Path) -> None:
    """Copy one state of the database into the file `to`, beside whoever writes: one step, and one file (no WAL)."""
    check_version(sqlite_version())
    with closing(pysqlite3.connect(database)) as source, closing(pysqlite3.connect(to)) as target:
        for pragma in (*_COMMON, *_READER):
            source.execute(pragma)
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Turn what the operating system and SQLite say of a file that cannot be opened into StoreUnavailableError."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(f"{path} cannot be opened: {error.strerror}") from error
    except DBAPIError as error:
        raise StoreUnavailableError(f"{path} cannot be opened: {error.orig}{_mend(path)}") from error
    except pysqlite3.Error as error:
        raise StoreUnavailableError(f"{path} cannot be opened: {error}{_mend(path)}") from error


def _mend(path: Path) -> str:
    """What SQLite's own words do not say: that the disk is full, or that the folder cannot be written."""
    try:
        if shutil.disk_usage(path.parent).free < NO_ROOM:
            return ": the disk is full: make room"
        if not os.access(path.parent, os.W_OK):
            return f": {path.parent} cannot be written: look at its owner, and how it is mounted"
    except OSError:
        return ""
    return ""


def _set_up(engine: Engine, pragmas: tuple[str, ...], *, begin: str) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where `begin` says, not where the driver guesses
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
            cursor.fetchall()
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        connection.exec_driver_sql(begin)
