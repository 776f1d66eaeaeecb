"""The rows that decide, for tests: entries that state them, and what the fake store refuses as the real one does."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core import deciding
from gateway.core.commands import LogEntry
from gateway.core.deciding import Change, RowsError


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
