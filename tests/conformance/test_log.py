"""What the log's reading port owes those who prove with it; run over `gateway.store` and over the fake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.core.commands import PutCheckpoint, Record
from gateway.core.errors import LogInconsistentError
from gateway.ports import Log, LoggedEntry, Store
from gateway.tlog.merkle import root_of
from gateway.tlog.proof import verify_consistency, verify_inclusion
from tests.support.log import MemoryLog
from tests.support.memory import Clock, Memory
from tests.support.store import OWN, START, make_entry, message_id, open_lab, tamper

SIZE = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A store whose log is empty, and that log."""

    store: Store
    log: Log

    async def write(self, count: int, *, msg: str | None = None) -> list[bytes]:
        """Log some entries; return their leaf hashes."""
        entries = [make_entry(**({} if msg is None else {"msg": msg})) for _ in range(count)]
        for entry in entries:
            await self.store.write(Record(entry=entry))
        return [entry.leaf for entry in entries]

    async def sign(self, leaves: list[bytes]) -> None:
        """Keep a checkpoint of the first so many leaves; nobody looks at the note here."""
        root = root_of(leaves)
        await self.store.write(PutCheckpoint(size=len(leaves), root=root, note=f"note {len(leaves)}", signed_at=7))


@asynccontextmanager
async def real(path: Path) -> AsyncIterator[Subject]:
    async with open_lab(path, agreement=False) as lab:
        yield Subject(store=lab.open.store, log=lab.open.read.log)


@asynccontextmanager
async def fake(path: Path) -> AsyncIterator[Subject]:
    del path
    memory = Memory(OWN, Clock(START))
    yield Subject(store=memory, log=MemoryLog(memory))


@pytest.fixture(params=[real, fake], ids=["store", "memory"])
async def subject(request: pytest.FixtureRequest, database: Path) -> AsyncIterator[Subject]:
    async with request.param(database) as opened:
        yield opened


async def test_a_log_that_was_never_signed_proves_nothing(subject: Subject) -> None:
    await subject.write(2)
    assert await subject.log.checkpoint() is None
    assert await subject.log.proof(0) is None


async def test_the_newest_checkpoint_is_answered_as_it_was_signed(subject: Subject) -> None:
    leaves = await subject.write(5)
    await subject.sign(leaves[:3])
    await subject.sign(leaves)
    signed = await subject.log.checkpoint()
    assert signed is not None
    assert (signed.size, signed.root, signed.note, signed.signed_at) == (5, root_of(leaves), b"note 5", 7)


@pytest.mark.parametrize("size", range(1, SIZE + 1))
async def test_every_entry_below_the_checkpoint_is_proven_to_it(subject: Subject, size: int) -> None:
    leaves = await subject.write(SIZE)
    await subject.sign(leaves[:size])
    for index, leaf in enumerate(leaves[:size]):
        proven = await subject.log.proof(index)
        assert proven is not None
        assert (proven.entry.index, proven.entry.leaf, proven.checkpoint.size) == (index, leaf, size)
        verify_inclusion(leaf, index, size, proven.hashes, root_of(leaves[:size]))


async def test_an_entry_above_the_checkpoint_has_no_proof_yet(subject: Subject) -> None:
    leaves = await subject.write(3)
    await subject.sign(leaves[:2])
    assert await subject.log.proof(2) is None
    assert await subject.log.proof(-1) is None


async def test_any_two_sizes_are_shown_to_be_one_log(subject: Subject) -> None:
    leaves = await subject.write(SIZE)
    for size1 in range(1, SIZE + 1):
        for size2 in range(size1, SIZE + 1):
            hashes = await subject.log.consistency(size1, size2)
            assert hashes is not None
            verify_consistency(size1, root_of(leaves[:size1]), size2, root_of(leaves[:size2]), hashes)


@pytest.mark.parametrize("sizes", [(0, 2), (2, 1), (1, 4), (4, 4), (-1, 2)])
async def test_sizes_that_the_log_does_not_have_are_not_joined(subject: Subject, sizes: tuple[int, int]) -> None:
    await subject.write(3)
    assert await subject.log.consistency(*sizes) is None


async def test_an_entry_is_found_by_its_leaf_hash(subject: Subject) -> None:
    leaves = await subject.write(3)
    assert [await subject.log.index_of_leaf(leaf) for leaf in leaves] == [0, 1, 2]
    assert await subject.log.index_of_leaf(b"x" * 32) is None


async def test_the_entries_of_a_message_come_in_order_and_no_others(subject: Subject) -> None:
    mine, other = message_id(), message_id()
    await subject.write(1, msg=other)
    leaves = await subject.write(2, msg=mine)
    await subject.write(1)
    entries = await subject.log.entries_of(mine, 10)
    assert [(entry.index, entry.leaf) for entry in entries] == [(1, leaves[0]), (2, leaves[1])]
    assert all(isinstance(entry, LoggedEntry) and mine.encode() in entry.data for entry in entries)
    assert await subject.log.entries_of(mine, 1) == entries[:1]
    assert await subject.log.entries_of(message_id(), 10) == ()


CHANGES = [
    "UPDATE log_node SET hash = zeroblob(32) WHERE level = 1 AND idx = 0",
    "DELETE FROM log_node WHERE level = 1 AND idx = 0",
    "UPDATE log_entry SET entry = replace(entry, '\"search\"', '\"export\"') WHERE idx = 3",
    "UPDATE log_entry SET leaf_hash = zeroblob(32) WHERE idx = 2",
    "DELETE FROM log_entry WHERE idx = 3",
    "UPDATE checkpoint SET root = zeroblob(32)",
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_row_gives_no_proof_that_fails_elsewhere(database: Path, change: str) -> None:
    async with real(database) as subject:
        await subject.sign(await subject.write(4))
    tamper(database, "DELETE FROM log_subject", change)
    async with real(database) as subject:
        with pytest.raises(LogInconsistentError):
            await subject.log.proof(3)


async def test_nodes_that_do_not_belong_together_join_no_two_sizes(database: Path) -> None:
    async with real(database) as subject:
        await subject.write(4)
    tamper(database, "UPDATE log_node SET hash = zeroblob(32) WHERE level = 1 AND idx = 0")
    async with real(database) as subject:
        with pytest.raises(LogInconsistentError):
            await subject.log.consistency(3, 4)
