"""Halves of acts at rest: what stands in the tables, what outlives a restart, what a rollback leaves. What somebody who
writes to the database can do to them is in `tests.attacks.test_administrator`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command

from gateway import erasure, partners, protection, two_people
from gateway.core.deciding import of_halves
from gateway.core.erasure import AtEntry
from gateway.core.halves import Half, KeepHalves
from gateway.store import migrations
from gateway.store.sqlite import writer_engine
from tests.support.disk import OnDisk, meet, on_disk, publish
from tests.support.exchange import Gateway, make_town
from tests.support.messages import A
from tests.support.store import Lab, make_entry, rows

ACT = ("protection-remove", "location", "00")


@pytest.fixture
def gateway() -> Gateway:
    return make_town().b


@asynccontextmanager
async def started(gateway: Gateway, path: Path) -> AsyncIterator[OnDisk]:
    """As `serve` starts: everything is compared first, and nothing may be found."""
    async with on_disk(gateway, path) as disk:
        found = disk.opened.comparison.run()
        assert (found.rows, found.log) == ((), ())
        yield disk
        assert disk.alarms.raised == []


async def state(disk: OnDisk, name: str, act: tuple[str, ...] = ACT) -> tuple[str, ...]:
    return await two_people.confirm(act, name, disk.exchange, now=disk.exchange.clock(), alone=False)


async def test_a_half_waits_over_a_restart(gateway: Gateway, database: Path) -> None:
    async with started(gateway, database) as disk:
        await state(disk, "one")
    async with started(gateway, database) as disk:
        assert await state(disk, "two") == ("one", "two")
    async with started(gateway, database) as disk:
        assert await state(disk, "two") == ("two",)


async def test_a_half_of_a_log_that_nobody_compared_does_not_count_and_raises_no_alarm(
    gateway: Gateway, database: Path
) -> None:
    async with started(gateway, database) as disk:
        await state(disk, "one")
    async with on_disk(gateway, database) as disk:
        assert await state(disk, "two") == ("two",)
        assert disk.alarms.raised == []


async def test_who_stated_a_half_is_in_no_table_in_the_clear(gateway: Gateway, database: Path) -> None:
    name, token = "Officer Wilhelmina", "token-3f9a55c1"
    async with started(gateway, database) as disk:
        await two_people.confirm(ACT, name, disk.exchange, now=disk.exchange.clock(), alone=False, through=token)
        assert (await disk.exchange.halves.waiting()).halves[0].by == f"{name.casefold()}\n{token}"
    held = b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))
    for text in (name, name.casefold(), "wilhelmina", token):
        assert text.encode() not in held


async def test_a_half_whose_name_was_erased_from_the_log_still_counts(gateway: Gateway, database: Path) -> None:
    async with started(gateway, database) as disk:
        await state(disk, "one")
        await erasure.erase(AtEntry(index=0), "retention", disk.exchange, by="An Officer")
        assert rows(disk.path, "SELECT field FROM log_detail WHERE entry_idx = 0") == [("rows",)]
    async with started(gateway, database) as disk:
        assert await state(disk, "two") == ("one", "two")


async def test_a_half_that_nobody_completes_stays_without_an_alarm(
    gateway: Gateway, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(gateway, database) as disk:
        await state(disk, "one")
    monkeypatch.setattr(two_people, "VALID_FOR", -two_people.VALID_FOR)  # it has ended
    async with started(gateway, database) as disk:
        assert await state(disk, "two", (*ACT, "other")) == ("two",)
        found = disk.opened.comparison.run()
        assert found.rows == ()
    assert len(rows(database, "SELECT id FROM intention")) == 1


class _KilledError(Exception):
    """Stands for the end of the process."""


async def test_killed_between_the_second_half_and_the_act_both_state_it_again(
    gateway: Gateway, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child, kinds = {"child": {"upn": "A123456789012"}}, frozenset({"location"})

    async def killed(*_: object, **__: object) -> int:
        raise _KilledError

    async def remove(disk: OnDisk, by: str) -> int:
        return (await protection.remove(child, kinds, disk.exchange, by=by, alone=False))[0]

    async with started(gateway, database) as disk:
        await protection.add(child, kinds, disk.exchange, by="An Officer")
        await remove(disk, "one")
        with monkeypatch.context() as patch:
            patch.setattr(protection, "_write", killed)
            with pytest.raises(_KilledError):
                await remove(disk, "two")
    async with started(gateway, database) as disk:
        assert await remove(disk, "two") == 0
        assert await remove(disk, "one") > 0


async def test_halves_of_a_batch_that_is_rolled_back_are_as_they_were(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an entry states counts from the commit on: a writer that failed once must not refuse the half that is there."""
    half = Half(id="0" * 32, act=b"a" * 32, by="one", stated_at=1_000)
    seen = await lab.open.read.halves.waiting()
    await lab.open.store.write(
        KeepHalves(kept=half, gone=frozenset(), seen=seen, entry=make_entry("approval", rows=of_halves(half, ())))
    )
    seen = await lab.open.read.halves.waiting()
    used = KeepHalves(kept=None, gone=seen.ids, seen=seen, entry=make_entry("approval", rows=of_halves(None, seen.ids)))
    broken = replace(used, entry=replace(used.entry, at_us="none"))  # no number: the log cannot take it
    with pytest.raises(TypeError):
        await lab.open.store.write(broken)
    assert (await lab.open.read.halves.waiting()).halves == (half,)
    await lab.open.store.write(used)
    assert lab.alarms.raised == []


async def test_halves_of_before_the_log_stated_them_are_gone_after_the_upgrade(
    gateway: Gateway, tmp_path: Path
) -> None:
    path = tmp_path / "old.sqlite"
    config = migrations._config()
    engine = writer_engine(path)
    with engine.begin() as connection:
        config.attributes[migrations.CONNECTION] = connection
        command.upgrade(config, "0005")
        connection.exec_driver_sql("INSERT INTO intention VALUES (x'aa', 'an officer', 1000, x'bb')")
    engine.dispose()
    migrations.upgrade(path)
    async with started(gateway, path) as disk:
        assert await state(disk, "two") == ("two",)
    assert b"an officer" not in path.read_bytes()


async def test_both_names_are_told_of_a_partner_that_two_people_verified(gateway: Gateway, database: Path) -> None:
    async with started(gateway, database) as disk:
        await publish(disk)
        await meet(disk, A)
        assert (await partners.get(A, disk.exchange)).verified_by == ("a first person", "a second person")
    entries = [bytes(entry) for (entry,) in rows(database, "SELECT entry FROM log_entry")]
    assert all(b"person" not in entry for entry in entries)
    assert [json.loads(entry)["kind"] for entry in entries].count("approval") == 2
