"""Halves of acts that need two people: rows that decide (log A6), of which those alone count that the log says are waiting.

Refused at once, alarmed and told to the log are a half that was used and is put back, one that was planted, and one that
was taken out; which are waiting is kept in memory (`store.rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select

from gateway.core.halves import Half, HalvesMovedError, KeepHalves, Waiting
from gateway.store.cells import as_blob
from gateway.store.readers import Reader
from gateway.store.rows import MISSING, UNKNOWN, RowSeal
from gateway.store.schema import intention as table
from gateway.store.transaction import Transaction


def keep(tx: Transaction, keep: KeepHalves) -> None:
    """Take out what goes and put in what is kept, where the same halves wait that this was decided by."""
    rows = [dict(row._mapping) for row in tx.read(select(table))]
    good = tx.seal.checked(table, rows)
    lost = _lost(tx.seal, good)
    _tell(tx.seal, rows, good, lost)
    if (keep.seen.ids, keep.seen.lost) != (frozenset(row["id"] for row in good), lost):
        raise HalvesMovedError("other halves wait")
    tx.delete_sealed(table, table.c.id.in_(keep.gone))
    if (half := keep.kept) is not None:
        tx.insert_sealed(table, id=half.id, act=half.act, by=half.by, stated_at=half.stated_at)
    tx.append(keep.entry)


def _tell(
    seal: RowSeal, rows: Iterable[Mapping[str, Any]], good: Iterable[Mapping[str, Any]], lost: frozenset[str]
) -> None:
    """Tell what is not as the log says; only the writer does: a reader may be one commit behind it."""
    ids = {row["id"] for row in good}
    for row in rows:
        if row["id"] not in ids and seal.compared and seal.is_ours(table, row):
            seal.refuse(table, (row["id"],), UNKNOWN)
    for one in lost:
        seal.refuse(table, (one,), MISSING)


def _lost(seal: RowSeal, good: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(str(key[0]) for key in seal.lacks(table, good))


class StoredHalves:
    """`ports.Halves` on the table."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def waiting(self) -> Waiting:
        good = self._reader.seal.checked(table, await self._reader.rows(select(table)))
        halves = tuple(
            Half(id=row["id"], act=as_blob(row["act"]), by=row["by"], stated_at=row["stated_at"]) for row in good
        )
        return Waiting(halves=halves, lost=_lost(self._reader.seal, good))
