"""The exchange log's tables (log A2, A4): entries go in at the end of a transaction, the head row last of all.

Entry bytes are never touched; what they say is the flows'. `at` inside an entry may run backwards, the column `at_us`
does not. The arithmetic is `gateway.tlog`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, select, update

from gateway.core.commands import PutCheckpoint, Record
from gateway.core.errors import LogInconsistentError
from gateway.store.cells import as_blob, as_number, as_text
from gateway.store.schema import (
    checkpoint,
    log_detail,
    log_entry,
    log_epoch,
    log_head,
    log_node,
    log_path,
    log_subject,
)
from gateway.store.sqlite import reader_engine
from gateway.store.transaction import AtIndex, Slot, Transaction
from gateway.tlog.entry import row_mac
from gateway.tlog.epochs import Epochs
from gateway.tlog.merkle import Frontier

EntryMac = Callable[[int, bytes], bytes]
"""The mac column of an entry: (index, entry bytes) -> 32 bytes. `app` gives it, made with the append key."""

SALT: Final = "salt"
VALUE: Final = "value"


def begin_log(connection: Connection, origin: str) -> None:
    """Make the head row of a new log. Raises LogInconsistentError where the database holds a log of another origin."""
    held = connection.execute(select(log_head.c.origin)).scalar_one_or_none()
    if held is None:
        connection.execute(insert(log_head).values(id=1, origin=origin, size=0, frontier=b"", updated_at=0))
    elif held != origin:
        raise LogInconsistentError("the database holds the log of another origin")


def read_epochs(connection: Connection, origin: str) -> Epochs:
    """The names that the log has had before `origin`, its name today."""
    rows = connection.execute(select(log_epoch.c.size, log_epoch.c.origin).order_by(log_epoch.c.size)).all()
    return Epochs(origin, tuple((as_number(row.size), as_text(row.origin)) for row in rows))


def epochs_of(database: Path, origin: str) -> Epochs:
    """As `read_epochs`, of a database that nobody has opened yet."""
    with reader_engine(database).connect() as connection:
        return read_epochs(connection, origin)


def head_of(database: Path) -> tuple[str, Frontier] | None:
    """The log's name and tree as the head row says; None where the log has not begun. Raises TreeError."""
    with reader_engine(database).connect() as connection:
        row = connection.execute(select(log_head)).one_or_none()
    return (
        None if row is None else (as_text(row.origin), Frontier.from_bytes(as_number(row.size), as_blob(row.frontier)))
    )


def entry_mac(append_key: bytes, epochs: Epochs) -> EntryMac:
    """Return how the mac column is made and checked: under the origin of the epoch in which an entry was written."""
    return lambda index, data: row_mac(append_key, epochs.at(index), index, data)


def append_entries(tx: Transaction, mac: EntryMac) -> None:
    """Give the transaction's entries their places. MUST be the last thing before the commit."""
    if not tx.slots:
        return
    tx.flush()
    head = tx.read(select(log_head))[0]
    frontier, at_us = Frontier.from_bytes(head.size, head.frontier), head.updated_at
    for slot in tx.slots:
        slot.index = frontier.size
        for level, idx, node in frontier.append(slot.entry.leaf):
            tx.insert(log_node, level=level, idx=idx, hash=node)
        at_us = max(at_us, slot.entry.at_us)
        _insert_entry(tx, slot, at_us, mac)
    tx.flush()
    changed = tx.change(
        update(log_head)
        .where(log_head.c.id == 1, log_head.c.size == head.size)
        .values(size=frontier.size, frontier=frontier.to_bytes(), updated_at=at_us)
    )
    if changed != 1:
        raise LogInconsistentError("the head of the log moved inside a transaction")


def _insert_entry(tx: Transaction, slot: Slot, at_us: int, mac: EntryMac) -> None:
    index, entry = slot.index, slot.entry
    tx.insert(
        log_entry,
        idx=index,
        kind=entry.kind,
        at_us=at_us,
        message_id=entry.message_id,
        partner=entry.partner,
        dir=entry.dir,
        type=entry.type,
        agreement=entry.agreement,
        outcome=entry.outcome,
        role=entry.role,
        leaf_hash=entry.leaf,
        entry=entry.data,
        mac=mac(index, entry.data),
    )
    for path in entry.paths:
        tx.insert(log_path, path=path, idx=index)
    for tag in entry.tags:
        tx.insert(log_subject, tag=tag, entry_idx=index)
    for opening in entry.openings:
        tx.insert(
            log_detail,
            entry_idx=index,
            field=opening.field,
            salt=tx.vault.seal_detail(index, opening.field, SALT, opening.salt),
            value=tx.vault.seal_detail(index, opening.field, VALUE, opening.value),
        )


def record(tx: Transaction, record: Record) -> AtIndex[int]:
    """One entry and nothing else."""
    return AtIndex(tx.append(record.entry), lambda index: index)


def put_checkpoint(tx: Transaction, put: PutCheckpoint) -> None:
    """Keep a signed checkpoint; the first of a size stays. Raises LogInconsistentError for another root at that size."""
    held = tx.read(select(checkpoint.c.root).where(checkpoint.c.size == put.size))
    if not held:
        tx.insert(checkpoint, size=put.size, root=put.root, note=put.note, signed_at=put.signed_at)
    elif held[0].root != put.root:
        raise LogInconsistentError("two checkpoints of one size have different roots")
