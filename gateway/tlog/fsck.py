"""The check of a whole log: every index, byte, hash, node and root recomputed from the entries, trusting nothing stored.

Pure. Rows come in as iterators and problems go out as they are found, so a log of any length is checked in one pass and
constant memory; the caller owns the database or the files (log A5). A fault is named by index and column, and the check
goes on behind it as far as the arithmetic allows. Not here: signatures of receipts (keys are unknown to tlog).

It proves nothing against someone who rebuilds entries, hashes, nodes, roots and notes alike: that is what checkpoints
remembered elsewhere, and the receipts that partners hold, are for (log A1).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final

from msgspec import UNSET

from gateway.tlog.checkpoint import NoteKey, Verify, parse_checkpoint, parse_note, verify_note
from gateway.tlog.entry import Entry, leaf_hash, parse, parse_shape
from gateway.tlog.epochs import Epochs
from gateway.tlog.errors import EntryError, NoteError
from gateway.tlog.merkle import HASH_LENGTH, Frontier, Node

NO_COPIES: Final[Mapping[str, object]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault: `index` is the entry's index, the node's index at its level, or the checkpoint's size; `column` names
    where it lies (`entry`, `leaf_hash`, `mac`, a copied column, `node[3].hash`, `checkpoint.root`, `head.size` ..)."""

    index: int
    column: str
    rule: str

    def __str__(self) -> str:
        return f"{self.index} {self.column}: {self.rule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """An entry as stored; `leaf_hash` and `mac` None where the source keeps none; `copies` the columns for search."""

    idx: int
    entry: bytes
    leaf_hash: bytes | None
    mac: bytes | None
    copies: Mapping[str, object] = field(default_factory=lambda: NO_COPIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    """A checkpoint as stored: the columns, and the signed note whose bytes are the truth. `signed_at` is the caller's."""

    size: int
    root: bytes
    note: bytes
    signed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRow:
    """The head as stored."""

    origin: str
    size: int
    frontier: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRules:
    """What the rows of entries are held to, beyond their hashes.

    `mac(idx, entry)` recomputes the mac column. `copies(entry)` answers what the copied columns must hold; it is called
    once an entry, in order of index. `grammar`: read every text of every entry too, not its shape alone (slower).
    """

    origin: str
    mac: Callable[[int, bytes], bytes] | None
    copies: Callable[[Entry], Mapping[str, object]] | None
    grammar: bool
    ended: tuple[tuple[int, str], ...] = ()  # earlier epochs (`tlog.epochs`)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteRules:
    """Under which keys a checkpoint's note must be signed: those of the log valid at the row's `signed_at`."""

    origin: str
    keys: Callable[[CheckpointRow], Iterable[NoteKey]]
    verify: Verify
    ended: tuple[tuple[int, str], ...] = ()  # earlier epochs


def check_log(
    *,
    entries: Iterable[EntryRow],
    entry_rules: EntryRules,
    nodes: Callable[[int], Iterable[Node]],
    checkpoints: Iterable[CheckpointRow],
    note_rules: NoteRules,
    head: HeadRow,
) -> Iterator[Problem]:
    """Check a log against itself in one pass; yield every problem found.

    `entries` ascend by idx, `checkpoints` by size; `nodes(level)` answers the stored nodes of one level, ascending by
    idx: it is asked for every level from 1 to 63, once.
    """
    tree = Frontier()
    stored_nodes = NodeCheck(nodes)
    stored_roots = CheckpointCheck(checkpoints, note_rules)
    yield from stored_roots.compare(tree)
    whole = True
    count = 0
    for row in entries:
        if row.idx != count:
            yield Problem(index=count, column="idx", rule=f"missing or out of order: index {row.idx} is stored next")
            whole = False
        leaf = yield from check_entry(row, entry_rules)
        count = row.idx + 1
        if whole:
            yield from stored_nodes.compare(tree.append(leaf))
            if stored_roots.next_size == tree.size:
                yield from stored_roots.compare(tree)
    if whole:
        yield from stored_nodes.end()
        yield from stored_roots.end(tree.size)
        yield from check_head(head, tree, entry_rules.origin)
    else:  # behind a gap no hash of the tree can be known
        yield Problem(index=tree.size, column="tree", rule="nodes and roots above this size cannot be recomputed")
        yield from stored_roots.end(None)


def check_entry(row: EntryRow, rules: EntryRules) -> Generator[Problem, None, bytes]:
    """Check one row by itself; return the leaf hash with which the tree goes on.

    Where entry and leaf hash disagree, one byte of one of them was changed: the mac (over the entry) says of which,
    else the entry is named. The other one goes into the tree, so that one fault is reported once.
    """
    leaf = leaf_hash(row.entry)
    mac_holds = rules.mac is not None and row.mac is not None and compare_digest(rules.mac(row.idx, row.entry), row.mac)
    if row.leaf_hash is not None and row.leaf_hash != leaf:
        if mac_holds or len(row.leaf_hash) != HASH_LENGTH:
            yield Problem(index=row.idx, column="leaf_hash", rule="not SHA-256(00 || entry)")
        else:
            yield Problem(index=row.idx, column="entry", rule="not what its leaf hash was made of")
            return row.leaf_hash
    if rules.mac is not None and not mac_holds:
        yield Problem(index=row.idx, column="mac", rule="not the mac of this entry at this index")
    try:
        entry = parse(row.entry) if rules.grammar else parse_shape(row.entry)
    except EntryError as error:
        yield Problem(index=row.idx, column="entry", rule=str(error))
        return leaf
    if entry.origin is not UNSET and entry.origin != Epochs(rules.origin, rules.ended).at(row.idx):
        yield Problem(index=row.idx, column="entry", rule="origin: that of another log")
    if rules.copies is not None:
        for column, value in rules.copies(entry).items():
            if column not in row.copies or row.copies[column] != value:
                yield Problem(index=row.idx, column=column, rule="not what the entry says")
    return leaf


class NodeCheck:
    """Compares stored nodes with recomputed ones, level by level, as the tree grows. One iterator a level is open."""

    __slots__ = ("_levels", "_nodes", "_pending")

    def __init__(self, nodes: Callable[[int], Iterable[Node]]) -> None:
        self._nodes = nodes
        self._levels: dict[int, Iterator[Node]] = {}
        self._pending: dict[int, Node] = {}  # read, but behind the one that was missing

    def compare(self, completed: Iterable[Node]) -> Iterator[Problem]:
        """Check the nodes that an append completed (`Frontier.append`)."""
        for node in completed:
            stored = self._read(node.level)
            while stored is not None and stored.idx < node.idx:
                yield _surplus(stored)
                stored = self._read(node.level)
            if stored is None or stored.idx > node.idx:
                yield Problem(index=node.idx, column=f"node[{node.level}].idx", rule="missing")
                if stored is not None:
                    self._pending[node.level] = stored
            elif stored.hash != node.hash:
                yield Problem(index=node.idx, column=f"node[{node.level}].hash", rule="not the hash of its subtree")

    def end(self) -> Iterator[Problem]:
        """Report what is stored beyond the last append."""
        for level in range(1, 64):
            while (stored := self._read(level)) is not None:
                yield _surplus(stored)

    def _read(self, level: int) -> Node | None:
        if level in self._pending:
            return self._pending.pop(level)
        if level not in self._levels:
            self._levels[level] = iter(self._nodes(level))
        return next(self._levels[level], None)


class CheckpointCheck:
    """Compares stored checkpoints with the tree at their size, as it grows; `next_size` is that of the next one."""

    __slots__ = ("_next", "_rows", "_rules")

    def __init__(self, rows: Iterable[CheckpointRow], rules: NoteRules) -> None:
        self._rows = iter(rows)
        self._rules = rules
        self._next = next(self._rows, None)

    @property
    def next_size(self) -> int | None:
        return None if self._next is None else self._next.size

    def compare(self, tree: Frontier) -> Iterator[Problem]:
        """Check the checkpoints of the size that the tree has now."""
        while self._next is not None and self._next.size <= tree.size:
            row = self._next
            self._next = next(self._rows, None)
            yield from check_note(row, self._rules)
            if row.size < tree.size:
                yield Problem(index=row.size, column="checkpoint.size", rule="out of order")
            elif row.root != tree.root():
                yield Problem(index=row.size, column="checkpoint.root", rule="not the root of the entries")

    def end(self, size: int | None) -> Iterator[Problem]:
        """Check the notes that are left: beyond a log of `size` entries, or (None) where the tree cannot be known."""
        while self._next is not None:
            row = self._next
            self._next = next(self._rows, None)
            yield from check_note(row, self._rules)
            if size is not None:
                yield Problem(index=row.size, column="checkpoint.size", rule=f"beyond the {size} entries there are")


def check_note(row: CheckpointRow, rules: NoteRules) -> Iterator[Problem]:
    """Check a stored checkpoint by itself: form, the log's signature, and that the columns say what the note says."""
    try:
        note = verify_note(parse_note(row.note), rules.keys(row), rules.verify)
        checkpoint = parse_checkpoint(note.text)
    except NoteError as error:
        yield Problem(index=row.size, column="checkpoint.note", rule=str(error))
        return
    origin = Epochs(rules.origin, rules.ended).of_size(row.size)
    if checkpoint.origin != origin or any(key.name != origin for key in note.signed_by):
        yield Problem(index=row.size, column="checkpoint.note", rule="that of another log")
    if checkpoint.size != row.size:
        yield Problem(index=row.size, column="checkpoint.size", rule="not what the note says")
    if checkpoint.root != row.root:
        yield Problem(index=row.size, column="checkpoint.root", rule="not what the note says")


def check_head(head: HeadRow, tree: Frontier, origin: str) -> Iterator[Problem]:
    """Check the stored head against the tree of all entries."""
    if head.origin != origin:
        yield Problem(index=head.size, column="head.origin", rule="that of another log")
    if head.size != tree.size:
        yield Problem(index=head.size, column="head.size", rule=f"not the {tree.size} entries there are")
    elif head.frontier != tree.to_bytes():
        yield Problem(index=head.size, column="head.frontier", rule="not the frontier of the entries")


def _surplus(node: Node) -> Problem:
    return Problem(index=node.idx, column=f"node[{node.level}].idx", rule="no such complete subtree")
