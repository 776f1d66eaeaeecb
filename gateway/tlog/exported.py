"""The check of an exported log: lines, leaf hashes and signed checkpoints against each other, trusting the signatures alone.

Pure. Blocks of lines and leaf hashes come in as they are read and problems go out as they are found, in one pass and constant
memory, so a million entries take seconds (log A5). The caller owns the files, and the signatures of receipts and bundles.

A block in which nothing is amiss is taken whole (`tlog.blocks`); any other is read line by line, with care, until lines and
leaf hashes agree again.

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
from functools import cache
from typing import Final, NamedTuple, Protocol

from msgspec import UNSET

from gateway.tlog.blocks import Digest, Names, spans
from gateway.tlog.entry import Entry, leaf_hash, parse_shape
from gateway.tlog.errors import EntryError
from gateway.tlog.fsck import Problem
from gateway.tlog.merkle import HASH_LENGTH, Frontier

ENTRIES: Final = "entries.jsonl"
LEAVES: Final = "leaves"
NAMED: Final = 1_000  # changes named one by one between two checkpoints; how many more there are is said

_NOT_SIGNED: Final = "not the entry that was signed"
_WINDOW: Final = 4  # lines and leaf hashes looked ahead for where they agree again
_NEAR: Final = sorted(
    ((lines, leaves) for lines in range(_WINDOW) for leaves in range(_WINDOW) if lines or leaves),
    key=lambda place: (sum(place), max(place)),
)
_PATIENCE: Final = 1_000  # disagreements in a row after which nobody looks ahead any more
_READ: Final = 64 * 1024  # bytes of leaf hashes read at a time


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


class Block(NamedTuple):
    """Some lines that follow each other: what they come to, None where they are not entries one and all; and they themselves."""

    digest: Callable[[], Digest | None]
    lines: Callable[[], Sequence[Line]]


class Hashes(Protocol):
    """Stored leaf hashes one after the other, as a file gives them."""

    def read(self, size: int, /) -> bytes:
        """The next so many bytes, fewer at the end alone."""
        ...


class Reader(Protocol):
    """Who is shown every entry that can be read and is not in doubt, in order."""

    def see(self, index: int, entry: Entry, leaf: bytes) -> None:
        """Take one entry."""
        ...

    def pick(self, index: int, digest: Digest) -> Iterable[int]:
        """Take a whole block, whose first entry has this index. Those of which more is to be known are answered, as how far they
        stand behind the first, and shown by `see` before the next is asked for."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """What the entries are held to: the log's origin, whose log it is, and the heads that count, ascending by size."""

    origin: str
    org: str
    heads: Sequence[Head]
    reader: Reader
    earlier: frozenset[str] = frozenset()  # names that the log may have had in earlier epochs (`tlog.epochs`)

    @property
    def names(self) -> Names:
        """What the entries should say of whose they are."""
        return Names(self.org, (self.origin, *sorted(self.earlier)))

    @property
    def cuts(self) -> tuple[int, ...]:
        """The sizes at which heads are judged."""
        return tuple(sorted({max(1, head.size) for head in self.heads}))


def check_lines(blocks: Iterable[Block], leaves: Hashes | None, rules: LogCheck) -> Iterator[Problem]:
    """Check the entries of an export against its checkpoints; yield every problem found.

    `leaves` are to be as many as the entries that the newest checkpoint signs, or None where there is no such file.
    """
    trees, check, pairs = _Trees(rules, has_leaves=leaves is not None), _LineCheck(rules), _Pairs(blocks, leaves)
    while (block := pairs.next_block()) is not None:
        digest = block.digest()
        if digest is not None and check.accepts(digest) and pairs.agree(digest, trees.size):
            yield from check.pass_over(trees.size, digest, cache(block.lines))
            yield from trees.grow_by(digest)
            continue
        pairs.open(block)
        yield from _check_with_care(trees, check, pairs)
    yield from _check_with_care(trees, check, pairs)
    yield from trees.end()


def _check_with_care(trees: _Trees, check: _LineCheck, pairs: _Pairs) -> Iterator[Problem]:
    """Check line by line, as far as blocks were opened; behind the last one, as far as there are leaf hashes."""
    while places := pairs.step(trees.size):
        for place in places:
            if place.line is not None:
                yield from check.check(place, place.line)
            yield from trees.grow(place)


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
        self._rules.reader.see(place.at, entry, place.leaf)
        return found

    def accepts(self, digest: Digest) -> bool:
        """Whether every entry of a block is of this organisation and this log, or all are of one earlier name of it."""
        return digest.orgs <= {self._rules.org} and len(digest.origins) <= 1 and digest.origins <= self._origins

    def pass_over(self, index: int, digest: Digest, lines: Callable[[], Sequence[Line]]) -> Iterator[Problem]:
        """Take a block that was accepted."""
        if self._rules.origin in digest.origins:
            self._origins = frozenset({self._rules.origin})
        for offset in self._rules.reader.pick(index, digest):
            data = digest.marked.get(digest.first + offset) or lines()[offset].data
            if leaf_hash(data) == digest.leaf(offset):
                self._rules.reader.see(index + offset, parse_shape(data), digest.leaf(offset))
            else:
                yield Problem(index=index + offset, column=ENTRIES, rule="changed while it was read")


# --- the tree, twice where it must be


class _Fault(Enum):
    """How a line and the leaf hash stored for its place disagree."""

    CHANGED = "changed"
    MISSING = "missing"
    SURPLUS = "a line too many stands before it"


class _Place(NamedTuple):
    """One place in the log: its line and leaf hash, the leaf hash stored for it. A surplus line has no place: `at` is
    that of the one after it; `again` is the entry whose line it repeats, as far as that stands near."""

    at: int
    line: Line | None
    leaf: bytes
    stored: bytes | None
    fault: _Fault | None
    again: int | None = None


class _Trees:
    """The tree of the lines; and, from where they disagree until a checkpoint decides, that of the stored leaf hashes."""

    def __init__(self, rules: LogCheck, *, has_leaves: bool) -> None:
        self._upcoming = deque(rules.heads)
        self._cuts = rules.cuts
        self._has_leaves = has_leaves
        self._of_lines: Frontier | None = Frontier()  # None where one was missing
        self._of_leaves: Frontier | None = None  # None where both are one
        self.size = 0
        self._since = 0  # the size of the last head that held, and since then:
        self._failed: list[Head] = []
        self._named: list[_Place] = []
        self._unnamed = 0
        # where lines and leaf hashes without their like were found, ever; as many as are named
        self._lines_at: dict[bytes, int] = {}
        self._leaves_at: dict[bytes, int] = {}

    def grow(self, place: _Place) -> Iterator[Problem]:
        """Append one place."""
        if place.fault is not None:
            self._doubt(place)
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
        yield from self._judge_all()

    def grow_by(self, digest: Digest) -> Iterator[Problem]:
        """Append a block of lines that all have the leaf hashes stored for them."""
        stretches = digest.spans
        if digest.first != self.size:  # as many lines as this were put in before, or taken out
            leaves = [digest.leaf(offset) for offset in range(digest.length)]
            stretches = spans(leaves, self.size, self._cuts)
        for stretch in stretches:
            for tree in (self._of_lines, self._of_leaves):
                if tree is not None:
                    for node in stretch:
                        tree.graft(node)
            self.size += sum(1 << node.level for node in stretch)
            yield from self._judge_all()

    def _judge_all(self) -> Iterator[Problem]:
        while self._upcoming and self._upcoming[0].size <= self.size:
            yield from self._judge(self._upcoming.popleft())

    def _judge(self, head: Head) -> Iterator[Problem]:
        """Hold both trees to a head of their size: whichever has its root is what was signed."""
        if self._of_lines is not None and self._of_lines.root() == head.root:
            yield from self._blame(LEAVES, "not the leaf hash of the entry that was signed")
        elif self._of_leaves is not None and self._of_leaves.root() == head.root:
            yield from self._blame(ENTRIES, _NOT_SIGNED)
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
        """Say which heads are left, and what none decided."""
        for head in self._upcoming:
            yield Problem(index=head.size, column=head.column, rule=f"beyond the {self.size} entries there are")
        if self._failed:
            yield from self._blame(ENTRIES, "entry or leaf hash, no checkpoint says which")
            what = f"entries {self._since} to {self._failed[0].size - 1} are not all those that were signed"
            yield Problem(index=self._since, column=ENTRIES, rule=what + self._why_unnamed())
            for failed in self._failed:
                yield Problem(index=failed.size, column=failed.column, rule="not the root of the entries")
        elif self.size > self._since or self._named:
            at = min([self._since, *(place.at for place in self._named)])
            yield Problem(index=at, column=ENTRIES, rule="no checkpoint covers the entries from here on")

    def _doubt(self, place: _Place) -> None:
        if len(self._named) < NAMED:
            self._named.append(place)
        else:
            self._unnamed += 1
        if place.line is not None and len(self._lines_at) < NAMED:
            self._lines_at.setdefault(place.leaf, place.at)
        if place.stored is not None and len(self._leaves_at) < NAMED:
            self._leaves_at.setdefault(place.stored, place.at)

    def _blame(self, column: str, rule: str) -> Iterator[Problem]:
        for place in self._named:
            guilty, why = (
                (ENTRIES, _NOT_SIGNED) if place.fault is _Fault.SURPLUS and column == LEAVES else (column, rule)
            )
            yield Problem(index=place.at, column=guilty, rule=f"{self._what(place, guilty)}: {why}")
        if self._unnamed:
            yield Problem(index=self._named[-1].at, column=column, rule=f"and {self._unnamed} more after this one")

    def _what(self, place: _Place, column: str) -> str:
        """What happened at a place, as far as the lines and leaf hashes that were in doubt until now tell."""
        here = self._leaves_at.get(place.leaf)  # the entry whose line stands here
        there = None if place.stored is None else self._lines_at.get(place.stored)  # where its own line stands
        match place.fault:
            case _Fault.CHANGED if here is not None and here == there:
                return f"exchanged with entry {here}"
            case _Fault.CHANGED if here is not None and column == ENTRIES:
                return f"changed, entry {here} stands here"
            case _Fault.MISSING if there is not None:
                return f"missing, it stands at entry {there}"
            case _Fault.SURPLUS if here is not None:
                return f"{_Fault.SURPLUS.value}, that of entry {here}"
            case _Fault.SURPLUS if place.again is not None:
                return f"{_Fault.SURPLUS.value}, entry {place.again} once more"
            case fault:
                return "" if fault is None else fault.value

    def _why_unnamed(self) -> str:
        if self._named:
            return ""
        if self._has_leaves:
            return "; the leaf hashes were changed alike, so nothing says which"
        return "; without the file of leaf hashes nothing says which"


# --- lines beside leaf hashes


class _Pairs:
    """Blocks of lines beside the leaf hashes stored for them: taken whole, or line by line, and then with a look ahead."""

    def __init__(self, blocks: Iterable[Block], leaves: Hashes | None) -> None:
        self._blocks = iter(blocks)
        self._lines: deque[tuple[Line, bytes]] = deque()  # of the blocks that were opened, with their leaf hashes
        self._stored = None if leaves is None else _Stored(leaves)
        self._recent: deque[tuple[bytes, int]] = deque(maxlen=_WINDOW)  # leaf hashes that agreed last, and their places
        self._patience = _PATIENCE
        self._ended = False

    def next_block(self) -> Block | None:
        """The next block; None behind the end. To be asked for only where every line that was opened is taken."""
        block = next(self._blocks, None)
        self._ended = block is None
        return block

    def agree(self, digest: Digest, index: int) -> bool:
        """Whether the leaf hashes of a block are those stored, from this index on; if so, go on behind it."""
        if self._stored is not None and not self._stored.next_are(digest.leaves):
            return False
        self._patience = _PATIENCE
        for offset in range(max(0, digest.length - _WINDOW), digest.length):
            self._recent.append((digest.leaf(offset), index + offset))
        return True

    def open(self, block: Block) -> None:
        """Have the lines of a block come one by one."""
        self._lines.extend((line, leaf_hash(line.data)) for line in block.lines())

    def step(self, index: int) -> list[_Place]:
        """Take the next place, or all those until lines and leaf hashes agree again; none where every line that was opened is
        taken, and behind the end."""
        if not self._lines and not self._ended:
            return []
        here = self._peek(0)
        if self._stored is None:
            return [] if here is None else [_Place(index, *self._lines.popleft(), None, None)]
        wanted = self._stored.peek(0)
        if here is None and wanted is None:
            return []
        if here is not None and here[1] == wanted:
            self._recent.append((wanted, index))
            self._patience = _PATIENCE
            return [_Place(index, *self._lines.popleft(), self._stored.take(), None)]
        extra, absent = self._until_they_agree(self._stored)
        self._patience = max(0, self._patience - 1)
        changed = min(extra, absent)
        return [
            *(self._changed(index + number) for number in range(changed)),
            *(self._missing(index + number) for number in range(changed, absent)),
            *(self._surplus(index + changed) for _ in range(changed, extra)),
        ]

    def _changed(self, index: int) -> _Place:
        return _Place(index, *self._lines.popleft(), self._take_stored(), _Fault.CHANGED)

    def _missing(self, index: int) -> _Place:
        return _Place(index, None, b"", self._take_stored(), _Fault.MISSING)

    def _surplus(self, index: int) -> _Place:
        line, leaf = self._lines.popleft()
        again = next((at for recent, at in self._recent if recent == leaf), None)
        return _Place(index, line, leaf, None, _Fault.SURPLUS, again)

    def _take_stored(self) -> bytes | None:
        return None if self._stored is None else self._stored.take()

    def _peek(self, distance: int) -> tuple[Line, bytes] | None:
        """The line that comes so many places later; None behind the end."""
        while distance >= len(self._lines):
            block = self.next_block()
            if block is None:
                return None
            self.open(block)
        return self._lines[distance]

    def _until_they_agree(self, stored: _Stored) -> tuple[int, int]:
        """Return how many lines and how many leaf hashes stand before the place where they agree again for the longest, the
        nearest one of those."""
        if self._peek(0) is None:
            return 0, 1
        if stored.peek(0) is None:
            return 1, 0
        longest, found = 0, (1, 1)
        for lines, leaves in _NEAR if self._patience else ():
            run = self._run(stored, lines, leaves)
            if run > longest:
                longest, found = run, (lines, leaves)
        return found

    def _run(self, stored: _Stored, lines: int, leaves: int) -> int:
        """How many lines from there on have the leaf hashes from there on; one need not know of more than a few."""
        for number in range(_WINDOW):
            line, leaf = self._peek(lines + number), stored.peek(leaves + number)
            if line is None and leaf is None:
                return _WINDOW  # both end alike
            if line is None or leaf is None or line[1] != leaf:
                return number
        return _WINDOW


class _Stored:
    """Stored leaf hashes: many at a time, or one by one, and then one can look ahead."""

    def __init__(self, source: Hashes) -> None:
        self._source = source
        self._held, self._at = b"", 0

    def next_are(self, leaves: bytes) -> bool:
        """Whether these come next; if so, go on behind them."""
        self._fill(len(leaves))
        if not self._held.startswith(leaves, self._at):
            return False
        self._at += len(leaves)
        return True

    def peek(self, distance: int) -> bytes | None:
        """What comes so many places later; None behind the end."""
        self._fill((distance + 1) * HASH_LENGTH)
        begin = self._at + distance * HASH_LENGTH
        return self._held[begin : begin + HASH_LENGTH] or None

    def take(self) -> bytes | None:
        """Go on by one; None behind the end."""
        leaf = self.peek(0)
        self._at += HASH_LENGTH if leaf else 0
        return leaf

    def _fill(self, size: int) -> None:
        if len(self._held) - self._at < size:
            self._held, self._at = self._held[self._at :] + self._source.read(max(size, _READ)), 0
