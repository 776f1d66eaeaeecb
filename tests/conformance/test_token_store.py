"""What a store owes own clients: tokens, kept answers, events, arrivals and enquiries; over `gateway.store` and the fake."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.core import deciding
from gateway.core.commands import Idempotency, Intend, Move, Record
from gateway.core.errors import IdempotencyConflictError
from gateway.core.halves import half
from gateway.core.lifecycle import Event, ReceiptEvent, State
from gateway.core.tokens import CreateToken, Remember, RevokeToken, Scope, Token
from tests.conformance.subject import Subject
from tests.support.store import (
    PARTNER,
    START,
    at,
    make_acknowledge,
    make_entry,
    make_receive,
    make_submit,
)

DIGEST = b"d" * 32


# --- tokens


def make_token(**changes: Any) -> Token:
    token = Token(
        id="0123456789abcdef",
        digest=DIGEST,
        name="Case system",
        role="officer",
        scopes=frozenset({Scope.SEND, Scope.READ}),
        created_at=int(START.timestamp()),
        expires_at=int(START.timestamp()) + 86_400,
        revoked_at=None,
    )
    return replace(token, **changes)


def creation(token: Token | None = None) -> CreateToken:
    made = token or make_token()
    return CreateToken(token=made, entry=make_entry("token-created", dir="own", rows=deciding.of_token(made)))


def revocation(seconds: int = 1_800_000_000, **changes: Any) -> RevokeToken:
    ended = make_token(revoked_at=seconds, **changes)
    return RevokeToken(token=ended, entry=make_entry("token-revoked", dir="own", rows=deciding.of_token(ended)))


async def test_token_is_found_by_the_digest_of_its_text_and_by_no_other(subject: Subject) -> None:
    await subject.store.write(creation())
    assert await subject.tokens.of(DIGEST) == make_token()
    assert await subject.tokens.of(b"e" * 32) is None
    assert await subject.tokens.of(DIGEST[:31]) is None


async def test_revoked_token_says_so_for_good(subject: Subject) -> None:
    await subject.store.write(creation())
    assert await subject.store.write(revocation()) is True
    assert await subject.store.write(revocation(seconds=1_900_000_000)) is False
    assert await subject.tokens.of(DIGEST) == make_token(revoked_at=1_800_000_000)


async def test_token_that_is_not_there_cannot_be_revoked(subject: Subject) -> None:
    assert await subject.store.write(revocation()) is False


async def test_token_that_stands_otherwise_than_it_is_held_is_not_revoked(subject: Subject) -> None:
    await subject.store.write(creation())
    assert await subject.store.write(revocation(role="approver")) is False
    assert await subject.tokens.of(DIGEST) == make_token()


async def test_change_of_a_token_that_no_entry_states_is_refused(subject: Subject) -> None:
    with pytest.raises(deciding.RowsError):
        await subject.store.write(CreateToken(token=make_token(), entry=make_entry("token-created", dir="own")))
    assert await subject.tokens.all() == ()


async def test_tokens_are_listed_in_the_order_of_their_making(subject: Subject) -> None:
    later = make_token(id="fedcba9876543210", digest=b"f" * 32, created_at=int(START.timestamp()) + 5)
    await subject.store.write(creation(later))
    await subject.store.write(creation())
    assert await subject.tokens.all() == (make_token(), later)


# --- kept answers


def memo(response: bytes = b"first", client: str = "one", request: bytes = b"request") -> Remember:
    return Remember(idempotency=Idempotency(client=client, key="key", request_digest=request, response=response))


async def test_first_answer_is_kept_and_later_ones_get_it(subject: Subject) -> None:
    assert await subject.store.write(memo()) == b"first"
    assert await subject.store.write(memo(b"second")) == b"first"
    assert await subject.outbox.response("one", "key") == (b"request", b"first")


async def test_key_of_another_request_is_a_conflict_and_another_client_s_key_is_not(subject: Subject) -> None:
    await subject.store.write(memo())
    with pytest.raises(IdempotencyConflictError):
        await subject.store.write(memo(request=b"another"))
    assert await subject.store.write(memo(b"theirs", client="two")) == b"theirs"


async def test_key_is_one_for_submissions_and_other_requests(subject: Subject) -> None:
    submit = make_submit()
    await subject.store.write(submit)
    used = submit.idempotency
    with pytest.raises(IdempotencyConflictError):
        await subject.store.write(Remember(idempotency=replace(used, request_digest=b"another")))


# --- events


async def happenings(subject: Subject, after: int = -1, limit: int = 100) -> list[tuple[str, str, str]]:
    return [(one.kind, one.state.value, one.message_id) for one in await subject.events.after(after, limit)]


async def test_events_are_what_changed_a_message_s_state_in_order(subject: Subject) -> None:
    sent, received = make_submit(), make_receive()
    own, theirs = sent.message.id, received.message.id
    await subject.store.write(sent)
    await subject.store.write(received)
    await subject.store.write(make_acknowledge(theirs))
    await subject.store.write(make_acknowledge(theirs, ReceiptEvent.COLLECTED))
    entry = make_entry("cancelled", msg=own, dir="out", partner=PARTNER)
    await subject.store.write(Move(message_id=own, event=Event.CANCEL, entry=entry, now=at(0)))
    assert await happenings(subject) == [
        ("submitted", "queued", own),
        ("received", "received", theirs),
        ("handed-over", "taken", theirs),
        ("collected", "collected", theirs),
        ("cancelled", State.CANCELLED, own),
    ]


async def test_refused_message_is_an_event_too(subject: Subject) -> None:
    refused = make_receive(refused=True)
    await subject.store.write(refused)
    assert await happenings(subject) == [("refused-inbound", "refused", refused.message.id)]


async def test_events_go_on_where_the_last_reading_ended(subject: Subject) -> None:
    submits = [make_submit(lane=f"lane {n}".encode()) for n in range(3)]
    for submit in submits:
        await subject.store.write(submit)
    first = await subject.events.after(-1, 2)
    rest = await subject.events.after(first[-1].index, 2)
    assert [one.message_id for one in (*first, *rest)] == [submit.message.id for submit in submits]
    assert await subject.events.after(rest[-1].index, 2) == ()


async def test_event_names_partner_direction_and_thread(subject: Subject) -> None:
    received = make_receive()
    await subject.store.write(received)
    (one,) = await subject.events.after(-1, 10)
    assert (one.dir, one.partner, one.thread) == ("in", PARTNER, received.message.thread)


async def test_reach_tells_how_far_the_lists_go_and_the_newest_restore(subject: Subject) -> None:
    before = await subject.events.reach()
    assert (before.entries, before.arrivals, before.restored) == (1, 0, None)
    await subject.store.write(make_receive(refused=True))
    for count in (1, 2):
        entry = make_entry("restored", dir="own", outcome=f"from-backup-{count}")
        await subject.store.write(Record(entry=entry))
        await subject.store.write(make_receive(data=b"%d" % count))
        reach = await subject.events.reach()
        assert (reach.entries, reach.arrivals, reach.restored) == (2 + 2 * count, count, entry.leaf)
    assert ((await subject.arrivals.after(1, 10))[-1][0]) == 2


# --- arrivals


async def test_arrivals_come_in_order_and_a_place_never_changes(subject: Subject) -> None:
    first, second, third = make_receive(), make_receive(data=b"other"), make_receive(data=b"third")
    await subject.store.write(first)
    await subject.store.write(second)
    page = await subject.arrivals.after(0, 1)
    await subject.store.write(third)
    rest = await subject.arrivals.after(page[-1][0], 10)
    assert [message.id for _, message in (*page, *rest)] == [r.message.id for r in (first, second, third)]
    assert (await subject.arrivals.after(0, 1)) == page


async def test_what_was_refused_at_the_door_never_arrived(subject: Subject) -> None:
    await subject.store.write(make_receive(refused=True))
    assert await subject.arrivals.after(0, 10) == ()


async def test_arrival_shows_state_and_receipts_but_no_content(subject: Subject) -> None:
    received = make_receive()
    await subject.store.write(received)
    await subject.store.write(make_acknowledge(received.message.id))
    ((_, message),) = await subject.arrivals.after(0, 10)
    assert (message.state.value, [event for event, _ in message.receipts]) == ("taken", ["checked", "taken"])
    assert message.inner is None


# --- enquiries


async def test_councils_asked_are_found_by_any_tag_of_the_child_and_only_lately(subject: Subject) -> None:
    for partner, tags, kind in (
        ("la-901", {b"a" * 32}, "cme.enquiry"),
        ("la-902", {b"a" * 32, b"b" * 32}, "cme.enquiry"),
        ("la-903", {b"c" * 32}, "cme.enquiry"),
        ("la-904", {b"a" * 32}, "cme.transfer"),
    ):
        submit = make_submit(partner=partner, lane=partner.encode())
        entry = make_entry("submitted", msg=submit.message.id, partner=partner, type=kind, dir="out")
        await subject.store.write(replace(submit, entry=replace(entry, tags=frozenset(tags))))
    assert await subject.enquiries.asked([b"a" * 32], START) == {"la-901", "la-902"}
    assert await subject.enquiries.asked([b"b" * 32, b"c" * 32], START) == {"la-902", "la-903"}
    assert await subject.enquiries.asked([], START) == frozenset()
    assert await subject.enquiries.asked([b"a" * 32], START + timedelta(seconds=1)) == frozenset()


# --- two people


def stated(name: str, through: str | None) -> Intend:
    return Intend(
        act=b"act" * 10 + b"ac", by=half(name, through), now=1_000, not_before=0, entry=make_entry("approval")
    )


@pytest.mark.parametrize(
    ("first", "second", "people"),
    [
        (("a", None), ("b", None), 2),
        (("a", "one"), ("b", "one"), 1),
        (("a", "one"), ("b", "two"), 2),
        (("a", "one"), ("a", "two"), 1),
        (("a", "one"), ("b", None), 2),
        (("a", "one"), ("a", None), 1),
        (("a", None), ("a", None), 1),
    ],
)
async def test_two_halves_count_where_name_and_credential_differ(
    subject: Subject, first: tuple[str, str | None], second: tuple[str, str | None], people: int
) -> None:
    assert len(await subject.store.write(stated(*first))) == 1
    assert len(await subject.store.write(stated(*second))) == people


async def test_halves_that_do_not_count_together_wait_for_one_that_does(subject: Subject) -> None:
    await subject.store.write(stated("a", "one"))
    await subject.store.write(stated("b", "one"))
    assert len(await subject.store.write(stated("c", "two"))) == 3
    assert len(await subject.store.write(stated("d", "one"))) == 1
