"""Which keys the log says are destroyed: the one question about seeds that the database answers."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET
from sqlalchemy import select

from gateway.store.cells import as_blob
from gateway.store.readers import Reader
from gateway.store.schema import log_entry
from gateway.tlog.entry import parse

_KIND: Final = "key-destroyed"


class StoredDestructions:
    """Part of `ports.Seeds`, on the tables."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def logged(self) -> frozenset[str]:
        """The digests of keys in the entries of this kind."""
        rows = await self._reader.rows(select(log_entry.c.entry).where(log_entry.c.kind == _KIND))
        named = (parse(as_blob(row["entry"])).receipt for row in rows)
        return frozenset(text for text in named if text is not UNSET)
