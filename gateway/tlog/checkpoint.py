"""Signed notes and checkpoints in the text formats of C2SP, unchanged (signed-note, tlog-checkpoint).

Pure: signing and verifying Ed25519 are functions that the caller gives, so that keys stay where they are. A note:

    safehand.hants.example/exchange-log/1
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — safehand.hants.example/exchange-log/1 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=

Text, an empty line (the LAST one: a text may hold empty lines itself), signatures. Not here: cosignatures of witnesses.
"""

from __future__ import annotations

import hashlib
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.tlog.errors import NoteError
from gateway.tlog.merkle import HASH_LENGTH, MAX_SIZE

NOTE_LIMIT: Final = 256 * 1024  # bytes: over a thousand Ed25519 signatures; witnesses are tens
ED25519: Final = 1  # the signature type in key ids and verifier keys (C2SP signed-note)

Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether (public key, signature, message) is a good Ed25519 signature; envelope section 5 says how strict it MUST be."""

_CONTROLS: Final = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")  # and what has no UTF-8
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_SIGNATURE_PREFIX: Final = "\u2014 "


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key under which notes are signed: key name (for a log, its origin) and 32 bytes of Ed25519."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public) != 32:
            raise NoteError("an Ed25519 key is 32 bytes")

    @property
    def id(self) -> bytes:
        """The first 4 bytes of SHA-256(name || 0A || 01 || public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([ED25519]) + self.public).digest()[:4]

    def vkey(self) -> str:
        """Return the verifier key as people exchange it: name+id+base64(01 || public key)."""
        return f"{self.name}+{self.id.hex()}+{base64_text(bytes([ED25519]) + self.public)}"

    @classmethod
    def from_vkey(cls, text: str) -> NoteKey:
        """Return the key of a verifier key text; for all that it accepts, `vkey()` gives the same text back."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        data = base64_bytes(encoded)
        if data[:1] != bytes([ED25519]):
            raise NoteError("a verifier key that is not Ed25519")
        key = cls(name, data[1:])
        if key.id.hex() != key_id:
            raise NoteError("a verifier key with another key's id")
        return key


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who claims to have signed, under which key id, and the signature bytes."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        return f"{_SIGNATURE_PREFIX}{self.name} {base64_text(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedNote:
    """A note whose form is right and whose signatures nobody has checked. `text` ends in a line feed."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        return f"{self.text}\n{''.join(signature.line() for signature in self.signatures)}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text and those of the known keys that signed it (one at least). Comes from `verify_note` only."""

    text: str
    signed_by: tuple[NoteKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log says it is: origin, number of entries, root hash. Extension lines are kept, never interpreted."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the text that is signed. Raises NoteError for members that have no text form."""
        text = "".join(f"{line}\n" for line in (self.origin, str(self.size), base64_text(self.root), *self.extensions))
        if parse_checkpoint(text) != self:
            raise NoteError("a checkpoint without text form")
        return text


def parse_note(data: bytes) -> ClaimedNote:
    """Return the parts of a note; for all bytes that parse, `to_bytes()` gives the same bytes back. Raises NoteError."""
    if len(data) > NOTE_LIMIT:
        raise NoteError(f"a note larger than {NOTE_LIMIT} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise NoteError("a note that is not UTF-8") from None
    if _CONTROLS.search(whole):
        raise NoteError("a note with a control character")
    end = whole.rfind("\n\n")
    if end < 0:
        raise NoteError("a note without an empty line")
    text, block = whole[: end + 1], whole[end + 2 :]
    if not block.endswith("\n"):
        raise NoteError("a note without signature, or cut off in one")
    return ClaimedNote(text=text, signatures=tuple(_parse_signature(line) for line in block[:-1].split("\n")))


def sign_note(text: str, key: NoteKey, sign: Sign) -> ClaimedNote:
    """Return the note of `text` with one signature by `key`, made by `sign` over the text's bytes."""
    if not text.endswith("\n") or _CONTROLS.search(text):
        raise NoteError("a text that is no note's")
    return ClaimedNote(text=text, signatures=(NoteSignature(key.name, key.id, sign(text.encode())),))


def verify_note(claimed: ClaimedNote, keys: Iterable[NoteKey], verify: Verify) -> Note:
    """Return the note, signed by at least one of `keys`.

    A signature by an unknown key is ignored. One by a known key that is bad rejects the whole note, other good ones or
    not. Raises NoteError; for two known keys of one name and id too, since nobody could tell who signed.
    """
    known = _by_id(keys)
    message = claimed.text.encode()
    signed_by: dict[NoteKey, None] = {}
    for signature in claimed.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        if len(signature.signature) != 64 or not verify(key.public, signature.signature, message):
            raise NoteError("a known key's signature is bad")
        signed_by[key] = None
    if not signed_by:
        raise NoteError("no known key signed")
    return Note(text=claimed.text, signed_by=tuple(signed_by))


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint in a note's text; for all texts that parse, `text()` gives the same text back."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() != "":
        raise NoteError("a checkpoint of fewer than three lines")
    origin, size, root, *extensions = lines
    check_key_name(origin)
    if _SIZE.fullmatch(size) is None or int(size) > MAX_SIZE:
        raise NoteError("a checkpoint whose size is no canonical number")
    root_hash = base64_bytes(root)
    if len(root_hash) != HASH_LENGTH:
        raise NoteError(f"a checkpoint whose root is not {HASH_LENGTH} bytes")
    if "" in extensions or _CONTROLS.search(text):
        raise NoteError("a checkpoint with an empty line or a control character")
    return Checkpoint(origin=origin, size=int(size), root=root_hash, extensions=tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, key: NoteKey, sign: Sign) -> bytes:
    """Return the bytes of a log's signed checkpoint; the key's name MUST be the origin."""
    if key.name != checkpoint.origin:
        raise NoteError("a log's key is named by its origin")
    return sign_note(checkpoint.text(), key, sign).to_bytes()


def verify_checkpoint(data: bytes, key: NoteKey, verify: Verify) -> Checkpoint:
    """Return the checkpoint that the log with this `key` signed; other signatures are ignored. Raises NoteError."""
    note = verify_note(parse_note(data), [key], verify)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != key.name:
        raise NoteError("a checkpoint of another origin than its key's name")
    return checkpoint


def _parse_signature(line: str) -> NoteSignature:
    name, separator, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
    if not line.startswith(_SIGNATURE_PREFIX) or not separator:
        raise NoteError("a line that is no signature")
    check_key_name(name)
    data = base64_bytes(encoded)
    if len(data) < 5:
        raise NoteError("a signature without bytes")
    return NoteSignature(name, data[:4], data[4:])


def _by_id(keys: Iterable[NoteKey]) -> Mapping[tuple[str, bytes], NoteKey]:
    known: dict[tuple[str, bytes], NoteKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.id), key) != key:
            raise NoteError("two known keys of one name and id")
    return known


def check_key_name(name: str) -> None:
    """Refuse what is no key name (C2SP signed-note). Raises NoteError."""
    if not name or "+" in name or any(map(str.isspace, name)) or _CONTROLS.search(name):
        raise NoteError("a key name is empty or has a space, a plus or a control character")


def base64_text(data: bytes) -> str:
    """Return standard base64 with padding, the form of bytes in every text format of C2SP."""
    return b2a_base64(data, newline=False).decode()


def base64_bytes(text: str) -> bytes:
    """Return the bytes of standard, padded, canonical base64: one text for one value."""
    try:
        data = a2b_base64(text, strict_mode=True)
    except ValueError:
        raise NoteError("not base64") from None
    if base64_text(data) != text:
        raise NoteError("not canonical base64")
    return data
