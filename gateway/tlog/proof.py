"""Proofs that an entry is in a tree, and that one tree is the beginning of another.

Pure. Made from a reader of complete subtrees (RFC 6962 sections 2.1.1 and 2.1.2), which MUST answer with the hash of
`(level, index)`, leaf hashes being level 0; checked by the iterative verifiers of RFC 9162 sections 2.1.3.2 and 2.1.4.2.
Every hash is 32 bytes, whatever side it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.tlog.errors import ProofError
from gateway.tlog.merkle import HASH_LENGTH, MAX_SIZE, fold, node_hash

NodeReader = Callable[[int, int], bytes]

MAX_PROOF: Final = 64  # hashes: more than any tree of MAX_SIZE needs


def inclusion_proof(index: int, size: int, node: NodeReader) -> tuple[bytes, ...]:
    """Return the audit path of the leaf `index` in the tree of `size` leaves, from the leaf upwards."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError("no such leaf in a tree of this size")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:  # downwards, so the path comes out from the root
        middle = start + _split(end - start)
        if index < middle:
            path.append(subtree(middle, end, node))
            end = middle
        else:
            path.append(subtree(start, middle, node))
            start = middle
    return tuple(reversed(path))


def consistency_proof(size1: int, size2: int, node: NodeReader) -> tuple[bytes, ...]:
    """Return the proof that the tree of `size1` leaves is the beginning of that of `size2`.

    Raises ProofError for size1 = 0: every tree begins with the empty one, and that proves nothing.
    """
    if not 1 <= size1 <= size2 <= MAX_SIZE:
        raise ProofError("sizes that no consistency proof joins")
    path: list[bytes] = []
    start, end = 0, size2
    whole = True  # the old tree so far fills [start, size1) from the very left: its root is known to the verifier
    while size1 != end:
        middle = start + _split(end - start)
        if size1 <= middle:
            path.append(subtree(middle, end, node))
            end = middle
        else:
            path.append(subtree(start, middle, node))
            start = middle
            whole = False
    if not whole:
        path.append(subtree(start, end, node))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Accept iff `proof` leads from the leaf hash at `index` to the `root` of `size` leaves (RFC 9162 2.1.3.2).

    Raises ProofError.
    """
    _check_hashes(leaf, root, *proof[: MAX_PROOF + 1])
    if not 0 <= index < size <= MAX_SIZE:  # 1
        raise ProofError("no such leaf in a tree of this size")
    fn, sn, r = index, size - 1, leaf  # 2, 3
    for p in proof:  # 4
        if sn == 0:
            raise ProofError("the proof is too long")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            r = node_hash(r, p)
        fn >>= 1
        sn >>= 1
    if sn != 0 or r != root:  # 5
        raise ProofError("the proof does not lead to the root")


def verify_consistency(size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]) -> None:
    """Accept iff `proof` shows that `root1` of `size1` leaves is a beginning of `root2` of `size2` (RFC 9162 2.1.4.2).

    Raises ProofError, for size1 = 0 too: first trust is another path.
    """
    _check_hashes(root1, root2, *proof[: MAX_PROOF + 1])
    if not 1 <= size1 <= size2 <= MAX_SIZE:
        raise ProofError("sizes that no consistency proof joins")
    if size1 == size2:
        if proof or root1 != root2:
            raise ProofError("trees of one size are equal, without proof, or not consistent")
        return
    if not proof:  # 1
        raise ProofError("the proof is empty")
    path = list(proof) if size1 & (size1 - 1) else [root1, *proof]  # 2: a power of two is its own first hash
    fn, sn = size1 - 1, size2 - 1  # 3
    while fn & 1:  # 4
        fn >>= 1
        sn >>= 1
    fr = sr = path[0]  # 5
    for c in path[1:]:  # 6
        if sn == 0:
            raise ProofError("the proof is too long")
        if fn & 1 or fn == sn:
            fr = node_hash(c, fr)
            sr = node_hash(c, sr)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            sr = node_hash(sr, c)
        fn >>= 1
        sn >>= 1
    if fr != root1 or sr != root2 or sn != 0:  # 7
        raise ProofError("the proof does not lead to both roots")


def subtree(start: int, end: int, node: NodeReader) -> bytes:
    """Return the hash over the leaves [start, end) of a proof: `start` is a multiple of the largest power of two within."""
    peaks: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        peaks.append(node(level, start >> level))
        start += 1 << level
    return fold(peaks)


def _split(width: int) -> int:
    """Return the largest power of two smaller than `width` (RFC 6962 section 2.1: k)."""
    return 1 << ((width - 1).bit_length() - 1)


def _check_hashes(*hashes: bytes) -> None:
    if any(len(value) != HASH_LENGTH for value in hashes):
        raise ProofError(f"a hash is not {HASH_LENGTH} bytes")
    if len(hashes) > MAX_PROOF + 2:
        raise ProofError("the proof is too long")
