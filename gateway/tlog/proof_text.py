"""The proof of one entry as a text that verifies offline (C2SP tlog-proof): index, hashes, and a signed checkpoint.

Pure. What is read here is a claim until `verify_entry` has led it to a checkpoint whose signatures were verified:

    c2sp.org/tlog-proof@v1
    index 73894
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
    EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=

    safehand.hants.example/exchange-log/1
    109482
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    — safehand.hants.example/exchange-log/1 Az3grlgt..
    — safehand.la-850/witness/1 jWbPPwAA..

The `extra` line of the format is not used between gateways, and a proof that has one is refused: nobody would have signed
it. For a person it carries the entry, so that the file stands alone (`with_entry`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.tlog.checkpoint import (
    NOTE_LIMIT,
    Checkpoint,
    ClaimedNote,
    NoteKey,
    Verify,
    base64_bytes,
    base64_text,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from gateway.tlog.entry import ENTRY_LIMIT
from gateway.tlog.errors import NoteError
from gateway.tlog.merkle import HASH_LENGTH, MAX_SIZE
from gateway.tlog.proof import MAX_PROOF, verify_inclusion

HEADER: Final = "c2sp.org/tlog-proof@v1"
PROOF_LIMIT: Final = NOTE_LIMIT + 4096  # bytes: a note, and 64 hashes of 45 before it

_EXTRA: Final = b"extra "
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedProof:
    """A proof in its form, nothing verified."""

    index: int
    hashes: tuple[bytes, ...]
    note: ClaimedNote

    def to_bytes(self) -> bytes:
        lines = (HEADER, f"index {self.index}", *map(base64_text, self.hashes))
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.note.to_bytes()


def parse_proof(data: bytes) -> ClaimedProof:
    """Return the parts; for all bytes that parse, `to_bytes()` gives the same bytes back. Raises NoteError."""
    if len(data) > PROOF_LIMIT:
        raise NoteError(f"a proof larger than {PROOF_LIMIT} bytes")
    head, separator, note = data.partition(b"\n\n")
    if not separator or not head.isascii():
        raise NoteError("a proof without an empty line")
    header, *lines = head.decode("ascii").split("\n")
    index = _INDEX.fullmatch(lines[0]) if lines else None
    if header != HEADER or index is None or int(index[1]) > MAX_SIZE:
        raise NoteError("a proof without its header and index")
    hashes = tuple(map(base64_bytes, lines[1:]))
    if len(hashes) > MAX_PROOF or any(len(value) != HASH_LENGTH for value in hashes):
        raise NoteError("a proof of other than at most 64 hashes")
    return ClaimedProof(index=int(index[1]), hashes=hashes, note=parse_note(note))


def verify_entry(claimed: ClaimedProof, leaf: bytes, keys: Sequence[NoteKey], verify: Verify) -> Checkpoint:
    """Return the checkpoint in whose tree the entry with this leaf hash is, signed by one of the log's `keys`.

    Witnesses' cosignatures are ignored here: `cosignature.verify_cosignatures` on `claimed.note`. Raises NoteError,
    ProofError.
    """
    note = verify_note(claimed.note, keys, verify)
    checkpoint = parse_checkpoint(note.text)
    if any(key.name != checkpoint.origin for key in note.signed_by):
        raise NoteError("a checkpoint of another origin than its key's name")
    verify_inclusion(leaf, claimed.index, checkpoint.size, claimed.hashes, checkpoint.root)
    return checkpoint


# --- with the entry in it, for one who has neither receipt nor log


def with_entry(proof: ClaimedProof, entry: bytes) -> bytes:
    """Return the text of a proof that carries its entry as `extra`: nobody signs that line, but its leaf hash is proven."""
    header, _, rest = proof.to_bytes().partition(b"\n")
    return header + f"\nextra {base64_text(entry)}\n".encode() + rest


def parse_with_entry(data: bytes) -> tuple[ClaimedProof, bytes]:
    """Return proof and entry bytes of such a text, and of no other. Raises NoteError."""
    if len(data) > PROOF_LIMIT + 2 * ENTRY_LIMIT:
        raise NoteError("a proof larger than any with its entry")
    header, extra, rest = (*data.split(b"\n", 2), b"", b"")[:3]
    if not extra.startswith(_EXTRA) or not extra.isascii():
        raise NoteError("a proof without its entry")
    return parse_proof(header + b"\n" + rest), base64_bytes(extra.removeprefix(_EXTRA).decode("ascii"))
