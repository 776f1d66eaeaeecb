"""Rows that decide, and the mac each of them carries (log A6): made here, checked here, nowhere else.

mac = HMAC-SHA-256(store key, table || primary key || canonical row). A row whose mac fails counts as absent and raises
an alarm: whoever can write to the database cannot plant a partner's key, an agreement's event or a protection entry.
That an old row was put back, or a row taken out, a mac does not tell: `store.comparison` finds it in the log and pins
the row here. A row that is pinned is good only as the log says it stands. Of a table with few rows (`core.deciding`) every
row that stands is pinned, by the comparison and by each commit: one that is not pinned is not good.
Names of people are encrypted at rest: put in and handed on in the clear, while the mac is over what stands in the table.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import LargeBinary, Table

from gateway.core import deciding
from gateway.core.alarms import Alarm, AlarmCode
from gateway.core.deciding import Key, RefusedRow
from gateway.store.cells import as_blob
from gateway.store.proven import ProvenRows

TAMPERED: Final[AlarmCode] = "row-tampered"  # alarm: the mac fails
NOT_AS_LOGGED: Final[AlarmCode] = "row-not-as-logged"  # alarm: the mac holds, and the log says otherwise
FOREIGN_WRITE: Final[AlarmCode] = "foreign-write"  # alarm: somebody else wrote to the database
DATABASE: Final = "database"  # the `outcome` of its entry, where that of a refused row names a table
MAC: Final = "row.mac"  # causes, as an entry of the log names them
OTHER: Final = "row.other"
MISSING: Final = "row.missing"
UNKNOWN: Final = "row.unknown"
NAMES: Final[Mapping[str, tuple[str, ...]]] = {"partner": ("verified_by",), "intention": ("by",)}  # encrypted at rest
_ENCRYPTED: Final = "aes:"  # begins such a cell; one of before 0006 is in the clear until the database is next opened
_NONCE: Final = 12
FOREIGN: Final = "write.foreign"
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
            if not (_few(place[0]) and place in self._rows):  # what was committed here is newer than any log put back
                self._rows[place] = self._since.get(place, digest)

    def stated(self, changes: Mapping[tuple[str, Key], str | None]) -> None:
        with self._lock:
            self._since |= changes
            self._rows |= {p: digest for p, digest in changes.items() if p in self._rows or _few(p[0])}

    def allows(self, table: str, row: Mapping[str, Any]) -> bool:
        if table not in deciding.TABLES or not (self._rows or _few(table)):
            return True
        place = table, deciding.key_of(table, row)
        if place not in self._rows:
            return not _few(table)
        return self._rows[place] == deciding.digest_of(table, row)

    def required(self, table: str) -> frozenset[Key]:
        if not self._rows:
            return frozenset()
        with self._lock:
            return frozenset(key for (name, key), digest in self._rows.items() if name == table and digest is not None)


def _few(table: str) -> bool:
    return table in deciding.TABLES and deciding.TABLES[table].few


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSeal:
    """The store key in use. `rows` it hands on carry a good mac and stand in the log as far as that was compared; the
    others are told to `alarm` and to `refusals`, each of them once."""

    key: bytes = field(repr=False)
    alarm: Alarm
    refusals: Refusals = field(default_factory=Refusals, init=False, repr=False, compare=False)
    _told: _Told = field(default_factory=_Told, init=False, repr=False, compare=False)
    _pins: _Pins = field(default_factory=_Pins, init=False, repr=False, compare=False)
    _proven: ProvenRows = field(default_factory=ProvenRows, init=False, repr=False, compare=False)
    _cipher: AESGCM = field(init=False, repr=False, compare=False)
    _taken_in: threading.Event = field(default_factory=threading.Event, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"safehand store names").derive(self.key)
        object.__setattr__(self, "_cipher", AESGCM(derived))

    def sealed(self, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row as it is kept: names encrypted, and its mac; `row` names every other column of `table`."""
        kept = dict(row)
        for name in NAMES.get(table.name, ()):
            nonce = secrets.token_bytes(_NONCE)
            data = self._cipher.encrypt(nonce, row[name].encode(), _cell(table, row, name))
            kept[name] = _ENCRYPTED + base64.b64encode(nonce + data).decode()
        return {**kept, "mac": self._mac(table, kept)}

    def opened(self, table: Table, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row that is ours as it was before it was `sealed`."""
        plain = {}
        for name in NAMES.get(table.name, ()):
            if row[name].startswith(_ENCRYPTED):
                kept = base64.b64decode(row[name].removeprefix(_ENCRYPTED))
                data = self._cipher.decrypt(kept[:_NONCE], kept[_NONCE:], _cell(table, row, name))
                plain[name] = data.decode()
        return {**row, **plain} if plain else row

    def in_the_clear(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Whether a row that is ours holds a name that is not encrypted."""
        return any(not row[name].startswith(_ENCRYPTED) for name in NAMES.get(table.name, ()))

    def is_ours(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Whether the row carries our mac, and nothing else."""
        place = (table.name, tuple(row[name] for name in _names(table)[0]))
        if self._proven.knows(place, row):
            return True
        ours = hmac.compare_digest(self._mac(table, row), as_blob(row["mac"]))
        if ours:
            self._proven.add(place, row)
        return ours

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

    def tell(self, code: AlarmCode, details: Mapping[str, str], *about: object) -> bool:
        """Raise the alarm, once in the life of this process for one code and what it is `about`: damage is read often.
        Answers whether it was raised."""
        if not self._told.first(hashlib.sha256(encode([code, *about])).digest()):
            return False
        self.alarm(code, details)
        return True

    def tell_foreign(self) -> None:
        """Tell that somebody else wrote to the database while this process had it open; every time."""
        self.alarm(FOREIGN_WRITE, {"table": DATABASE})
        self.refusals.add(RefusedRow(table=DATABASE, cause=FOREIGN, org=None))

    # --- what the log says of rows that were found otherwise

    def compare(self) -> None:
        """A comparison with the log begins: what is stated from here on is newer than what it will find."""
        self._pins.begin()

    def pin(self, table: str, key: Key, digest: str | None) -> None:
        """From now on the row of this key is good only with this digest (None: not at all)."""
        self._pins.pin((table, key), digest)

    def take_in(self, standing: Mapping[tuple[str, Key], str]) -> None:
        """What the log says stands: the rows of tables with few are good from now on."""
        for (table, key), digest in standing.items():
            if _few(table):
                self._pins.pin((table, key), digest)
        self._taken_in.set()

    @property
    def compared(self) -> bool:
        """Whether the whole log was taken in since this process began: else a row may stand that is not known here."""
        return self._taken_in.is_set()

    def stated(self, changes: Mapping[tuple[str, Key], str | None]) -> None:
        """Entries that were committed state how these rows stand."""
        self._pins.stated(changes)

    def lacks(self, table: Table, good: Iterable[Mapping[str, Any]]) -> frozenset[Key]:
        """The keys of rows that the log demands, as far as that is pinned, and that are not among `good`."""
        required = self._pins.required(table.name)
        return required - {deciding.key_of(table.name, row) for row in good} if required else required

    def checked(self, table: Table, rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return those of the rows that carry our mac and are not pinned otherwise, `opened`; raises the alarm where a mac
        fails."""
        good = []
        for row in rows:
            if not self.is_ours(table, row):
                self.refuse(table, tuple(row[column.name] for column in table.primary_key), MAC)
            elif self._pins.allows(table.name, opened := self.opened(table, row)):
                good.append(opened)
        return good

    def _mac(self, table: Table, row: Mapping[str, Any]) -> bytes:
        key, names = _names(table)
        parts = [table.name, *(row[name] for name in key)]
        for name in names:
            parts += (name, row[name])
        return hmac.digest(self.key, encode(parts), "sha256")


def _cell(table: Table, row: Mapping[str, Any], name: str) -> bytes:
    """What an encrypted cell is bound to: its table, row and column."""
    return encode([table.name, *(row[column.name] for column in table.primary_key), name])


@cache
def _names(table: Table) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns of the primary key, and all that the mac covers, in the order of the mac."""
    key = tuple(column.name for column in table.primary_key)
    return key, tuple(sorted(column.name for column in table.columns if column.name != "mac"))


def encode(parts: Iterable[object]) -> bytes:
    """Return one sequence of bytes for one sequence of values: kind, length (u32), bytes of each, no two alike."""
    out: list[bytes] = []
    for part in parts:
        if isinstance(part, str):
            kind, data = b"s", part.encode()
        elif isinstance(part, bytes):
            kind, data = b"b", part
        elif isinstance(part, int):
            kind, data = b"i", str(part).encode()
        elif part is None:
            kind, data = b"n", b""
        else:
            kind, data = b"?", repr(part).encode()  # no column holds one; a cell that was tampered with may
        out += (kind, len(data).to_bytes(4, "big"), data)
    return b"".join(out)
