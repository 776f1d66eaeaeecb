"""The check of an exported log: lines, leaf hashes and signed checkpoints against each other, trusting the signatures alone.

Pure. Lines and leaf hashes come in as iterators and problems go out as they are found, in one pass and constant memory,
so a million entries take seconds (log A5). The caller owns the files, and the signatures of receipts and bundles.

An export has a leaf hash for each entry in a file of its own. Nothing trusts it: where the entries do not give the root
that was signed, it is tried whether the stored leaf hashes do. If so they are proven, and each entry that is not theirs is
named; if the entries give the root, it is the file that is wrong, and where is named. Without the file a change is placed
between two checkpoints.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice, zip_longest
from typing import Final, Generic, NamedTuple, TypeVar

from msgspec import UNSET

from gateway.tlog.entry import Entry, leaf_hash, parse_shape
from gateway.tlog.errors import EntryError
from gateway.tlog.fsck import Problem
from gateway.tlog.merkle import Frontier

T = TypeVar("T")

ENTRIES: Final = "entries.jsonl"
LEAVES: Final = "leaves"
NAMED: Final = 1_000  # changes named one by one between two checkpoints; how many more there are is said

_WINDOW: Final = 4  # lines and leaf hashes looked ahead for where they agree again
_PATIENCE: Final = 1_000  # disagreements in a row after which nobody looks ahead any more


def note_name(size: int) -> str:
    """Return where the checkpoint of a size lies in an export."""
    return f"checkpoints/{size}.note"


class Head(NamedTuple):
    """A size and root that the entries are held to, and the file it is told under: the name of a note, or of what came from
    elsewhere."""

    size: int
    root: bytes
    column: str


class Line(NamedTuple):
    """One line of entries.jsonl, without its line feed; `ended` unless the file broke off before that."""

    data: bytes
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """What the entries are held to: the log's origin, whose log it is, and the heads that count, ascending by size.

    `see(index, entry, leaf)` is called for every entry that can be read and is not in doubt, in order.
    """

    origin: str
    org: str
    heads: Sequence[Head]
    see: Callable[[int, Entry, bytes], None]
    earlier: frozenset[str] = frozenset()  # names that the log may have had in earlier epochs (`tlog.epochs`)


def check_lines(lines: Iterable[Line], leaves: Iterable[bytes] | None, rules: LogCheck) -> Iterator[Problem]:
    """Check the entries of an export against its checkpoints; yield every problem found.

    `leaves` are to be as many as the entries that the newest checkpoint signs, or None where there is no such file.
    """
    trees, check = _Trees(has_leaves=leaves is not None), _LineCheck(rules)
    upcoming = deque(rules.heads)
    for place in _places(lines, leaves):
        if place.line is not None and (found := check.check(place, place.line)):
            yield from found
        trees.grow(place)
        while upcoming and upcoming[0].size <= trees.size:
            yield from trees.judge(upcoming.popleft())
    for head in upcoming:
        yield Problem(index=head.size, column=head.column, rule=f"beyond the {trees.size} entries there are")
    yield from trees.end()


class _LineCheck:
    """Each line by itself, but for the log's name: that of an earlier epoch stands before its own alone."""

    def __init__(self, rules: LogCheck) -> None:
        self._rules = rules
        self._origins = rules.earlier | {rules.origin}

    def check(self, place: _Place, line: Line) -> list[Problem]:
        found = []
        if not line.ended:
            found.append(Problem(index=place.at, column=ENTRIES, rule="the last line does not end: cut off?"))
        if place.fault is not None:
            return found  # what became of a changed entry is no news
        try:
            entry = parse_shape(line.data)
        except EntryError as error:
            return [*found, Problem(index=place.at, column=ENTRIES, rule=str(error))]
        if entry.origin is not UNSET:
            if entry.origin not in self._origins:
                found.append(Problem(index=place.at, column=ENTRIES, rule="origin: that of another log"))
            elif entry.origin == self._rules.origin and self._rules.earlier:
                self._origins = frozenset({self._rules.origin})
        if entry.org is not UNSET and entry.org != self._rules.org:
            found.append(Problem(index=place.at, column=ENTRIES, rule="org: another organisation's"))
        self._rules.see(place.at, entry, place.leaf)
        return found


# --- the tree, twice where it must be


class _Fault(Enum):
    """How a line and the leaf hash stored for its place disagree."""

    CHANGED = "changed"
    MISSING = "missing"
    SURPLUS = "a line too many stands before it"


class _Place(NamedTuple):
    """One place in the log: its line and leaf hash, the leaf hash stored for it. A surplus line has no place: `at` is
    that of the one after it."""

    at: int
    line: Line | None
    leaf: bytes
    stored: bytes | None
    fault: _Fault | None


class _Trees:
    """The tree of the lines; and, from where they disagree until a checkpoint decides, that of the stored leaf hashes."""

    def __init__(self, *, has_leaves: bool) -> None:
        self._has_leaves = has_leaves
        self._of_lines: Frontier | None = Frontier()  # None where one was missing
        self._of_leaves: Frontier | None = None  # None where both are one
        self.size = 0
        self._since = 0  # the size of the last head that held, and since then:
        self._failed: list[Head] = []
        self._named: list[tuple[int, _Fault]] = []
        self._unnamed = 0

    def grow(self, place: _Place) -> None:
        """Append one place."""
        if place.fault is not None:
            self._doubt(place.at, place.fault)
            if place.fault is _Fault.SURPLUS:
                return
            if self._of_leaves is None and self._of_lines is not None:
                self._of_leaves = self._of_lines.copy()
        if self._of_leaves is not None and place.stored is not None:
            self._of_leaves.push(place.stored)
        if place.line is None:
            self._of_lines = None
        elif self._of_lines is not None:
            self._of_lines.push(place.leaf)
        self.size += 1

    def judge(self, head: Head) -> Iterator[Problem]:
        """Hold both trees to a head of their size: whichever has its root is what was signed."""
        if self._of_lines is not None and self._of_lines.root() == head.root:
            yield from self._blame(LEAVES, "not the leaf hash of the entry that was signed")
        elif self._of_leaves is not None and self._of_leaves.root() == head.root:
            yield from self._blame(ENTRIES, "not the entry that was signed")
            self._of_lines = self._of_leaves
        elif self.size == self._since:
            yield Problem(index=head.size, column=head.column, rule="another root than that which the entries have")
            return
        else:
            self._failed.append(head)
            return
        for failed in self._failed:
            rule = f"not the root of the entries, which {head.column} proves"
            yield Problem(index=failed.size, column=failed.column, rule=rule)
        self._of_leaves, self._since = None, head.size
        self._failed, self._named, self._unnamed = [], [], 0

    def end(self) -> Iterator[Problem]:
        """Say what no head decided."""
        if self._failed:
            yield from self._blame(ENTRIES, "entry or leaf hash, no checkpoint says which")
            what = f"entries {self._since} to {self._failed[0].size - 1} are not all those that were signed"
            yield Problem(index=self._since, column=ENTRIES, rule=what + self._why_unnamed())
            for failed in self._failed:
                yield Problem(index=failed.size, column=failed.column, rule="not the root of the entries")
        elif self.size > self._since or self._named:
            at = min([self._since, *(index for index, _ in self._named)])
            yield Problem(index=at, column=ENTRIES, rule="no checkpoint covers the entries from here on")

    def _doubt(self, index: int, fault: _Fault) -> None:
        if len(self._named) < NAMED:
            self._named.append((index, fault))
        else:
            self._unnamed += 1

    def _blame(self, column: str, rule: str) -> Iterator[Problem]:
        for index, fault in self._named:
            guilty = ENTRIES if fault is _Fault.SURPLUS else column
            yield Problem(index=index, column=guilty, rule=f"{fault.value}: {rule}")
        if self._unnamed:
            yield Problem(index=self._named[-1][0], column=column, rule=f"and {self._unnamed} more after this one")

    def _why_unnamed(self) -> str:
        if self._named:
            return ""
        if self._has_leaves:
            return "; the leaf hashes were changed alike, so nothing says which"
        return "; without the file of leaf hashes nothing says which"


# --- lines beside leaf hashes


class _Ahead(Generic[T]):
    """An iterator that can be looked into; `first` was taken out of it already, where it is not None."""

    def __init__(self, source: Iterator[T], first: T | None) -> None:
        self._source = source
        self._held: deque[T] = deque(() if first is None else (first,))

    def peek(self, distance: int) -> T | None:
        """What comes so many places later; None behind the end."""
        missing = distance + 1 - len(self._held)
        if missing > 0:
            self._held.extend(islice(self._source, missing))
        return self._held[distance] if distance < len(self._held) else None

    def take(self) -> T:
        """Go on by one that was looked at."""
        return self._held.popleft()


def _places(lines: Iterable[Line], leaves: Iterable[bytes] | None) -> Iterator[_Place]:
    """Pair lines with stored leaf hashes."""
    source = iter(lines)
    if leaves is None:
        for index, line in enumerate(source):
            yield _Place(index, line, leaf_hash(line.data), None, None)
        return
    stored = iter(leaves)
    for index, (next_line, wanted) in enumerate(zip_longest(source, stored)):
        here = None if next_line is None else (next_line, leaf_hash(next_line.data))
        if here is None or here[1] != wanted:  # from here on with care, and slower
            hashed = ((line, leaf_hash(line.data)) for line in source)
            yield from _places_with_care(_Ahead(hashed, here), _Ahead(stored, wanted), index)
            return
        yield _Place(index, here[0], wanted, wanted, None)


def _places_with_care(ahead: _Ahead[tuple[Line, bytes]], stored: _Ahead[bytes], index: int) -> Iterator[_Place]:
    """As `_places`; where a line was taken out or put in, find where they agree again."""
    patience = _PATIENCE
    while True:
        here, wanted = ahead.peek(0), stored.peek(0)
        if here is None and wanted is None:
            return
        if here is not None and here[1] == wanted:
            line, leaf = ahead.take()
            yield _Place(index, line, leaf, stored.take(), None)
            index, patience = index + 1, _PATIENCE
            continue
        extra, absent = _agree_again(ahead, stored, _WINDOW if patience else 0)
        patience = max(0, patience - 1)
        for number in range(max(extra, absent)):
            here = ahead.take() if number < extra else None
            wanted = stored.take() if number < absent else None
            if here is None:
                yield _Place(index, None, b"", wanted, _Fault.MISSING)
            else:
                yield _Place(index, here[0], here[1], wanted, _Fault.SURPLUS if wanted is None else _Fault.CHANGED)
            index += wanted is not None


def _agree_again(ahead: _Ahead[tuple[Line, bytes]], stored: _Ahead[bytes], window: int) -> tuple[int, int]:
    """Return how many lines and how many leaf hashes stand before the next place where they agree, the nearest one."""
    if ahead.peek(0) is None:
        return 0, 1
    if stored.peek(0) is None:
        return 1, 0
    near = sorted(
        ((lines, leaves) for lines in range(window) for leaves in range(window) if lines or leaves),
        key=lambda place: (sum(place), max(place)),
    )
    for lines, leaves in near:
        line, leaf = ahead.peek(lines), stored.peek(leaves)
        if line is not None and line[1] == leaf:
            return lines, leaves
    return 1, 1
