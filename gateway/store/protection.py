"""The protection list (agreements section 2), and the halves of acts that need two people.

A protection that the log knows and the table lost still protects: what is missing here would let an address leave.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import and_, bindparam, delete, or_, select

from gateway.core.commands import Intend, Protect
from gateway.core.deciding import digest_of_bytes
from gateway.core.halves import independent
from gateway.store import lanes
from gateway.store.readers import Reader
from gateway.store.schema import intention
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


def intend(tx: Transaction, intend: Intend) -> tuple[str, ...]:
    """Keep one half. Two halves are used up by being answered, so that the next such act needs two again."""
    mine = and_(intention.c.act == intend.act, intention.c.by == intend.by)
    tx.change(delete(intention).where(or_(mine, intention.c.stated_at < intend.not_before)))
    stated = {row["by"] for row in tx.read_sealed(intention, intention.c.act == intend.act)}
    others = {by for by in stated if independent(by, intend.by)}
    if others:
        tx.change(delete(intention).where(intention.c.act == intend.act))
    else:
        tx.insert_sealed(intention, act=intend.act, by=intend.by, stated_at=intend.now)
    tx.append(intend.entry)
    return tuple(sorted({*others, intend.by}))


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
