"""Proofs from the log's tables: that an entry is in the tree of a checkpoint, that one tree begins another (log A1).

Every proof is checked against the signed root before it leaves, so that a changed node or entry shows here as
LogInconsistentError and never as a proof that fails at a partner's. The arithmetic is `gateway.tlog.proof`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import select, tuple_

from gateway.core.errors import LogInconsistentError
from gateway.ports import Inclusion, LoggedEntry, SignedCheckpoint
from gateway.store.cells import as_blob, as_text
from gateway.store.readers import Reader, Rows
from gateway.store.schema import checkpoint, log_entry, log_head, log_node
from gateway.tlog.entry import leaf_hash
from gateway.tlog.errors import ProofError
from gateway.tlog.merkle import HASH_LENGTH
from gateway.tlog.proof import (
    NodeReader,
    consistency_proof,
    inclusion_proof,
    subtree,
    verify_consistency,
    verify_inclusion,
)

P = TypeVar("P")

_ENTRY: Final = select(log_entry.c.idx, log_entry.c.entry, log_entry.c.leaf_hash)
_NEWEST: Final = select(checkpoint).order_by(checkpoint.c.size.desc()).limit(1)


class StoredLog:
    """`ports.Log` on the tables."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def checkpoint(self) -> SignedCheckpoint | None:
        return await self._reader.ask(_newest)

    async def proof(self, index: int) -> Inclusion | None:
        return await self._reader.ask(lambda rows: _proof(rows, index))

    async def consistency(self, size1: int, size2: int) -> tuple[bytes, ...] | None:
        return await self._reader.ask(lambda rows: _consistency(rows, size1, size2))

    async def index_of_leaf(self, leaf: bytes) -> int | None:
        rows = await self._reader.rows(select(log_entry.c.idx).where(log_entry.c.leaf_hash == leaf))
        return rows[0]["idx"] if rows else None

    async def entries_of(self, message_id: str, limit: int) -> tuple[LoggedEntry, ...]:
        mine = _ENTRY.where(log_entry.c.message_id == message_id).order_by(log_entry.c.idx).limit(limit)
        return tuple(map(_entry, await self._reader.rows(mine)))


def _newest(rows: Rows) -> SignedCheckpoint | None:
    found = rows(_NEWEST)
    if not found:
        return None
    row = found[0]
    return SignedCheckpoint(
        size=row["size"], root=row["root"], note=as_text(row["note"]).encode(), signed_at=row["signed_at"]
    )


def _proof(rows: Rows, index: int) -> Inclusion | None:
    signed = _newest(rows)
    if signed is None or not 0 <= index < signed.size:
        return None
    found = rows(_ENTRY.where(log_entry.c.idx == index))
    if not found:
        raise LogInconsistentError(f"entry {index} is missing")
    entry, size = _entry(found[0]), signed.size
    hashes = _gathered(rows, lambda node: inclusion_proof(index, size, node))
    try:
        verify_inclusion(entry.leaf, index, size, hashes, signed.root)
    except ProofError as error:
        raise LogInconsistentError(f"entry {index} is not in the tree of the checkpoint of {size}") from error
    return Inclusion(entry=entry, hashes=hashes, checkpoint=signed)


def _consistency(rows: Rows, size1: int, size2: int) -> tuple[bytes, ...] | None:
    head = rows(select(log_head.c.size))
    if not head or not 1 <= size1 <= size2 <= head[0]["size"]:
        return None
    root1, root2 = (_gathered(rows, partial(subtree, 0, size)) for size in (size1, size2))
    hashes = _gathered(rows, lambda node: consistency_proof(size1, size2, node))
    try:
        verify_consistency(size1, root1, size2, root2, hashes)
    except ProofError as error:
        raise LogInconsistentError(f"the nodes between {size1} and {size2} do not belong together") from error
    return hashes


def _entry(row: Mapping[str, Any]) -> LoggedEntry:
    data = as_blob(row["entry"])
    if leaf_hash(data) != row["leaf_hash"]:
        raise LogInconsistentError(f"entry {row['idx']} is not what its leaf hash was made of")
    return LoggedEntry(index=row["idx"], data=data, leaf=row["leaf_hash"])


def _gathered(rows: Rows, make: Callable[[NodeReader], P]) -> P:
    """Make something of nodes that are read all at once: first which are asked for is learnt, then they are there."""
    asked: list[tuple[int, int]] = []

    def learn(level: int, index: int) -> bytes:
        asked.append((level, index))
        return bytes(HASH_LENGTH)

    make(learn)
    held = dict(_nodes(rows, asked))

    def read(level: int, index: int) -> bytes:
        if (level, index) not in held:
            raise LogInconsistentError(f"node {index} of level {level} is missing")
        return held[level, index]

    return make(read)


def _nodes(rows: Rows, asked: Iterable[tuple[int, int]]) -> Iterable[tuple[tuple[int, int], bytes]]:
    wanted = set(asked)
    leaves = [index for level, index in wanted if level == 0]
    inner = [place for place in wanted if place[0]]
    for row in rows(select(log_entry.c.idx, log_entry.c.leaf_hash).where(log_entry.c.idx.in_(leaves))):
        yield (0, row["idx"]), as_blob(row["leaf_hash"])
    for row in rows(select(log_node).where(tuple_(log_node.c.level, log_node.c.idx).in_(inner))):
        yield (row["level"], row["idx"]), as_blob(row["hash"])
