"""Cosignatures: their one form, whose they are, and what they cannot be taken for."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from gateway.tlog.checkpoint import Checkpoint, NoteKey, NoteSignature, parse_note, sign_checkpoint, verify_checkpoint
from gateway.tlog.cosignature import LARGEST_TIME, CosignerKey, cosign, verify_cosignatures, with_lines
from gateway.tlog.errors import NoteError
from tests.unit.gateway.tlog.test_checkpoint import verify

ORIGIN = "safehand.hants.example/exchange-log/1"
LOG = SigningKey(b"\x01" * 32)
LOG_KEY = NoteKey(ORIGIN, bytes(LOG.verify_key))
CHECKPOINT = Checkpoint(origin=ORIGIN, size=17, root=b"\x07" * 32)
NOTE = sign_checkpoint(CHECKPOINT, LOG_KEY, lambda message: LOG.sign(message).signature)
AT = 1_679_315_147


def secret(number: int) -> SigningKey:
    return SigningKey(bytes([number]) * 32)


def key(number: int, name: str = "witness.example/w1") -> CosignerKey:
    return CosignerKey(name, bytes(secret(number).verify_key))


def line(number: int, at: int = AT, name: str = "witness.example/w1") -> str:
    return cosign(
        CHECKPOINT.text(), key(number, name), lambda message: secret(number).sign(message).signature, at
    ).line()


def noted(*lines: str) -> bytes:
    return NOTE + "".join(lines).encode()


def test_a_cosignature_is_what_the_specification_says() -> None:
    message = b"cosignature/v1\ntime 1679315147\n" + CHECKPOINT.text().encode()
    signature = secret(2).sign(message).signature
    encoded = b64encode(key(2).id + AT.to_bytes(8, "big") + signature).decode()
    assert line(2) == f"\u2014 witness.example/w1 {encoded}\n"


def test_it_is_found_under_the_note_with_its_time() -> None:
    (found,) = verify_cosignatures(parse_note(noted(line(2))), [key(2)], verify)
    assert (found.key, found.timestamp, found.line) == (key(2), AT, line(2))


def test_the_logs_own_signature_still_verifies_beside_it() -> None:
    assert verify_checkpoint(noted(line(2), line(3)), LOG_KEY, verify) == CHECKPOINT


def test_a_stranger_is_ignored_however_bad_the_signature() -> None:
    bad = NoteSignature("witness.example/w1", b"abcd", bytes(72)).line()
    assert verify_cosignatures(parse_note(noted(bad, line(3))), [key(2)], verify) == ()


@pytest.mark.parametrize("bad", [bytes(72), bytes(64), bytes(73), b"\xff" * 72])
def test_a_bad_signature_of_a_known_witness_rejects_the_note_whatever_else_is_good(bad: bytes) -> None:
    forged = NoteSignature("witness.example/w1", key(2).id, bad).line()
    with pytest.raises(NoteError):
        verify_cosignatures(parse_note(noted(line(3), forged)), [key(2), key(3)], verify)


def test_another_time_than_was_signed_is_a_bad_signature() -> None:
    signature = parse_note(noted(line(2))).signatures[1]
    moved = (AT + 1).to_bytes(8, "big") + signature.signature[8:]
    forged = NoteSignature(signature.name, signature.key_id, moved).line()
    with pytest.raises(NoteError):
        verify_cosignatures(parse_note(noted(forged)), [key(2)], verify)


def test_a_witness_key_signs_no_checkpoint_and_a_log_key_cosigns_none() -> None:
    as_log = NoteKey("witness.example/w1", key(2).public)
    assert as_log.id != key(2).id
    with pytest.raises(NoteError):
        NoteKey.from_vkey(key(2).vkey())
    with pytest.raises(NoteError):
        CosignerKey.from_vkey(as_log.vkey())
    plain = NoteSignature("witness.example/w1", key(2).id, secret(2).sign(CHECKPOINT.text().encode()).signature).line()
    with pytest.raises(NoteError):
        verify_cosignatures(parse_note(noted(plain)), [key(2)], verify)


def test_seventeen_witnesses_are_all_found() -> None:
    keys = [key(number, f"witness-{number}.example") for number in range(2, 19)]
    lines = [line(number, name=f"witness-{number}.example") for number in range(2, 19)]
    assert [found.key for found in verify_cosignatures(parse_note(noted(*lines)), keys, verify)] == keys


def test_two_known_keys_of_one_name_and_id_are_refused() -> None:
    class SameId(CosignerKey):
        @property
        def id(self) -> bytes:
            return b"same"

    one, other = SameId("w.example", key(2).public), SameId("w.example", key(3).public)
    with pytest.raises(NoteError):
        verify_cosignatures(parse_note(NOTE), [one, other], verify)


@pytest.mark.parametrize("at", [-1, LARGEST_TIME + 1])
def test_a_time_beyond_the_format_is_never_signed(at: int) -> None:
    with pytest.raises(NoteError):
        line(2, at)


def test_answered_lines_are_joined_to_the_text_they_are_for() -> None:
    note = with_lines(CHECKPOINT.text(), line(2).encode())
    assert [found.key for found in verify_cosignatures(note, [key(2)], verify)] == [key(2)]


@pytest.mark.parametrize("lines", [b"", b"no signature\n", f"\n{line(2)}".encode(), f"{line(2)}\n{line(3)}".encode()])
def test_an_answer_that_is_not_only_signature_lines_is_refused(lines: bytes) -> None:
    with pytest.raises(NoteError):
        with_lines(CHECKPOINT.text(), lines)


@given(st.binary(min_size=32, max_size=32), st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1))
def test_a_verifier_key_reads_as_it_was_written(public: bytes, name: str) -> None:
    if "+" in name or any(map(str.isspace, name)):
        name = "w"
    assert CosignerKey.from_vkey(CosignerKey(name, public).vkey()) == CosignerKey(name, public)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "w",
        "w+00000000",
        key(2).vkey().replace("+", "+0", 1),
        key(2).vkey() + "=",
        "x" + key(2).vkey(),
        key(2, "w").vkey().replace(key(2, "w").id.hex(), key(2, "w").id.hex().upper() + ""),
    ],
)
def test_a_verifier_key_with_a_fault_is_refused(text: str) -> None:
    if text == key(2, "w").vkey():
        text = text.replace("w+", "v+", 1)  # an id without letters reads alike in upper case
    with pytest.raises(NoteError):
        CosignerKey.from_vkey(text)
