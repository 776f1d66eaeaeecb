"""Reading connections for the ports: each question is answered in one read transaction, so its rows belong together.

Questions that are asked in one turn of the event loop go to one thread together and come back together: waking a thread,
and the loop after it, costs more than most answers. Whoever asks alone does not wait for others.

What every message asks is built once, with a `bindparam` for each value, and given its values when it is asked: making a
statement anew costs SQLAlchemy more than SQLite needs for the answer. For the same reason each thread keeps its connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, Engine, Select

from gateway.store.logged import MessageLog
from gateway.store.rows import RowSeal
from gateway.store.vault import Vault

T = TypeVar("T")

CONNECTIONS: Final = 4


class Rows(Protocol):
    """Carries out a select inside a question; `values` are those of its `bindparam`s."""

    def __call__(self, statement: Select[Any], /, **values: Any) -> Sequence[Mapping[str, Any]]: ...


@dataclass(slots=True)
class _Asked:
    """One question, who waits for its answer, and what became of it."""

    question: Callable[[Rows], Any]
    asker: asyncio.Future[Any]
    answer: Any = None
    error: BaseException | None = None

    def give(self) -> None:
        """Tell the asker, if he still waits; in the loop's thread."""
        if self.asker.done():
            return
        if self.error is not None:
            self.asker.set_exception(self.error)
        else:
            self.asker.set_result(self.answer)


class Reader:
    """What the reading ports share: connections that cannot write, the store key, the content keys, the log's mac. Used in
    one event loop."""

    def __init__(self, engine: Engine, *, seal: RowSeal, vault: Vault, told: MessageLog) -> None:
        self.seal = seal
        self.vault = vault
        self.told = told
        self._engine = engine
        self._threads = ThreadPoolExecutor(max_workers=CONNECTIONS, thread_name_prefix="reader")
        self._mine = threading.local()
        self._opened: list[Connection] = []  # the connection of each thread
        self._asked: list[_Asked] = []  # in this turn of the loop

    async def ask(self, question: Callable[[Rows], T]) -> T:
        """Answer a question that may take several selects, all of them to one state of the database."""
        loop = asyncio.get_running_loop()
        asked = _Asked(question, loop.create_future())
        if not self._asked:
            loop.call_soon(self._hand_on, loop)
        self._asked.append(asked)
        answer: T = await asked.asker
        return answer

    async def rows(self, statement: Select[Any], /, **values: Any) -> Sequence[Mapping[str, Any]]:
        """One select."""
        return await self.ask(lambda rows: rows(statement, **values))

    def _hand_on(self, loop: asyncio.AbstractEventLoop) -> None:
        together, self._asked = self._asked, []
        try:
            self._threads.submit(self._answer, together, loop)
        except RuntimeError as error:  # closed in the meantime
            _fail(together, error)
            _give(together)

    def _answer(self, together: Sequence[_Asked], loop: asyncio.AbstractEventLoop) -> None:
        """Answer all of them from one state of the database, in a thread; what goes wrong with one is that one's."""
        try:
            connection = self._connection()

            def rows(statement: Select[Any], /, **values: Any) -> Sequence[Mapping[str, Any]]:
                found = connection.execute(statement, values)
                names = tuple(found.keys())
                return [dict(zip(names, row, strict=True)) for row in found]

            with connection.begin():
                for asked in together:
                    try:
                        asked.answer = asked.question(rows)
                    except Exception as error:  # noqa: BLE001 - swallows nothing: it is raised to the asker
                        asked.error = error
        except Exception as error:  # noqa: BLE001 - swallows nothing: it is raised to every asker
            _fail(together, error)
        loop.call_soon_threadsafe(_give, together)

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


def _fail(together: Sequence[_Asked], error: BaseException) -> None:
    for asked in together:
        asked.error = error


def _give(together: Sequence[_Asked]) -> None:
    for asked in together:
        asked.give()
