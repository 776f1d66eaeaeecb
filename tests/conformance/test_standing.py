"""What `Overview.standing` counts; run over `gateway.store` and over the fake."""

from __future__ import annotations

from typing import Any

from gateway.core import deciding
from gateway.core.commands import AddBundle, Hold, PutCheckpoint, Submit
from gateway.core.retry import DeadLetter
from gateway.ports import Standing
from tests.conformance.subject import Subject
from tests.support.keys import make_bundle
from tests.support.store import (
    PARTNER,
    at,
    make_claim,
    make_entry,
    make_fail,
    make_receive,
    make_submit,
    seconds,
)

DAY = 86_400


async def standing(subject: Subject, now: float = 0) -> Standing:
    return await subject.overview.standing(at(now))


def counted(standing: Standing) -> dict[tuple[str, str, str], int]:
    return {(pile.direction, pile.partner, pile.state): pile.count for pile in standing.piles}


async def submitted(subject: Subject, **more: Any) -> Submit:
    submit = make_submit(**more)
    await subject.store.write(submit)
    return submit


async def test_a_new_store_has_its_first_entry_and_nothing_else(subject: Subject) -> None:
    found = await standing(subject)
    assert (found.piles, found.held, found.owed, found.owed_since, found.ahead) == ((), {}, {}, None, {})
    assert (found.log_size, found.log_at, found.checkpoint, found.signed_at) == (1, seconds(), None, None)


async def test_messages_are_counted_by_direction_partner_and_state(subject: Subject) -> None:
    await submitted(subject, lane=b"1")
    await submitted(subject, lane=b"2")
    await submitted(subject, lane=b"3", partner="la-903")
    await subject.store.write(make_receive())
    await subject.store.write(make_receive(refused=True))
    assert counted(await standing(subject)) == {
        ("out", PARTNER, "queued"): 2,
        ("out", "la-903", "queued"): 1,
        ("in", PARTNER, "received"): 1,
        ("in", PARTNER, "refused"): 1,
    }


async def test_the_oldest_of_a_pile_and_those_of_a_week_are_told(subject: Subject) -> None:
    await submitted(subject, lane=b"1", when=at(0), expires=at(99 * DAY))
    await submitted(subject, lane=b"2", when=at(5 * DAY), expires=at(99 * DAY))
    (pile,) = (await standing(subject, 8 * DAY)).piles
    assert (pile.count, pile.recent, pile.oldest, pile.urgent) == (2, 1, seconds(), False)


async def test_held_messages_are_counted_under_each_of_their_codes(subject: Subject) -> None:
    for codes in (("agreement.not-in-force",), ("agreement.not-in-force", "partner.keys-stale")):
        submit = await submitted(subject, lane="".join(codes).encode())
        await subject.store.write(
            Hold(
                message_id=submit.message.id,
                codes=codes,
                entry=make_entry("held", msg=submit.message.id),
                look_again=at(60),
            )
        )
    assert (await standing(subject)).held == {"agreement.not-in-force": 2, "partner.keys-stale": 1}


async def test_dead_letters_are_messages_in_state_dead(subject: Subject) -> None:
    submit = await submitted(subject)
    (candidate,) = await subject.outbox.due(at(), 20)
    lease = await subject.store.write(make_claim(candidate))
    assert lease is not None
    await subject.store.write(make_fail(lease, submit.message.id, DeadLetter()))
    assert counted(await standing(subject)) == {("out", PARTNER, "dead"): 1}


async def test_what_is_owed_is_counted_by_state(subject: Subject) -> None:
    bundle = make_bundle()
    await subject.store.write(
        AddBundle(
            org=bundle.org,
            seq=bundle.seq,
            jws=bundle.jws,
            fetched_at=seconds(),
            entry=make_entry(
                "key-bundle-published",
                rows=deciding.of_bundle(org=bundle.org, seq=bundle.seq, jws=bundle.jws),
            ),
            broadcast_to=(PARTNER, "la-903"),
        )
    )
    assert (await standing(subject)).owed == {"ready": 2}


async def test_the_newest_checkpoint_is_told_with_its_root(subject: Subject) -> None:
    for size, root in ((1, b"r" * 32), (2, b"s" * 32)):
        await subject.store.write(PutCheckpoint(size=size, root=root, note="note", signed_at=seconds() + size))
    found = await standing(subject)
    assert (found.checkpoint, found.signed_at) == ((2, b"s" * 32), seconds() + 2)
