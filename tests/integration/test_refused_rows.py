"""A row that a reader refuses while the gateway runs: it is logged, and everything is compared with the log at once."""

from __future__ import annotations

from pathlib import Path

from gateway.app import Keys, Writing
from gateway.home import Home
from gateway.serving import compare_rows, tell_refused
from gateway.store.migrations import upgrade
from gateway.store.rows import DATABASE
from keys.keyset import KeySet
from tests.support.disk import OnDisk, on_disk, settle
from tests.support.exchange import Town, make_town_in_force
from tests.support.keys import make_secrets
from tests.support.messages import A, B
from tests.support.store import by_hand, rows, tamper


def running(disk: OnDisk, folder: Path) -> Writing:
    """The exchange as `serve` holds it; `settings` is asked for nothing here."""
    keys = Keys(home=Home(folder), gateway=KeySet(keys=make_secrets(B), secrets={}), index=b"")
    settings: object = None
    return Writing(
        exchange=disk.exchange,
        settings=settings,
        keys=keys,
        waker=[],
        writes=lambda: 0,
        comparison=disk.opened.comparison,
        triggers=disk.opened.triggers,
        refusals=disk.opened.refusals,
    )


def kinds(disk: OnDisk) -> list[tuple[str, str]]:
    """What is told of rows and triggers; that somebody else wrote at all is told besides."""
    told = rows(disk.path, "SELECT kind, outcome FROM log_entry WHERE kind = 'row-refused' ORDER BY idx")
    return [(kind, outcome) for kind, outcome in told if outcome != DATABASE]


async def in_force(disk: OnDisk, town: Town) -> bool:
    return await disk.exchange.agreements.get(town.digest) is not None


async def test_an_event_whose_mac_was_broken_takes_its_agreement_out_of_force_within_one_turn(tmp_path: Path) -> None:
    town = await make_town_in_force()
    upgrade(tmp_path / "gateway.sqlite")
    async with on_disk(town.b, tmp_path / "gateway.sqlite") as disk:
        await settle(disk, town.a)
        gateway = running(disk, tmp_path)
        assert (await compare_rows(gateway)).rows == ()
        tamper(disk.path, f"UPDATE agreement_event SET mac = x'00' WHERE org = '{A}'")  # noqa: S608 - a test's own words
        assert await in_force(disk, town)  # the one event counts as absent, and that is told
        await tell_refused(gateway)
        assert not await in_force(disk, town)
        assert kinds(disk) == [("row-refused", "agreement_event")]
        await tell_refused(gateway)
        assert kinds(disk) == [("row-refused", "agreement_event")]


async def test_a_dropped_trigger_is_alarmed_and_logged_once_and_stops_nothing(tmp_path: Path) -> None:
    town = await make_town_in_force()
    upgrade(tmp_path / "gateway.sqlite")
    async with on_disk(town.b, tmp_path / "gateway.sqlite") as disk:
        await settle(disk, town.a)
        gateway = running(disk, tmp_path)
        tamper(disk.path)  # all as it was afterwards
        await compare_rows(gateway)
        assert kinds(disk) == []
        by_hand(disk.path, "DROP TRIGGER log_entry_no_update")
        by_hand(disk.path, 'CREATE TABLE "A Name" (x)')
        by_hand(disk.path, 'CREATE TRIGGER odd AFTER INSERT ON "A Name" BEGIN SELECT 1; END')
        for _ in range(2):
            assert (await compare_rows(gateway)).rows == ()
        assert kinds(disk) == [("row-refused", "log_entry"), ("row-refused", "sqlite_master")]
        assert await in_force(disk, town)
