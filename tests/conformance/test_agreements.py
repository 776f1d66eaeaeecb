"""What a store owes agreements and their events: chains that do not fork, and heads that are their tips."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.errors import ConflictError, HeadsMovedError
from gateway.ports import AgreementRecord
from tests.conformance.steps import MUCH_LATER, OTHER_DIGEST, THIRD, log_size
from tests.conformance.subject import Subject
from tests.support.store import (
    DIGEST,
    OWN,
    PARTNER,
    ZEROS,
    at,
    make_event,
    make_file,
    make_heads,
    make_receive,
    make_submit,
)


async def held(subject: Subject) -> AgreementRecord:
    record = await subject.agreements.get(DIGEST)
    assert record is not None
    return record


async def test_an_agreement_is_read_back_with_the_bytes_that_were_signed(subject: Subject) -> None:
    second = make_event(1, org=PARTNER)
    await subject.store.write(second)
    record = await held(subject)
    assert record.file == make_file()
    assert set(record.events) == {make_event(1).event, second.event}
    assert await subject.agreements.all() == (record,)
    assert await subject.agreements.get(OTHER_DIGEST) is None


async def test_agreements_are_found_by_party(subject: Subject) -> None:
    other = make_file(THIRD, OWN, digest_=OTHER_DIGEST)
    await subject.store.write(make_event(1, file=other))
    assert [record.file for record in await subject.agreements.between(PARTNER)] == [make_file()]
    assert [record.file for record in await subject.agreements.between(THIRD)] == [other]
    assert len(await subject.agreements.between(OWN)) == 2
    assert await subject.agreements.between("la-904") == ()
    assert [event.digest for record in await subject.agreements.all() for event in record.events] == [
        record.file.digest for record in await subject.agreements.all()
    ]


async def test_the_same_event_again_changes_nothing(subject: Subject) -> None:
    assert await subject.store.write(make_event(1, push_to=PARTNER)) is False
    assert await log_size(subject) == 1
    assert len((await held(subject)).events) == 1
    assert await subject.outbox.owed(at(0), 10) == ()


async def test_an_event_needs_no_file_where_its_agreement_is_held(subject: Subject) -> None:
    assert await subject.store.write(replace(make_event(2), file=None)) is True
    assert [event.n for event in (await held(subject)).events] == [1, 2]


async def test_an_event_on_an_agreement_that_is_not_held_is_refused(subject: Subject) -> None:
    event = make_event(1, file=make_file(digest_=OTHER_DIGEST, version=2))
    with pytest.raises(ConflictError):
        await subject.store.write(replace(event, file=None))
    assert await subject.agreements.get(OTHER_DIGEST) is None
    assert await log_size(subject) == 1


@pytest.mark.parametrize(
    ("n", "own_head"),
    [
        (1, ZEROS),  # beside our first
        (2, ZEROS),  # after nothing, where there is one
        (2, make_event(2).event.hash),  # after one that is not held
        (3, make_event(1).event.hash),  # a place left out
        (1, make_event(1).event.hash),
        (0, make_event(1).event.hash),
    ],
)
async def test_an_own_event_that_would_fork_our_chain_is_refused(subject: Subject, n: int, own_head: str) -> None:
    before = await held(subject), subject.log()
    forking = make_event(n, data=b"another event", push_to=PARTNER)
    with pytest.raises(HeadsMovedError):
        await subject.store.write(replace(forking, own_head=own_head))
    assert (await held(subject), subject.log()) == before
    assert await subject.outbox.owed(at(MUCH_LATER), 10) == ()


async def test_of_two_own_events_written_after_the_same_one_the_second_is_refused(subject: Subject) -> None:
    first, second = make_event(2), make_event(2, data=b"written at the same time")
    assert await subject.store.write(first) is True
    with pytest.raises(HeadsMovedError):
        await subject.store.write(second)
    assert [event.hash for event in (await held(subject)).events] == [make_event(1).event.hash, first.event.hash]
    assert await subject.store.write(replace(make_event(3), own_head=first.event.hash)) is True


async def test_an_own_event_that_is_refused_leaves_no_agreement(subject: Subject) -> None:
    other = make_file(digest_=OTHER_DIGEST, version=2)
    with pytest.raises(HeadsMovedError):
        await subject.store.write(make_event(2, file=other))
    assert await subject.agreements.get(OTHER_DIGEST) is None
    assert await subject.store.write(make_event(1, file=other)) is True


async def test_an_own_event_held_already_is_no_fork_however_late_it_comes_again(subject: Subject) -> None:
    await subject.store.write(make_event(2))
    assert await subject.store.write(make_event(1)) is False
    assert await log_size(subject) == 2


async def test_our_chains_on_two_agreements_are_two(subject: Subject) -> None:
    other = make_file(digest_=OTHER_DIGEST, version=2)
    assert await subject.store.write(make_event(1, data=b"the first there", file=other)) is True
    assert await subject.store.write(make_event(2)) is True


async def test_an_own_event_is_not_written_after_a_fork(subject: Subject) -> None:
    fork = replace(make_event(1, data=b"another first event"), own_head=None)
    await subject.store.write(fork)
    for head in (make_event(1).event.hash, fork.event.hash):
        for n in (2, 3):
            with pytest.raises(HeadsMovedError):
                await subject.store.write(replace(make_event(n), own_head=head))


async def test_a_fork_is_kept_and_nothing_is_submitted_or_received_on_it(subject: Subject) -> None:
    fork = replace(make_event(1, data=b"another first event"), own_head=None)  # as a partner shows it to us
    assert await subject.store.write(fork) is True
    assert await subject.store.write(fork) is False
    assert {event.hash for event in (await held(subject)).events} == {make_event(1).event.hash, fork.event.hash}
    for head in (make_event(1).event.hash, fork.event.hash):
        with pytest.raises(HeadsMovedError):
            await subject.store.write(make_submit(heads=make_heads(a=head)))
        with pytest.raises(HeadsMovedError):
            await subject.store.write(make_receive(heads=make_heads(a=head)))


async def test_heads_are_the_tips_of_both_chains(subject: Subject) -> None:
    for n, org in ((2, PARTNER), (1, PARTNER), (2, OWN)):
        await subject.store.write(make_event(n, org=org))
    tips = make_heads(a=make_event(2).event.hash, b=make_event(2, org=PARTNER).event.hash)
    assert (await subject.store.write(make_submit(heads=tips))).index is not None
    for wrong in (make_heads(a=tips.b, b=tips.a), make_heads(a=tips.a), make_heads(b=tips.b)):
        with pytest.raises(HeadsMovedError):
            await subject.store.write(make_submit(heads=wrong))


async def test_an_own_event_is_owed_to_the_other_party_from_then_on(subject: Subject) -> None:
    await subject.store.write(make_event(2, push_to=PARTNER, now=at(30)))
    assert await subject.outbox.owed(at(29), 10) == ()
    (item,) = await subject.outbox.owed(at(30), 10)
    event = make_event(2).event
    assert (item.partner, item.kind, item.ref, item.data) == (PARTNER, "event", event.hash, event.jws)


async def test_another_file_with_the_same_id_and_version_between_the_same_parties_is_refused(subject: Subject) -> None:
    with pytest.raises(ConflictError):
        await subject.store.write(make_event(1, file=make_file(digest_=OTHER_DIGEST)))
    assert [record.file for record in await subject.agreements.all()] == [make_file()]
    assert await log_size(subject) == 1


async def test_the_same_id_and_version_with_another_partner_is_another_agreement(subject: Subject) -> None:
    other = make_file(OWN, THIRD, digest_=OTHER_DIGEST)
    assert await subject.store.write(make_event(1, file=other)) is True
    assert len(await subject.agreements.all()) == 2
