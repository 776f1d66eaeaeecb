"""Openings of commitments: each says who did what an entry speaks of, and opens the commitment in it or is a lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct

from contracts.document import canonical
from contracts.errors import DocumentError
from gateway.evidence.files import OPENINGS, ExportFolder, read_lines
from gateway.tlog.entry import SALT_LENGTH, Entry, commitment_opens
from gateway.tlog.errors import EntryError
from gateway.tlog.fsck import Problem
from keys import base64url
from keys.errors import Base64Error

LINE_LIMIT: Final = 64 * 1024  # bytes: a field, a salt, and whatever text was committed to


class Opening(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line: the members in their canonical order."""

    field: str
    index: Annotated[int, Meta(ge=0)]
    salt: str
    value: str


_decoder = msgspec.json.Decoder(Opening)


class OpeningCheck:
    """Reads the openings beside the entries; both are in the order of the log, so nothing is kept."""

    def __init__(self, folder: ExportFolder) -> None:
        self.problems: list[Problem] = []
        self.count = 0
        self._source = self._read(folder) if folder.has(OPENINGS) else iter(())
        self._next = next(self._source, None)

    @property
    def next_index(self) -> int:
        """The entry that the next opening speaks of; -1 where there is none left."""
        return -1 if self._next is None else self._next.index

    def see(self, index: int, entry: Entry) -> None:
        """Hold the openings of this entry to its commitments; those of one that was not shown are passed over: it has a
        fault itself."""
        while self._next is not None and self._next.index <= index:
            opening, self._next = self._next, next(self._source, None)
            self.count += 1
            if opening.index == index and not _opens(opening, entry):
                self._fault(index, f"{opening.field}: does not open a commitment of the entry")

    def end(self, size: int) -> None:
        """Whatever is left may speak of an entry that was not shown, and not of one that there is not."""
        while self._next is not None:
            if self._next.index >= size:
                self._fault(self._next.index, "speaks of no entry")
            self._next = next(self._source, None)

    def _read(self, folder: ExportFolder) -> Iterator[Opening]:
        before = (-1, "")
        for number, line in enumerate(read_lines(folder.path / OPENINGS, LINE_LIMIT)):
            opening = _read_line(line.data)
            if opening is None or not line.ended or (opening.index, opening.field) <= before:
                self._fault(-1, f"line {number}: not an opening in canonical form and in order")
                continue
            before = opening.index, opening.field
            yield opening

    def _fault(self, index: int, rule: str) -> None:
        self.problems.append(Problem(index=index, column=OPENINGS, rule=rule))


def _read_line(data: bytes) -> Opening | None:
    try:
        opening = _decoder.decode(data)
        return opening if canonical(msgspec.to_builtins(opening)) == data else None
    except (msgspec.DecodeError, DocumentError, UnicodeDecodeError):
        return None


def _opens(opening: Opening, entry: Entry) -> bool:
    if entry.commit is UNSET or opening.field not in entry.commit:
        return False
    try:
        salt = base64url.decode(opening.salt, SALT_LENGTH)
        return commitment_opens(entry.commit[opening.field], salt, opening.field, opening.value)
    except (Base64Error, EntryError):
        return False
