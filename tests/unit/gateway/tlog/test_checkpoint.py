"""Signed notes and checkpoints: text formats, keys, signatures."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from gateway.tlog.checkpoint import (
    NOTE_LIMIT,
    Checkpoint,
    ClaimedNote,
    NoteKey,
    NoteSignature,
    parse_checkpoint,
    parse_note,
    sign_checkpoint,
    sign_note,
    verify_checkpoint,
    verify_note,
)
from gateway.tlog.errors import NoteError
from tests.support.vectors import vectors

ORIGIN = "safehand.hants.example/exchange-log/1"
SECRET = SigningKey(b"\x01" * 32)
KEY = NoteKey(ORIGIN, bytes(SECRET.verify_key))
CHECKPOINT = Checkpoint(origin=ORIGIN, size=17, root=b"\x07" * 32)

names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="+\x85"), min_size=1, max_size=12
)
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[chr(c) for c in range(32) if c != 10])
).map(lambda text: f"{text}\n")


def sign(message: bytes) -> bytes:
    return SECRET.sign(message).signature


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        VerifyKey(public).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def with_line(data: bytes, line: str) -> bytes:
    return data + line.encode()


@pytest.fixture
def go_note() -> dict[str, str]:
    path: Path = vectors("signed-note-go.json")
    case: dict[str, str] = json.loads(path.read_bytes())
    return case


@pytest.mark.vectors
def test_the_note_of_the_go_documentation_verifies_and_is_signed_to_the_same_bytes(go_note: dict[str, str]) -> None:
    key = NoteKey.from_vkey(go_note["vkey"])
    assert key.vkey() == go_note["vkey"]
    claimed = parse_note(go_note["note"].encode())
    assert claimed.text == go_note["text"]
    assert verify_note(claimed, [key], verify).signed_by == (key,)
    assert claimed.to_bytes() == go_note["note"].encode()


def test_a_signed_checkpoint_reads_as_the_format_says() -> None:
    data = sign_checkpoint(CHECKPOINT, KEY, sign)
    text = f"{ORIGIN}\n17\n{b64encode(bytes([7] * 32)).decode()}\n"
    signature = b64encode(KEY.id + sign(text.encode())).decode()
    assert data.decode() == f"{text}\n\u2014 {ORIGIN} {signature}\n"
    assert verify_checkpoint(data, KEY, verify) == CHECKPOINT


def test_any_changed_byte_of_a_signed_checkpoint_is_refused() -> None:
    data = sign_checkpoint(CHECKPOINT, KEY, sign)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(NoteError):
            verify_checkpoint(bytes(changed), KEY, verify)


@given(
    texts, st.lists(st.tuples(names, st.binary(min_size=4, max_size=4), st.binary(min_size=1)), min_size=1, max_size=20)
)
def test_notes_round_trip_with_any_text_and_many_signatures(text: str, lines: list[tuple[str, bytes, bytes]]) -> None:
    claimed = ClaimedNote(text=text, signatures=tuple(NoteSignature(*line) for line in lines))
    assert parse_note(claimed.to_bytes()) == claimed


@given(st.binary(max_size=60), st.integers(0, 60))
def test_whatever_parses_as_a_note_writes_back_to_the_same_bytes(junk: bytes, position: int) -> None:
    data = sign_checkpoint(CHECKPOINT, KEY, sign)
    data = data[: len(data) - position] + junk
    try:
        claimed = parse_note(data)
    except NoteError:
        return
    assert claimed.to_bytes() == data


@given(names, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.lists(names, max_size=3))
def test_checkpoints_round_trip(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint(origin=origin, size=size, root=root, extensions=tuple(extensions))
    assert parse_checkpoint(checkpoint.text()) == checkpoint


@given(names, st.binary(min_size=32, max_size=32))
def test_verifier_keys_round_trip(name: str, public: bytes) -> None:
    key = NoteKey(name, public)
    assert NoteKey.from_vkey(key.vkey()) == key


def test_the_text_ends_at_the_last_empty_line() -> None:
    text = "one\n\ntwo\n\n\nthree\n"
    assert parse_note(sign_note(text, KEY, sign).to_bytes()).text == text


def test_a_signature_by_an_unknown_key_is_ignored() -> None:
    data = sign_checkpoint(CHECKPOINT, KEY, sign)
    for number in range(40):
        data = with_line(data, NoteSignature(f"witness-{number}.example", b"\x00\x00\x00\x01", bytes(76)).line())
    assert verify_checkpoint(data, KEY, verify) == CHECKPOINT


def test_a_signature_under_the_right_name_and_another_key_id_is_ignored() -> None:
    data = with_line(sign_checkpoint(CHECKPOINT, KEY, sign), NoteSignature(ORIGIN, bytes(4), bytes(64)).line())
    assert verify_checkpoint(data, KEY, verify) == CHECKPOINT


@pytest.mark.parametrize("signature", [bytes(64), bytes(1), sign(b"something else\n")])
def test_a_bad_signature_by_a_known_key_rejects_the_note_beside_good_ones(signature: bytes) -> None:
    data = with_line(sign_checkpoint(CHECKPOINT, KEY, sign), NoteSignature(ORIGIN, KEY.id, signature).line())
    with pytest.raises(NoteError, match="bad"):
        verify_checkpoint(data, KEY, verify)
    other = SigningKey(b"\x02" * 32)
    witness = NoteKey("witness.example", bytes(other.verify_key))
    data = with_line(sign_checkpoint(CHECKPOINT, KEY, sign), NoteSignature(witness.name, witness.id, signature).line())
    with pytest.raises(NoteError, match="bad"):
        verify_note(parse_note(data), [KEY, witness], verify)


def test_a_note_that_nobody_known_signed_is_refused() -> None:
    other = NoteKey(ORIGIN, bytes(SigningKey(b"\x02" * 32).verify_key))
    with pytest.raises(NoteError, match="no known key"):
        verify_checkpoint(sign_checkpoint(CHECKPOINT, KEY, sign), other, verify)


def test_a_checkpoint_of_another_origin_under_the_same_key_is_refused() -> None:
    foreign = Checkpoint(origin="safehand.rbkc.example/exchange-log/1", size=17, root=b"\x07" * 32)
    with pytest.raises(NoteError, match="origin"):
        sign_checkpoint(foreign, KEY, sign)
    with pytest.raises(NoteError, match="origin"):
        verify_checkpoint(sign_note(foreign.text(), KEY, sign).to_bytes(), KEY, verify)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n1\n",
        f"log\n01\n{b64encode(bytes(32)).decode()}\n",
        f"log\n-1\n{b64encode(bytes(32)).decode()}\n",
        f"log\n+1\n{b64encode(bytes(32)).decode()}\n",
        f"log\n\u0661\n{b64encode(bytes(32)).decode()}\n",
        f"log\n{2**63}\n{b64encode(bytes(32)).decode()}\n",
        f"log\n1\n{b64encode(bytes(31)).decode()}\n",
        f"log\n1\n{b64encode(bytes(32)).decode()[:-1]}\n",
        f"log\n1\n{'A' * 42}B=\n",
        f"log\n1\n{b64encode(bytes(32)).decode()}",
        f"log\n1\n{b64encode(bytes(32)).decode()}\n\n",
        f"log\n1\n{b64encode(bytes(32)).decode()}\nextension\n\n",
        f"\n1\n{b64encode(bytes(32)).decode()}\n",
        f"two words\n1\n{b64encode(bytes(32)).decode()}\n",
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        "text\n\n\u2014 name AAAAAAE=".encode(),
        "text\n\n\u2014 name AAAAAAE=\n\n".encode(),
        "text\n\u2014 name AAAAAAE=\n".encode(),
        b"text\n\n- name AAAAAAE=\n",
        "text\n\n\u2014  AAAAAAE=\n".encode(),
        "text\n\n\u2014 na+me AAAAAAE=\n".encode(),
        "text\n\n\u2014 na\u00a0me AAAAAAE=\n".encode(),
        "text\n\n\u2014 name  AAAAAAE=\n".encode(),
        "text\n\n\u2014 name AAAAAAE= \n".encode(),
        "text\n\n\u2014 name AAAAAA==\n".encode(),
        "text\n\n\u2014 name AAAAAAF=\n".encode(),
        "text\n\n\u2014 name AAAAAAE\n".encode(),
        "text\n\n\u2014 name AAAA\r\nAAE=\n".encode(),
        "te\txt\n\n\u2014 name AAAAAAE=\n".encode(),
        b"te\xffxt\n\n\xe2\x80\x94 name AAAAAAE=\n",
        b"t" * NOTE_LIMIT + "\n\n\u2014 name AAAAAAE=\n".encode(),
    ],
)
def test_bytes_that_are_no_note_are_refused(data: bytes) -> None:
    with pytest.raises(NoteError):
        parse_note(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        KEY.vkey() + "=",
        KEY.vkey().replace(KEY.id.hex(), KEY.id.hex().upper()) if KEY.id.hex() != KEY.id.hex().upper() else "",
        KEY.vkey().replace(KEY.id.hex(), "00000000"),
        f"{ORIGIN}+{KEY.id.hex()}+{b64encode(bytes([4]) + KEY.public).decode()}",
        f"{ORIGIN}+{KEY.id.hex()}+{b64encode(bytes([1]) + KEY.public[:-1]).decode()}",
        KEY.vkey().removeprefix(ORIGIN),
    ],
)
def test_a_text_that_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        NoteKey.from_vkey(text)


def test_a_text_that_no_note_can_hold_is_not_signed() -> None:
    for text in ("no line feed", "a\tb\n", "", "\ud800\n"):
        with pytest.raises(NoteError):
            sign_note(text, KEY, sign)


def test_two_known_keys_of_one_name_and_id_are_refused() -> None:
    class Colliding(NoteKey):
        @property
        def id(self) -> bytes:
            return KEY.id

    claimed = parse_note(sign_checkpoint(CHECKPOINT, KEY, sign))
    with pytest.raises(NoteError, match="two known keys"):
        verify_note(claimed, [KEY, Colliding(ORIGIN, bytes(32))], verify)


def test_members_without_text_form_are_not_written() -> None:
    for wrong in (
        Checkpoint(origin="two words", size=1, root=bytes(32)),
        Checkpoint(origin=ORIGIN, size=-1, root=bytes(32)),
        Checkpoint(origin=ORIGIN, size=1, root=bytes(31)),
        Checkpoint(origin=ORIGIN, size=1, root=bytes(32), extensions=("",)),
        Checkpoint(origin=ORIGIN, size=1, root=bytes(32), extensions=("a\nb",)),
    ):
        with pytest.raises(NoteError):
            wrong.text()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_signed_checkpoint_verifies_to_what_was_signed(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin=ORIGIN, size=size, root=root)
    assert verify_checkpoint(sign_checkpoint(checkpoint, KEY, sign), KEY, verify) == checkpoint
