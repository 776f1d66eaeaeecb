"""The rows that decide, for tests: entries that state them, and what the fake store refuses, and erases, as the real one does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from gateway.core import deciding
from gateway.core.commands import LogEntry
from gateway.core.deciding import Change, RowsError
from gateway.core.erasure import KEPT, AtEntry, Erase
from gateway.core.errors import SubmissionRefusedError


def stated_in(*entries: LogEntry | None) -> tuple[Change, ...]:
    """The changes that these entries state."""
    texts = [
        opening.value.decode()
        for entry in entries
        if entry is not None
        for opening in entry.openings
        if opening.field == deciding.ROWS
    ]
    return tuple(change for text in texts for change in deciding.from_text(text))


def check_stated(changes: Iterable[Change], *entries: LogEntry | None) -> None:
    """Refuse a change of a deciding row that no entry states, before anything is changed."""
    stated = {(change.table, change.key): change for change in stated_in(*entries)}
    for change in changes:
        if stated.get((change.table, change.key)) != change:
            raise RowsError(f"a row of {change.table} was changed, and no entry states it")


def erase(memory: Any, command: Erase) -> int:
    """Take openings and tags from the entries of the fake's log."""

    def named(index: int, entry: LogEntry) -> bool:
        what = command.what
        return what.index == index if isinstance(what, AtEntry) else what.message_id == entry.message_id

    lost = 0
    for index, entry in enumerate(memory.log):
        kept = tuple(opening for opening in entry.openings if opening.field in KEPT)
        if named(index, entry) and (entry.tags or kept != entry.openings):
            memory.log[index] = dataclasses.replace(entry, openings=kept, tags=frozenset())
            lost += 1
    if not lost:
        raise SubmissionRefusedError("log.nothing-to-erase", "entry", "nothing of it can be erased")
    memory.log.append(command.entry)
    return lost
