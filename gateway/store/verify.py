"""`safehand log verify` on the live database (log A5): the whole log against itself, in one read-only transaction.

`tlog.fsck` recomputes entries, hashes, nodes and roots; this module brings it the rows, in constant memory, and checks
what only a database has: copied columns, openings, and that the entry in every receipt this organisation gave is there.
It proves nothing against someone who rebuilds all of it (log A1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import Connection, Select, select

from gateway.core.errors import ReceiptRejectedError
from gateway.core.receipt import read_receipt
from gateway.store import owed
from gateway.store.cells import as_blob, as_number, as_text
from gateway.store.log import SALT, VALUE, EntryMac
from gateway.store.schema import checkpoint, inbox, log_detail, log_entry, log_head, log_node, log_path, outgoing
from gateway.store.sqlite import reader_engine
from gateway.store.vault import Vault, VaultError
from gateway.tlog.checkpoint import NoteKey, Verify
from gateway.tlog.entry import Entry, commitment_opens, leaf_hash, parse_shape
from gateway.tlog.errors import EntryError
from gateway.tlog.fsck import CheckpointRow, EntryRow, EntryRules, HeadRow, NoteRules, Problem, check_log
from gateway.tlog.merkle import Node

_PAGE: Final = 1_000  # rows held at a time
_PLAIN: Final[Mapping[str, str]] = {  # column -> member of the entry
    "kind": "kind",
    "message_id": "msg",
    "partner": "partner",
    "dir": "dir",
    "type": "type",
    "outcome": "outcome",
    "role": "role",
}
_COPIED: Final = (*_PLAIN, "agreement", "at_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRules:
    """What the log is held to: its name, the mac of its entries, and the keys of its notes.

    `log_keys` answers the log keys that were valid when a checkpoint was signed (`signed_at`).
    """

    origin: str
    mac: EntryMac
    log_keys: Callable[[CheckpointRow], Iterable[NoteKey]]
    verify: Verify
    vault: Vault
    ended: tuple[tuple[int, str], ...] = ()  # earlier epochs of the log


def verify_live(database: Path, rules: LogRules) -> Iterator[Problem]:
    """Yield every fault found, by index and column; nothing where the log is whole. Beside a running server too."""
    with reader_engine(database).connect() as connection:
        yield from _verify(connection, rules)


def _verify(connection: Connection, rules: LogRules) -> Iterator[Problem]:
    head = connection.execute(select(log_head)).one_or_none()
    if head is None:
        yield Problem(index=0, column="head.size", rule="there is no head")
        return
    clock, size = _Clock(), as_number(head.size)
    yield from check_log(
        entries=_entries(connection),
        entry_rules=EntryRules(
            origin=rules.origin, mac=rules.mac, copies=clock.copies, grammar=True, ended=rules.ended
        ),
        nodes=lambda level: _nodes(connection, level),
        checkpoints=_checkpoints(connection),
        note_rules=NoteRules(origin=rules.origin, keys=rules.log_keys, verify=rules.verify, ended=rules.ended),
        head=HeadRow(origin=head.origin, size=size, frontier=as_blob(head.frontier)),
    )
    if head.updated_at != clock.latest:
        yield Problem(index=size, column="head.updated_at", rule="not the latest instant of the entries")
    yield from _check_openings(connection, rules.vault)
    yield from _check_receipts(connection)


# --- rows for fsck


def _stream(connection: Connection, statement: Select[Any]) -> Iterator[Any]:
    yield from connection.execute(statement.execution_options(yield_per=_PAGE))


def _entries(connection: Connection) -> Iterator[EntryRow]:
    """Every entry with its copied columns, those in log_path included."""
    paths = _stream(connection, select(log_path.c.idx, log_path.c.path).order_by(log_path.c.idx, log_path.c.path))
    path = next(paths, None)
    for row in _stream(connection, select(log_entry).order_by(log_entry.c.idx)):
        mine = []
        while path is not None and as_number(path.idx) <= row.idx:
            mine.append(path.path)
            path = next(paths, None)
        yield EntryRow(
            idx=row.idx,
            entry=as_blob(row.entry),
            leaf_hash=as_blob(row.leaf_hash),
            mac=as_blob(row.mac),
            copies={**{name: row._mapping[name] for name in _COPIED}, "log_path": tuple(mine)},
        )


class _Clock:
    """What the copied columns must hold; `at_us` never runs backwards, so it depends on the entries before."""

    def __init__(self) -> None:
        self.latest = 0

    def copies(self, entry: Entry) -> Mapping[str, object]:
        self.latest = max(self.latest, entry.at)
        plain = {column: getattr(entry, member) for column, member in _PLAIN.items()}
        return {
            **{column: None if text is UNSET else text for column, text in plain.items()},
            "agreement": None if entry.agreement is UNSET else entry.agreement.id,
            "at_us": self.latest,
            "log_path": () if entry.paths is UNSET else entry.paths,
        }


def _nodes(connection: Connection, level: int) -> Iterator[Node]:
    statement = select(log_node).where(log_node.c.level == level).order_by(log_node.c.idx)
    return (Node(level, as_number(row.idx), as_blob(row.hash)) for row in _stream(connection, statement))


def _checkpoints(connection: Connection) -> Iterator[CheckpointRow]:
    for row in _stream(connection, select(checkpoint).order_by(checkpoint.c.size)):
        yield CheckpointRow(
            size=as_number(row.size),
            root=as_blob(row.root),
            note=as_text(row.note).encode(),
            signed_at=as_number(row.signed_at),
        )


# --- what only a database has


def _check_openings(connection: Connection, vault: Vault) -> Iterator[Problem]:
    """Each opening that was not erased opens its entry's commitment."""
    statement = select(log_detail, log_entry.c.entry).outerjoin(log_entry, log_entry.c.idx == log_detail.c.entry_idx)
    for row in _stream(connection, statement.order_by(log_detail.c.entry_idx)):
        column = f"log_detail.{row.field}"
        try:
            salt = vault.open_detail(row.entry_idx, row.field, SALT, as_blob(row.salt))
            value = vault.open_detail(row.entry_idx, row.field, VALUE, as_blob(row.value))
            commitments = parse_shape(as_blob(row.entry)).commit or {}
            opens = commitment_opens(commitments.get(row.field, ""), salt, row.field, value.decode())
        except (VaultError, EntryError, UnicodeDecodeError):
            opens = False
        if not opens:
            yield Problem(index=row.entry_idx, column=column, rule="does not open the entry's commitment")


def _check_receipts(connection: Connection) -> Iterator[Problem]:
    """Each receipt that this organisation gave is whole, and the entry in it is in the log."""
    given = select(inbox.c.sender, inbox.c.message_id, inbox.c.envelope_digest, inbox.c.receipt, inbox.c.receipt_digest)
    for row in _stream(connection, given.where(inbox.c.receipt.is_not(None))):
        receipt = as_blob(row.receipt)
        if f"sha256:{hashlib.sha256(receipt).hexdigest()}" != row.receipt_digest:
            yield _receipt_problem("inbox.receipt_digest", row.message_id, "not the digest of the receipt")
        yield from _check_receipt(connection, "inbox.receipt", receipt, row.message_id, row.envelope_digest)
    later = select(outgoing.c.ref, outgoing.c.bytes).where(outgoing.c.kind == owed.RECEIPT)
    for row in _stream(connection, later):
        yield from _check_receipt(
            connection, "outgoing.bytes", as_blob(row.bytes), as_text(row.ref).partition("/")[0], None
        )


def _check_receipt(
    connection: Connection, column: str, receipt: bytes, message_id: str, env: str | None
) -> Iterator[Problem]:
    try:
        claimed = read_receipt(receipt)
    except ReceiptRejectedError as error:
        yield _receipt_problem(column, message_id, error.cause)
        return
    if claimed.payload.msg != message_id or env not in (None, claimed.payload.env):
        yield _receipt_problem(column, message_id, "a receipt for other bytes")
    leaf = leaf_hash(claimed.entry)
    if connection.execute(select(log_entry.c.idx).where(log_entry.c.leaf_hash == leaf)).first() is None:
        yield _receipt_problem(column, message_id, "its entry is not in the log")


def _receipt_problem(column: str, message_id: str, rule: str) -> Problem:
    return Problem(index=-1, column=column, rule=f"message {message_id}: {rule}")
