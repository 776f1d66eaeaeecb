"""Opening the store: reading beside the writer, and what survives closing."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.store.opening import StoreKeys, open_readonly
from gateway.store.vault import VaultError
from tests.support.store import KEYS, OWN, Alarms, Lab, make_submit, open_lab


async def test_a_reading_command_sees_what_the_running_store_has_committed(lab: Lab) -> None:
    async with open_readonly(lab.path, own=OWN, keys=KEYS, alarm=Alarms()) as read:
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
    async with open_readonly(database, own=OWN, keys=keys, alarm=alarms) as read:
        assert await read.agreements.all() == ()
    assert alarms.raised != []


async def test_without_the_key_encryption_key_no_content_opens(lab: Lab) -> None:
    submit = make_submit()
    await lab.open.store.write(submit)
    keys = StoreKeys(append=KEYS.append, store=KEYS.store, kek=b"x" * 32)
    async with open_readonly(lab.path, own=OWN, keys=keys, alarm=Alarms()) as read:
        with pytest.raises(VaultError):
            await read.outbox.message(submit.message.id)
        (listed,) = await read.overview.outbox(10)
        assert (listed.id, listed.envelope, listed.inner) == (submit.message.id, b"", b"")


def test_keys_are_not_shown() -> None:
    assert repr(KEYS) == "StoreKeys()"
