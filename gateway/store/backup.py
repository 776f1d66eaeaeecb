"""Copying the database while it is in use, and judging a copy by itself: no key, no mac, the log's own arithmetic.

A copy is one state of the database (SQLite's online backup, in one step), in one file. What was erased is not in it:
`secure_delete` overwrites freed pages before they could be copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from gateway.core.errors import LogInconsistentError, SafehandError
from gateway.store.cells import as_blob, as_number
from gateway.store.schema import log_entry, log_head
from gateway.store.sqlite import opening, reader_engine, snapshot
from gateway.tlog.entry import leaf_hash
from gateway.tlog.errors import TreeError
from gateway.tlog.merkle import Frontier

_PAGE: Final = 1_000  # rows held at a time


class CopyError(SafehandError):
    """A copy of the database that is not whole."""

    code = "backup.damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedLog:
    """The exchange log in a copy, recomputed from its entries; `last` are index, bytes and mac of the last entry."""

    origin: str
    size: int
    root: bytes
    last: tuple[int, bytes, bytes] | None


def copy_database(database: Path, to: Path) -> None:
    """Copy the database, in use or not, to a new file that only its owner can read. Raises StoreUnavailableError."""
    with opening(database):
        to.touch(mode=0o600, exist_ok=False)
        snapshot(database, to)


def judge_copy(copy: Path, remembered: Frontier) -> CopiedLog:
    """Return the log of a copy that is whole: pages, references, head and entries agree, and the tree of `remembered`
    (what the log's signer saw) begins it.

    Raises CopyError where the copy is damaged, LogInconsistentError where the signer has seen more, or something else.
    """
    engine = reader_engine(copy)
    try:
        with engine.connect() as connection:
            _check_pages(connection)
            return _read_log(connection, remembered)
    except (DBAPIError, TreeError, ValueError) as error:
        raise CopyError(f"{copy.name}: is not a whole database") from error
    finally:
        engine.dispose()


def _check_pages(connection: Connection) -> None:
    found = connection.execute(text("PRAGMA integrity_check(1)")).scalar_one()
    if found != "ok" or connection.execute(text("PRAGMA foreign_key_check")).first() is not None:
        raise CopyError("the database in the backup is damaged")


def _read_log(connection: Connection, remembered: Frontier) -> CopiedLog:
    head = connection.execute(select(log_head)).one()
    size = as_number(head.size)
    if remembered.size > size:
        raise LogInconsistentError(
            f"the log's signer has seen {remembered.size} entries, and this backup has {size}: it is older"
        )
    tree, last, matched = Frontier(), None, remembered.size == 0
    rows = connection.execution_options(yield_per=_PAGE).execute(
        select(log_entry.c.idx, log_entry.c.entry, log_entry.c.mac).order_by(log_entry.c.idx)
    )
    for row in rows:
        if row.idx != tree.size:
            raise CopyError(f"entry {tree.size} of the log is missing in the backup")
        entry = as_blob(row.entry)
        tree.append(leaf_hash(entry))
        last = (row.idx, entry, as_blob(row.mac))
        if tree.size == remembered.size:
            matched = tree.to_bytes() == remembered.to_bytes()
    if (tree.size, tree.to_bytes()) != (size, as_blob(head.frontier)):
        raise CopyError("the entries of the log in the backup are not those of its head")
    if not matched:
        raise LogInconsistentError(f"the first {remembered.size} entries are not those that the log's signer has seen")
    return CopiedLog(origin=head.origin, size=size, root=tree.root(), last=last)
