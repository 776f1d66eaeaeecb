"""The tree: RFC 6962 by its recursive definition against the frontier that grows."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tlog.errors import TreeError
from gateway.tlog.merkle import EMPTY_ROOT, MAX_SIZE, Frontier, Node, root_of

hashes = st.binary(min_size=32, max_size=32)


def leaf(number: int) -> bytes:
    return hashlib.sha256(b"\x00" + number.to_bytes(4, "big")).digest()


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 writes it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


@given(st.lists(hashes, max_size=70))
def test_the_frontier_has_the_root_that_the_rfc_defines_at_every_size(leaves: list[bytes]) -> None:
    frontier = Frontier()
    for size, value in enumerate(leaves):
        assert frontier.root() == defined_root(leaves[:size])
        frontier.append(value)
    assert frontier.root() == defined_root(leaves) == root_of(leaves)
    assert frontier.size == len(leaves)


@given(st.lists(hashes, max_size=70))
def test_every_complete_subtree_is_reported_once_with_its_hash(leaves: list[bytes]) -> None:
    frontier = Frontier()
    completed = [node for value in leaves for node in frontier.append(value)]
    expected = {
        (level, index): defined_root(leaves[index << level : (index + 1) << level])
        for level in range(1, 7)
        for index in range(len(leaves) >> level)
    }
    assert {(node.level, node.idx): node.hash for node in completed} == expected
    assert len(completed) == len(expected)


@given(st.lists(hashes, max_size=40), st.lists(hashes, max_size=40))
def test_a_frontier_read_back_grows_as_the_first_one_does(before: list[bytes], later: list[bytes]) -> None:
    frontier = Frontier()
    for value in before:
        frontier.append(value)
    read = Frontier.from_bytes(frontier.size, frontier.to_bytes())
    assert read == frontier
    assert read.to_bytes() == frontier.to_bytes()
    for value in later:
        read.append(value)
    assert read.root() == defined_root(before + later)


def test_a_copy_grows_alone() -> None:
    frontier = Frontier()
    frontier.append(leaf(0))
    tried = frontier.copy()
    assert tried.append(leaf(1)) == [Node(1, 0, defined_root([leaf(0), leaf(1)]))]
    assert (frontier.size, frontier.peaks) == (1, (leaf(0),))


def test_peaks_are_one_for_each_1_bit_of_the_size_largest_first() -> None:
    frontier = Frontier()
    for number in range(7):
        frontier.append(leaf(number))
    leaves = [leaf(number) for number in range(7)]
    assert frontier.peaks == (defined_root(leaves[:4]), defined_root(leaves[4:6]), leaves[6])


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == hashlib.sha256(b"").digest()


@pytest.mark.parametrize(
    ("size", "data"),
    [(0, bytes(32)), (1, b""), (1, bytes(31)), (2, bytes(64)), (3, bytes(32)), (-1, b""), (2**63, bytes(32))],
)
def test_a_stored_frontier_with_the_wrong_number_of_peaks_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(TreeError):
        Frontier.from_bytes(size, data)


@pytest.mark.parametrize("value", [b"", bytes(31), bytes(33)])
def test_a_leaf_hash_that_is_not_32_bytes_is_refused(value: bytes) -> None:
    with pytest.raises(TreeError):
        Frontier().append(value)


def test_a_full_tree_takes_no_more() -> None:
    frontier = Frontier.from_bytes(MAX_SIZE, bytes(32 * 63))
    with pytest.raises(TreeError, match="full"):
        frontier.append(leaf(0))


def test_pushing_leaves_grows_the_same_tree_as_appending_them() -> None:
    appended, pushed = Frontier(), Frontier()
    for number in range(130):
        appended.append(leaf(number))
        pushed.push(leaf(number))
        assert pushed == appended


def test_what_is_no_leaf_hash_is_not_pushed_either() -> None:
    with pytest.raises(TreeError):
        Frontier().push(b"short")
