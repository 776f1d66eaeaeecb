"""The triggers of the database held against those that the migrations make: defence in depth, and it is to stay whole.

What they must be is derived from a database of this version, made in memory: never written down a second time. A trigger
that is missing, changed, or not ours is told as a row that is refused is: an alarm, and an entry of the log; nothing stops
for it, for whoever owns the file can drop them all, and what finds him then is the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from gateway.core.deciding import RefusedRow
from gateway.store.migrations import fresh_triggers
from gateway.store.migrations.append_only import triggers_of
from gateway.store.rows import RowSeal
from gateway.store.schema import metadata
from gateway.store.sqlite import reader_engine

NOT_OURS: Final = "trigger-not-ours"  # alarm
MISSING: Final = "trigger.missing"  # causes, as an entry of the log names them
CHANGED: Final = "trigger.changed"
UNKNOWN: Final = "trigger.unknown"
_ELSEWHERE: Final = "sqlite_master"  # told of a table that nobody here made: names that others gave may say anything
_RULES: Final = {
    MISSING: "the trigger is gone",
    CHANGED: "not the trigger that was made",
    UNKNOWN: "a trigger that nobody here made",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerFault:
    """A trigger that is not as it was made: its name, its table, and the cause, a code."""

    name: str
    table: str
    cause: str

    @property
    def rule(self) -> str:
        """The cause in words."""
        return _RULES[self.cause]


def differing(connection: Connection) -> tuple[TriggerFault, ...]:
    """Every trigger that is missing, changed or unknown, by name."""
    expected, held = fresh_triggers(), triggers_of(connection)
    found = []
    for name in sorted(expected.keys() | held.keys()):
        if held.get(name) == expected.get(name):
            continue
        table = (expected.get(name) or held[name]).table
        cause = MISSING if name not in held else CHANGED if name in expected else UNKNOWN
        found.append(TriggerFault(name=name, table=table, cause=cause))
    return tuple(found)


class TriggerCheck:
    """Looks at the triggers and tells what is found, each of it once in the life of the process. Blocks."""

    def __init__(self, database: Path, seal: RowSeal) -> None:
        self._database = database
        self._seal = seal

    def run(self) -> tuple[TriggerFault, ...]:
        """Look once; what differs is alarmed, and waits to be logged."""
        with reader_engine(self._database).connect() as connection:
            found = differing(connection)
        for fault in found:
            table = fault.table if fault.table in metadata.tables else _ELSEWHERE
            details = {"table": table, "row": "" if fault.cause == UNKNOWN else fault.name, "cause": fault.cause}
            if self._seal.tell(NOT_OURS, details, fault.name, fault.cause):
                self._seal.refusals.add(RefusedRow(table=table, cause=fault.cause, org=None))
        return found
