"""Reading connections for the ports: each question is one read transaction in one thread, so its rows belong together.

What every message asks is built once, with a `bindparam` for each value, and given its values when it is asked: making a
statement anew costs SQLAlchemy more than SQLite needs for the answer. For the same reason each thread keeps its connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, Engine, Select

from gateway.store.rows import RowSeal
from gateway.store.vault import Vault

T = TypeVar("T")

CONNECTIONS: Final = 4


class Rows(Protocol):
    """Carries out a select inside a question; `values` are those of its `bindparam`s."""

    def __call__(self, statement: Select[Any], /, **values: Any) -> Sequence[Mapping[str, Any]]: ...


class Reader:
    """What the reading ports share: connections that cannot write, the store key, the content keys."""

    def __init__(self, engine: Engine, *, seal: RowSeal, vault: Vault) -> None:
        self.seal = seal
        self.vault = vault
        self._engine = engine
        self._threads = ThreadPoolExecutor(max_workers=CONNECTIONS, thread_name_prefix="reader")
        self._mine = threading.local()
        self._opened: list[Connection] = []  # the connection of each thread

    async def ask(self, question: Callable[[Rows], T]) -> T:
        """Answer a question that may take several selects, all of them to one state of the database."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question)

    async def rows(self, statement: Select[Any], /, **values: Any) -> Sequence[Mapping[str, Any]]:
        """One select."""
        return await self.ask(lambda rows: rows(statement, **values))

    def _answer(self, question: Callable[[Rows], T]) -> T:
        connection = self._connection()

        def rows(statement: Select[Any], /, **values: Any) -> Sequence[Mapping[str, Any]]:
            answer = connection.execute(statement, values)
            names = tuple(answer.keys())
            return [dict(zip(names, row, strict=True)) for row in answer]

        with connection.begin():
            return question(rows)

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = self._mine.connection = self._engine.connect()
            self._opened.append(connection)
        return connection

    def close(self) -> None:
        self._threads.shutdown()
        for connection in self._opened:
            connection.close()
        self._engine.dispose()
