"""Erasing: the rows of `log_detail` and `log_subject` that belong to an entry go, and nothing else (log A3, invariant I10).

On SQLite `secure_delete` overwrites what is deleted; what still lies in the write-ahead log goes when the writer empties it.
"""

from __future__ import annotations

from typing import assert_never

from sqlalchemy import ColumnElement, Table, delete, select

from gateway.core.erasure import KEPT, AtEntry, Erase, OfMessage
from gateway.core.errors import SubmissionRefusedError
from gateway.store.schema import log_detail, log_entry, log_subject
from gateway.store.transaction import Transaction


def erase(tx: Transaction, erase: Erase) -> int:
    """Erase what can be; refuse where that is nothing."""
    indexes = _entries(tx, erase)
    lost: set[int] = set()
    for table in (log_detail, log_subject):
        lost |= {row.entry_idx for row in tx.read(select(table.c.entry_idx).where(_erasable(table, indexes)))}
    if not lost:
        rule = "no such entry" if not indexes else "nothing of it can be erased (any more)"
        raise SubmissionRefusedError("log.nothing-to-erase", "entry", rule)
    for table in (log_detail, log_subject):
        tx.change(delete(table).where(_erasable(table, indexes)))
    tx.erased = True
    tx.append(erase.entry)
    return len(lost)


def _entries(tx: Transaction, erase: Erase) -> list[int]:
    match erase.what:
        case AtEntry(index=index):
            which = log_entry.c.idx == index
        case OfMessage(message_id=message_id):
            which = log_entry.c.message_id == message_id
        case _:
            assert_never(erase.what)
    return [row.idx for row in tx.read(select(log_entry.c.idx).where(which))]


def _erasable(table: Table, indexes: list[int]) -> ColumnElement[bool]:
    mine = table.c.entry_idx.in_(indexes)
    return mine & table.c.field.not_in(sorted(KEPT)) if "field" in table.c else mine
