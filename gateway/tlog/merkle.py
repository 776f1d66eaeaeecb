"""The Merkle tree of RFC 6962: its hashes, and the frontier by which it grows.

Pure. A tree is never held whole: the frontier keeps the roots of the complete subtrees that make up the tree (one for
each 1 bit of the size, largest first), which is all that appending and the root need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gateway.tlog.errors import TreeError

HASH_LENGTH: Final = 32
MAX_SIZE: Final = 2**63 - 1  # what a bigint column holds
EMPTY_ROOT: Final = hashlib.sha256().digest()  # RFC 6962 section 2.1: the hash of an empty list


class Node(NamedTuple):
    """A complete subtree of 2^level leaves that begins at leaf idx * 2^level. Level 0 is a leaf hash."""

    level: int
    idx: int
    hash: bytes


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(01 || left || right), RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(peaks: Sequence[bytes]) -> bytes:
    """Return the root over the peaks of a tree, largest subtree first."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


class Frontier:
    """A tree as far as it has grown: its size and at most 63 peaks. Grows by `append` only; `copy` before trying."""

    __slots__ = ("_peaks", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._peaks: list[bytes] = []

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """Return the frontier of a stored head; for all that it accepts, `to_bytes()` gives the same bytes back.

        Raises TreeError where the number of peaks is not that of `size`.
        """
        if not 0 <= size <= MAX_SIZE:
            raise TreeError(f"a tree has 0 to {MAX_SIZE} leaves")
        if len(data) != HASH_LENGTH * size.bit_count():
            raise TreeError("the frontier has not one hash for each complete subtree")
        frontier = cls()
        frontier._size = size
        frontier._peaks = [data[at : at + HASH_LENGTH] for at in range(0, len(data), HASH_LENGTH)]
        return frontier

    def to_bytes(self) -> bytes:
        """Return the peaks, largest subtree first, 32 bytes each."""
        return b"".join(self._peaks)

    @property
    def size(self) -> int:
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        return tuple(self._peaks)

    def copy(self) -> Frontier:
        return Frontier.from_bytes(self._size, self.to_bytes())

    def root(self) -> bytes:
        """Return the root hash of the tree as it is now."""
        return fold(self._peaks)

    def append(self, leaf: bytes) -> list[Node]:
        """Append a leaf hash; return the subtrees of level 1 and above that it completes, lowest first.

        Raises TreeError for a hash that is not 32 bytes, and for a tree that is full.
        """
        if len(leaf) != HASH_LENGTH:
            raise TreeError(f"a leaf hash is {HASH_LENGTH} bytes")
        if self._size >= MAX_SIZE:
            raise TreeError("the tree is full")
        peaks, index, level, node = self._peaks, self._size, 0, leaf
        completed: list[Node] = []
        while index & 1:  # a complete left neighbour of the same level waits
            node = node_hash(peaks.pop(), node)
            index >>= 1
            level += 1
            completed.append(Node(level, index, node))
        peaks.append(node)
        self._size += 1
        return completed

    def push(self, leaf: bytes) -> None:
        """As `append`, for one who does not ask which subtrees are completed: a third faster."""
        if len(leaf) != HASH_LENGTH or self._size >= MAX_SIZE:
            self.append(leaf)  # which says why not
        self.graft(Node(0, self._size, leaf))

    def graft(self, subtree: Node) -> None:
        """Append a complete subtree: all its leaves at once. Raises TreeError where it does not begin at the next leaf."""
        index, node = subtree.idx, subtree.hash
        if index << subtree.level != self._size:
            raise TreeError("a subtree that does not begin where the tree ends")
        while index & 1:
            node = node_hash(self._peaks.pop(), node)
            index >>= 1
        self._peaks.append(node)
        self._size += 1 << subtree.level

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frontier) and (self._size, self._peaks) == (other._size, other._peaks)

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"Frontier(size={self._size}, root={self.root().hex()})"


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root hash over leaf hashes in order."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()
