"""The command that erases what can be erased of an entry: the openings of its commitments and its search tags (log A3).

A pure value, as those in `core.commands`. The entry itself stays, and every proof with it; what it committed to can never
be opened again. The one opening that stays is that of `rows`: without it nobody could tell which rows that decide stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.document import canonical
from gateway.core.commands import Command, LogEntry
from gateway.core.deciding import ROWS

KEPT: Final = ROWS  # the field of an opening that is never erased
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Erase(Command[int]):
    """Erase openings and tags, and log it; answers how many entries lost something. Raises SubmissionRefusedError,
    changing nothing, where nothing is left to erase. The value is gone from the files once the write-ahead log was
    emptied, which the writer does after the commit, and again after later ones until no reader is in the way."""

    what: AtEntry | OfMessage
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({"erasure"})
