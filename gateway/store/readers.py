"""Reading connections for the ports: each question is one read transaction in one thread, so its rows belong together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from sqlalchemy import Engine, Select

from gateway.store.logged import MessageLog
from gateway.store.rows import RowSeal
from gateway.store.vault import Vault

T = TypeVar("T")

CONNECTIONS: Final = 4

Rows = Callable[[Select[Any]], Sequence[Mapping[str, Any]]]


class Reader:
    """What the reading ports share: connections that cannot write, the store key, the content keys, the log's mac."""

    def __init__(self, engine: Engine, *, seal: RowSeal, vault: Vault, told: MessageLog) -> None:
        self.seal = seal
        self.vault = vault
        self.told = told
        self._engine = engine
        self._threads = ThreadPoolExecutor(max_workers=CONNECTIONS, thread_name_prefix="reader")

    async def ask(self, question: Callable[[Rows], T]) -> T:
        """Answer a question that may take several selects, all of them to one state of the database."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question)

    async def rows(self, statement: Select[Any]) -> Sequence[Mapping[str, Any]]:
        """One select."""
        return await self.ask(lambda rows: rows(statement))

    def _answer(self, question: Callable[[Rows], T]) -> T:
        with self._engine.connect() as connection:
            return question(lambda statement: [dict(row) for row in connection.execute(statement).mappings()])

    def close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()
