"""Opening the store: reading beside the writer, and what survives closing."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.errors import SafehandError
from gateway.store.opening import SchemaError, StoreKeys, open_readonly
from gateway.store.sqlite import SqliteVersionError, StoreUnavailableError
from gateway.store.vault import VaultError
from tests.support.store import KEYS, ORIGIN, OWN, Alarms, Lab, make_submit, open_lab


async def test_a_reading_command_sees_what_the_running_store_has_committed(lab: Lab) -> None:
    async with open_readonly(lab.path, own=OWN, origin=ORIGIN, keys=KEYS, alarm=Alarms()) as read:
        for number in range(1, 4):
            await lab.open.store.write(make_submit())
            assert (await read.overview.counts())["outbound.queued"] == number


async def test_what_was_written_is_there_when_the_store_is_opened_again(database: Path) -> None:
    submit = make_submit()
    async with open_lab(database) as lab:
        await lab.open.store.write(submit)
    async with open_lab(database, agreement=False) as lab:
        stored = await lab.open.read.outbox.message(submit.message.id)
        assert stored is not None
        assert stored.inner == submit.inner


async def test_without_the_store_key_no_row_that_decides_is_believed(database: Path) -> None:
    async with open_lab(database):
        pass
    alarms = Alarms()
    keys = StoreKeys(append=KEYS.append, store=b"x" * 32, kek=KEYS.kek)
    async with open_readonly(database, own=OWN, origin=ORIGIN, keys=keys, alarm=alarms) as read:
        assert await read.agreements.all() == ()
    assert alarms.raised != []


async def test_without_the_key_encryption_key_no_content_opens(lab: Lab) -> None:
    submit = make_submit()
    await lab.open.store.write(submit)
    keys = StoreKeys(append=KEYS.append, store=KEYS.store, kek=b"x" * 32)
    async with open_readonly(lab.path, own=OWN, origin=ORIGIN, keys=keys, alarm=Alarms()) as read:
        with pytest.raises(VaultError):
            await read.outbox.message(submit.message.id)
        (listed,) = await read.overview.outbox(10)
        assert (listed.id, listed.envelope, listed.inner) == (submit.message.id, b"", b"")


async def test_a_file_that_is_no_database_is_a_problem_to_show_and_not_a_bug(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite"
    path.write_bytes(b"no database at all " * 1_000)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        async with open_readonly(path, own=OWN, origin=ORIGIN, keys=KEYS, alarm=Alarms()):
            pass
    with pytest.raises(StoreUnavailableError, match="not a database"):
        async with open_lab(path):
            pass


async def test_a_database_that_cannot_be_opened_is_a_problem_to_show_and_not_a_bug(database: Path) -> None:
    database.with_name(database.name + "-wal").mkdir()
    with pytest.raises(StoreUnavailableError, match="unable to open database file"):
        async with open_readonly(database, own=OWN, origin=ORIGIN, keys=KEYS, alarm=Alarms()):
            pass


@pytest.mark.parametrize("kind", [SchemaError, SqliteVersionError, StoreUnavailableError, VaultError])
def test_what_the_store_refuses_is_shown_under_a_code_of_its_own(kind: type[SafehandError]) -> None:
    assert issubclass(kind, SafehandError)
    assert kind.code != SafehandError.code


def test_keys_are_not_shown() -> None:
    assert repr(KEYS) == "StoreKeys()"
