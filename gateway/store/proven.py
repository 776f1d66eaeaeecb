"""Rows whose mac was found good, remembered whole: what is read again unchanged need not be computed again.

A mac is a function of the key and of every cell, so a row equal in every cell to one that was good is good; any other is
not known here. Rows are still read from the database for every message, so nothing outlives a change. It is the HMAC over
agreements and bundles, some 30 a message, that is spared: about a tenth of what a message costs in all.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

KEPT: Final = 256  # rows
LARGEST: Final = 128 * 1024  # bytes or characters of one cell: so it is some megabytes, and never more than 64 MB or so

Place = tuple[str, tuple[Any, ...]]
"""A table and a primary key."""


class ProvenRows:
    """The last good row of each place, so many of them; any thread. Of one key: another key has another of these."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Place, tuple[Mapping[str, Any], tuple[type, ...]]] = {}

    def knows(self, place: Place, row: Mapping[str, Any]) -> bool:
        """Whether exactly this row was good before: the same values of the same kinds (1 and 1.0 are equal, and two rows)."""
        known = self._rows.get(place)
        return known is not None and known[0] == row and known[1] == _kinds(row)

    def add(self, place: Place, row: Mapping[str, Any]) -> None:
        """Remember a good row, in the place of the oldest where there is no more room."""
        if any(isinstance(cell, bytes | str) and len(cell) > LARGEST for cell in row.values()):
            return
        with self._lock:
            if place not in self._rows and len(self._rows) >= KEPT:
                del self._rows[next(iter(self._rows))]
            self._rows[place] = (dict(row), _kinds(row))


def _kinds(row: Mapping[str, Any]) -> tuple[type, ...]:
    return tuple(map(type, row.values()))
