"""What the running gateway does by the clock, where it is no flow's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import auditing, backups, returning, serving
from gateway.auditing import LogReport
from gateway.core.commands import Record
from gateway.home import Home
from gateway.ports import Exchange
from gateway.tlog.fsck import Problem
from gateway.vitals import Vitals
from gateway.worker import guarded
from tests.support.exchange import make_town
from tests.support.store import make_entry


async def test_an_entry_altered_long_after_it_was_signed_is_told_by_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = tuple(Problem(index=n, column="entry", rule="not what its leaf hash was made of") for n in range(40))

    async def verified(home: Home) -> LogReport:
        return LogReport(entries=100, problems=faults if home.path == tmp_path else ())

    monkeypatch.setattr(auditing, "verify_log", verified)
    town = make_town()
    await serving.verify_whole(Home(tmp_path), town.a.exchange)
    assert town.a.alarms == ["log-altered"] * serving.FAULTS_TOLD
    await serving.verify_whole(Home(tmp_path / "sound"), town.b.exchange)
    assert town.b.alarms == []


async def test_rows_of_messages_that_are_not_as_logged_are_an_entry_for_each_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ("message.state", "message.type", "lane.head_delivery", "entry")

    async def verified(_: Home) -> LogReport:
        return LogReport(
            entries=9, problems=tuple(Problem(index=1, column=one, rule="not as logged") for one in columns)
        )

    monkeypatch.setattr(auditing, "verify_log", verified)
    town = make_town()
    await serving.verify_whole(Home(tmp_path), town.a.exchange)
    assert town.a.alarms == ["log-altered"] * len(columns)
    assert [(one.kind, one.outcome) for one in town.a.memory.log] == [
        ("row-refused", "lane"),
        ("row-refused", "message"),
    ]


async def test_partner_that_is_away_is_told_once_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, town = Home(tmp_path), make_town()
    home.restored.parent.mkdir()
    backups.write_mark(home, backups.Restored(created=1, size=7, logged=True))

    async def away(_: Exchange) -> tuple[str, ...]:
        return (town.b.own,)

    monkeypatch.setattr(returning, "catch_up", away)
    for _ in range(60):
        await serving._return(home, town.a.exchange)
        town.clock.forward(minutes=1)
    assert town.a.alarms == ["restored"]
    await serving._return(home, town.a.exchange)
    assert town.a.alarms == ["restored"] * 2
    assert backups.read_mark(home) is not None


async def test_log_is_verified_before_partners_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def intact() -> bool:
        return True

    home, exchange = Home(tmp_path), replace(make_town().a.exchange, sign_log=intact)
    home.restored.parent.mkdir()
    backups.write_mark(home, backups.Restored(created=1, size=7, logged=True))
    vitals = Vitals(
        clock=exchange.clock, revision="", folder=tmp_path, floor=0, certificate=tmp_path / "none", writes=lambda: 0
    )
    verified: list[int | None] = []

    async def asked(_: Exchange) -> tuple[str, ...]:
        verified.append(vitals.process().verified_at)
        return ()

    monkeypatch.setattr(returning, "catch_up", asked)
    await serving._come_back(home, exchange, vitals, asyncio.Event())
    assert verified == [int(exchange.clock().timestamp())]


async def test_stop_ends_the_waiting_for_partners_at_once() -> None:
    stop, begun, given_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def waits_for_ever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(serving._unless(stop, lambda: guarded("return", waits_for_ever)))
        await begun.wait()
        assert not waiting.done()
        stop.set()
    assert given_up.is_set()


async def test_fault_while_returning_ends_nothing() -> None:
    async def breaks() -> None:
        raise RuntimeError

    async with asyncio.timeout(5):
        await serving._unless(asyncio.Event(), lambda: guarded("return", breaks))


async def test_keys_that_only_seem_out_of_force_are_blamed_on_the_clock() -> None:
    town = make_town()
    await town.a.memory.write(Record(entry=make_entry(when=town.clock())))
    assert await serving._behind(town.a.exchange) is None
    town.clock.forward(days=-1)
    told = await serving._behind(town.a.exchange)
    assert told is not None
    assert "the clock is 1 day, 0:00:00 behind the newest entry of the log" in told
