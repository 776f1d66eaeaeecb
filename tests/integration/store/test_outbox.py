"""Own messages from submission to receipt: T1 to T3, the lanes, and the invariants I1, I3, I6, I8 and I12 of log B4."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.core.commands import Hold, Lease, Move, Submit, TakeReceipt
from gateway.core.errors import (
    HeadsMovedError,
    IdempotencyConflictError,
    IllegalTransitionError,
    ReceiptRejectedError,
)
from gateway.core.lifecycle import Event, ReceiptEvent, State
from gateway.core.retry import DeadLetter, Expire, HoldLane, RetryAt
from gateway.ports import Candidate
from gateway.store.outbox import LANE_HELD
from tests.support.store import (
    Lab,
    at,
    entries_for,
    make_claim,
    make_complete,
    make_entry,
    make_event,
    make_fail,
    make_heads,
    make_receipt_in,
    make_submit,
    rows,
    tamper,
)


async def due(lab: Lab, now: float = 0) -> tuple[Candidate, ...]:
    return await lab.open.read.outbox.due(at(now), 20)


async def lease(lab: Lab, submit: Submit, now: float = 0, length: float = 60) -> Lease:
    """Claim the message, whose turn it must be."""
    candidate = next(one for one in await due(lab, now) if one.message_id == submit.message.id)
    leased = await lab.open.store.write(make_claim(candidate, now=at(now), lease=length))
    assert leased is not None
    return leased


async def state(lab: Lab, submit: Submit) -> State:
    found = await lab.open.read.outbox.message(submit.message.id)
    assert found is not None
    return found.state


async def submitted(lab: Lab, lane: bytes = b"lane", partner: str = "la-902") -> Submit:
    submit = make_submit(lane=lane, partner=partner)
    await lab.open.store.write(submit)
    return submit


def kinds(lab: Lab, submit: Submit) -> list[str]:
    """The kinds of the message's entries, in order."""
    statement = "SELECT kind FROM log_entry WHERE message_id = :id ORDER BY idx"
    return [kind for (kind,) in rows(lab.path, statement, id=submit.message.id)]


def move(submit: Submit, event: Event, now: float = 0) -> Move:
    return Move(message_id=submit.message.id, event=event, entry=make_entry("note", msg=submit.message.id), now=at(now))


def hold(submit: Submit, *codes: str, look_again: float = 60) -> Hold:
    return Hold(
        message_id=submit.message.id,
        codes=codes,
        entry=make_entry("held", msg=submit.message.id),
        look_again=at(look_again),
    )


def take(submit: Submit, event: ReceiptEvent) -> TakeReceipt:
    own = submit.message.id
    return TakeReceipt(receipt=make_receipt_in(own, event), entries=entries_for(own), now=at(0))


# --- submitting


async def test_a_submission_is_stored_with_one_delivery_and_one_entry(lab: Lab) -> None:
    submit = make_submit(inner=b"signed bytes")
    accepted = await lab.open.store.write(submit)
    stored = await lab.open.read.outbox.message(submit.message.id)
    assert stored is not None
    assert (stored.state, stored.envelope, stored.inner) == (State.QUEUED, submit.envelope, b"signed bytes")
    assert (accepted.index, accepted.repeated, accepted.response) == (1, False, submit.idempotency.response)
    assert kinds(lab, submit) == ["submitted"]


async def test_a_repeated_request_gets_the_first_answer_and_nothing_more(lab: Lab) -> None:  # I1
    submit = make_submit(key="same")
    first = await lab.open.store.write(submit)
    again = await lab.open.store.write(make_submit(key="same"))
    assert (again.response, again.repeated, again.index) == (first.response, True, None)
    assert rows(lab.path, "SELECT count(*) FROM delivery") == [(1,)]
    assert rows(lab.path, "SELECT count(*) FROM log_entry WHERE kind = 'submitted'") == [(1,)]
    assert await lab.open.read.outbox.response("cli", "same") == (b"request", first.response)
    assert await lab.open.read.outbox.response("cli", "other") is None


async def test_another_request_under_the_same_key_is_refused(lab: Lab) -> None:
    await lab.open.store.write(make_submit(key="same"))
    with pytest.raises(IdempotencyConflictError):
        await lab.open.store.write(make_submit(key="same", request=b"another"))
    assert rows(lab.path, "SELECT count(*) FROM message") == [(1,)]


async def test_a_submission_checked_against_events_that_moved_is_refused(lab: Lab) -> None:
    await lab.open.store.write(make_event(2))
    with pytest.raises(HeadsMovedError):
        await lab.open.store.write(make_submit())
    current = make_heads(a=make_event(2).event.hash)
    assert (await lab.open.store.write(make_submit(heads=current))).index is not None


async def test_a_submission_under_an_agreement_that_is_not_held_is_refused(lab: Lab) -> None:
    tamper(lab.path, "DELETE FROM agreement_event", "DELETE FROM agreement")
    with pytest.raises(HeadsMovedError):
        await lab.open.store.write(make_submit())


async def test_no_plain_text_of_a_message_is_in_the_database(lab: Lab) -> None:
    await lab.open.store.write(make_submit(inner=b"a canary name"))
    for file in lab.path.parent.iterdir():
        assert b"a canary name" not in file.read_bytes()
        assert b"officer.one" not in file.read_bytes()


# --- claiming


async def test_a_claim_leases_the_message_and_writes_its_attempt_first(lab: Lab) -> None:
    submit = await submitted(lab)
    leased = await lease(lab, submit)
    assert (leased.attempt, leased.until) == (1, at(60))
    assert await state(lab, submit) is State.SENDING
    assert rows(lab.path, "SELECT n, outcome FROM attempt") == [(1, None)]
    assert await due(lab) == ()


async def test_a_leased_message_cannot_be_claimed_again(lab: Lab) -> None:
    submit = await submitted(lab)
    (candidate,) = await due(lab)
    await lab.open.store.write(make_claim(candidate))
    assert await lab.open.store.write(make_claim(candidate)) is None
    assert rows(lab.path, "SELECT count(*) FROM attempt") == [(1,)]
    assert await state(lab, submit) is State.SENDING


async def test_a_claim_checked_against_events_that_moved_is_refused(lab: Lab) -> None:
    submit = await submitted(lab)
    (candidate,) = await due(lab)
    await lab.open.store.write(make_event(2))
    with pytest.raises(HeadsMovedError):
        await lab.open.store.write(make_claim(candidate))
    assert await state(lab, submit) is State.QUEUED


async def test_a_lease_that_ended_comes_back_as_a_queued_candidate(lab: Lab) -> None:
    submit = await submitted(lab)
    await lease(lab, submit, length=60)
    assert await due(lab, 59) == ()
    (candidate,) = await due(lab, 60)
    assert (candidate.state, candidate.attempts, candidate.last_statuses) == (State.QUEUED, 1, (None,))
    again = await lab.open.store.write(make_claim(candidate, now=at(60)))
    assert again is not None
    assert again.attempt == 2


async def test_a_late_completion_under_an_expired_lease_changes_nothing(lab: Lab) -> None:  # I8
    submit = await submitted(lab)
    late = await lease(lab, submit)
    current = await lease(lab, submit, now=60)
    assert await lab.open.store.write(make_complete(late, submit.message.id)) is False
    assert await lab.open.store.write(make_fail(late, submit.message.id)) is False
    assert await state(lab, submit) is State.SENDING
    assert rows(lab.path, "SELECT count(*) FROM receipt_in") == [(0,)]
    assert await lab.open.store.write(make_complete(current, submit.message.id)) is True


# --- completing


async def test_a_delivery_is_done_with_its_receipt_and_one_entry(lab: Lab) -> None:  # I3
    submit = await submitted(lab)
    assert await lab.open.store.write(make_complete(await lease(lab, submit), submit.message.id)) is True
    stored = await lab.open.read.outbox.message(submit.message.id)
    assert stored is not None
    assert stored.state is State.DELIVERED
    assert [event for event, _ in stored.receipts] == ["checked"]
    assert kinds(lab, submit) == ["submitted", "delivered"]
    assert rows(lab.path, "SELECT state FROM delivery") == [("done",)]
    assert rows(lab.path, "SELECT state, head_delivery FROM lane") == [("idle", None)]


async def test_a_rejection_is_final_and_is_no_delivery(lab: Lab) -> None:
    submit = await submitted(lab)
    await lab.open.store.write(make_complete(await lease(lab, submit), submit.message.id, ReceiptEvent.REJECTED))
    assert await state(lab, submit) is State.REJECTED
    assert kinds(lab, submit) == ["submitted", "rejected"]
    assert await due(lab, 10_000) == ()


async def test_later_receipts_move_a_delivered_message_on_once(lab: Lab) -> None:
    submit = await submitted(lab)
    await lab.open.store.write(make_complete(await lease(lab, submit), submit.message.id))
    assert await lab.open.store.write(take(submit, ReceiptEvent.COLLECTED)) is True
    assert await lab.open.store.write(take(submit, ReceiptEvent.COLLECTED)) is False
    assert await lab.open.store.write(take(submit, ReceiptEvent.TAKEN)) is True  # kept, and changes no state
    assert await state(lab, submit) is State.COLLECTED
    assert kinds(lab, submit) == ["submitted", "delivered", "collected"]


@pytest.mark.parametrize("before", ["queued", "sending", "held", "dead", "expired", "cancelled"])
async def test_a_receipt_that_comes_by_itself_is_the_truth_from_every_state(lab: Lab, before: str) -> None:
    submit, behind = await submitted(lab), await submitted(lab)
    own = submit.message.id
    match before:
        case "sending":
            await lease(lab, submit)
        case "held":
            await lab.open.store.write(hold(submit, "agreement.suspended"))
        case "dead":
            await lab.open.store.write(make_fail(await lease(lab, submit), own, DeadLetter()))
        case "expired":
            await lab.open.store.write(make_fail(await lease(lab, submit), own, Expire()))
        case "cancelled":
            await lab.open.store.write(move(submit, Event.CANCEL))
        case _:
            pass
    assert await lab.open.store.write(take(submit, ReceiptEvent.TAKEN)) is True
    assert await state(lab, submit) is State.TAKEN
    assert kinds(lab, submit)[-2:] == ["delivered", "taken"]
    assert [one.message_id for one in await due(lab)] == [behind.message.id]


async def test_a_receipt_whose_entry_stood_in_an_earlier_one_is_refused(lab: Lab) -> None:
    first, second = await submitted(lab, b"1"), await submitted(lab, b"2")
    leaf = b"l" * 32
    for submit in (first, second):
        receipt = make_receipt_in(submit.message.id, ReceiptEvent.TAKEN, leaf=leaf)
        command = TakeReceipt(receipt=receipt, entries=entries_for(submit.message.id), now=at(0))
        if submit is first:
            await lab.open.store.write(command)
        else:
            with pytest.raises(ReceiptRejectedError):
                await lab.open.store.write(command)
    assert await state(lab, second) is State.QUEUED


async def test_a_receipt_for_no_message_of_ours_is_refused(lab: Lab) -> None:
    with pytest.raises(ReceiptRejectedError):
        await lab.open.store.write(take(make_submit(), ReceiptEvent.TAKEN))


# --- failing


async def test_a_failed_attempt_is_tried_again_when_it_was_decided(lab: Lab) -> None:
    submit = await submitted(lab)
    leased = await lease(lab, submit)
    await lab.open.store.write(make_fail(leased, submit.message.id, RetryAt(at=at(300)), status=503))
    assert await state(lab, submit) is State.QUEUED
    assert await due(lab, 299) == ()
    (candidate,) = await due(lab, 300)
    assert (candidate.attempts, candidate.first_attempt_at, candidate.last_statuses) == (1, at(0), (503,))
    assert rows(lab.path, "SELECT outcome, http_status, ms FROM attempt") == [("http.503", 503, 5)]


async def test_a_partner_that_keeps_refusing_holds_the_lane_until_a_person_releases_it(lab: Lab) -> None:
    submit, behind = await submitted(lab), await submitted(lab)
    leased = await lease(lab, submit)
    held = make_entry("held", msg=submit.message.id)
    await lab.open.store.write(make_fail(leased, submit.message.id, HoldLane(status=404), status=404, entry=held))
    stored = await lab.open.read.outbox.message(submit.message.id)
    assert stored is not None
    assert (stored.state, stored.held_for) == (State.HELD, (LANE_HELD,))
    await lab.open.store.write(make_event(2))  # events of the agreement do not release what waits for a person
    assert await due(lab, 1_000_000) == ()
    assert await lab.open.store.write(move(submit, Event.RELEASE, 100)) is State.QUEUED
    (candidate,) = await due(lab, 100)
    assert (candidate.message_id, candidate.attempts, candidate.last_statuses) == (submit.message.id, 0, ())
    assert await state(lab, behind) is State.QUEUED


async def test_a_dead_message_holds_its_lane_and_no_other(lab: Lab) -> None:  # I6
    dead, behind, other = await submitted(lab, b"1"), await submitted(lab, b"1"), await submitted(lab, b"2")
    entry = make_entry("dead-lettered", msg=dead.message.id)
    await lab.open.store.write(make_fail(await lease(lab, dead), dead.message.id, DeadLetter(), entry=entry))
    assert await state(lab, dead) is State.DEAD
    assert [one.message_id for one in await due(lab, 1_000_000)] == [other.message.id]
    await lab.open.store.write(move(dead, Event.CANCEL))
    assert {one.message_id for one in await due(lab)} == {behind.message.id, other.message.id}


async def test_a_dead_message_sent_again_keeps_id_and_bytes_and_begins_a_new_round(lab: Lab) -> None:  # I12
    submit = await submitted(lab)
    before = await lab.open.read.outbox.message(submit.message.id)
    await lab.open.store.write(make_fail(await lease(lab, submit), submit.message.id, DeadLetter()))
    assert await lab.open.store.write(move(submit, Event.RESEND, 500)) is State.QUEUED
    after = await lab.open.read.outbox.message(submit.message.id)
    assert before is not None
    assert after is not None
    assert (after.id, after.envelope, after.inner) == (before.id, before.envelope, before.inner)
    (candidate,) = await due(lab, 500)
    assert (candidate.attempts, candidate.first_attempt_at) == (0, None)
    assert (await lease(lab, submit, now=500)).attempt == 1
    assert rows(lab.path, "SELECT n FROM attempt ORDER BY n") == [(1,), (2,)]


async def test_a_message_past_its_time_is_found_and_expires(lab: Lab) -> None:
    gone, there = make_submit(lane=b"1", expires=at(100)), make_submit(lane=b"2", expires=at(200))
    for submit in (gone, there):
        await lab.open.store.write(submit)
    assert await lab.open.read.outbox.expiring(at(100), 10) == (gone.message.id,)
    assert await lab.open.store.write(move(gone, Event.EXPIRE, 100)) is State.EXPIRED
    assert await lab.open.read.outbox.expiring(at(100), 10) == ()
    assert [one.message_id for one in await due(lab, 100)] == [there.message.id]


async def test_a_message_past_its_time_under_a_lease_that_ended_is_found_and_expires(lab: Lab) -> None:
    submit = make_submit(expires=at(10))
    await lab.open.store.write(submit)
    await lease(lab, submit, length=60)
    assert await lab.open.read.outbox.expiring(at(59), 10) == ()
    assert await lab.open.read.outbox.expiring(at(60), 10) == (submit.message.id,)
    assert await lab.open.store.write(move(submit, Event.EXPIRE, 60)) is State.EXPIRED


# --- holding


async def test_a_held_message_is_logged_once_for_the_same_cause(lab: Lab) -> None:
    submit = await submitted(lab)
    assert await lab.open.store.write(hold(submit, "agreement.suspended")) is True
    assert await lab.open.store.write(hold(submit, "agreement.suspended", look_again=120)) is False
    assert await lab.open.store.write(hold(submit, "field.protected")) is True
    stored = await lab.open.read.outbox.message(submit.message.id)
    assert stored is not None
    assert (stored.state, stored.held_for) == (State.HELD, ("field.protected",))
    assert kinds(lab, submit) == ["submitted", "held", "held"]


async def test_a_held_message_is_looked_at_again_in_time_and_can_be_claimed(lab: Lab) -> None:
    submit = await submitted(lab)
    await lab.open.store.write(hold(submit, "agreement.suspended", look_again=60))
    assert await due(lab, 59) == ()
    (candidate,) = await due(lab, 60)
    assert candidate.state is State.HELD
    assert await lab.open.store.write(make_claim(candidate, now=at(60))) is not None
    stored = await lab.open.read.outbox.message(submit.message.id)
    assert stored is not None
    assert (stored.state, stored.held_for) == (State.SENDING, ())


async def test_held_messages_are_looked_at_at_once_when_their_agreement_has_a_new_event(lab: Lab) -> None:
    submit = await submitted(lab)
    await lab.open.store.write(hold(submit, "agreement.suspended", look_again=10_000))
    assert await due(lab, 30) == ()
    await lab.open.store.write(make_event(2, now=at(20)))
    assert [one.message_id for one in await due(lab, 20)] == [submit.message.id]


async def test_a_message_delivered_meanwhile_is_not_held(lab: Lab) -> None:
    submit = await submitted(lab)
    await lab.open.store.write(take(submit, ReceiptEvent.CHECKED))
    assert await lab.open.store.write(hold(submit, "agreement.suspended")) is False
    assert await state(lab, submit) is State.DELIVERED


async def test_a_move_that_the_state_table_refuses_changes_nothing(lab: Lab) -> None:
    submit = await submitted(lab)
    for event in (Event.RESEND, Event.CLAIM):
        with pytest.raises(IllegalTransitionError):
            await lab.open.store.write(move(submit, event))
    assert kinds(lab, submit) == ["submitted"]
    assert await state(lab, submit) is State.QUEUED


# --- lanes


async def test_a_lane_goes_in_order_and_one_at_a_time(lab: Lab) -> None:  # I6
    waiting = [await submitted(lab) for _ in range(3)]
    sent = []
    for number in range(3):
        (candidate,) = await due(lab, number)
        sent.append(candidate.message_id)
        leased = await lab.open.store.write(make_claim(candidate, now=at(number)))
        assert leased is not None
        assert await due(lab, number) == ()
        await lab.open.store.write(make_complete(leased, candidate.message_id, now=at(number)))
    assert sent == [submit.message.id for submit in waiting]


async def test_only_the_head_of_a_lane_can_be_claimed(lab: Lab) -> None:
    await submitted(lab)
    second = await submitted(lab)
    (head,) = await due(lab)
    behind = Candidate(
        delivery=head.delivery + 1,
        message_id=second.message.id,
        partner=head.partner,
        state=State.QUEUED,
        attempts=0,
        first_attempt_at=None,
        last_statuses=(),
    )
    assert await lab.open.store.write(make_claim(behind)) is None
    assert await state(lab, second) is State.QUEUED


async def test_a_message_submitted_while_its_lane_ends_is_not_forgotten(lab: Lab) -> None:
    """Both share a batch: the end of the first must see the message that joined the lane just before it."""
    first, behind = await submitted(lab), make_submit()
    leased = await lease(lab, first)
    gate = lab.open.store.submit(make_submit(lane=b"other"))
    joining = lab.open.store.submit(behind)
    ending = lab.open.store.submit(make_fail(leased, first.message.id, Expire()))
    assert not gate.result(10).repeated
    assert not joining.result(10).repeated
    assert ending.result(10)
    assert behind.message.id in {one.message_id for one in await due(lab)}


async def test_partners_take_turns(lab: Lab) -> None:
    for number in range(5):
        await submitted(lab, b"a%d" % number, "la-902")
    lone = await submitted(lab, b"b", "la-903")
    first_two = await lab.open.read.outbox.due(at(0), 2)
    assert lone.message.id in {candidate.message_id for candidate in first_two}


async def test_what_waits_behind_a_long_retry_is_not_due(lab: Lab) -> None:
    submit = await submitted(lab)
    await submitted(lab)
    await lab.open.store.write(
        make_fail(await lease(lab, submit), submit.message.id, RetryAt(at=at(0) + timedelta(hours=6)))
    )
    assert await due(lab, 3_600) == ()
