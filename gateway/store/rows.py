"""Rows that decide, and the mac each of them carries (log A6): made here, checked here, nowhere else.

mac = HMAC-SHA-256(store key, table || primary key || canonical row). A row whose mac fails counts as absent and raises
an alarm: whoever can write to the database cannot plant a partner's key, an agreement's event or a protection entry.
Not claimed: that an old row put back is noticed; comparing rows with the log is for that.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Table

from gateway.store.cells import as_blob

Alarm = Callable[[str, Mapping[str, str]], None]
"""Called with a code and details that hold no personal value; MUST return at once and may be called in any thread."""

TAMPERED: Final = "row-tampered"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSeal:
    """The store key in use. `rows` it hands on carry a good mac; the others are told to `alarm`."""

    key: bytes = field(repr=False)
    alarm: Alarm

    def sealed(self, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with its mac; `row` names every other column of `table`."""
        return {**row, "mac": self._mac(table, row)}

    def good(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Whether the row carries our mac; raises the alarm where it does not."""
        if hmac.compare_digest(self._mac(table, row), as_blob(row["mac"])):
            return True
        # The key columns name an organisation, a digest or a keyed tag, never a person; tags and acts stay out all the same.
        names = [str(row[column.name]) for column in table.primary_key if isinstance(row[column.name], (str, int))]
        self.alarm(TAMPERED, {"table": table.name, "row": " ".join(names)})
        return False

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
