"""The reading connections: questions of one turn go together, and each stands alone; nothing is older than its question."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, select, update

from gateway.store.logged import MessageLog
from gateway.store.migrations import upgrade
from gateway.store.readers import CONNECTIONS, Reader, Rows
from gateway.store.rows import RowSeal
from gateway.store.schema import command
from gateway.store.sqlite import reader_engine, writer_engine
from gateway.store.vault import Vault
from tests.support.store import Alarms

CLIENTS = select(command.c.client).where(command.c.idempotency_key == bindparam("key"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("readers") / "template.sqlite"
    upgrade(path)
    engine = writer_engine(path)
    with engine.begin() as connection:
        connection.execute(
            insert(command).values(client="first", idempotency_key="k", request_digest=b"", response=b"")
        )
    engine.dispose()  # which moves everything into the one file that is copied
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(template, tmp_path / "gateway.sqlite"))


@pytest.fixture
async def reader(path: Path) -> AsyncIterator[Reader]:
    opened = Reader(
        reader_engine(path, connections=CONNECTIONS),
        seal=RowSeal(key=b"s" * 32, alarm=Alarms()),
        vault=Vault(b"k" * 32),
        told=MessageLog(mac=lambda index, entry: b""),
    )
    yield opened
    await asyncio.to_thread(opened.close)


async def clients(reader: Reader) -> list[str]:
    return [row["client"] for row in await reader.rows(CLIENTS, key="k")]


async def test_what_another_connection_changed_is_in_the_very_next_answer(reader: Reader, path: Path) -> None:
    """Whichever thread answers, and however often it read the row before."""
    engine = writer_engine(path)
    for name in ("second", "third", "fourth"):
        for _ in range(CONNECTIONS):
            await clients(reader)
        with engine.begin() as connection:
            connection.execute(update(command).values(client=name))
        assert [await clients(reader) for _ in range(2 * CONNECTIONS)] == [[name]] * (2 * CONNECTIONS)
    engine.dispose()


async def test_questions_of_one_turn_go_to_one_thread(reader: Reader) -> None:
    async with asyncio.TaskGroup() as asking:
        asked = [asking.create_task(reader.ask(lambda _: threading.get_ident())) for _ in range(9)]
    assert len({task.result() for task in asked}) == 1


async def test_all_selects_of_a_turn_see_one_state(reader: Reader, path: Path) -> None:
    engine = writer_engine(path)

    def before(rows: Rows) -> list[str]:
        seen = [row["client"] for row in rows(CLIENTS, key="k")]
        with engine.begin() as connection:
            connection.execute(update(command).values(client="meanwhile"))
        return seen

    async with asyncio.TaskGroup() as asking:
        first, second = asking.create_task(reader.ask(before)), asking.create_task(clients(reader))
    assert (first.result(), second.result()) == (["first"], ["first"])
    assert await clients(reader) == ["meanwhile"]
    engine.dispose()


async def test_question_that_fails_fails_its_own_asker_alone(reader: Reader) -> None:
    def bad(_: Rows) -> None:
        raise KeyError("mine")

    async def fails() -> None:
        with pytest.raises(KeyError):
            await reader.ask(bad)

    async with asyncio.TaskGroup() as asking:
        others = [asking.create_task(clients(reader))]
        asking.create_task(fails())
        others.append(asking.create_task(clients(reader)))
    assert [task.result() for task in others] == [["first"], ["first"]]


async def test_asker_who_goes_away_takes_nobody_along(reader: Reader) -> None:
    leaves, stays = asyncio.ensure_future(clients(reader)), asyncio.ensure_future(clients(reader))
    await asyncio.sleep(0)
    leaves.cancel()
    assert await stays == ["first"]
    with pytest.raises(asyncio.CancelledError):
        await leaves


async def test_closed_reader_answers_nobody(reader: Reader) -> None:
    await clients(reader)
    await asyncio.to_thread(reader.close)
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(clients(reader), 10)
