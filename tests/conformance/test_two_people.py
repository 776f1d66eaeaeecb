"""Acts that need two people: what a store owes the halves; over `gateway.store` and the fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway import two_people
from gateway.core.deciding import RowsError, of_halves
from gateway.core.errors import SubmissionRefusedError
from gateway.core.halves import Half, HalvesMovedError, KeepHalves, Waiting
from gateway.ports import Exchange
from tests.support.disk import on_disk
from tests.support.exchange import make_town
from tests.support.rows import stated_in
from tests.support.store import make_entry

ACT = ("protection-remove", "location", "00")
OTHER = ("protection-remove", "identity", "00")
NOTHING = Waiting(halves=(), lost=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A gateway whose halves are kept by one of the two."""

    exchange: Exchange

    async def state(
        self, name: str, through: str | None = None, *, act: tuple[str, ...] = ACT, alone: bool = False
    ) -> tuple[str, ...]:
        now = self.exchange.clock()
        return await two_people.confirm(act, name, self.exchange, now=now, alone=alone, through=through)

    async def waiting(self) -> set[str]:
        return {half.by for half in (await self.exchange.halves.waiting()).halves}


@asynccontextmanager
async def real(path: Path) -> AsyncIterator[Subject]:
    async with on_disk(make_town().b, path) as disk:
        yield Subject(exchange=disk.exchange)


@asynccontextmanager
async def fake(path: Path) -> AsyncIterator[Subject]:
    del path
    yield Subject(exchange=make_town().b.exchange)


@pytest.fixture(params=[real, fake], ids=["store", "memory"])
async def subject(request: pytest.FixtureRequest, database: Path) -> AsyncIterator[Subject]:
    async with request.param(database) as opened:
        yield opened


async def test_a_second_person_completes_the_act(subject: Subject) -> None:
    assert await subject.state("Two") == ("two",)
    assert await subject.state("One") == ("one", "two")


async def test_one_person_twice_is_not_two_people(subject: Subject) -> None:
    assert await subject.state("one") == ("one",)
    assert await subject.state("  ONE ") == ("one",)
    assert await subject.waiting() == {"one"}


async def test_two_halves_are_used_up_by_the_act(subject: Subject) -> None:
    await subject.state("one")
    await subject.state("two")
    assert await subject.waiting() == set()
    assert await subject.state("two") == ("two",)
    assert await subject.state("one") == ("one", "two")


async def test_a_half_that_was_enough_alone_is_used_up_too(subject: Subject) -> None:
    assert await subject.state("one", alone=True) == ("one",)
    assert await subject.state("two") == ("two",)


async def test_halves_through_one_token_wait_for_one_that_came_otherwise(subject: Subject) -> None:
    await subject.state("a", "token-1")
    assert await subject.state("b", "token-1") == ("b",)
    assert await subject.state("c", "token-2") == ("a", "b", "c")
    assert await subject.state("d", "token-1") == ("d",)


async def test_several_acts_wait_beside_each_other(subject: Subject) -> None:
    await subject.state("one")
    assert await subject.state("two", act=OTHER) == ("two",)
    assert await subject.state("three") == ("one", "three")
    assert await subject.waiting() == {"two"}
    assert await subject.state("three", act=OTHER) == ("three", "two")


async def test_an_old_half_does_not_count_until_it_is_stated_again(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subject.state("one")
    monkeypatch.setattr(two_people, "VALID_FOR", timedelta(seconds=-1))  # a week has passed, and a second
    assert await subject.state("two", act=OTHER) == ("two",)
    assert await subject.waiting() == {"two"}  # the old one went with another act's half
    monkeypatch.undo()
    assert await subject.state("two") == ("two",)
    assert await subject.state("one") == ("one", "two")


async def test_halves_that_come_at_the_same_time_are_one_after_the_other(subject: Subject) -> None:
    async with asyncio.TaskGroup() as tasks:
        stated = [tasks.create_task(subject.state(name)) for name in ("one", "two", "three")]
    assert sorted(len(task.result()) for task in stated) == [1, 1, 2]
    assert len(await subject.waiting()) == 1


async def test_every_half_goes_where_all_are_forgotten(subject: Subject) -> None:
    await subject.state("one")
    await subject.state("two", act=OTHER)
    await two_people.forget_all("restored", "from-backup", subject.exchange)
    assert await subject.waiting() == set()
    assert await subject.state("two") == ("two",)


async def test_a_name_that_is_none_states_nothing(subject: Subject) -> None:
    with pytest.raises(SubmissionRefusedError):
        await subject.state("   ")
    assert await subject.waiting() == set()


# --- the command


def make_half(number: int = 1) -> Half:
    return Half(id=f"{number:032x}", act=b"a" * 32, by="one", stated_at=1_000)


def keep(kept: Half | None, gone: frozenset[str] = frozenset(), seen: Waiting = NOTHING) -> KeepHalves:
    return KeepHalves(kept=kept, gone=gone, seen=seen, entry=make_entry("approval", rows=of_halves(kept, gone)))


async def test_a_half_is_kept_as_it_was_stated(subject: Subject) -> None:
    await subject.exchange.store.write(keep(make_half()))
    assert await subject.exchange.halves.waiting() == Waiting(halves=(make_half(),), lost=frozenset())


async def test_what_was_decided_by_other_halves_is_refused_and_changes_nothing(subject: Subject) -> None:
    await subject.exchange.store.write(keep(make_half()))
    for seen in (NOTHING, Waiting(halves=(), lost=frozenset({make_half().id}))):
        with pytest.raises(HalvesMovedError):
            await subject.exchange.store.write(keep(make_half(2), frozenset({make_half().id}), seen))
    assert await subject.waiting() == {"one"}


async def test_a_half_that_no_entry_states_is_refused(subject: Subject) -> None:
    command = keep(make_half())
    for entry in (make_entry("approval"), make_entry("approval", rows=of_halves(make_half(2), ()))):
        with pytest.raises(RowsError):
            await subject.exchange.store.write(replace(command, entry=entry))
    assert await subject.waiting() == set()


async def test_a_half_that_goes_unstated_is_refused(subject: Subject) -> None:
    await subject.exchange.store.write(keep(make_half()))
    seen = await subject.exchange.halves.waiting()
    command = keep(None, seen.ids, seen)
    assert stated_in(command.entry) == of_halves(None, seen.ids)
    with pytest.raises(RowsError):
        await subject.exchange.store.write(replace(command, entry=make_entry("approval")))
    assert await subject.waiting() == {"one"}
