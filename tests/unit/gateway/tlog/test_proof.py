"""Proofs: every honest one verifies, every altered one fails, and the public vectors agree."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tlog.errors import ProofError
from gateway.tlog.merkle import Frontier
from gateway.tlog.proof import (
    MAX_PROOF,
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from tests.support.vectors import vectors

LARGEST = 300


@cache
def leaves() -> tuple[bytes, ...]:
    return tuple(hashlib.sha256(b"\x00" + number.to_bytes(4, "big")).digest() for number in range(LARGEST))


@cache
def grown() -> tuple[dict[tuple[int, int], bytes], tuple[bytes, ...]]:
    frontier, nodes, roots = Frontier(), {}, []
    for index, leaf in enumerate(leaves()):
        roots.append(frontier.root())
        nodes[0, index] = leaf
        nodes.update({(node.level, node.idx): node.hash for node in frontier.append(leaf)})
    return nodes, (*roots, frontier.root())


def reader(size: int) -> Callable[[int, int], bytes]:
    """Complete subtrees of a tree of `size` leaves: one that is not complete is a KeyError, as in the table."""

    def node(level: int, index: int) -> bytes:
        if (index + 1) << level > size:
            raise KeyError((level, index))
        return grown()[0][level, index]

    return node


def root(size: int) -> bytes:
    return grown()[1][size]


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, LARGEST))
    return draw(st.integers(0, size - 1)), size


def alter(data: st.DataObject, proof: tuple[bytes, ...]) -> list[bytes]:
    at = data.draw(st.integers(0, len(proof) - 1))
    byte, bit = data.draw(st.integers(0, 31)), data.draw(st.integers(0, 7))
    changed = bytearray(proof[at])
    changed[byte] ^= 1 << bit
    return [*proof[:at], bytes(changed), *proof[at + 1 :]]


def test_every_inclusion_proof_of_small_trees_verifies_at_its_place_only() -> None:
    for size in range(1, 18):
        for index in range(size):
            proof = inclusion_proof(index, size, reader(size))
            for other in range(size):
                if other == index:
                    verify_inclusion(leaves()[index], index, size, proof, root(size))
                    continue
                with pytest.raises(ProofError):
                    verify_inclusion(leaves()[index], other, size, proof, root(size))


def test_every_consistency_proof_of_small_trees_verifies_for_its_sizes_only() -> None:
    for size2 in range(1, 14):
        for size1 in range(1, size2 + 1):
            proof = consistency_proof(size1, size2, reader(size2))
            for other in range(1, size2 + 1):
                if other == size1:
                    verify_consistency(size1, root(size1), size2, root(size2), proof)
                    continue
                with pytest.raises(ProofError):
                    verify_consistency(other, root(size1), size2, root(size2), proof)


@given(places(), st.data())
def test_an_inclusion_proof_verifies_and_a_changed_bit_does_not(place: tuple[int, int], data: st.DataObject) -> None:
    index, size = place
    proof = inclusion_proof(index, size, reader(size))
    verify_inclusion(leaves()[index], index, size, proof, root(size))
    with pytest.raises(ProofError):
        verify_inclusion(leaves()[(index + 1) % LARGEST], index, size, proof, root(size))
    with pytest.raises(ProofError):
        verify_inclusion(leaves()[index], index, size, [*proof, bytes(32)], root(size))
    if proof:
        with pytest.raises(ProofError):
            verify_inclusion(leaves()[index], index, size, proof[:-1], root(size))
        with pytest.raises(ProofError):
            verify_inclusion(leaves()[index], index, size, alter(data, proof), root(size))


@given(places(), st.data())
def test_a_consistency_proof_verifies_and_a_changed_bit_does_not(place: tuple[int, int], data: st.DataObject) -> None:
    size1, size2 = place[0] + 1, place[1]
    proof = consistency_proof(size1, size2, reader(size2))
    verify_consistency(size1, root(size1), size2, root(size2), proof)
    with pytest.raises(ProofError):
        verify_consistency(size1, bytes(32), size2, root(size2), proof)
    with pytest.raises(ProofError):
        verify_consistency(size1, root(size1), size2, bytes(32), proof)
    with pytest.raises(ProofError):
        verify_consistency(size1, root(size1), size2, root(size2), [*proof, bytes(32)])
    if proof:
        with pytest.raises(ProofError):
            verify_consistency(size1, root(size1), size2, root(size2), alter(data, proof))


def test_a_rewritten_past_is_not_consistent() -> None:
    frontier = Frontier()
    for leaf in (bytes(32), *leaves()[1:20]):
        frontier.append(leaf)
    with pytest.raises(ProofError):
        verify_consistency(8, root(8), 20, frontier.root(), consistency_proof(8, 20, reader(20)))


@pytest.mark.parametrize(("size1", "size2"), [(0, 0), (0, 5), (6, 5), (-1, 5)])
def test_no_consistency_is_proven_from_nothing_or_backwards(size1: int, size2: int) -> None:
    with pytest.raises(ProofError):
        consistency_proof(size1, size2, reader(LARGEST))
    with pytest.raises(ProofError):
        verify_consistency(size1, root(max(size1, 0)), size2, root(size2), [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (0, 2**63)])
def test_no_inclusion_is_proven_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        inclusion_proof(index, size, reader(LARGEST))
    with pytest.raises(ProofError):
        verify_inclusion(leaves()[0], index, size, [], root(1))


def test_an_endless_proof_is_refused_before_it_is_hashed() -> None:
    with pytest.raises(ProofError, match="too long"):
        verify_inclusion(leaves()[0], 0, 2**63 - 1, [bytes(32)] * (MAX_PROOF + 1), root(1))


def decoded(case: dict[str, Any], *names: str) -> list[bytes]:
    return [b64decode(case[name]) for name in names]


@pytest.mark.vectors
def test_public_vectors_are_accepted_and_refused_as_they_say() -> None:
    """A root of other than 32 bytes is refused here, whatever the vector wants: no tree has one."""
    folder = vectors("merkle")
    seen = {"accepted": 0, "refused": 0}
    for path in sorted(folder.rglob("*.json")):
        case = json.loads(path.read_bytes())
        proof = [b64decode(part) for part in case["proof"] or []]
        given_roots = decoded(case, *(["root"] if "leafIdx" in case else ["root1", "root2"]))
        verdict = "accepted"
        try:
            if "leafIdx" in case:
                leaf = b64decode(case["leafHash"])
                verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, *given_roots)
            else:
                verify_consistency(case["size1"], given_roots[0], case["size2"], given_roots[1], proof)
        except ProofError:
            verdict = "refused"
        refuse = case["wantErr"] or any(len(value) != 32 for value in given_roots)
        assert verdict == ("refused" if refuse else "accepted"), (path.relative_to(folder), case["desc"])
        seen[verdict] += 1
    assert seen == {"accepted": 11, "refused": 185}
