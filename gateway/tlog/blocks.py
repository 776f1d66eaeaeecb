"""Entries a block at a time: what many lines of an export come to, found without a Python object for each member.

Pure, and the one place that is written for speed: a million entries pass through here (log A5). Three things are done to
every line, each in one pass over the block: its leaf hash, its share of the tree, and its form.

The form is one regular expression: canonical JSON of an entry, its members in their order. It accepts a little less than
`entry.parse_shape` (no `at` below zero, no commitments of unusual names), and never more; a block that it does not accept
whole is read line by line with that. So no verdict rests on the expression alone: a line that both refuse is told of by the
careful reading in `exported`, and what it says of a line is what `parse_shape` says.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final, NamedTuple

from msgspec import UNSET, UnsetType

from gateway.tlog.entry import ENTRY_LIMIT, parse_shape
from gateway.tlog.errors import EntryError
from gateway.tlog.merkle import HASH_LENGTH, Node


class Digest(NamedTuple):
    """What a block of lines comes to, each of them an entry in canonical form. `first` is the number of its first line;
    texts are in JSON, with their quotes, and empty where an entry has no such member."""

    first: int
    leaves: bytes
    spans: tuple[
        tuple[Node, ...], ...
    ]  # of the lines up to each place where the tree is asked for its root, and the rest
    orgs: frozenset[bytes]
    origins: frozenset[bytes]
    receipts: tuple[bytes, ...]
    marked: Mapping[int, bytes]  # the last line before each such place, by its number

    @property
    def length(self) -> int:
        return len(self.receipts)

    def leaf(self, offset: int) -> bytes:
        """The leaf hash of the line that stands so far behind the first."""
        return self.leaves[offset * HASH_LENGTH : (offset + 1) * HASH_LENGTH]


def digest_block(data: bytes, first: int, cuts: Sequence[int]) -> Digest | None:
    """Return what a block of whole lines comes to; None where it has one that is no entry in canonical form.

    `cuts` are the sizes, ascending, at which the tree is asked for its root; those outside the block do not matter.
    """
    lines = data.split(b"\n")
    if lines.pop() or not lines or max(map(len, lines)) > ENTRY_LIMIT:
        return None
    members = _read_at_once(data, len(lines)) or _read_singly(lines)
    if members is None:
        return None
    inside = within(cuts, first, len(lines))
    leaves = [sha256(b"\x00" + line).digest() for line in lines]
    return Digest(
        first=first,
        leaves=b"".join(leaves),
        spans=spans(leaves, first, inside),
        orgs=frozenset(members.orgs),
        origins=frozenset(members.origins),
        receipts=members.receipts,
        marked={cut - 1: lines[cut - 1 - first] for cut in inside},
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


class _Members(NamedTuple):
    """Of each line, what is asked about it."""

    orgs: tuple[bytes, ...]
    origins: tuple[bytes, ...]
    receipts: tuple[bytes, ...]


# What may stand in a string of canonical JSON in ASCII, or between two lines, stays itself; no other byte does.
_PLAIN: Final = bytes(
    byte if (0x20 <= byte < 0x7F and byte != 0x5C) or byte == 0x0A else byte ^ 0xFF for byte in range(256)
)

_TEXT: Final = r'"[^"]*+"'
_NUMBER: Final = r"(?:0|[1-9][0-9]{0,17}+)"
_TEXTS: Final = rf"\[(?:{_TEXT}(?:,{_TEXT})*+)?+\]"
_BREACH: Final = rf'\{{"code":{_TEXT},"path":{_TEXT}\}}'
_FURTHER: Final = '"(?:erased|rows)"'
_TRUTH: Final = r'"(?:true|false|unknown)"'


def _may_have(name: str, form: str) -> str:
    return f'(?:"{name}":{form},)?+'


# INVARIANT: whatever this accepts, `parse_shape` accepts; `tests/unit/gateway/tlog/test_blocks.py` tries. Possessive
# throughout: there is one way to match, or none.
_LINE: Final = re.compile(
    "".join(
        (
            r"^\{",
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
            _may_have("org", f"({_TEXT})"),
            _may_have("origin", f"({_TEXT})"),
            _may_have("outcome", _TEXT),
            _may_have("partner", _TEXT),
            _may_have("paths", _TEXTS),
            _may_have("receipt", f"({_TEXT})"),
            _may_have("role", _TEXT),
            _may_have("thread", _TEXT),
            _may_have("type", _TEXT),
            _may_have("urgency", '"(?:routine|priority|immediate_risk)"'),
            r'"v":1\}\n',
        )
    ).encode(),
    re.MULTILINE,
)
_NAMES: Final = re.compile(rb'"([^"]*)":')


def _read_at_once(data: bytes, count: int) -> _Members | None:
    """Read every line by the expression; None where one is not accepted.

    Each match begins at the beginning of a line and ends with a line feed. As many matches as lines: each is one whole line.
    """
    if data.translate(_PLAIN) != data:
        return None
    found = _LINE.findall(data)
    if len(found) != count:
        return None
    conditions, orgs, origins, receipts = zip(*found, strict=True)
    for text in frozenset(conditions):
        names = _NAMES.findall(text)
        if any(one >= other for one, other in pairwise(names)):
            return None  # not sorted, or one twice
    return _Members(orgs, origins, receipts)


def _read_singly(lines: Sequence[bytes]) -> _Members | None:
    """Read every line by `parse_shape`; None where one is no entry."""
    try:
        entries = [parse_shape(line) for line in lines]
    except EntryError:
        return None
    return _Members(
        tuple(_quoted(entry.org) for entry in entries),
        tuple(_quoted(entry.origin) for entry in entries),
        tuple(_quoted(entry.receipt) for entry in entries),
    )


def _quoted(text: str | UnsetType) -> bytes:
    return b"" if text is UNSET else f'"{text}"'.encode()
