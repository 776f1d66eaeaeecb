"""One transaction of the writer, as the handlers of commands see it: reads, changes, buffered rows, entries to append.

Inserts are buffered, so that a batch costs one statement for each table; a read sees them all the same, because it
writes them out first. Entries of the log come last, when everything else is written: the head row is taken last, and
only then is an entry's index known (log A4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.sql.dml import UpdateBase

from contracts.names import ZERO_DIGEST
from gateway.core import deciding
from gateway.core.commands import Heads, LogEntry
from gateway.core.errors import HeadsMovedError
from gateway.store import schema
from gateway.store.logged import MessageLog
from gateway.store.rows import RowSeal
from gateway.store.vault import Vault
from gateway.tlog.entry import commitment_opens, leaf_hash, parse_shape

R = TypeVar("R")

# Built once: every message is written with these.
_INSERTS: Final = {table.name: insert(table) for table in schema.metadata.sorted_tables}  # parents before children
_AGREEMENT: Final = select(schema.agreement).where(schema.agreement.c.digest == bindparam("digest"))
_EVENTS: Final = select(schema.agreement_event).where(schema.agreement_event.c.digest == bindparam("digest"))


@cache
def _last_id(table: Table) -> Select[Any]:
    return select(func.max(table.c.id))


class Slot:
    """The place of one entry in the log: its index, known once the head row is taken."""

    __slots__ = ("entry", "index")

    def __init__(self, entry: LogEntry) -> None:
        self.entry = entry
        self.index = -1


@dataclass(frozen=True, slots=True)
class AtIndex(Generic[R]):
    """An answer that names an entry's index, and so is made after the entry has one."""

    slot: Slot
    answer: Callable[[int], R]


class Transaction:
    """Handed to every handler of a batch in turn; gone after the commit, its caches with it."""

    def __init__(self, connection: Connection, *, own: str, seal: RowSeal, vault: Vault, told: MessageLog) -> None:
        self.own = own
        self.seal = seal
        self.vault = vault
        self.told = told
        self.slots: list[Slot] = []
        self.changes = 0
        self.erased = False  # something was destroyed: after the commit nothing of it may be left in the files
        self._connection = connection
        self._waiting: dict[str, list[Mapping[str, Any]]] = {}
        self._ids: dict[str, int] = {}
        self._heads: dict[str, tuple[str, str] | None] = {}
        self._written: dict[tuple[str, deciding.Key], str | None] = {}
        self._stated: dict[tuple[str, deciding.Key], str | None] = {}
        self._kept: dict[tuple[str, deciding.Key], str | None] = {}

    # --- reading

    def read(self, statement: Select[Any], /, **values: Any) -> Sequence[Row[Any]]:
        """Return the rows, those included that earlier commands of the batch put in; `values` are those of `bindparam`s."""
        self.flush()
        return self._connection.execute(statement, values).all()

    def read_touched(self, statement: Select[Any], /, **values: Any) -> Sequence[Row[Any]]:
        """As `read`, for rows that the command `touches` alone: no other command of the batch can have put any in."""
        return self._connection.execute(statement, values).all()

    def read_sealed(self, table: Table, *conditions: ColumnElement[bool]) -> list[Mapping[str, Any]]:
        """Return the rows that decide whose mac holds, as `read`."""
        return self.read_good(table, select(table).where(*conditions))

    def read_good(self, table: Table, statement: Select[Any], /, **values: Any) -> list[Mapping[str, Any]]:
        """As `read_sealed`, for a select of whole rows of `table`."""
        return self.seal.checked(table, [dict(row._mapping) for row in self.read(statement, **values)])

    # --- changing

    def insert(self, table: Table, **row: Any) -> None:
        """Put a row in, together with the batch's other rows of the table."""
        self.changes += 1
        self._waiting.setdefault(table.name, []).append(row)

    def insert_sealed(self, table: Table, **row: Any) -> None:
        """Put a row that decides in, with its mac; no row of its key may be there. The command's entry must state it."""
        self.insert(table, **self.seal.sealed(table, row))
        self._wrote(table, row)

    def put_sealed(self, table: Table, **row: Any) -> None:
        """As `insert_sealed`, in the place of the row that has this key, whoever wrote that."""
        same = [column == row[column.name] for column in table.primary_key]
        sealed = self.seal.sealed(table, row)
        if self.change(update(table).where(*same).values(sealed)) == 0:
            self.insert(table, **sealed)
        self._wrote(table, row)

    def refresh_sealed(self, table: Table, row: Mapping[str, Any], **values: Any) -> None:
        """Change columns of a good row that the log does not state (`core.deciding`): no entry is needed."""
        if not values.keys().isdisjoint((*deciding.TABLES[table.name].compared, *deciding.TABLES[table.name].key)):
            raise deciding.RowsError(f"a column of {table.name} that the log states")
        same = [column == row[column.name] for column in table.primary_key]
        self.change(update(table).where(*same).values(self.seal.sealed(table, {**row, **values})))

    def restore_sealed(self, table: Table, **row: Any) -> None:
        """As `put_sealed`, for a row that is a function of its key, so that the log states it already: no entry is needed."""
        stated = dict(self._written)
        self.put_sealed(table, **row)
        self._written = stated

    def delete_sealed(self, table: Table, *conditions: ColumnElement[bool]) -> int:
        """Take rows that decide out; return how many there were. The command's entry must state each of them."""
        for row in self.read(select(*table.primary_key).where(*conditions)):
            key = deciding.key_of(table.name, dict(row._mapping))
            self._written[table.name, key] = None
        return self.change_touched(delete(table).where(*conditions))

    def _wrote(self, table: Table, row: Mapping[str, Any]) -> None:
        if table.name in deciding.TABLES:
            self._written[table.name, deciding.key_of(table.name, row)] = deciding.digest_of(table.name, row)

    def change(self, statement: UpdateBase, /, **values: Any) -> int:
        """Carry out an UPDATE, a DELETE or an INSERT .. ON CONFLICT now; return how many rows it changed.

        `values` are those of its `bindparam`s; in an UPDATE without any of its own, also the columns it sets.
        """
        self.flush()
        return self.change_touched(statement, **values)

    def change_touched(self, statement: UpdateBase, /, **values: Any) -> int:
        """As `change`, for rows that the command `touches` alone."""
        self.changes += 1
        executable: Executable = statement
        return self._connection.execute(executable, values).rowcount

    def append(self, entry: LogEntry) -> Slot:
        """Log an entry, after those of earlier commands."""
        if leaf_hash(entry.data) != entry.leaf:
            raise ValueError("an entry's leaf hash is not that of its bytes")
        self.changes += 1
        self._state(entry)
        slot = Slot(entry)
        self.slots.append(slot)
        return slot

    def _state(self, entry: LogEntry) -> None:
        for opening in entry.openings:
            if opening.field == deciding.ROWS:
                text = opening.value.decode()
                commitments = parse_shape(entry.data).commit or {}
                if not commitment_opens(commitments.get(deciding.ROWS, ""), opening.salt, deciding.ROWS, text):
                    raise deciding.RowsError("an opening that does not open its entry's commitment")
                self._stated |= {(c.table, c.key): c.digest for c in deciding.from_text(text)}

    def begin_command(self) -> None:
        """From here on what is written belongs to the next command."""
        self._written, self._stated = {}, {}

    def check_stated(self) -> None:
        """Refuse a command that changed a deciding row otherwise than its entries state: a bug (log A6)."""
        for place, digest in self._written.items():
            if place not in self._stated or self._stated[place] != digest:
                raise deciding.RowsError(f"a row of {place[0]} was changed, and no entry states it")
        self._kept |= self._stated

    def committed(self) -> None:
        """What the entries state is in the log now; not before: a batch may be rolled back."""
        self.seal.stated(self._kept)

    def next_id(self, table: Table) -> int:
        """Return a row number that was never used; sound because this connection alone writes."""
        if table.name not in self._ids:
            self.flush()
            self._ids[table.name] = self._connection.scalar(_last_id(table)) or 0
        self._ids[table.name] += 1
        return self._ids[table.name]

    def flush(self) -> None:
        """Write out the rows that wait, one statement a table, parents before children."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        for name, put_in in _INSERTS.items():
            if rows := waiting.get(name):
                self._connection.execute(put_in, rows)

    # --- agreements' heads

    def check_heads(self, heads: Heads) -> None:
        """Refuse a command that was decided against other events than those held now (log B1)."""
        if heads.agreement not in self._heads:
            self._heads[heads.agreement] = self._current_heads(heads.agreement)
        if self._heads[heads.agreement] != (heads.a, heads.b):
            raise HeadsMovedError(heads.agreement)

    def forget_heads(self, agreement: str) -> None:
        """Read the heads again: an event was kept."""
        self._heads.pop(agreement, None)

    def _current_heads(self, digest: str) -> tuple[str, str] | None:
        """The tips of both chains, or None where the agreement is not held, or one of its chains is forked or lost an event."""
        parties = self.read_good(schema.agreement, _AGREEMENT, digest=digest)
        if not parties:
            return None
        events = self.read_good(schema.agreement_event, _EVENTS, digest=digest)
        if any(key[0] == digest for key in self.seal.lacks(schema.agreement_event, events)):
            return None
        tips: dict[str, str] = {parties[0]["party_a"]: ZERO_DIGEST, parties[0]["party_b"]: ZERO_DIGEST}
        places = set()
        for row in sorted(events, key=lambda row: row["n"]):
            if (row["org"], row["n"]) in places:
                return None
            places.add((row["org"], row["n"]))
            tips[row["org"]] = row["hash"]
        return tips[parties[0]["party_a"]], tips[parties[0]["party_b"]]
