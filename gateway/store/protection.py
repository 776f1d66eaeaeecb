"""The protection list (agreements section 2).

A protection that the log knows and the table lost still protects: what is missing here would let an address leave.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import bindparam, select

from gateway.core.commands import Protect
from gateway.core.deciding import digest_of_bytes
from gateway.store import lanes
from gateway.store.readers import Reader
from gateway.store.schema import protection as table
from gateway.store.times import micros, seconds
from gateway.store.transaction import Transaction

LOCATION: Final = "location"
_LISTED: Final = select(table).where(table.c.tag.in_(bindparam("tags", expanding=True)))


def protect(tx: Transaction, protect: Protect) -> int:
    """Add tags or take them off; the act is logged whether or not it changed a row."""
    tx.append(protect.entry)
    if protect.add:
        return add(tx, protect.tags, protect.kinds, seconds(protect.now))
    lanes.look_again(tx, micros(protect.now))
    return tx.delete_sealed(table, table.c.tag.in_(protect.tags), table.c.kind.in_(protect.kinds))


def add(tx: Transaction, tags: frozenset[bytes], kinds: frozenset[str], added_at: int) -> int:
    """List every tag under every kind; `added_at` in seconds. Returns how many were not listed before."""
    if not tags:
        return 0
    rows = tx.read_sealed(table, table.c.tag.in_(tags), table.c.kind.in_(kinds))
    listed = {(row["tag"], row["kind"]) for row in rows}
    missing = sorted({(tag, kind) for tag in tags for kind in kinds} - listed)
    for tag, kind in missing:
        tx.put_sealed(table, tag=tag, kind=kind, added_at=added_at)
    return len(missing)


class StoredProtection:
    """`ports.Protection` on the tables."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def kinds(self, tags: Iterable[bytes]) -> frozenset[str]:
        asked = list(tags)
        rows = await self._reader.rows(_LISTED, tags=asked)
        good = self._reader.seal.checked(table, rows)
        lacking = self._reader.seal.lacks(table, good)
        named = {digest_of_bytes(tag) for tag in asked} if lacking else frozenset[str]()
        return frozenset({row["kind"] for row in good} | {str(kind) for tag, kind in lacking if tag in named})
