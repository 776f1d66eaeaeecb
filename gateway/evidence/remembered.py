"""What a judge remembers of a log from one time to the next: its newest head, and whose roots vouched for it.

A file of one line of canonical JSON, written whole or not at all, and only after everything else was found in order. The
first time nothing can be compared: that is first trust, and said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from contracts.document import canonical
from contracts.errors import DocumentError
from gateway.evidence.files import EvidenceError, read_capped
from gateway.tlog.checkpoint import NOTE_LIMIT, Checkpoint, parse_checkpoint, parse_note
from gateway.tlog.errors import NoteError
from keys.sources.durable import replace_file

_LIMIT: Final = 2 * NOTE_LIMIT  # bytes: a note with its escapes


class _Wire(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    note: str
    org: str
    root: str


_decoder = msgspec.json.Decoder(_Wire)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The newest head that was found in order, the organisation, and the fingerprint of its newest roots then."""

    org: str
    root: str
    note: bytes
    checkpoint: Checkpoint

    @classmethod
    def of(cls, *, org: str, root: str, note: bytes) -> Remembered:
        """Return what is to be remembered of a verified note. Raises NoteError."""
        return cls(org=org, root=root, note=note, checkpoint=parse_checkpoint(parse_note(note).text))


def recall(path: Path) -> Remembered | None:
    """Return what the file remembers; None where there is none yet. Raises EvidenceError."""
    try:
        data = read_capped(path, _LIMIT)
    except FileNotFoundError:
        return None
    try:
        wire = _decoder.decode(data)
        if canonical(msgspec.to_builtins(wire)) + b"\n" != data:
            raise EvidenceError(f"{path.name}: not in canonical form")
        return Remembered.of(org=wire.org, root=wire.root, note=wire.note.encode())
    except (msgspec.DecodeError, DocumentError, NoteError, UnicodeError):
        raise EvidenceError(f"{path.name}: remembers no head") from None


def remember(path: Path, head: Remembered) -> None:
    """Replace the file in one step, on the disk before it counts."""
    data = canonical({"note": head.note.decode(), "org": head.org, "root": head.root}) + b"\n"
    replace_file(path, data)
