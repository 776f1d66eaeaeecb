"""Aim: profit from what a busy gateway remembers: a key, a trust or an agreement that ended a moment ago.

Held off by asking the database for every message anew. What is remembered is remembered by the very bytes whose signature
was checked, and their time and revocation are asked each time; so a change counts for the next message, however many
went well before it.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.events import Action
from gateway import inbound, partner_keys
from gateway.core.errors import EnvelopeRejectedError
from gateway.core.receipt import read_receipt
from gateway.store.migrations import upgrade
from gateway.store.readers import CONNECTIONS
from gateway.store.rows import TAMPERED
from keys.fingerprint import to_text
from tests.support.disk import OnDisk, on_disk, settle
from tests.support.exchange import Town, make_message, make_town_in_force
from tests.support.keys import NOW, make_bundle, make_revocation
from tests.support.messages import A, C, bundle_of
from tests.support.store import rows, tamper

BUSY = 2 * CONNECTIONS  # messages before the attack: every reading thread has seen every row


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("at-once") / "template.sqlite"
    upgrade(path)
    return path


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


@pytest.fixture
async def busy(town: Town, migrated: Path, tmp_path: Path) -> AsyncIterator[OnDisk]:
    """The receiving council on a real database, after many messages went well."""
    path = tmp_path / "gateway.sqlite"
    shutil.copyfile(migrated, path)
    async with on_disk(town.b, path) as disk:
        await settle(disk, town.a)
        for number in range(BUSY):
            assert await bring(disk, town, number) == ("checked", None)
        yield disk


async def bring(disk: OnDisk, town: Town, number: int) -> tuple[str, object]:
    """Bring another message; answer what its receipt says."""
    key = f"019bbd3c-8ac0-7abc-8def-{number:012x}"
    data = await make_message(town, id=key)
    receipt = await inbound.accept(inbound.Arrival(data=data, http_org=A, idempotency_key=key), disk.exchange)
    payload = read_receipt(receipt).payload
    return payload.event, payload.code or None


async def test_revoked_key_signs_no_further_message(busy: OnDisk, town: Town) -> None:
    revoked = (make_revocation(bundle_of(A).pairs[0].kids[0], since=NOW - 3600),)
    partner = await busy.exchange.partners.get(A)
    assert partner is not None
    newer = make_bundle(A, history=(bundle_of(A),), revoked=revoked).jws
    await partner_keys.keep_bundles(partner, (newer,), town.clock(), busy.exchange)
    with pytest.raises(EnvelopeRejectedError) as refused:
        await bring(busy, town, BUSY)
    assert refused.value.step == "10"


async def test_suspended_agreement_lets_no_further_message_in(busy: OnDisk, town: Town) -> None:
    await town.act(town.a, Action.SUSPEND, push=False)
    await partner_keys.keep_event(town.a.memory.events[-1].jws, from_org=A, exchange=busy.exchange)
    assert await bring(busy, town, BUSY) == ("rejected", "agreement")


async def test_partner_whose_row_was_swapped_is_a_stranger_at_the_next_message(busy: OnDisk, town: Town) -> None:
    tamper(busy.path, f"UPDATE partner SET root = '{to_text(bundle_of(C).fingerprint)}'")  # noqa: S608 - hex
    with pytest.raises(EnvelopeRejectedError):
        await bring(busy, town, BUSY)


async def test_partner_whose_keys_were_swapped_is_a_stranger_at_the_next_message(busy: OnDisk, town: Town) -> None:
    tamper(busy.path, f"UPDATE bundle SET jws = x'{bundle_of(C).jws.hex()}' WHERE org = '{A}'")  # noqa: S608 - hex
    with pytest.raises(EnvelopeRejectedError):
        await bring(busy, town, BUSY)


async def test_event_whose_bytes_were_swapped_is_asked_for_again_at_the_next_message(busy: OnDisk, town: Town) -> None:
    """The mac of the row fails, so the event counts as absent: its organisation has it, and the message waits for that."""
    ask = f"SELECT jws FROM agreement_event WHERE org = '{A}'"  # noqa: S608 - a test's own words
    good = rows(busy.path, ask)
    tamper(busy.path, f"UPDATE agreement_event SET jws = x'00' WHERE org = '{A}'")  # noqa: S608 - a test's own words
    assert await bring(busy, town, BUSY) == ("checked", None)
    assert TAMPERED in [code for code, _ in busy.alarms.raised]
    assert rows(busy.path, ask) == good
