"""Rows that decide, and the mac each of them carries (log A6): made here, checked here, nowhere else.

mac = HMAC-SHA-256(store key, table || primary key || canonical row). A row whose mac fails counts as absent and raises
an alarm: whoever can write to the database cannot plant a partner's key, an agreement's event or a protection entry.
Not claimed: that an old row put back is noticed; comparing rows with the log is for that.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Table

from gateway.store.cells import as_blob

Alarm = Callable[[str, Mapping[str, str]], None]
"""Called with a code and details that hold no personal value; MUST return at once and may be called in any thread."""

TAMPERED: Final = "row-tampered"
REMEMBERED: Final = 10_000  # alarms that are not raised again; about 1 MB


class _Told:
    """What an alarm was raised for, the latest so many of it: damage in bulk must not fill the memory. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[bytes, None] = {}

    def first(self, key: bytes) -> bool:
        """Whether this is new; it is remembered from now on, in the place of the oldest where there is no more room."""
        with self._lock:
            if key in self._keys:
                return False
            if len(self._keys) >= REMEMBERED:
                del self._keys[next(iter(self._keys))]
            self._keys[key] = None
            return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSeal:
    """The store key in use. `rows` it hands on carry a good mac; the others are told to `alarm`, each of them once."""

    key: bytes = field(repr=False)
    alarm: Alarm
    _told: _Told = field(default_factory=_Told, init=False, repr=False, compare=False)

    def sealed(self, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with its mac; `row` names every other column of `table`."""
        return {**row, "mac": self._mac(table, row)}

    def good(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Whether the row carries our mac; raises the alarm where it does not."""
        if hmac.compare_digest(self._mac(table, row), as_blob(row["mac"])):
            return True
        # The key columns name an organisation, a digest or a keyed tag, never a person; tags and acts stay out all the same.
        names = [str(row[column.name]) for column in table.primary_key if isinstance(row[column.name], (str, int))]
        key = (row[column.name] for column in table.primary_key)
        self.tell(TAMPERED, {"table": table.name, "row": " ".join(names)}, table.name, *key)
        return False

    def tell(self, code: str, details: Mapping[str, str], *about: object) -> None:
        """Raise the alarm, once in the life of this process for one code and what it is `about`: damage is read often."""
        if self._told.first(hashlib.sha256(encode([code, *about])).digest()):
            self.alarm(code, details)

    def checked(self, table: Table, rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return those of the rows whose mac holds."""
        return [row for row in rows if self.good(table, row)]

    def _mac(self, table: Table, row: Mapping[str, Any]) -> bytes:
        key = [row[column.name] for column in table.primary_key]
        names = sorted(column.name for column in table.columns if column.name != "mac")
        parts = [table.name, *key]
        for name in names:
            parts += [name, row[name]]
        return hmac.digest(self.key, encode(parts), "sha256")


def encode(parts: Iterable[object]) -> bytes:
    """Return one sequence of bytes for one sequence of values: kind, length (u32), bytes of each, no two alike."""
    out = bytearray()
    for part in parts:
        match part:
            case None:
                kind, data = b"n", b""
            case int():
                kind, data = b"i", str(part).encode()
            case str():
                kind, data = b"s", part.encode()
            case bytes():
                kind, data = b"b", part
            case _:
                kind, data = b"?", repr(part).encode()  # no column holds one; a cell that was tampered with may
        out += kind + len(data).to_bytes(4, "big") + data
    return bytes(out)
