"""What is append-only refuses REPLACE too, and the head of the log is never deleted: defence in depth, not the proof.

A migration gives an append-only table triggers against UPDATE and DELETE. `INSERT OR REPLACE` passes those by, for SQLite
deletes the old row without asking a trigger. So after every upgrade each such table, known by its trigger, is given one
more, against a second row of any of its keys. Whoever owns the file can drop them all: what finds that is the log itself,
and `store.triggers`; an upgrade puts back what a new database would have, and takes out what it would not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, inspect, text

_MARK = "_no_delete"  # as the migrations name the trigger against DELETE


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger as SQLite keeps it: its table, and the statement that made it."""

    table: str
    sql: str


def triggers_of(connection: Connection) -> dict[str, Trigger]:
    """Every trigger of the database, by name."""
    if connection.dialect.name != "sqlite":
        return {}
    held = text("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
    return {str(name): Trigger(str(table), str(sql)) for name, table, sql in connection.execute(held)}


def protect(connection: Connection) -> None:
    """Make the triggers that the migrations leave out; safe to repeat."""
    if connection.dialect.name != "sqlite":
        return
    connection.execute(text(_trigger("log_head", "delete", "BEFORE DELETE ON log_head", "is never deleted")))
    for name, trigger in triggers_of(connection).items():
        table = trigger.table
        if name == f"{table}{_MARK}":
            held = " OR ".join(f"({' AND '.join(f'{c} = NEW.{c}' for c in key)})" for key in _keys(connection, table))
            when = f"BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {held})"  # noqa: S608 - the schema's own names
            connection.execute(text(_trigger(table, "replace", when, "is append-only")))


def restore(connection: Connection, expected: Mapping[str, Trigger]) -> None:
    """Make the triggers exactly these."""
    held = triggers_of(connection)
    quote = connection.dialect.identifier_preparer.quote_identifier  # whoever made one named it as he liked
    for name in held:
        if held[name] != expected.get(name):
            connection.exec_driver_sql(f"DROP TRIGGER {quote(name)}")
    for name, trigger in expected.items():
        if held.get(name) != trigger:
            connection.exec_driver_sql(trigger.sql)


def _trigger(table: str, act: str, when: str, rule: str) -> str:
    return f"CREATE TRIGGER IF NOT EXISTS {table}_no_{act} {when} BEGIN SELECT RAISE(ABORT, '{table} {rule}'); END"


def _keys(connection: Connection, table: str) -> list[list[str]]:
    """Every key by which a new row could take the place of an old one: the primary one, the unique ones, SQLite's own."""
    known = inspect(connection)
    indexes = [[str(name) for name in index["column_names"]] for index in known.get_indexes(table) if index["unique"]]
    unique = [list(constraint["column_names"]) for constraint in known.get_unique_constraints(table)]
    return [list(known.get_pk_constraint(table)["constrained_columns"]), *indexes, *unique, ["rowid"]]
