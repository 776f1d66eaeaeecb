"""Agreements and their events in the tables: tampered rows absent, one batch. The rest is in `tests.conformance`."""

from __future__ import annotations

import pytest

from gateway.core.errors import HeadsMovedError, StoreChangedError
from gateway.ports import AgreementRecord
from gateway.store.rows import TAMPERED
from tests.support.store import (
    DIGEST,
    OWN,
    Lab,
    make_event,
    make_file,
    make_submit,
    tamper,
)


async def held(lab: Lab) -> AgreementRecord:
    record = await lab.open.read.agreements.get(DIGEST)
    assert record is not None
    return record


async def test_an_event_in_the_same_batch_moves_the_heads(lab: Lab) -> None:
    gate = lab.open.store.submit(make_submit())
    event, late = lab.open.store.submit(make_event(2)), lab.open.store.submit(make_submit(lane=b"other"))
    assert gate.result(10).repeated is False
    assert event.result(10) is True
    with pytest.raises(HeadsMovedError):
        late.result(10)


async def test_of_two_own_events_at_once_the_second_is_refused_and_a_third_after_the_first_is_kept(lab: Lab) -> None:
    gate = lab.open.store.submit(make_submit())
    first, fork = lab.open.store.submit(make_event(2)), lab.open.store.submit(make_event(2, data=b"at the same time"))
    third = lab.open.store.submit(make_event(3))
    assert gate.result(10).repeated is False
    assert (first.result(10), third.result(10)) == (True, True)
    with pytest.raises(HeadsMovedError):
        fork.result(10)
    assert [event.n for event in (await held(lab)).events] == [1, 2, 3]


async def test_an_event_changed_in_the_database_counts_as_absent_and_raises_the_alarm(lab: Lab) -> None:
    await lab.open.store.write(make_event(2))
    tamper(lab.path, "UPDATE agreement_event SET jws = x'00' WHERE n = 2")
    assert [event.n for event in (await held(lab)).events] == [1]
    assert lab.alarms.raised[-1][0] == TAMPERED
    with pytest.raises(StoreChangedError):
        await lab.open.store.write(make_submit())
    with pytest.raises(HeadsMovedError):  # the log says that there is one event more
        await lab.open.store.write(make_submit())


async def test_an_event_planted_in_the_database_counts_as_absent(lab: Lab) -> None:
    tamper(
        lab.path,
        "INSERT INTO agreement_event SELECT digest, 'la-902', n, hash, jws, received_at, mac FROM agreement_event",
    )
    assert {event.org for event in (await held(lab)).events} == {OWN}


async def test_an_event_that_was_tampered_with_is_mended_when_it_comes_again(lab: Lab) -> None:
    tamper(lab.path, "UPDATE agreement_event SET jws = x'00'")
    assert (await held(lab)).events == ()
    with pytest.raises(StoreChangedError):
        await lab.open.store.write(make_event(1))
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
