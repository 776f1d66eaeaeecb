"""The command that erases what can be erased of an entry: the openings of its commitments and its search tags (log A3).

A pure value, as those in `core.commands`. The entry itself stays, and every proof with it; what it committed to can never
be opened again. Two openings stay: that of `rows`, without which nobody could tell which rows that decide stand, and that of
`erased`, without which nobody could tell an erasure from a deletion; they hold digests, a number, a message's id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.document import canonical, read_wire
from contracts.errors import DocumentError
from gateway.core.commands import Command, LogEntry
from gateway.core.deciding import ROWS

ERASED: Final = "erased"  # the kind of the entry, and the field of the commitment in it that names what was erased
KEPT: Final = frozenset({ROWS, ERASED})  # the fields of openings that are never erased
_LIMIT: Final = 1024  # bytes: an index, or one message id
REASONS: Final = ("mistake", "objection", "order", "retention")  # closed: an outcome stands in the clear, for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class AtEntry:
    """The one entry at this index."""

    index: int

    def text(self) -> str:
        return canonical({"index": self.index}).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfMessage:
    """Every entry about the message of this id."""

    message_id: str

    def text(self) -> str:
        return canonical({"message": self.message_id}).decode()


def named(text: str) -> AtEntry | OfMessage | None:
    """What a text of `AtEntry.text` or `OfMessage.text` names; None where it is neither."""
    try:
        said = read_wire(text.encode(), limit=_LIMIT)
    except DocumentError:
        return None
    match said:
        case {"index": int(index)} if len(said) == 1:
            return AtEntry(index=index)
        case {"message": str(message_id)} if len(said) == 1:
            return OfMessage(message_id=message_id)
        case _:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erase(Command[int]):
    """Erase openings and tags, and log it; answers how many entries lost something. Raises SubmissionRefusedError,
    changing nothing, where nothing is left to erase. The value is gone from the files once the write-ahead log was
    emptied, which the writer does after the commit, and again after later ones until no reader is in the way."""

    what: AtEntry | OfMessage
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({"erasure"})
