"""Cosignatures: a witness's word that a checkpoint is the largest it saw of a log, and consistent with all it saw before.

Pure. C2SP tlog-cosignature unchanged, of its two kinds Ed25519 (cosignature/v1): a signature line of a note whose 72 bytes
are a time (u64, seconds since 1970) and an Ed25519 signature over

    cosignature/v1
    time 1679315147
    safehand.hants.example/exchange-log/1
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

The rules of notes hold: who is not known is ignored, and a known key with a bad signature rejects the whole note. The key
id is made with another type byte than a log's, so that no key of one kind is ever taken for one of the other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.tlog.checkpoint import (
    ClaimedNote,
    NoteSignature,
    Sign,
    Verify,
    base64_bytes,
    base64_text,
    check_key_name,
    parse_note,
)
from gateway.tlog.errors import NoteError

COSIGNATURE: Final = 4  # the signature type in key ids and verifier keys (C2SP tlog-cosignature, Ed25519)
LARGEST_TIME: Final = 2**63 - 1

_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
_KEY_BYTES: Final = 32
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """A witness's public key: its name and 32 bytes of Ed25519."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public) != _KEY_BYTES:
            raise NoteError("an Ed25519 key is 32 bytes")

    @property
    def id(self) -> bytes:
        """The first 4 bytes of SHA-256(name || 0A || 04 || public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([COSIGNATURE]) + self.public).digest()[:4]

    def vkey(self) -> str:
        """Return the verifier key as people exchange it: name+id+base64(04 || public key)."""
        return f"{self.name}+{self.id.hex()}+{base64_text(bytes([COSIGNATURE]) + self.public)}"

    @classmethod
    def from_vkey(cls, text: str) -> CosignerKey:
        """Return the key of a verifier key text; for all that it accepts, `vkey()` gives the same text back."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        data = base64_bytes(encoded)
        if data[:1] != bytes([COSIGNATURE]):
            raise NoteError("a verifier key that is no Ed25519 witness's")
        key = cls(name, data[1:])
        if not _KEY_ID.fullmatch(key_id) or key.id.hex() != key_id:
            raise NoteError("a verifier key with another key's id")
        return key


@dataclass(frozen=True, slots=True)
class Cosignature:
    """One verified cosignature: whose, from when (seconds since 1970), and its line. Comes from `verify_cosignatures` only."""

    key: CosignerKey
    timestamp: int
    line: str


def cosign(text: str, key: CosignerKey, sign: Sign, timestamp: int) -> NoteSignature:
    """Return the signature line of a witness under a checkpoint's text. What it vouches for is its caller's to have checked."""
    if not 0 <= timestamp <= LARGEST_TIME:
        raise NoteError("a time that no cosignature can have")
    signature = sign(_message(text, timestamp))
    return NoteSignature(key.name, key.id, timestamp.to_bytes(_TIME_BYTES, "big") + signature)


def verify_cosignatures(claimed: ClaimedNote, keys: Iterable[CosignerKey], verify: Verify) -> tuple[Cosignature, ...]:
    """Return the cosignatures by `keys` under a note, in its order, one key's several too; none is an answer as well.

    A signature by an unknown key is ignored. Raises NoteError for a known key whose signature is bad, other good ones or
    not, and for two known keys of one name and id, since nobody could tell who signed. That a time lies in the future is
    the caller's to judge.
    """
    known = _by_id(keys)
    found = []
    for signature in claimed.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        data = signature.signature
        if len(data) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise NoteError("a known witness's signature is bad")
        timestamp = int.from_bytes(data[:_TIME_BYTES], "big")
        if timestamp > LARGEST_TIME or not verify(key.public, data[_TIME_BYTES:], _message(claimed.text, timestamp)):
            raise NoteError("a known witness's signature is bad")
        found.append(Cosignature(key, timestamp, signature.line()))
    return tuple(found)


def with_lines(text: str, lines: bytes) -> ClaimedNote:
    """Return the note of a checkpoint's `text` under the signature lines that somebody answered. Raises NoteError."""
    note = parse_note(f"{text}\n".encode() + lines)
    if note.text != text:  # an empty line among them would make signatures into text
        raise NoteError("lines that are no signatures")
    return note


def _message(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def _by_id(keys: Iterable[CosignerKey]) -> Mapping[tuple[str, bytes], CosignerKey]:
    known: dict[tuple[str, bytes], CosignerKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.id), key) != key:
            raise NoteError("two known keys of one name and id")
    return known
