"""What a store owes those who follow the log: events in order, and cursors that only move on; over the store and the fake."""

from __future__ import annotations

import pytest

from gateway.core.commands import Lease, Record
from gateway.core.happened import event_type
from gateway.core.lifecycle import ReceiptEvent
from gateway.core.webhook import PutWebhookCursor
from tests.conformance.subject import Subject
from tests.support.store import (
    PARTNER,
    START,
    make_acknowledge,
    make_claim,
    make_complete,
    make_entry,
    make_receive,
    make_submit,
)


async def deliver(subject: Subject) -> str:
    """Send a message and take the partner's receipt for it."""
    submit = make_submit()
    await subject.store.write(submit)
    candidate = (await subject.outbox.due(START, 1))[0]
    lease: Lease | None = await subject.store.write(make_claim(candidate))
    assert lease is not None
    await subject.store.write(make_complete(lease, submit.message.id))
    return submit.message.id


async def test_events_come_in_the_order_of_the_log_with_the_ids_of_the_message(subject: Subject) -> None:
    own = await deliver(subject)
    received = make_receive()
    await subject.store.write(received)
    await subject.store.write(make_acknowledge(received.message.id))
    await subject.store.write(make_acknowledge(received.message.id, ReceiptEvent.COLLECTED))
    told = await subject.events.after(-1, 100)
    assert [(event.index, event_type(event.state), event.dir, event.message_id) for event in told] == [
        (1, "message.queued", "out", own),
        (2, "message.delivered", "out", own),
        (3, "message.received", "in", received.message.id),
        (4, "message.taken", "in", received.message.id),
        (5, "message.collected", "in", received.message.id),
    ]
    assert [event.thread for event in told] == [own] * 2 + [received.message.id] * 3


async def test_what_is_about_no_message_is_no_event(subject: Subject) -> None:
    await subject.store.write(Record(entry=make_entry("search")))
    await subject.store.write(Record(entry=make_entry("refused", dir="out", partner=PARTNER)))
    assert await subject.events.after(-1, 100) == ()


async def test_a_refused_message_is_told_as_returned(subject: Subject) -> None:
    await subject.store.write(make_receive(refused=True))
    assert [event_type(event.state) for event in await subject.events.after(-1, 100)] == ["message.refused"]


async def test_the_same_id_in_both_directions_is_two_messages(subject: Subject) -> None:
    own = await deliver(subject)
    await subject.store.write(make_receive(id=own))
    told = await subject.events.after(1, 100)
    assert [(event.index, event.dir) for event in told] == [(2, "out"), (3, "in")]


async def test_the_same_id_of_two_partners_is_two_messages(subject: Subject) -> None:
    received = make_receive()
    await subject.store.write(received)
    await subject.store.write(make_receive(id=received.message.id, sender="la-903", data=b"other"))
    assert [event.partner for event in await subject.events.after(-1, 100)] == [PARTNER, "la-903"]


@pytest.mark.parametrize(("after", "limit", "indices"), [(-1, 1, [1]), (1, 100, [2]), (2, 100, []), (-1, 2, [1, 2])])
async def test_a_page_begins_after_the_index_and_has_at_most_so_many(
    subject: Subject, after: int, limit: int, indices: list[int]
) -> None:
    await deliver(subject)
    assert [event.index for event in await subject.events.after(after, limit)] == indices


async def test_a_new_receiver_has_no_position(subject: Subject) -> None:
    assert await subject.webhooks.position("case-system") is None


async def test_a_cursor_only_moves_on_and_is_its_receivers_own(subject: Subject) -> None:
    for name, position in (("case-system", 7), ("case-system", 5), ("data-warehouse", 3)):
        await subject.store.write(PutWebhookCursor(name=name, position=position))
    assert await subject.webhooks.position("case-system") == 7
    assert await subject.webhooks.position("data-warehouse") == 3
