"""What a store owes an erasure; run over `gateway.store` and over the fake that the tests of the flows use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.core.commands import LogEntry, Record
from gateway.core.erasure import AtEntry, Erase, OfMessage
from gateway.core.errors import SubmissionRefusedError
from gateway.ports import Store
from tests.support.memory import Clock, Memory
from tests.support.store import OWN, START, make_entry, make_event, message_id, open_lab, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A store with one event in it; `openings` are (index, field) of what can still be opened, `size` the entries."""

    store: Store
    openings: Callable[[], list[tuple[int, str]]]
    tagged: Callable[[], list[int]]
    size: Callable[[], int]


@asynccontextmanager
async def real(path: Path) -> AsyncIterator[Subject]:
    async with open_lab(path) as lab:
        yield Subject(
            store=lab.open.store,
            openings=lambda: [
                (index, name) for index, name in rows(path, "SELECT entry_idx, field FROM log_detail ORDER BY 1, 2")
            ],
            tagged=lambda: [index for (index,) in rows(path, "SELECT entry_idx FROM log_subject ORDER BY 1")],
            size=lambda: rows(path, "SELECT size FROM log_head")[0][0],
        )


@asynccontextmanager
async def fake(path: Path) -> AsyncIterator[Subject]:
    del path
    memory = Memory(OWN, Clock(START))
    await memory.write(make_event())
    yield Subject(
        store=memory,
        openings=lambda: sorted((i, o.field) for i, entry in enumerate(memory.log) for o in entry.openings),
        tagged=lambda: [i for i, entry in enumerate(memory.log) if entry.tags],
        size=lambda: len(memory.log),
    )


@pytest.fixture(params=[real, fake], ids=["store", "memory"])
async def subject(request: pytest.FixtureRequest, database: Path) -> AsyncIterator[Subject]:
    async with request.param(database) as opened:
        yield opened


def erase(what: AtEntry | OfMessage) -> Erase:
    return Erase(what=what, entry=make_erased())


def make_erased() -> LogEntry:
    entry = make_entry("erased", by="dpo.one")
    object.__setattr__(entry, "tags", frozenset())
    return entry


async def test_one_entry_loses_its_openings_and_tags_and_no_other_does(subject: Subject) -> None:
    for _ in range(2):
        await subject.store.write(Record(entry=make_entry(by="officer.one")))
    assert await subject.store.write(erase(AtEntry(index=1))) == 1
    assert subject.openings() == [(0, "rows"), (2, "by"), (3, "by")]
    assert subject.tagged() == [0, 2]
    assert subject.size() == 4  # the erasure is itself an entry


async def test_every_entry_of_a_message_is_erased(subject: Subject) -> None:
    own, other = message_id(), message_id()
    for msg in (own, other, own):
        await subject.store.write(Record(entry=make_entry(by="officer.one", msg=msg)))
    assert await subject.store.write(erase(OfMessage(message_id=own))) == 2
    assert subject.openings() == [(0, "rows"), (2, "by"), (4, "by")]


async def test_what_an_entry_says_of_rows_that_decide_is_never_erased(subject: Subject) -> None:
    assert await subject.store.write(erase(AtEntry(index=0))) == 1  # its tags
    assert subject.openings() == [(0, "rows"), (1, "by")]
    with pytest.raises(SubmissionRefusedError):
        await subject.store.write(erase(AtEntry(index=0)))
    assert subject.size() == 2


@pytest.mark.parametrize("what", [AtEntry(index=900), OfMessage(message_id="none")])
async def test_where_nothing_can_be_erased_nothing_is_logged(subject: Subject, what: AtEntry | OfMessage) -> None:
    with pytest.raises(SubmissionRefusedError):
        await subject.store.write(erase(what))
    assert subject.size() == 1
