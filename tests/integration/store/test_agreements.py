"""Agreements and their events as stored: kept once, forks kept, tampered rows absent."""

from __future__ import annotations

import pytest

from gateway.core.errors import ConflictError, HeadsMovedError
from gateway.ports import AgreementRecord
from gateway.store.rows import TAMPERED
from tests.support.store import (
    DIGEST,
    OWN,
    PARTNER,
    Lab,
    at,
    make_event,
    make_file,
    make_heads,
    make_submit,
    rows,
    tamper,
)


async def held(lab: Lab) -> AgreementRecord:
    record = await lab.open.read.agreements.get(DIGEST)
    assert record is not None
    return record


async def test_an_agreement_is_read_back_with_the_bytes_that_were_signed(lab: Lab) -> None:
    second = make_event(1, org=PARTNER)
    await lab.open.store.write(second)
    record = await held(lab)
    assert record.file == make_file()
    assert record.events == (make_event(1).event, second.event)
    assert await lab.open.read.agreements.all() == (record,)
    assert await lab.open.read.agreements.get("sha256:" + "0" * 64) is None


async def test_the_same_event_again_changes_nothing(lab: Lab) -> None:
    assert await lab.open.store.write(make_event(1)) is False
    assert rows(lab.path, "SELECT count(*) FROM log_entry") == [(1,)]


async def test_two_events_with_one_number_are_both_kept_and_nothing_is_submitted_on_a_fork(lab: Lab) -> None:
    fork = make_event(1, data=b"another first event")
    assert await lab.open.store.write(fork) is True
    assert len((await held(lab)).events) == 2
    for head in (make_event(1).event.hash, fork.event.hash):
        with pytest.raises(HeadsMovedError):
            await lab.open.store.write(make_submit(heads=make_heads(a=head)))


async def test_heads_are_the_tips_of_both_chains(lab: Lab) -> None:
    for n, org in ((1, PARTNER), (2, OWN), (2, PARTNER)):
        await lab.open.store.write(make_event(n, org=org))
    tips = make_heads(a=make_event(2).event.hash, b=make_event(2, org=PARTNER).event.hash)
    assert (await lab.open.store.write(make_submit(heads=tips))).index is not None
    with pytest.raises(HeadsMovedError):
        await lab.open.store.write(make_submit(heads=make_heads(a=tips.b, b=tips.a)))


async def test_an_event_in_the_same_batch_moves_the_heads(lab: Lab) -> None:
    gate = lab.open.store.submit(make_submit())
    event, late = lab.open.store.submit(make_event(2)), lab.open.store.submit(make_submit(lane=b"other"))
    assert gate.result(10).repeated is False
    assert event.result(10) is True
    with pytest.raises(HeadsMovedError):
        late.result(10)


async def test_an_own_event_is_owed_to_the_other_party(lab: Lab) -> None:
    await lab.open.store.write(make_event(2, push_to=PARTNER))
    (item,) = await lab.open.read.outbox.owed(at(0), 10)
    event = make_event(2).event
    assert (item.partner, item.kind, item.ref, item.data) == (PARTNER, "event", event.hash, event.jws)


async def test_another_file_with_the_same_id_and_version_between_the_same_parties_is_refused(lab: Lab) -> None:
    other = make_file(digest_="sha256:" + "cd" * 32)
    with pytest.raises(ConflictError):
        await lab.open.store.write(make_event(1, file=other))
    assert len(await lab.open.read.agreements.all()) == 1


async def test_the_same_id_and_version_with_another_partner_is_another_agreement(lab: Lab) -> None:
    other = make_file(OWN, "la-903", digest_="sha256:" + "cd" * 32)
    assert await lab.open.store.write(make_event(1, file=other)) is True
    assert len(await lab.open.read.agreements.all()) == 2


async def test_an_event_changed_in_the_database_counts_as_absent_and_raises_the_alarm(lab: Lab) -> None:
    await lab.open.store.write(make_event(2))
    tamper(lab.path, "UPDATE agreement_event SET jws = x'00' WHERE n = 2")
    assert [event.n for event in (await held(lab)).events] == [1]
    assert lab.alarms.raised[-1][0] == TAMPERED
    assert (await lab.open.store.write(make_submit())).index is not None  # the heads are those without it


async def test_an_event_planted_in_the_database_counts_as_absent(lab: Lab) -> None:
    tamper(
        lab.path,
        "INSERT INTO agreement_event SELECT digest, 'la-902', n, hash, jws, received_at, mac FROM agreement_event",
    )
    assert {event.org for event in (await held(lab)).events} == {OWN}


async def test_an_event_that_was_tampered_with_is_mended_when_it_comes_again(lab: Lab) -> None:
    tamper(lab.path, "UPDATE agreement_event SET jws = x'00'")
    assert (await held(lab)).events == ()
    assert await lab.open.store.write(make_event(1)) is True
    assert (await held(lab)).events == (make_event(1).event,)


async def test_an_agreement_changed_in_the_database_counts_as_absent(lab: Lab) -> None:
    tamper(lab.path, "UPDATE agreement SET party_b = 'la-903'")
    assert await lab.open.read.agreements.get(DIGEST) is None
    assert await lab.open.read.agreements.all() == ()
    with pytest.raises(HeadsMovedError):
        await lab.open.store.write(make_submit())
    await lab.open.store.write(make_event(2))  # brings the file again
    assert (await held(lab)).file == make_file()
