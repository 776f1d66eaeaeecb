"""Proofs as text: one form, and what they do not prove."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from gateway.tlog.checkpoint import Checkpoint, NoteKey, NoteSignature, parse_note, sign_checkpoint
from gateway.tlog.errors import NoteError, ProofError, TlogError
from gateway.tlog.merkle import root_of
from gateway.tlog.proof import inclusion_proof
from gateway.tlog.proof_text import PROOF_LIMIT, ClaimedProof, parse_proof, verify_entry
from tests.unit.gateway.tlog.test_checkpoint import verify

ORIGIN = "safehand.hants.example/exchange-log/1"
SECRET = SigningKey(b"\x01" * 32)
KEY = NoteKey(ORIGIN, bytes(SECRET.verify_key))
LEAVES = [bytes([number]) * 32 for number in range(13)]


def proof(index: int, leaves: list[bytes] = LEAVES, origin: str = ORIGIN) -> ClaimedProof:
    hashes = inclusion_proof(
        index, len(leaves), lambda level, number: root_of(leaves[number << level : (number + 1) << level])
    )
    checkpoint = Checkpoint(origin=origin, size=len(leaves), root=root_of(leaves))
    key = NoteKey(origin, KEY.public)
    note = parse_note(sign_checkpoint(checkpoint, key, lambda message: SECRET.sign(message).signature))
    return ClaimedProof(index=index, hashes=hashes, note=note)


@given(st.integers(1, 70), st.data())
def test_every_entry_is_proven_by_the_text_of_its_proof(size: int, data: st.DataObject) -> None:
    leaves = [bytes([number]) * 32 for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    claimed = parse_proof(proof(index, leaves).to_bytes())
    assert claimed == proof(index, leaves)
    assert verify_entry(claimed, leaves[index], [KEY], verify).size == size


def test_cosignatures_beside_the_logs_signature_do_not_matter() -> None:
    claimed = proof(3)
    other = NoteSignature("w.example", b"abcd", bytes(72))
    both = replace(claimed.note, signatures=(*claimed.note.signatures, other))
    assert verify_entry(replace(claimed, note=both), LEAVES[3], [KEY], verify).size == 13


@pytest.mark.parametrize(
    ("claimed", "leaf"),
    [
        (proof(3), LEAVES[4]),
        (replace(proof(3), index=4), LEAVES[3]),
        (replace(proof(3), index=99), LEAVES[3]),
        (replace(proof(3), hashes=proof(3).hashes[:-1]), LEAVES[3]),
        (replace(proof(3), note=proof(3, LEAVES[:12]).note), LEAVES[3]),
    ],
)
def test_a_proof_of_something_else_proves_nothing(claimed: ClaimedProof, leaf: bytes) -> None:
    with pytest.raises(ProofError):
        verify_entry(claimed, leaf, [KEY], verify)


def test_a_checkpoint_that_the_log_did_not_sign_proves_nothing() -> None:
    with pytest.raises(NoteError):
        verify_entry(proof(3), LEAVES[3], [NoteKey(ORIGIN, bytes(SigningKey(b"\x02" * 32).verify_key))], verify)


def test_another_logs_checkpoint_under_the_same_key_proves_nothing() -> None:
    with pytest.raises(TlogError):
        verify_entry(proof(3, origin="another.example/1"), LEAVES[3], [KEY], verify)


GOOD = proof(3).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD.replace(b"@v1", b"@v2"),
        GOOD.replace(b"index 3", b"index 03"),
        GOOD.replace(b"index 3\n", b""),
        GOOD.replace(b"index 3\n", b"extra AAAA\nindex 3\n"),
        GOOD.replace(b"index 3\n", b"index 3\nAAAA\n"),
        GOOD.replace(b"\n", b"\r\n", 1),
        GOOD[:-1],
        GOOD + b"x" * PROOF_LIMIT,
    ],
)
def test_a_proof_with_a_fault_of_form_is_refused(data: bytes) -> None:
    with pytest.raises(NoteError):
        parse_proof(data)
