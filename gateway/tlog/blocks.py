"""Entries a block at a time: what many lines of an export come to, found without a Python object for each member.

Pure, and the one place that is written for speed: a million entries pass through here (log A5). Three things are done to
every line, each in one pass over the block: its leaf hash, its share of the tree, and its form.

The form is one regular expression: canonical JSON of an entry, its members in their order. It accepts a little less than
`entry.parse_shape` (no `at` below zero, no escapes, no commitments of unusual names), and never more; a block that it does not accept
whole is read line by line with that. So no verdict rests on the expression alone: a line that both refuse is told of by the
careful reading in `exported`, and what it says of a line is what `parse_shape` says.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import Final, NamedTuple

from msgspec import UNSET

from gateway.tlog.entry import ENTRY_LIMIT, parse_shape
from gateway.tlog.errors import EntryError
from gateway.tlog.merkle import HASH_LENGTH, Node


class Names(NamedTuple):
    """Whose log it is, and what it is called: its name today first, earlier ones behind."""

    org: str
    origins: tuple[str, ...]


class Digest(NamedTuple):
    """What a block of lines comes to, each of them an entry in canonical form. `first` is the number of its first line;
    `receipts` are the digests that entries name, by how far they stand behind it."""

    first: int
    leaves: bytes
    spans: tuple[
        tuple[Node, ...], ...
    ]  # of the lines up to each place where the tree is asked for its root, and the rest
    orgs: frozenset[str]  # there are no others
    origins: frozenset[str]
    receipts: Mapping[int, str]
    marked: Mapping[int, bytes]  # the last line before each such place, by its number

    @property
    def length(self) -> int:
        return len(self.leaves) // HASH_LENGTH

    def leaf(self, offset: int) -> bytes:
        """The leaf hash of the line that stands so far behind the first."""
        return self.leaves[offset * HASH_LENGTH : (offset + 1) * HASH_LENGTH]


def digest_block(data: bytes, first: int, cuts: Sequence[int], names: Names) -> Digest | None:
    """Return what a block of whole lines comes to; None where it has one that is no entry in canonical form.

    `cuts` are the sizes, ascending, at which the tree is asked for its root; those outside the block do not matter. `names`
    are those that it should have: with others it takes longer.
    """
    if not data.endswith(b"\n"):
        return None
    read = _read_at_once(data, names) or _read_singly(data)
    if read is None:
        return None
    lines = read.lines
    leaves = [sha256(b"\x00" + line).digest() for line in lines]
    return Digest(
        first=first,
        leaves=b"".join(leaves),
        spans=spans(leaves, first, cuts),
        orgs=read.orgs,
        origins=read.origins,
        receipts=read.receipts,
        marked={cut - 1: lines[cut - 1 - first] for cut in within(cuts, first, len(lines))},
    )


# --- the tree


def within(cuts: Sequence[int], first: int, count: int) -> Sequence[int]:
    """Those of some ascending sizes that a tree passes as it grows by `count` from `first` on."""
    return cuts[bisect_right(cuts, first) : bisect_right(cuts, first + count)]


def spans(leaves: Sequence[bytes], first: int, cuts: Sequence[int]) -> tuple[tuple[Node, ...], ...]:
    """Return the subtrees of each stretch of these leaf hashes between one cut and the next."""
    ends = sorted({first, *within(cuts, first, len(leaves)), first + len(leaves)})
    return tuple(tuple(subtrees(leaves[begin - first : end - first], begin)) for begin, end in pairwise(ends))


def subtrees(leaves: Sequence[bytes], first: int) -> list[Node]:
    """Return the complete subtrees, as large as there can be, that make up the leaf hashes from place `first` on."""
    level, idx, nodes = 0, first, list(leaves)
    left: list[Node] = []
    right: list[Node] = []
    while nodes:
        if idx & 1:  # its left neighbour stands before the block
            left.append(Node(level, idx, nodes.pop(0)))
            idx += 1
        if len(nodes) & 1:
            right.append(Node(level, idx + len(nodes) - 1, nodes.pop()))
        pairs = iter(nodes)
        nodes = [sha256(b"\x01" + one + other).digest() for one, other in zip(pairs, pairs, strict=True)]
        level, idx = level + 1, idx >> 1
    return left + right[::-1]


# --- the form


class _Read(NamedTuple):
    """Lines that are entries, and what they say."""

    lines: Sequence[bytes]
    orgs: frozenset[str]
    origins: frozenset[str]
    receipts: Mapping[int, str]


_PLAIN: Final = bytes(byte for byte in range(0x20, 0x7F) if byte != 0x5C)  # stands for itself in a string of ASCII JSON
_TEXT: Final = r'"[^"]*+"'
_NUMBER: Final = r"(?:0|[1-9][0-9]{0,17}+)"
_TEXTS: Final = rf"\[(?:{_TEXT}(?:,{_TEXT})*+)?+\]"
_BREACH: Final = rf'\{{"code":{_TEXT},"path":{_TEXT}\}}'
_FURTHER: Final = '"(?:erased|rows)"'
_TRUTH: Final = r'"(?:true|false|unknown)"'


_NAME: Final = re.compile(rf"({_TEXT}):".encode())


def _may_have(name: str, form: str) -> str:
    return f'(?:"{name}":{form},)?+'


def _exactly(text: str) -> str:
    return "(?!)" if '"' in text else f'"{re.escape(text)}"'  # a quote in it would be escaped, so no plain string


@lru_cache
def _expression(org: str, origin: str) -> re.Pattern[bytes]:
    """The canonical form of an entry of this log, if all its strings are plain; possessive: one way to match, or none.

    INVARIANT: whatever it accepts, `parse_shape` accepts, but for the order of `conditions` and the length.
    `tests/unit/gateway/tlog/test_blocks.py` tries.
    """
    parts = (
        r"^(\{",
        _may_have("agreement", rf'\{{"digest":{_TEXT},"id":{_TEXT},"version":{_NUMBER}\}}'),
        rf'"at":{_NUMBER},',
        _may_have("basis", _TEXTS),
        _may_have("breaches", rf"\[(?:{_BREACH}(?:,{_BREACH})*+)?+\]"),
        _may_have("commit", rf'\{{(?:"by":{_TEXT}(?:,{_FURTHER}:{_TEXT})?+|{_FURTHER}:{_TEXT})\}}'),
        _may_have("conditions", rf"(\{{(?:{_TEXT}:{_TRUTH}(?:,{_TEXT}:{_TRUTH})*+)?+\}})"),
        _may_have("dir", '"(?:in|out|own)"'),
        _may_have("env", _TEXT),
        _may_have("jws", _TEXT),
        rf'"kind":{_TEXT},',
        _may_have("msg", _TEXT),
        rf'"nonce":{_TEXT},',
        _may_have("org", _exactly(org)),
        _may_have("origin", _exactly(origin)),
        _may_have("outcome", _TEXT),
        _may_have("partner", _TEXT),
        _may_have("paths", _TEXTS),
        _may_have("receipt", f"({_TEXT})"),
        _may_have("role", _TEXT),
        _may_have("thread", _TEXT),
        _may_have("type", _TEXT),
        _may_have("urgency", '"(?:routine|priority|immediate_risk)"'),
        r'"v":1\})$',
    )
    return re.compile("".join(parts).encode(), re.MULTILINE)


def _read_at_once(data: bytes, names: Names) -> _Read | None:
    """Read every line by the expression; None where one is not accepted.

    Each match begins where a line begins, and ends where one ends. As many matches as line feeds: each is one whole line.
    """
    rest = data.translate(None, _PLAIN)
    if rest.strip(b"\n"):
        return None  # a byte that no plain string has
    for origin in names.origins:
        found = _expression(names.org, origin).findall(data)
        if len(found) == len(rest):
            break
    else:
        return None
    lines, conditions, receipts = zip(*found, strict=True)
    if max(map(len, lines)) > ENTRY_LIMIT or not all(map(_are_sorted, set(conditions))):
        return None
    return _Read(
        lines=lines,
        orgs=frozenset({names.org}),
        origins=frozenset({origin} if f'"origin":"{origin}"'.encode() in data else ()),
        receipts={offset: text[1:-1].decode() for offset, text in enumerate(receipts) if text} if any(receipts) else {},
    )


def _are_sorted(conditions: bytes) -> bool:
    """Whether names ascend, which the expression cannot say."""
    return all(one < other for one, other in pairwise(_NAME.findall(conditions)))


def _read_singly(data: bytes) -> _Read | None:
    """Read every line by `parse_shape`; None where one is no entry."""
    lines = data[:-1].split(b"\n")
    try:
        entries = [parse_shape(line) for line in lines]
    except EntryError:
        return None
    return _Read(
        lines=lines,
        orgs=frozenset(entry.org for entry in entries if entry.org is not UNSET),
        origins=frozenset(entry.origin for entry in entries if entry.origin is not UNSET),
        receipts={offset: entry.receipt for offset, entry in enumerate(entries) if entry.receipt is not UNSET},
    )
