"""What a witness is asked, and what it decides (C2SP tlog-witness, add-checkpoint).

Pure. The request, and the table of answers; remembering a checkpoint before answering, and doing so in one step with the
comparison, is the caller's. A request:

    old 20852014
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
    5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=

    safehand.hants.example/exchange-log/1
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — safehand.hants.example/exchange-log/1 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=

The same rules serve a gateway and a device of the data protection officer: neither knows the other's store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
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
from gateway.tlog.errors import NoteError, ProofError
from gateway.tlog.merkle import HASH_LENGTH, MAX_SIZE, Frontier
from gateway.tlog.proof import verify_consistency

MOST_HASHES: Final = 63  # lines of a consistency proof
REQUEST_LIMIT: Final = NOTE_LIMIT + 4096  # bytes: a note, and 63 hashes of 45 before it
SIZE_TYPE: Final = "text/x.tlog.size"  # the media type of a 409 that says what the witness has seen
EMPTY_ROOT: Final = Frontier().root()

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")
_ANSWERED_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class Refusal(StrEnum):
    """Why a witness does not cosign."""

    UNKNOWN_LOG = "unknown-log"
    BAD_SIGNATURE = "bad-signature"
    BAD_SIZES = "bad-sizes"  # an old size above the new one
    STALE = "stale"  # the old size is not what the witness remembers: it says what it does
    SPLIT_VIEW = "split-view"
    NO_EXTENSION = "no-extension"


STATUS: Final[Mapping[Refusal, int]] = {
    Refusal.UNKNOWN_LOG: 404,
    Refusal.BAD_SIGNATURE: 403,
    Refusal.BAD_SIZES: 400,
    Refusal.STALE: 409,
    Refusal.SPLIT_VIEW: 409,
    Refusal.NO_EXTENSION: 422,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """The members of a request, its form right and nothing in it verified."""

    old: int
    proof: tuple[bytes, ...]
    note: ClaimedNote

    def to_bytes(self) -> bytes:
        lines = "".join(f"{line}\n" for line in (f"old {self.old}", *map(base64_text, self.proof)))
        return lines.encode() + b"\n" + self.note.to_bytes()


@dataclass(frozen=True, slots=True)
class Seen:
    """The latest checkpoint that a witness cosigned of a log; `NOTHING` where it never did."""

    size: int
    root: bytes


NOTHING: Final = Seen(0, EMPTY_ROOT)


@dataclass(frozen=True, slots=True)
class Grown:
    """A checkpoint that the log signed and that continues what was seen: it may be cosigned once it is remembered."""

    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is not cosigned. `checkpoint` is what the log signed (None where it did not); `seen` what is remembered.

    With SPLIT_VIEW both are signed by the log and have one size and two roots: proof, to whoever has the log's key, that it
    showed two histories. NO_EXTENSION proves less: anybody can send an honest checkpoint with a bad proof.
    """

    refusal: Refusal
    checkpoint: Checkpoint | None = None
    seen: Seen = NOTHING


Decision = Grown | Refused


def parse_request(data: bytes) -> AddCheckpoint:
    """Return the members of a request; for all bytes that parse, `to_bytes()` gives the same bytes back. Raises NoteError."""
    if len(data) > REQUEST_LIMIT:
        raise NoteError(f"a request larger than {REQUEST_LIMIT} bytes")
    head, separator, note = data.partition(b"\n\n")
    if not separator or not head.isascii():
        raise NoteError("a request without an empty line")
    first, *hashes = head.decode("ascii").split("\n")
    old = _OLD.fullmatch(first)
    if old is None or int(old[1]) > MAX_SIZE:
        raise NoteError("a request without its old size")
    if len(hashes) > MOST_HASHES:
        raise NoteError(f"a proof of more than {MOST_HASHES} hashes")
    proof = tuple(map(base64_bytes, hashes))
    if any(len(value) != HASH_LENGTH for value in proof):
        raise NoteError(f"a hash that is not {HASH_LENGTH} bytes")
    return AddCheckpoint(old=int(old[1]), proof=proof, note=parse_note(note))


def decide(request: AddCheckpoint, keys: Sequence[NoteKey] | None, before: Seen, verify: Verify) -> Decision:
    """Judge one request. `keys` are those trusted for its origin (None: no such log), `before` is what is remembered of it.

    The order is the protocol's. Raises NoteError where the note is no checkpoint.
    """
    checkpoint = parse_checkpoint(request.note.text)
    # 1 a log that is witnessed here
    if keys is None:
        return Refused(Refusal.UNKNOWN_LOG)
    # 2 signed by it; signatures of others are ignored
    try:
        verify_note(request.note, [key for key in keys if key.name == checkpoint.origin], verify)
    except NoteError:
        return Refused(Refusal.BAD_SIGNATURE)
    # 3 before anything else of the log's own making: two roots of one size, whatever old size was named beside them
    if checkpoint.size == before.size and checkpoint.root != before.root:
        return Refused(Refusal.SPLIT_VIEW, checkpoint, before)
    # 4 sizes that can be joined
    if request.old > checkpoint.size:
        return Refused(Refusal.BAD_SIZES, checkpoint, before)
    # 5 the old size is the one remembered
    if request.old != before.size:
        return Refused(Refusal.STALE, checkpoint, before)
    # 6 the tree remembered is the beginning of this one
    if not _continues(before, checkpoint, request.proof):
        return Refused(Refusal.NO_EXTENSION, checkpoint, before)
    return Grown(checkpoint)


def told_size(request: AddCheckpoint, refused: Refused) -> bytes | None:
    """Return the body of a 409 that tells the client what the witness remembers; None where that is no news to it."""
    if STATUS[refused.refusal] != 409 or request.old == refused.seen.size:
        return None
    return f"{refused.seen.size}\n".encode()


def answered_size(body: bytes) -> int | None:
    """Return the size in the body of a 409 that says what the witness remembers; None where it says no size."""
    match = _ANSWERED_SIZE.fullmatch(body)
    return int(match[1]) if match is not None and int(match[1]) <= MAX_SIZE else None


def _continues(before: Seen, after: Checkpoint, proof: tuple[bytes, ...]) -> bool:
    if before.size == 0:  # everything continues the empty tree, without a proof; but an empty one has one root
        return not proof and (after.size > 0 or after.root == EMPTY_ROOT)
    try:
        verify_consistency(before.size, before.root, after.size, after.root, proof)
    except ProofError:
        return False
    return True
