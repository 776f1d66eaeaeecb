"""What a store owes daily statements; run over `gateway.store` and over the fake that the tests of the flows use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import UNSET

from gateway.core import daily
from gateway.core.commands import Complete, PutCheckpoint, Receive
from gateway.core.daily import Difference, Head, Item, KeepStatement, NoteDifference, StatementPayload
from gateway.core.errors import NotYetError
from gateway.core.lifecycle import State
from tests.conformance.subject import Subject
from tests.support.store import (
    ORIGIN,
    OWN,
    PARTNER,
    START,
    at,
    digest,
    make_claim,
    make_entry,
    make_receipt_in,
    make_receive,
    make_submit,
    message_id,
    seconds,
)

LATER = at(1_000_000)
ROOT = b"r" * 32


async def delivered(subject: Subject) -> Item:
    """An own message that the partner has, with its receipt."""
    submit = make_submit(lane=message_id().encode())
    own = submit.message.id
    await subject.store.write(submit)
    [candidate] = [one for one in await subject.outbox.due(at(), 50) if one.message_id == own]
    lease = await subject.store.write(make_claim(candidate))
    assert lease is not None
    entries = {
        state: make_entry(state.value, msg=own, dir="out", partner=PARTNER)
        for state in (State.DELIVERED, State.TAKEN, State.COLLECTED, State.REJECTED)
    }
    await subject.store.write(
        Complete(lease=lease, message_id=own, receipt=make_receipt_in(own), entries=entries, now=START, ms=1)
    )
    return Item(id=own, env=submit.message.env)


async def received(subject: Subject, *, refused: bool = False) -> Item:
    receive: Receive = make_receive(refused=refused)
    await subject.store.write(receive)
    return Item(id=receive.message.id, env=receive.message.env)


async def signed(subject: Subject, size: int | None = None) -> int:
    size = size or (await subject.overview.counts())["log.size"]
    await subject.store.write(PutCheckpoint(size=size, root=ROOT, note="a note", signed_at=seconds()))
    return size


def make_keep(
    n: int = 1,
    dir_: str = "in",
    *,
    sent: tuple[Item, ...] = (),
    received: tuple[Item, ...] = (),
    rejected: tuple[Item, ...] = (),
) -> KeepStatement:
    data = f"statement {dir_} {n}".encode()
    payload = StatementPayload(
        v=1,
        id=message_id(),
        org=PARTNER if dir_ == "in" else OWN,
        sig=("A" * 43, "A" * 43),
        bundle=digest(b"bundle"),
        partner=OWN if dir_ == "in" else PARTNER,
        n=n,
        prev=UNSET if n == 1 else digest(b"before"),
        from_=seconds(),
        to=seconds() + n,
        sent=daily.ascending(sent),
        received=daily.ascending(received),
        rejected=daily.ascending(rejected),
        head=Head(origin=ORIGIN, size=n, root=digest(b"root")),
    )
    kind = "statement-received" if dir_ == "in" else "statement-sent"
    return KeepStatement(
        dir="in" if dir_ == "in" else "out",
        partner=PARTNER,
        payload=payload,
        digest=digest(data),
        data=data,
        entry=make_entry(kind, dir="own", partner=PARTNER),
        now=START,
    )


async def test_a_window_ends_at_a_checkpoint_and_holds_what_the_log_says(subject: Subject) -> None:
    assert await subject.statements.window(PARTNER, 0) is None
    sent, got, refused = await delivered(subject), await received(subject), await received(subject, refused=True)
    size = await signed(subject)
    await received(subject)  # after the checkpoint: for the next statement
    window = await subject.statements.window(PARTNER, 0)
    assert window is not None
    assert (window.sent, window.received, window.rejected) == ((sent,), (got,), (refused,))
    assert (window.head.size, window.head.root, window.more) == (size, f"sha256:{ROOT.hex()}", False)
    assert window.head.origin == ORIGIN
    assert await subject.statements.window(PARTNER, size) is None
    assert await subject.statements.window("la-999", 0) is not None


async def test_a_message_that_is_only_queued_is_not_stated(subject: Subject) -> None:
    await subject.store.write(make_submit())
    await signed(subject)
    window = await subject.statements.window(PARTNER, 0)
    assert window is not None
    assert (window.sent, window.received, window.rejected) == ((), (), ())


async def test_what_is_too_much_for_one_statement_ends_at_an_earlier_checkpoint(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.statements.MOST_ITEMS", 2)
    monkeypatch.setattr("tests.support.statements.MOST_ITEMS", 2)
    first = [await received(subject), await received(subject)]
    size = await signed(subject)
    second = [await received(subject), await received(subject), await received(subject)]
    await signed(subject)
    window = await subject.statements.window(PARTNER, 0)
    assert window is not None
    assert (set(window.received), window.head.size, window.more) == (set(first), size, True)
    window = await subject.statements.window(PARTNER, size)  # no checkpoint in between: all of it
    assert window is not None
    assert (set(window.received), window.more) == (set(second), False)


async def test_a_statement_is_kept_once_and_ours_is_owed_to_the_partner(subject: Subject) -> None:
    ours = make_keep(dir_="out")
    before = (await subject.overview.counts())["log.size"]
    assert await subject.store.write(ours) is True
    assert await subject.store.write(ours) is False
    assert (await subject.overview.counts())["log.size"] == before + 1
    [owed] = await subject.outbox.owed(LATER, 10)
    assert (owed.kind, owed.partner, owed.data) == ("statement", PARTNER, ours.data)
    kept = await subject.statements.last("out", PARTNER)
    assert kept is not None
    assert (kept.n, kept.digest, kept.data, kept.to) == (1, ours.digest, ours.data, ours.payload.to)
    assert kept.head == ours.payload.head
    assert await subject.statements.last("in", PARTNER) is None


async def test_the_last_statement_is_the_one_of_the_highest_number(subject: Subject) -> None:
    for n in (1, 2, 10):
        await subject.store.write(make_keep(n))
    last, second = await subject.statements.last("in", PARTNER), await subject.statements.numbered("in", PARTNER, 2)
    assert last is not None
    assert (last.n, [one.data for one in second]) == (10, [b"statement in 2"])
    assert await subject.statements.numbered("in", PARTNER, 3) == ()
    assert await subject.statements.heard_until(PARTNER) == seconds() + 10
    assert await subject.statements.heard_until("la-999") is None


async def test_another_statement_under_one_number_stands_beside_the_first(subject: Subject) -> None:
    got = await received(subject)
    one = make_keep(sent=(got,))
    other = replace(
        one, digest=digest(b"other"), data=b"other", now=at(5), entry=make_entry("statement-received", dir="own")
    )
    for command in (one, other, other):
        await subject.store.write(command)
    assert [kept.data for kept in await subject.statements.numbered("in", PARTNER, 1)] == [b"other", one.data]
    last = await subject.statements.last("in", PARTNER)
    assert last is not None
    assert last.data == b"other"


async def test_nothing_differs_where_both_say_the_same(subject: Subject) -> None:
    sent, got, refused = await delivered(subject), await received(subject), await received(subject, refused=True)
    await subject.store.write(make_keep(received=(sent,), sent=(got, refused)))
    assert await subject.statements.differences(PARTNER, LATER) == ()


async def test_what_we_never_sent_or_sent_otherwise_differs(subject: Subject) -> None:
    sent = await delivered(subject)
    stranger = Item(id=message_id(), env=digest(b"never sealed"))
    await subject.store.write(make_keep(received=(sent, stranger)))
    assert await subject.statements.differences(PARTNER, START) == ((Difference.CLAIMED_RECEIVED, stranger.id),)
    await subject.store.write(make_keep(2, rejected=(Item(id=sent.id, env=digest(b"other bytes")),)))
    found = await subject.statements.differences(PARTNER, START)
    assert set(found) == {(Difference.CLAIMED_RECEIVED, stranger.id), (Difference.CLAIMED_RECEIVED, sent.id)}


async def test_what_we_do_not_have_differs(subject: Subject) -> None:
    got, lost = await received(subject), Item(id=message_id(), env=digest(b"lost here"))
    await subject.store.write(make_keep(sent=(got, lost)))
    assert await subject.statements.differences(PARTNER, START) == ((Difference.CLAIMED_SENT, lost.id),)


async def test_what_the_partner_leaves_out_differs_once_it_is_old(subject: Subject) -> None:
    sent, got = await delivered(subject), await received(subject)
    await subject.store.write(make_keep())
    assert await subject.statements.differences(PARTNER, START) == ()
    found = await subject.statements.differences(PARTNER, LATER)
    assert set(found) == {(Difference.NOT_RECEIVED, sent.id), (Difference.NOT_SENT, got.id)}
    assert await subject.statements.differences("la-999", LATER) == ()


async def test_a_difference_is_noted_once(subject: Subject) -> None:
    note = NoteDifference(
        partner=PARTNER,
        difference=Difference.NOT_SENT,
        subject=message_id(),
        entry=make_entry("statement-differs", partner=PARTNER, dir="own"),
    )
    assert await subject.store.write(note) is True
    assert await subject.store.write(note) is False
    assert (await subject.overview.counts())["statements.different"] == 1


async def test_what_is_noted_is_not_found_again_so_that_all_of_many_are_reached(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.statements.AT_MOST", 2)
    strangers = {message_id() for _ in range(5)}
    await subject.store.write(make_keep(sent=tuple(Item(id=one, env=digest(b"false")) for one in strangers)))
    found: list[str] = []
    while differences := await subject.statements.differences(PARTNER, START):
        for difference, claimed in differences:
            entry = make_entry("statement-differs", partner=PARTNER, dir="in", msg=claimed, outcome=difference.value)
            note = NoteDifference(partner=PARTNER, difference=difference, subject=claimed, entry=entry)
            assert await subject.store.write(note), "found twice"
            found.append(claimed)
    assert sorted(found) == sorted(strangers)


async def test_one_difference_of_two_statements_is_found_once(subject: Subject) -> None:
    stranger = Item(id=message_id(), env=digest(b"false"))
    await subject.store.write(make_keep(sent=(stranger,)))
    await subject.store.write(make_keep(2, sent=(stranger,)))
    assert await subject.statements.differences(PARTNER, START) == ((Difference.CLAIMED_SENT, stranger.id),)


async def test_a_day_has_room_for_some_statements_of_a_partner_and_the_next_day_for_more(subject: Subject) -> None:
    for n in range(1, daily.MOST_A_DAY + 1):
        assert await subject.store.write(make_keep(n)) is True
    before = (await subject.overview.counts())["log.size"]
    with pytest.raises(NotYetError):
        await subject.store.write(make_keep(daily.MOST_A_DAY + 1))
    assert (await subject.overview.counts())["log.size"] == before
    assert await subject.store.write(make_keep(1)) is False, "what is held already is no more of it"
    assert await subject.store.write(make_keep(daily.MOST_A_DAY + 1, dir_="out")) is True, "ours are ours to make"
    tomorrow = START + daily.A_DAY
    assert await subject.store.write(replace(make_keep(daily.MOST_A_DAY + 1), now=tomorrow)) is True
