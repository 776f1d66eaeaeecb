"""The rows that decide compared with what the exchange log says of them (log A6): an old row put back is found here.

The `rows` commitments of all entries are opened and replayed in the order of the log; what then stands must be what the
tables hold, no row more, no row fewer. One read transaction, streaming: entries and rows belong to one state.
What differs is pinned in the `RowSeal`, and counts from then on as the log says. Where an entry or an opening itself is
not what was written, nobody can say which rows stand: that is told apart (`LogFault`).
Not found here: a log that was cut short together with the rows. The signer's memory outside the database is for that.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import Connection, Select, Table, select

from gateway.core import deciding
from gateway.core.alarms import AlarmCode
from gateway.core.deciding import Key, RefusedRow, RowsError, Standing
from gateway.store.cells import as_blob, as_number
from gateway.store.log import SALT, VALUE, EntryMac
from gateway.store.rows import MAC, MISSING, OTHER, UNKNOWN, RowSeal
from gateway.store.schema import log_detail, log_entry, log_head, metadata
from gateway.store.sqlite import reader_engine
from gateway.store.vault import Vault, VaultError
from gateway.tlog.entry import commitment_opens, parse_shape
from gateway.tlog.errors import EntryError

UNREADABLE: Final[AlarmCode] = "rows-unreadable"  # alarm: an entry or an opening that the comparison needs
UNSTATED: Final = "row.unstated"
_PAGE: Final = 1_000  # rows held at a time
_NAMED: Final = f'"{deciding.ROWS}":"'.encode()  # in the canonical bytes of every entry with such a commitment


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that is not as the log says: `digest` is what the log says (None: no such row), `cause` a code."""

    table: str
    key: Key
    primary: tuple[Any, ...]
    cause: str
    digest: str | None

    @property
    def row(self) -> str:
        """Which row, for people: its key without what was bytes."""
        return " ".join(str(part) for part in self.key if not str(part).startswith("sha256:"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFault:
    """An entry, or the opening of its `rows`, that is not what was written."""

    index: int
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a comparison found; nothing where every row stands as the log says. `standing` is what that is."""

    rows: tuple[Difference, ...]
    log: tuple[LogFault, ...]
    standing: Mapping[tuple[str, Key], str] = field(repr=False)


class RowComparison:
    """Compares, and lets the readers of the same `RowSeal` know. Blocks: call it in a thread."""

    def __init__(self, database: Path, *, mac: EntryMac, seal: RowSeal, vault: Vault) -> None:
        self._database = database
        self._mac = mac
        self._seal = seal
        self._vault = vault
        self._one = threading.Lock()

    def run(self) -> Compared:
        """Compare once. Rows that differ are pinned and refused, and told, each of them once."""
        with self._one:
            return self._run()

    def _run(self) -> Compared:
        self._seal.compare()
        found = self.look()
        if not found.log:  # where an entry is unreadable it may be the one that says of a row that it is gone
            self._seal.take_in(found.standing)
        for one in found.rows:
            self._seal.pin(one.table, one.key, one.digest)
            self._seal.refuse(metadata.tables[one.table], one.primary, one.cause)
        for fault in found.log:
            if self._seal.tell(UNREADABLE, {"table": "log_entry", "row": str(fault.index), "rule": fault.rule}, fault):
                self._seal.refusals.add(RefusedRow(table="log_entry", cause=UNSTATED, org=None))
        return found

    def look(self) -> Compared:
        """Compare once, and leave it at that."""
        with reader_engine(self._database).connect() as connection:
            return self._compare(connection)

    def _compare(self, connection: Connection) -> Compared:
        standing, faults = Standing(), list[LogFault]()
        for index, text in self._stated(connection, faults):
            try:
                standing.replay(deciding.from_text(text))
            except RowsError as error:
                faults.append(LogFault(index=index, rule=str(error)))
        rows = tuple(self._differences(connection, standing.rows))
        return Compared(rows=rows, log=tuple(faults), standing=standing.rows)

    def _stated(self, connection: Connection, faults: list[LogFault]) -> Iterator[tuple[int, str]]:
        """The opened `rows` of every entry that has them, in the order of the log; every entry's mac is checked."""
        mine = select(log_detail).where(log_detail.c.field == deciding.ROWS).order_by(log_detail.c.entry_idx)
        openings = _stream(connection, mine)
        opening, expected = next(openings, None), 0
        for row in _stream(connection, select(log_entry.c.idx, log_entry.c.entry, log_entry.c.mac).order_by("idx")):
            index, entry = as_number(row.idx), as_blob(row.entry)
            if index != expected:
                faults.append(LogFault(index=expected, rule="the entry is missing"))
            expected = index + 1
            if not hmac.compare_digest(self._mac(index, entry), as_blob(row.mac)):
                faults.append(LogFault(index=index, rule="the mac of the entry does not hold"))
                continue
            while opening is not None and as_number(opening.entry_idx) < index:
                opening = next(openings, None)
            if _NAMED not in entry:
                continue
            text = None if opening is None or opening.entry_idx != index else self._open(index, entry, opening)
            if text is None:
                faults.append(LogFault(index=index, rule="no opening of its rows, or not its own"))
            else:
                yield index, text
        size = connection.scalar(select(log_head.c.size))
        if size is None or as_number(size) != expected:
            faults.append(LogFault(index=expected, rule="the log has another size than its head says"))

    def _open(self, index: int, entry: bytes, opening: Any) -> str | None:
        try:
            salt = self._vault.open_detail(index, deciding.ROWS, SALT, as_blob(opening.salt))
            text = self._vault.open_detail(index, deciding.ROWS, VALUE, as_blob(opening.value)).decode()
            commitments = parse_shape(entry).commit
            if commitments is UNSET or deciding.ROWS not in commitments:
                return None
            return text if commitment_opens(commitments[deciding.ROWS], salt, deciding.ROWS, text) else None
        except (VaultError, EntryError, UnicodeDecodeError):
            return None

    def _differences(self, connection: Connection, standing: Mapping[tuple[str, Key], str]) -> Iterator[Difference]:
        """Every row of every deciding table against what stands; then what stands and was not there."""
        missing = dict(standing)
        for name in deciding.TABLES:
            table = metadata.tables[name]
            for found in _stream(connection, select(table)):
                row = dict(found._mapping)
                key = deciding.key_of(name, row)
                digest = missing.pop((name, key), None)
                cause = self._cause(table, row, digest)
                if cause is not None:
                    primary = tuple(row[column.name] for column in table.primary_key)
                    yield Difference(table=name, key=key, primary=primary, cause=cause, digest=digest)
        for (name, key), digest in missing.items():
            primary = _primary(metadata.tables[name], key)
            yield Difference(table=name, key=key, primary=primary, cause=MISSING, digest=digest)

    def _cause(self, table: Table, row: Mapping[str, Any], digest: str | None) -> str | None:
        if not self._seal.is_ours(table, row):
            return MAC
        if digest is None:
            return UNKNOWN
        return None if deciding.digest_of(table.name, self._seal.opened(table, row)) == digest else OTHER


def _primary(table: Table, key: Key) -> tuple[Any, ...]:
    """The primary key of a row, in its order, from the key of a change."""
    named = dict(zip(deciding.TABLES[table.name].key, key, strict=True))
    return tuple(named[column.name] for column in table.primary_key)


def _stream(connection: Connection, statement: Select[Any]) -> Iterator[Any]:
    yield from connection.execute(statement.execution_options(yield_per=_PAGE))
