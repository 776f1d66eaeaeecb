"""`safehand log verify` on the live database (log A5): the whole log against itself, in one read-only transaction.

`tlog.fsck` recomputes entries, hashes, nodes and roots; this module brings it the rows, in constant memory, and checks
what only a database has: copied columns here, what stands beside the entries in `store.beside`, the rows of messages in
`store.states`, the triggers in `store.triggers`. It proves nothing against someone who rebuilds all of it (log A1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec import UNSET
from sqlalchemy import Connection, select

from gateway.store import beside, states, triggers
from gateway.store.beside import stream
from gateway.store.cells import as_blob, as_number, as_text
from gateway.store.log import EntryMac
from gateway.store.schema import checkpoint, log_entry, log_head, log_node, log_path
from gateway.store.sqlite import reader_engine
from gateway.store.vault import Vault
from gateway.tlog.checkpoint import NoteKey, Verify
from gateway.tlog.entry import Entry
from gateway.tlog.fsck import CheckpointRow, EntryRow, EntryRules, HeadRow, NoteRules, Problem, check_log
from gateway.tlog.merkle import Node

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
    """What the log is held to: whose it is, its name, the mac of its entries, and the keys of its notes.

    `log_keys` answers the log keys that were valid when a checkpoint was signed (`signed_at`).
    """

    own: str
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
    yield from beside.check_openings(connection, rules.vault)
    yield from beside.check_receipts(connection, rules.own)
    yield from states.check(connection, rules.own)
    for fault in triggers.differing(connection):
        yield Problem(index=-1, column=f"trigger.{fault.name}", rule=fault.rule)


# --- rows for fsck


def _entries(connection: Connection) -> Iterator[EntryRow]:
    """Every entry with its copied columns, those in log_path included."""
    paths = stream(connection, select(log_path.c.idx, log_path.c.path).order_by(log_path.c.idx, log_path.c.path))
    path = next(paths, None)
    for row in stream(connection, select(log_entry).order_by(log_entry.c.idx)):
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
    return (Node(level, as_number(row.idx), as_blob(row.hash)) for row in stream(connection, statement))


def _checkpoints(connection: Connection) -> Iterator[CheckpointRow]:
    for row in stream(connection, select(checkpoint).order_by(checkpoint.c.size)):
        yield CheckpointRow(
            size=as_number(row.size),
            root=as_blob(row.root),
            note=as_text(row.note).encode(),
            signed_at=as_number(row.signed_at),
        )
