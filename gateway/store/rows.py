"""Rows that decide, and the mac each of them carries (log A6): made here, checked here, nowhere else.

mac = HMAC-SHA-256(store key, table || primary key || canonical row). A row whose mac fails counts as absent and raises
an alarm: whoever can write to the database cannot plant a partner's key, an agreement's event or a protection entry.
That an old row was put back, or a row taken out, a mac does not tell: `store.comparison` finds it in the log and pins
the row here. A row that is pinned is good only as the log says it stands.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import LargeBinary, Table

from gateway.core import deciding
from gateway.core.deciding import Key, RefusedRow
from gateway.store.cells import as_blob

Alarm = Callable[[str, Mapping[str, str]], None]
"""Called with a code and details that hold no personal value; MUST return at once and may be called in any thread."""

TAMPERED: Final = "row-tampered"  # alarm: the mac fails
NOT_AS_LOGGED: Final = "row-not-as-logged"  # alarm: the mac holds, and the log says otherwise
MAC: Final = "row.mac"  # causes, as an entry of the log names them
OTHER: Final = "row.other"
MISSING: Final = "row.missing"
UNKNOWN: Final = "row.unknown"
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


class Refusals:
    """Rows that were refused and are not in the log yet, the latest so many; put in by any thread, taken out by one task."""

    def __init__(self) -> None:
        self._rows: deque[RefusedRow] = deque(maxlen=REMEMBERED)

    def add(self, row: RefusedRow) -> None:
        """Keep one for the log."""
        self._rows.append(row)

    def take(self) -> RefusedRow | None:
        """Return the oldest, which is gone from here then; None where nothing waits."""
        try:
            return self._rows.popleft()
        except IndexError:
            return None


class _Pins:
    """The rows that were found otherwise than the log says, and how it says they stand. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, Key], str | None] = {}
        self._since: dict[tuple[str, Key], str | None] = {}

    def begin(self) -> None:
        with self._lock:
            self._since = {}

    def pin(self, place: tuple[str, Key], digest: str | None) -> None:
        with self._lock:
            self._rows[place] = self._since.get(place, digest)

    def stated(self, changes: Mapping[tuple[str, Key], str | None]) -> None:
        with self._lock:
            self._since |= changes
            self._rows |= {place: digest for place, digest in changes.items() if place in self._rows}

    def allows(self, table: str, row: Mapping[str, Any]) -> bool:
        if not self._rows or table not in deciding.TABLES:
            return True
        place = table, deciding.key_of(table, row)
        return place not in self._rows or self._rows[place] == deciding.digest_of(table, row)

    def required(self, table: str) -> frozenset[Key]:
        if not self._rows:
            return frozenset()
        with self._lock:
            return frozenset(key for (name, key), digest in self._rows.items() if name == table and digest is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSeal:
    """The store key in use. `rows` it hands on carry a good mac and stand in the log as far as that was compared; the
    others are told to `alarm` and to `refusals`, each of them once."""

    key: bytes = field(repr=False)
    alarm: Alarm
    refusals: Refusals = field(default_factory=Refusals, init=False, repr=False, compare=False)
    _told: _Told = field(default_factory=_Told, init=False, repr=False, compare=False)
    _pins: _Pins = field(default_factory=_Pins, init=False, repr=False, compare=False)

    def sealed(self, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with its mac; `row` names every other column of `table`."""
        return {**row, "mac": self._mac(table, row)}

    def good(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Whether the row carries our mac, and is not pinned otherwise; raises the alarm where its mac fails."""
        if self.is_ours(table, row):
            return self._pins.allows(table.name, row)
        self.refuse(table, tuple(row[column.name] for column in table.primary_key), MAC)
        return False

    def is_ours(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Whether the row carries our mac, and nothing else."""
        return hmac.compare_digest(self._mac(table, row), as_blob(row["mac"]))

    def refuse(self, table: Table, key: tuple[Any, ...], cause: str, message: str | None = None) -> None:
        """Tell that the row of this primary key is refused: an alarm, and an entry to be made; each row once. `message` is
        the id of the message that it is about."""
        named = dict(zip((column.name for column in table.primary_key), key, strict=True))
        # The key columns name an organisation, a digest or a keyed tag, never a person; tags and acts stay out all the same.
        texts = [
            str(named[column.name])
            for column in table.primary_key
            if isinstance(named[column.name], (str, int)) and not isinstance(column.type, LargeBinary)
        ]
        code = TAMPERED if cause == MAC else NOT_AS_LOGGED
        if self.tell(code, {"table": table.name, "row": " ".join(texts)}, table.name, *key):
            known = deciding.TABLES.get(table.name)
            org = named.get(known.org) if known and known.org else None
            self.refusals.add(
                RefusedRow(
                    table=str(table.name), cause=cause, org=org if isinstance(org, str) else None, message=message
                )
            )

    def tell(self, code: str, details: Mapping[str, str], *about: object) -> bool:
        """Raise the alarm, once in the life of this process for one code and what it is `about`: damage is read often.
        Answers whether it was raised."""
        if not self._told.first(hashlib.sha256(encode([code, *about])).digest()):
            return False
        self.alarm(code, details)
        return True

    # --- what the log says of rows that were found otherwise

    def compare(self) -> None:
        """A comparison with the log begins: what is stated from here on is newer than what it will find."""
        self._pins.begin()

    def pin(self, table: str, key: Key, digest: str | None) -> None:
        """From now on the row of this key is good only with this digest (None: not at all)."""
        self._pins.pin((table, key), digest)

    def stated(self, changes: Mapping[tuple[str, Key], str | None]) -> None:
        """Entries that are about to be kept state how these rows stand."""
        self._pins.stated(changes)

    def lacks(self, table: Table, good: Iterable[Mapping[str, Any]]) -> frozenset[Key]:
        """The keys of rows that the log demands, as far as that is pinned, and that are not among `good`."""
        required = self._pins.required(table.name)
        return required - {deciding.key_of(table.name, row) for row in good} if required else required

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
