"""The check of an export's entries, line by line and in memory: what `gateway.tlog.exported` must find, as plainly as can be said.

Also what tests hand to the fast one: lines in blocks, and a reader that remembers what it was shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from msgspec import UNSET

from gateway.tlog.blocks import Digest, digest_block
from gateway.tlog.entry import Entry, leaf_hash, parse_shape
from gateway.tlog.errors import EntryError
from gateway.tlog.exported import ENTRIES, LEAVES, NAMED, Block, Head, Line, LogCheck
from gateway.tlog.fsck import Problem
from gateway.tlog.merkle import root_of


def lines_of(data: bytes) -> list[Line]:
    """The lines of a file."""
    *lines, rest = data.split(b"\n")
    return [Line(line, True) for line in lines] + ([Line(rest, False)] if rest else [])


def blocks_of(data: bytes, rules: LogCheck, *, every: int) -> Iterator[Block]:
    """The lines of a file, so many in each block."""
    lines = lines_of(data)
    for first in range(0, len(lines), every):
        some = lines[first : first + every]
        text = b"".join(line.data + (b"\n" if line.ended else b"") for line in some)
        yield Block(partial(digest_block, text, first, rules.cuts, rules.names), partial(list, some))


def check_plainly(lines: list[Line], stored: list[bytes] | None, rules: LogCheck) -> list[Problem]:
    """Every problem that `check_lines` finds, in its order; the reader is shown every entry."""
    return _Plain(lines, stored, rules).run()


class _Plain:
    """All in memory; the tree is a list of leaf hashes, and its root is computed anew for each head."""

    def __init__(self, lines: list[Line], stored: list[bytes] | None, rules: LogCheck) -> None:
        self.lines, self.stored, self.rules = lines, stored, rules
        self.leaves = [leaf_hash(line.data) for line in lines]
        self.problems: list[Problem] = []
        self.origins = rules.earlier | {rules.origin}
        self.heads = list(rules.heads)
        self.of_lines: list[bytes] | None = []  # the tree of the lines; None behind a missing one
        self.of_leaves: list[bytes] | None = None  # that of the stored leaf hashes, where it differs
        self.size = self.since = 0
        self.failed: list[Head] = []
        self.named: list[Doubt] = []
        self.unnamed = 0
        self.lines_at: dict[bytes, int] = {}
        self.leaves_at: dict[bytes, int] = {}
        self.recent: list[tuple[bytes, int]] = []

    def run(self) -> list[Problem]:
        line = leaf = 0  # how many are taken
        patience = 1_000
        while line < len(self.lines) or (self.stored is not None and leaf < len(self.stored)):
            if self.stored is None:
                self.grow(line, None, "")
                line += 1
            elif self.leaves[line : line + 1] == self.stored[leaf : leaf + 1]:
                self.recent = [*self.recent, (self.leaves[line], self.size)][-4:]
                self.grow(line, leaf, "")
                line, leaf, patience = line + 1, leaf + 1, 1_000
            else:
                extra, absent = self.look(line, leaf, self.stored) if patience else self.one(line, leaf, self.stored)
                patience = max(0, patience - 1)
                for number in range(max(extra, absent)):
                    if number >= extra:
                        self.grow(None, leaf + number, "missing")
                    elif number >= absent:
                        self.grow(line + number, None, "a line too many stands before it")
                    else:
                        self.grow(line + number, leaf + number, "changed")
                line, leaf = line + extra, leaf + absent
        for head in self.heads:
            self.tell(head.size, head.column, f"beyond the {self.size} entries there are")
        self.end()
        return self.problems

    def one(self, line: int, leaf: int, stored: list[bytes]) -> tuple[int, int]:
        return int(line < len(self.lines)), int(leaf < len(stored))

    def look(self, line: int, leaf: int, stored: list[bytes]) -> tuple[int, int]:
        """How many of each stand before the place within three where four or more agree again; else as many as can be."""
        if line == len(self.lines) or leaf == len(stored):
            return self.one(line, leaf, stored)
        places = [
            (run, -(a + b), -max(a, b), -a)
            for a in range(4)
            for b in range(4)
            if (run := self.run_of(line + a, leaf + b, stored))
        ]
        if not places:
            return 1, 1
        _, together, _, lines = max(places)
        return -lines, lines - together

    def run_of(self, line: int, leaf: int, stored: list[bytes]) -> int:
        for number in range(4):
            if line + number >= len(self.lines) and leaf + number >= len(stored):
                return 4
            if self.leaves[line + number : line + number + 1] != stored[leaf + number : leaf + number + 1]:
                return number
        return 4

    def grow(self, line: int | None, leaf: int | None, fault: str) -> None:
        wanted = None if leaf is None or self.stored is None else self.stored[leaf]
        own = b"" if line is None else self.leaves[line]
        if line is not None:
            self.check(line, own, fault)
        if fault:
            if len(self.named) < NAMED:
                again = next((at for value, at in self.recent if value == own), None)
                self.named.append(Doubt(self.size, fault, own, wanted, again))
            else:
                self.unnamed += 1
            if line is not None and len(self.lines_at) < NAMED:
                self.lines_at.setdefault(own, self.size)
            if wanted is not None and len(self.leaves_at) < NAMED:
                self.leaves_at.setdefault(wanted, self.size)
            if fault.startswith("a line too many"):
                return
            if self.of_leaves is None and self.of_lines is not None:
                self.of_leaves = list(self.of_lines)
        if self.of_leaves is not None and wanted is not None:
            self.of_leaves.append(wanted)
        if line is None:
            self.of_lines = None
        elif self.of_lines is not None:
            self.of_lines.append(own)
        self.size += 1
        while self.heads and self.heads[0].size <= self.size:
            self.judge(self.heads.pop(0))

    def check(self, number: int, leaf: bytes, fault: str) -> None:
        line = self.lines[number]
        if not line.ended:
            self.tell(self.size, ENTRIES, "the last line does not end: cut off?")
        if fault:
            return
        try:
            entry = parse_shape(line.data)
        except EntryError as error:
            self.tell(self.size, ENTRIES, str(error))
            return
        if entry.origin is not UNSET and entry.origin not in self.origins:
            self.tell(self.size, ENTRIES, "origin: that of another log")
        if entry.origin == self.rules.origin:
            self.origins = frozenset({self.rules.origin})
        if entry.org not in (UNSET, self.rules.org):
            self.tell(self.size, ENTRIES, "org: another organisation's")
        self.rules.reader.see(self.size, entry, leaf)

    def judge(self, head: Head) -> None:
        if self.of_lines is not None and root_of(self.of_lines) == head.root:
            self.blame(LEAVES, "not the leaf hash of the entry that was signed")
        elif self.of_leaves is not None and root_of(self.of_leaves) == head.root:
            self.blame(ENTRIES, "not the entry that was signed")
            self.of_lines = self.of_leaves
        elif self.size == self.since:
            self.tell(head.size, head.column, "another root than that which the entries have")
            return
        else:
            self.failed.append(head)
            return
        for failed in self.failed:
            self.tell(failed.size, failed.column, f"not the root of the entries, which {head.column} proves")
        self.of_leaves, self.since, self.failed, self.named, self.unnamed = None, head.size, [], [], 0

    def end(self) -> None:
        if self.failed:
            self.blame(ENTRIES, "entry or leaf hash, no checkpoint says which")
            why = ""
            if not self.named:
                why = "; without the file of leaf hashes nothing says which"
                if self.stored is not None:
                    why = "; the leaf hashes were changed alike, so nothing says which"
            last = self.failed[0].size - 1
            self.tell(self.since, ENTRIES, f"entries {self.since} to {last} are not all those that were signed{why}")
            for failed in self.failed:
                self.tell(failed.size, failed.column, "not the root of the entries")
        elif self.size > self.since or self.named:
            at = min([self.since, *(doubt.at for doubt in self.named)])
            self.tell(at, ENTRIES, "no checkpoint covers the entries from here on")

    def blame(self, column: str, rule: str) -> None:
        for doubt in self.named:
            surplus = doubt.fault.startswith("a line too many")
            file = ENTRIES if surplus else column
            here = self.leaves_at.get(doubt.leaf)
            there = None if doubt.stored is None else self.lines_at.get(doubt.stored)
            what = doubt.fault
            if doubt.fault == "changed" and here is not None:
                if here == there:
                    what = f"exchanged with entry {here}"
                elif file == ENTRIES:
                    what = f"changed, entry {here} stands here"
            elif doubt.fault == "missing" and there is not None:
                what = f"missing, it stands at entry {there}"
            elif surplus and here is not None:
                what += f", that of entry {here}"
            elif surplus and doubt.again is not None:
                what += f", entry {doubt.again} once more"
            self.tell(doubt.at, file, f"{what}: {rule if file == column else 'not the entry that was signed'}")
        if self.unnamed:
            self.tell(self.named[-1].at, column, f"and {self.unnamed} more after this one")

    def tell(self, index: int, column: str, rule: str) -> None:
        self.problems.append(Problem(index=index, column=column, rule=rule))


@dataclass(frozen=True, slots=True)
class Doubt:
    """A place where line and stored leaf hash differ."""

    at: int
    fault: str
    leaf: bytes
    stored: bytes | None
    again: int | None


@dataclass(slots=True)
class Reading:
    """A reader who wants to see everything, or of whole blocks only `every`-th entry."""

    every: int = 1
    seen: list[tuple[int, Entry, bytes]] = field(default_factory=list)
    count: int = 0

    def see(self, index: int, entry: Entry, leaf: bytes) -> None:
        self.seen.append((index, entry, leaf))
        self.count += 1

    def pick(self, index: int, digest: Digest) -> Iterator[int]:
        picked = range(0, digest.length, self.every)
        self.count += digest.length - len(picked)
        yield from picked
