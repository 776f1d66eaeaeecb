"""What a store owes the flows; run over `gateway.store` and over the fake that the tests of the flows use.

The claims are those of `gateway.core.commands` and of log B3 and B4, as far as the ports show them. What only the real store
has (batches, macs, handoffs, what lies on the disk) is tested in `tests.integration.store`.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core import deciding
from gateway.core.commands import (
    AddBundle,
    ClaimOutgoing,
    Hold,
    Lease,
    Move,
    Protect,
    PutCheckpoint,
    PutPartner,
    Reception,
    Record,
    ReleaseLeases,
    SettleOutgoing,
    Submit,
    TakeReceipt,
)
from gateway.core.errors import (
    ConflictError,
    HeadsMovedError,
    IdempotencyConflictError,
    IllegalTransitionError,
    LogInconsistentError,
    ReceiptRejectedError,
)
from gateway.core.lifecycle import TRANSITIONS, Event, InboundState, ReceiptEvent, State
from gateway.core.retry import DeadLetter, Expire, HoldLane, Next, RetryAt
from gateway.ports import (
    AgreementRecord,
    Agreements,
    Candidate,
    InboundMessage,
    Inbox,
    OutboundMessage,
    Outbox,
    OutgoingItem,
    Overview,
    Partner,
    Partners,
    Protection,
    Store,
)
from gateway.store.migrations import upgrade
from keys.bundle import KeyBundle
from tests.support.keys import make_bundle, make_revocation
from tests.support.memory import (
    Clock,
    Memory,
    MemoryAgreements,
    MemoryInbox,
    MemoryOutbox,
    MemoryOverview,
    MemoryPartners,
    MemoryProtection,
)
from tests.support.store import (
    DIGEST,
    OWN,
    PARTNER,
    START,
    ZEROS,
    at,
    entries_for,
    make_acknowledge,
    make_claim,
    make_complete,
    make_entry,
    make_event,
    make_fail,
    make_file,
    make_heads,
    make_receipt_in,
    make_receive,
    make_submit,
    message_id,
    open_lab,
    rows,
)

THIRD = "la-903"
OTHER_DIGEST = "sha256:" + "cd" * 32
MUCH_LATER = 1_000_000
TAGS = frozenset({b"t" * 32, b"u" * 32})
MOVES = (Event.RELEASE, Event.EXPIRE, Event.CANCEL, Event.RESEND)
REACHED = [state for state in State if state is not State.AVAILABLE]  # no command leads there
UNDELIVERED = [State.QUEUED, State.SENDING, State.HELD, State.DEAD, State.EXPIRED, State.CANCELLED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A store that holds the agreement of the tests, its readers, and (kind, message) of every entry of its log."""

    store: Store
    partners: Partners
    agreements: Agreements
    outbox: Outbox
    inbox: Inbox
    protection: Protection
    overview: Overview
    log: Callable[[], list[tuple[str, str | None]]]

    def kinds(self, own: str) -> list[str]:
        """The kinds of a message's entries, in order."""
        return [kind for kind, message in self.log() if message == own]


@asynccontextmanager
async def real(path: Path) -> AsyncIterator[Subject]:
    async with open_lab(path) as lab:
        read = lab.open.read
        yield Subject(
            store=lab.open.store,
            partners=read.partners,
            agreements=read.agreements,
            outbox=read.outbox,
            inbox=read.inbox,
            protection=read.protection,
            overview=read.overview,
            log=lambda: [
                (kind, own) for kind, own in rows(path, "SELECT kind, message_id FROM log_entry ORDER BY idx")
            ],
        )


@asynccontextmanager
async def fake(path: Path) -> AsyncIterator[Subject]:
    del path
    memory = Memory(OWN, Clock(START))
    await memory.write(make_event())
    yield Subject(
        store=memory,
        partners=MemoryPartners(memory),
        agreements=MemoryAgreements(memory),
        outbox=MemoryOutbox(memory),
        inbox=MemoryInbox(memory),
        protection=MemoryProtection(memory),
        overview=MemoryOverview(memory),
        log=lambda: [(entry.kind, entry.message_id) for entry in memory.log],
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "template.sqlite"
    upgrade(path)
    return path


@pytest.fixture(params=[real, fake], ids=["store", "memory"])
async def subject(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> AsyncIterator[Subject]:
    path = tmp_path / "gateway.sqlite"
    shutil.copyfile(template, path)
    async with request.param(path) as opened:
        yield opened


# --- what the tests say


async def submitted(subject: Subject, lane: bytes = b"lane", partner: str = PARTNER) -> Submit:
    submit = make_submit(lane=lane, partner=partner)
    await subject.store.write(submit)
    return submit


async def due(subject: Subject, now: float = 0) -> list[str]:
    return [candidate.message_id for candidate in await subject.outbox.due(at(now), 20)]


async def in_turn(subject: Subject, submit: Submit, now: float = 0) -> Candidate:
    """The message's candidate, which must be due."""
    return next(one for one in await subject.outbox.due(at(now), 20) if one.message_id == submit.message.id)


async def lease(subject: Subject, submit: Submit, now: float = 0, length: float = 60) -> Lease:
    """Claim the message, whose turn it must be."""
    leased = await subject.store.write(make_claim(await in_turn(subject, submit, now), now=at(now), lease=length))
    assert leased is not None
    return leased


async def found(subject: Subject, submit: Submit) -> OutboundMessage:
    stored = await subject.outbox.message(submit.message.id)
    assert stored is not None
    return stored


async def state(subject: Subject, submit: Submit) -> State:
    return (await found(subject, submit)).state


def did(event: Event) -> str:
    """The kind of the entry of an act."""
    return f"did-{event.replace(' ', '-')}"


def move(submit: Submit, event: Event, now: float = 0) -> Move:
    own = submit.message.id
    return Move(message_id=own, event=event, entry=make_entry(did(event), msg=own), now=at(now))


def hold(submit: Submit, *codes: str, now: float = 0, look_again: float = 60) -> Hold:
    own = submit.message.id
    entry = make_entry("held", when=at(now), msg=own)
    return Hold(message_id=own, codes=codes or ("agreement.not-in-force",), entry=entry, look_again=at(look_again))


def take(submit: Submit, event: ReceiptEvent, *, leaf: bytes | None = None) -> TakeReceipt:
    own = submit.message.id
    return TakeReceipt(receipt=make_receipt_in(own, event, leaf=leaf), entries=entries_for(own), now=at(0))


async def bring(subject: Subject, submit: Submit, to: State) -> None:
    """Bring a queued message to a state."""
    own, write = submit.message.id, subject.store.write
    match to:
        case State.SENDING:
            await lease(subject, submit)
        case State.HELD:
            await write(hold(submit))
        case State.DEAD:
            await write(make_fail(await lease(subject, submit), own, DeadLetter()))
        case State.EXPIRED:
            await write(move(submit, Event.EXPIRE))
        case State.CANCELLED:
            await write(move(submit, Event.CANCEL))
        case State.DELIVERED:
            await write(make_complete(await lease(subject, submit), own))
        case State.TAKEN | State.COLLECTED | State.REJECTED:
            await write(take(submit, ReceiptEvent(to)))
    assert await state(subject, submit) is to


async def arrived(subject: Subject, own: str, sender: str | None = None) -> InboundMessage:
    stored = await subject.inbox.message(own, sender)
    assert stored is not None
    return stored


async def log_size(subject: Subject) -> int:
    return (await subject.overview.counts())["log.size"]


# --- submitting


async def test_a_submission_is_stored_with_its_bytes_and_one_entry(subject: Subject) -> None:
    submit = make_submit(inner=b"signed bytes")
    accepted = await subject.store.write(submit)
    assert (accepted.index, accepted.repeated, accepted.response) == (1, False, submit.idempotency.response)
    stored = await found(subject, submit)
    assert (stored.state, stored.envelope, stored.inner) == (State.QUEUED, submit.envelope, b"signed bytes")
    assert (stored.attempts, stored.last_error, stored.held_for, stored.receipts) == (0, None, (), ())
    assert subject.kinds(submit.message.id) == ["submitted"]
    assert await subject.outbox.message(message_id()) is None


async def test_a_submission_is_due_from_when_it_was_made(subject: Subject) -> None:
    submit = make_submit(when=at(50))
    await subject.store.write(submit)
    assert await due(subject, 49) == []
    assert await in_turn(subject, submit, 50) == Candidate(
        delivery=1,
        message_id=submit.message.id,
        partner=PARTNER,
        state=State.QUEUED,
        attempts=0,
        first_attempt_at=None,
        last_statuses=(),
    )


async def test_a_repeated_request_gets_the_first_answer_and_nothing_more(subject: Subject) -> None:  # I1
    submit = make_submit(key="same")
    first = await subject.store.write(submit)
    again = await subject.store.write(make_submit(key="same", lane=b"another"))
    assert (again.response, again.repeated, again.index) == (first.response, True, None)
    assert await due(subject) == [submit.message.id]
    assert [listed.id for listed in await subject.overview.outbox(10)] == [submit.message.id]
    assert [kind for kind, _ in subject.log()] == ["agreement-event", "submitted"]
    assert await subject.outbox.response("cli", "same") == (b"request", first.response)
    assert await subject.outbox.response("cli", "other") is None


async def test_a_repeated_request_is_answered_whatever_became_of_the_agreement(subject: Subject) -> None:
    first = await subject.store.write(make_submit(key="same"))
    await subject.store.write(make_event(2))
    assert (await subject.store.write(make_submit(key="same"))).response == first.response


async def test_another_request_under_the_same_key_is_refused(subject: Subject) -> None:
    submit, other = make_submit(key="same"), make_submit(key="same", request=b"another")
    await subject.store.write(submit)
    with pytest.raises(IdempotencyConflictError):
        await subject.store.write(other)
    assert await subject.outbox.message(other.message.id) is None
    assert await log_size(subject) == 2


async def test_a_submission_checked_against_events_that_moved_is_refused(subject: Subject) -> None:
    await subject.store.write(make_event(2))
    submit = make_submit()
    with pytest.raises(HeadsMovedError):
        await subject.store.write(submit)
    assert await subject.outbox.message(submit.message.id) is None
    assert await subject.outbox.response("cli", submit.message.id) is None
    current = make_heads(a=make_event(2).event.hash)
    assert (await subject.store.write(make_submit(heads=current))).index == 2


async def test_a_submission_under_an_agreement_that_is_not_held_is_refused(subject: Subject) -> None:
    with pytest.raises(HeadsMovedError):
        await subject.store.write(make_submit(heads=replace(make_heads(), agreement=OTHER_DIGEST)))


# --- claiming


async def test_a_claimed_message_is_sending_and_not_due_while_the_lease_lasts(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit, now=5)
    assert (leased.delivery, leased.attempt, leased.until) == (1, 1, at(65))
    stored = await found(subject, submit)
    assert (stored.state, stored.attempts) == (State.SENDING, 1)
    assert await due(subject, 64) == []


async def test_a_leased_message_cannot_be_claimed_again(subject: Subject) -> None:
    submit = await submitted(subject)
    candidate = await in_turn(subject, submit)
    leased = await subject.store.write(make_claim(candidate))
    assert await subject.store.write(make_claim(candidate)) is None
    assert (await found(subject, submit)).attempts == 1
    assert leased is not None
    assert await subject.store.write(make_complete(leased, submit.message.id)) is True


async def test_only_the_head_of_a_lane_in_its_turn_can_be_claimed(subject: Subject) -> None:  # I6
    first, second = await submitted(subject), await submitted(subject)
    head = await in_turn(subject, first)
    behind = replace(head, delivery=head.delivery + 1, message_id=second.message.id)
    for candidate in (behind, replace(head, delivery=behind.delivery), replace(head, message_id=message_id())):
        assert await subject.store.write(make_claim(candidate)) is None
    await subject.store.write(make_fail(await lease(subject, first), first.message.id, RetryAt(at=at(100))))
    assert await subject.store.write(make_claim(head, now=at(99))) is None
    assert await subject.store.write(make_claim(head, now=at(100))) is not None
    assert await state(subject, second) is State.QUEUED


async def test_a_claim_checked_against_events_that_moved_is_refused(subject: Subject) -> None:
    submit = await submitted(subject)
    candidate = await in_turn(subject, submit)
    await subject.store.write(make_event(2))
    with pytest.raises(HeadsMovedError):
        await subject.store.write(make_claim(candidate))
    stored = await found(subject, submit)
    assert (stored.state, stored.attempts) == (State.QUEUED, 0)


async def test_a_lease_that_ended_comes_back_as_a_queued_candidate(subject: Subject) -> None:
    submit = await submitted(subject)
    await lease(subject, submit, length=60)
    assert await due(subject, 59) == []
    candidate = await in_turn(subject, submit, 60)
    assert (candidate.state, candidate.attempts) == (State.QUEUED, 1)
    assert (candidate.first_attempt_at, candidate.last_statuses) == (at(0), (None,))
    again = await subject.store.write(make_claim(candidate, now=at(60)))
    assert again is not None
    assert again.attempt == 2


async def test_a_late_end_of_an_attempt_under_another_lease_changes_nothing(subject: Subject) -> None:  # I8
    submit = await submitted(subject)
    late = await lease(subject, submit)
    current = await lease(subject, submit, now=60)
    assert await subject.store.write(make_complete(late, submit.message.id, now=at(61))) is False
    assert await subject.store.write(make_fail(late, submit.message.id, DeadLetter(), now=at(61))) is False
    stored = await found(subject, submit)
    assert (stored.state, stored.receipts, stored.last_error) == (State.SENDING, (), None)
    assert subject.kinds(submit.message.id) == ["submitted"]
    assert await subject.store.write(make_complete(current, submit.message.id)) is True


async def test_a_late_completion_counts_while_nobody_has_taken_over(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit, length=60)
    assert await subject.store.write(make_complete(leased, submit.message.id, now=at(1_000))) is True
    assert await state(subject, submit) is State.DELIVERED


async def test_an_attempt_ends_once(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit)
    assert await subject.store.write(make_fail(leased, submit.message.id)) is True
    assert await subject.store.write(make_fail(leased, submit.message.id)) is False
    assert await subject.store.write(make_complete(leased, submit.message.id)) is False
    assert await state(subject, submit) is State.QUEUED


async def test_the_end_of_an_attempt_at_no_message_of_ours_changes_nothing(subject: Subject) -> None:
    leased = await lease(subject, await submitted(subject))
    assert await subject.store.write(make_complete(leased, message_id())) is False
    assert await subject.store.write(make_fail(leased, message_id())) is False


# --- completing


async def test_a_delivery_is_done_with_its_receipt_and_one_entry(subject: Subject) -> None:  # I3
    submit = await submitted(subject)
    complete = make_complete(await lease(subject, submit), submit.message.id)
    assert await subject.store.write(complete) is True
    stored = await found(subject, submit)
    assert (stored.state, stored.receipts) == (State.DELIVERED, (("checked", complete.receipt.data),))
    assert subject.kinds(submit.message.id) == ["submitted", "delivered"]
    assert await due(subject, MUCH_LATER) == []


async def test_a_rejection_is_final_and_is_no_delivery(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    complete = make_complete(await lease(subject, submit), submit.message.id, ReceiptEvent.REJECTED)
    assert await subject.store.write(complete) is True
    stored = await found(subject, submit)
    assert (stored.state, stored.receipts) == (State.REJECTED, (("rejected", complete.receipt.data),))
    assert subject.kinds(submit.message.id) == ["submitted", "rejected"]
    assert await due(subject, MUCH_LATER) == [behind.message.id]


async def test_a_completion_with_a_used_entry_is_refused_and_ends_no_attempt(subject: Subject) -> None:
    first, second = await submitted(subject, b"1"), await submitted(subject, b"2")
    leaf = b"l" * 32
    await subject.store.write(take(first, ReceiptEvent.CHECKED, leaf=leaf))
    leased = await lease(subject, second)
    complete = make_complete(leased, second.message.id)
    with pytest.raises(ReceiptRejectedError):
        await subject.store.write(replace(complete, receipt=replace(complete.receipt, leaf=leaf)))
    stored = await found(subject, second)
    assert (stored.state, stored.receipts) == (State.SENDING, ())
    assert await subject.store.write(make_fail(leased, second.message.id)) is True


# --- failing


async def test_a_failed_attempt_is_tried_again_when_it_was_decided(subject: Subject) -> None:
    submit = await submitted(subject)
    await submitted(subject)  # waits behind it
    leased = await lease(subject, submit)
    assert await subject.store.write(make_fail(leased, submit.message.id, RetryAt(at=at(300)), status=503)) is True
    stored = await found(subject, submit)
    assert (stored.state, stored.attempts, stored.last_error) == (State.QUEUED, 1, "http.503")
    assert subject.kinds(submit.message.id) == ["submitted"]
    assert await due(subject, 299) == []
    candidate = await in_turn(subject, submit, 300)
    assert (candidate.attempts, candidate.first_attempt_at, candidate.last_statuses) == (1, at(0), (503,))


async def test_a_candidate_shows_the_latest_answers_newest_last(subject: Subject) -> None:
    submit = await submitted(subject)
    for number, status in enumerate((404, None, 503)):
        leased = await lease(subject, submit, now=number)
        assert leased.attempt == number + 1
        what = RetryAt(at=at(number + 1))
        await subject.store.write(make_fail(leased, submit.message.id, what, status=status))
    candidate = await in_turn(subject, submit, 3)
    assert (candidate.attempts, candidate.first_attempt_at) == (3, at(0))
    assert candidate.last_statuses == (404, None, 503)


async def test_a_lane_held_for_a_refusing_partner_waits_for_a_person(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    other = await submitted(subject, b"other")
    held = make_entry("held", msg=submit.message.id)
    leased = await lease(subject, submit)
    await subject.store.write(make_fail(leased, submit.message.id, HoldLane(status=404), status=404, entry=held))
    stored = await found(subject, submit)
    assert (stored.state, stored.held_for) == (State.HELD, ("lane.held",))
    assert subject.kinds(submit.message.id) == ["submitted", "held"]
    await subject.store.write(make_event(2))  # does not release what waits for a person
    assert await due(subject, MUCH_LATER) == [other.message.id]
    assert await subject.store.write(move(submit, Event.RELEASE, 100)) is State.QUEUED
    candidate = await in_turn(subject, submit, 100)
    assert (candidate.attempts, candidate.first_attempt_at, candidate.last_statuses) == (0, None, ())
    assert (await found(subject, submit)).held_for == ()
    assert behind.message.id not in await due(subject, 100)


async def test_a_dead_message_holds_its_lane_and_no_other(subject: Subject) -> None:  # I6
    dead, behind = await submitted(subject, b"1"), await submitted(subject, b"1")
    other = await submitted(subject, b"2")
    entry = make_entry("dead-lettered", msg=dead.message.id)
    await subject.store.write(make_fail(await lease(subject, dead), dead.message.id, DeadLetter(), entry=entry))
    assert await state(subject, dead) is State.DEAD
    assert subject.kinds(dead.message.id) == ["submitted", "dead-lettered"]
    assert await due(subject, MUCH_LATER) == [other.message.id]
    await subject.store.write(move(dead, Event.CANCEL))
    assert set(await due(subject)) == {behind.message.id, other.message.id}


async def test_an_attempt_that_ends_past_its_time_expires_the_message(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    entry = make_entry("expired", msg=submit.message.id)
    await subject.store.write(make_fail(await lease(subject, submit), submit.message.id, Expire(), entry=entry))
    assert await state(subject, submit) is State.EXPIRED
    assert subject.kinds(submit.message.id) == ["submitted", "expired"]
    assert await due(subject) == [behind.message.id]


# --- holding


async def test_a_held_message_is_logged_once_for_the_same_cause(subject: Subject) -> None:
    submit = await submitted(subject)
    assert await subject.store.write(hold(submit, "agreement.not-in-force")) is True
    assert await subject.store.write(hold(submit, "agreement.not-in-force", look_again=120)) is False
    assert await due(subject, 119) == []
    assert await due(subject, 120) == [submit.message.id]
    assert await subject.store.write(hold(submit, "field.protected", "partner.keys-stale")) is True
    stored = await found(subject, submit)
    assert (stored.state, stored.held_for) == (State.HELD, ("field.protected", "partner.keys-stale"))
    assert subject.kinds(submit.message.id) == ["submitted", "held", "held"]


async def test_a_message_held_again_after_its_release_is_logged_again(subject: Subject) -> None:
    submit = await submitted(subject)
    await subject.store.write(hold(submit))
    await subject.store.write(move(submit, Event.RELEASE))
    assert await subject.store.write(hold(submit)) is True
    assert subject.kinds(submit.message.id) == ["submitted", "held", "did-release", "held"]


async def test_a_held_message_is_looked_at_again_in_time_and_can_be_claimed(subject: Subject) -> None:
    submit = await submitted(subject)
    await subject.store.write(hold(submit, look_again=60))
    assert await due(subject, 59) == []
    candidate = await in_turn(subject, submit, 60)
    assert candidate.state is State.HELD
    assert await subject.store.write(make_claim(candidate, now=at(60))) is not None
    stored = await found(subject, submit)
    assert (stored.state, stored.held_for) == (State.SENDING, ())


async def test_held_messages_are_looked_at_at_once_when_their_agreement_has_a_new_event(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    await subject.store.write(hold(submit, look_again=10_000))
    await subject.store.write(make_event(1, file=make_file(digest_=OTHER_DIGEST, version=2), now=at(20)))
    assert await due(subject, 30) == []
    await subject.store.write(make_event(2, now=at(20)))
    assert await due(subject, 19) == []
    assert await due(subject, 20) == [submit.message.id]
    assert await state(subject, behind) is State.QUEUED


async def test_held_messages_are_looked_at_at_once_when_a_child_is_taken_off_the_protection_list(
    subject: Subject,
) -> None:
    held = [await submitted(subject, b"1"), await submitted(subject, b"2", THIRD)]
    for submit in held:
        await subject.store.write(hold(submit, look_again=10_000))
    await subject.store.write(protect(now=20))
    assert await due(subject, 30) == []
    await subject.store.write(protect(add=False, now=20))
    assert await due(subject, 19) == []
    assert set(await due(subject, 20)) == {submit.message.id for submit in held}


async def test_held_messages_are_looked_at_at_once_when_their_partner_is_written_anew(subject: Subject) -> None:
    submit, other = await submitted(subject, b"1"), await submitted(subject, b"2", THIRD)
    for one in (submit, other):
        await subject.store.write(hold(one, "partner.unverified", look_again=10_000))
    await subject.store.write(put(when=20))
    assert await due(subject, 19) == []
    assert await due(subject, 20) == [submit.message.id]


async def test_held_messages_are_looked_at_at_once_when_their_partners_keys_are_fetched(subject: Subject) -> None:
    submit, other = await submitted(subject, b"1"), await submitted(subject, b"2", THIRD)
    bundle = make_bundle(PARTNER)
    await subject.store.write(put())
    for when in (20, 200):  # new, and held already but fetched again: no longer stale
        for one in (submit, other):
            await subject.store.write(hold(one, "partner.keys-stale", look_again=10_000))
        await subject.store.write(add(bundle, when=when))
        assert await due(subject, when - 1) == []
        assert await due(subject, when) == [submit.message.id]


async def test_what_waits_for_a_person_goes_on_waiting_whatever_changes(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    await subject.store.write(make_fail(await lease(subject, submit), submit.message.id, HoldLane(status=404)))
    for command in (make_event(2), put(), add(make_bundle(PARTNER)), protect(), protect(add=False)):
        await subject.store.write(command)
    await subject.store.write(move(behind, Event.CANCEL))  # and its lane is looked at anew
    assert await due(subject, MUCH_LATER) == []


@pytest.mark.parametrize("before", [state for state in REACHED if state not in (State.QUEUED, State.HELD)])
async def test_what_is_under_way_or_over_is_not_held(subject: Subject, before: State) -> None:
    submit = await submitted(subject)
    await bring(subject, submit, before)
    entries = subject.log()
    assert await subject.store.write(hold(submit)) is False
    assert await state(subject, submit) is before
    assert subject.log() == entries


async def test_a_hold_takes_no_attempt_from_the_one_who_leased_it(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit)
    assert await subject.store.write(hold(submit, now=59)) is False
    assert await subject.store.write(make_complete(leased, submit.message.id)) is True


async def test_a_message_whose_lease_ended_can_be_held(subject: Subject) -> None:
    submit = await submitted(subject)
    late = await lease(subject, submit)
    assert await subject.store.write(hold(submit, now=60, look_again=100)) is True
    assert await state(subject, submit) is State.HELD
    assert await subject.store.write(make_complete(late, submit.message.id)) is False
    assert await due(subject, 99) == []
    assert await due(subject, 100) == [submit.message.id]


async def test_no_message_of_ours_is_not_held(subject: Subject) -> None:
    assert await subject.store.write(hold(make_submit())) is False
    assert await log_size(subject) == 1


# --- moving


@pytest.mark.parametrize(
    ("before", "event", "wanted"),
    [
        (State.QUEUED, Event.EXPIRE, State.EXPIRED),
        (State.QUEUED, Event.CANCEL, State.CANCELLED),
        (State.HELD, Event.RELEASE, State.QUEUED),
        (State.HELD, Event.EXPIRE, State.EXPIRED),
        (State.HELD, Event.CANCEL, State.CANCELLED),
        (State.DEAD, Event.RESEND, State.QUEUED),
        (State.DEAD, Event.EXPIRE, State.EXPIRED),
        (State.DEAD, Event.CANCEL, State.CANCELLED),
    ],
)
async def test_an_act_moves_the_message_and_its_lane(
    subject: Subject, before: State, event: Event, wanted: State
) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    await bring(subject, submit, before)
    assert await subject.store.write(move(submit, event, 100)) is wanted
    stored = await found(subject, submit)
    assert (stored.state, stored.held_for) == (wanted, ())
    assert subject.kinds(submit.message.id)[-1] == did(event)
    assert await due(subject, 100) == [(submit if wanted is State.QUEUED else behind).message.id]


@pytest.mark.parametrize("before", REACHED)
async def test_an_act_that_the_state_table_refuses_changes_nothing(subject: Subject, before: State) -> None:
    submit = await submitted(subject)
    await bring(subject, submit, before)
    entries = subject.log()
    for event in Event:
        if event not in MOVES or event not in TRANSITIONS[before]:
            with pytest.raises(IllegalTransitionError):
                await subject.store.write(move(submit, event))
    assert await state(subject, submit) is before
    assert subject.log() == entries


async def test_no_act_moves_what_was_never_submitted(subject: Subject) -> None:
    for event in MOVES:
        with pytest.raises(IllegalTransitionError):
            await subject.store.write(move(make_submit(), event))


async def test_an_act_without_an_entry_is_not_logged(subject: Subject) -> None:
    submit = await submitted(subject)
    assert await subject.store.write(replace(move(submit, Event.CANCEL), entry=None)) is State.CANCELLED
    assert subject.kinds(submit.message.id) == ["submitted"]


async def test_a_dead_message_sent_again_keeps_id_and_bytes_and_begins_a_new_round(subject: Subject) -> None:  # I12
    submit = await submitted(subject)
    before = await found(subject, submit)
    await bring(subject, submit, State.DEAD)
    await subject.store.write(move(submit, Event.RESEND, 500))
    after = await found(subject, submit)
    assert (after.id, after.env, after.envelope, after.inner) == (
        before.id,
        before.env,
        before.envelope,
        before.inner,
    )
    assert after.attempts == 0
    assert await due(subject, 499) == []
    candidate = await in_turn(subject, submit, 500)
    assert (candidate.attempts, candidate.first_attempt_at, candidate.last_statuses) == (0, None, ())
    assert (await lease(subject, submit, now=500)).attempt == 1


async def test_a_message_past_its_time_is_found_and_expires(subject: Subject) -> None:
    later, gone = make_submit(lane=b"1", expires=at(200)), make_submit(lane=b"2", expires=at(100))
    for submit in (later, gone):
        await subject.store.write(submit)
    assert await subject.outbox.expiring(at(99), 10) == ()
    assert await subject.outbox.expiring(at(100), 10) == (gone.message.id,)
    assert set(await subject.outbox.expiring(at(200), 10)) == {gone.message.id, later.message.id}
    assert len(await subject.outbox.expiring(at(200), 1)) == 1
    await subject.store.write(move(gone, Event.EXPIRE, 100))
    assert await subject.outbox.expiring(at(100), 10) == ()


@pytest.mark.parametrize("before", REACHED)
async def test_only_what_can_expire_is_said_to_be_past_its_time(subject: Subject, before: State) -> None:
    submit = await submitted(subject)
    await bring(subject, submit, before)
    past = submit.message.expires_at - int(START.timestamp())
    wanted = () if Event.EXPIRE not in TRANSITIONS[before] and before is not State.SENDING else (submit.message.id,)
    assert await subject.outbox.expiring(at(past), 10) == wanted


async def test_a_message_past_its_time_expires_when_its_lease_has_ended(subject: Subject) -> None:
    submit = make_submit(expires=at(10))
    await subject.store.write(submit)
    late = await lease(subject, submit, length=60)
    assert await subject.outbox.expiring(at(59), 10) == ()
    with pytest.raises(IllegalTransitionError):
        await subject.store.write(move(submit, Event.EXPIRE, 59))
    assert await subject.outbox.expiring(at(60), 10) == (submit.message.id,)
    assert await subject.store.write(move(submit, Event.EXPIRE, 60)) is State.EXPIRED
    assert await subject.store.write(make_fail(late, submit.message.id)) is False


# --- receipts that come by themselves


@pytest.mark.parametrize("before", UNDELIVERED)
async def test_a_receipt_is_the_truth_from_every_state_before_delivery(subject: Subject, before: State) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    await bring(subject, submit, before)
    assert await subject.store.write(take(submit, ReceiptEvent.TAKEN)) is True
    stored = await found(subject, submit)
    assert (stored.state, stored.held_for) == (State.TAKEN, ())
    assert [event for event, _ in stored.receipts] == ["taken"]
    assert subject.kinds(submit.message.id)[-2:] == ["delivered", "taken"]
    assert await due(subject) == [behind.message.id]


async def test_a_receipt_that_came_by_itself_ends_the_attempt_under_way(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit)
    await subject.store.write(take(submit, ReceiptEvent.CHECKED))
    assert await subject.store.write(make_complete(leased, submit.message.id)) is False
    assert await subject.store.write(make_fail(leased, submit.message.id, DeadLetter())) is False
    assert await state(subject, submit) is State.DELIVERED
    assert subject.kinds(submit.message.id) == ["submitted", "delivered"]


async def test_receipts_in_any_order_lead_on_and_never_back(subject: Subject) -> None:
    submit = await submitted(subject)
    for event in (ReceiptEvent.COLLECTED, ReceiptEvent.CHECKED, ReceiptEvent.TAKEN, ReceiptEvent.REJECTED):
        assert await subject.store.write(take(submit, event)) is True  # kept as evidence
        assert await state(subject, submit) is State.COLLECTED
    assert [event for event, _ in (await found(subject, submit)).receipts] == [
        "collected",
        "checked",
        "taken",
        "rejected",
    ]
    assert subject.kinds(submit.message.id) == ["submitted", "delivered", "collected"]


@pytest.mark.parametrize("event", list(ReceiptEvent))
async def test_a_repeated_receipt_changes_nothing(subject: Subject, event: ReceiptEvent) -> None:
    submit = await submitted(subject)
    first = take(submit, event)
    assert await subject.store.write(first) is True
    before = await found(subject, submit), subject.log()
    assert await subject.store.write(take(submit, event)) is False
    assert await subject.store.write(take(submit, event, leaf=b"n" * 32)) is False
    assert (await found(subject, submit), subject.log()) == before
    assert before[0].receipts == ((str(event), first.receipt.data),)


async def test_a_receipt_whose_entry_stood_in_an_earlier_one_is_refused(subject: Subject) -> None:
    first, second = await submitted(subject, b"1"), await submitted(subject, b"2")
    leaf = b"l" * 32
    await subject.store.write(take(first, ReceiptEvent.TAKEN, leaf=leaf))
    for used in (take(second, ReceiptEvent.TAKEN, leaf=leaf), take(first, ReceiptEvent.COLLECTED, leaf=leaf)):
        with pytest.raises(ReceiptRejectedError):
            await subject.store.write(used)
    assert await state(subject, second) is State.QUEUED
    assert await state(subject, first) is State.TAKEN
    assert subject.kinds(second.message.id) == ["submitted"]
    assert await subject.store.write(take(second, ReceiptEvent.TAKEN)) is True


async def test_a_receipt_without_an_entry_for_the_state_it_leads_to_is_a_bug(subject: Subject) -> None:
    submit = await submitted(subject)
    receipt = take(submit, ReceiptEvent.TAKEN)
    entries = {state: entry for state, entry in receipt.entries.items() if state is not State.TAKEN}
    with pytest.raises(IllegalTransitionError):
        await subject.store.write(replace(receipt, entries=entries))
    stored = await found(subject, submit)
    assert (stored.state, stored.receipts) == (State.QUEUED, ())
    assert subject.kinds(submit.message.id) == ["submitted"]


async def test_a_receipt_for_no_message_of_ours_is_refused(subject: Subject) -> None:
    with pytest.raises(ReceiptRejectedError):
        await subject.store.write(take(make_submit(), ReceiptEvent.TAKEN))
    assert await log_size(subject) == 1


# --- lanes


async def test_a_lane_goes_in_order_and_one_at_a_time(subject: Subject) -> None:  # I6
    waiting = [await submitted(subject) for _ in range(3)]
    for number, submit in enumerate(waiting):
        assert await due(subject, number) == [submit.message.id]
        leased = await lease(subject, submit, now=number)
        assert await due(subject, number) == []
        await subject.store.write(make_complete(leased, submit.message.id, now=at(number)))
    assert await due(subject, MUCH_LATER) == []


async def test_one_lane_key_is_another_lane_for_another_partner(subject: Subject) -> None:
    first, second = await submitted(subject), await submitted(subject, partner=THIRD)
    assert set(await due(subject)) == {first.message.id, second.message.id}


async def test_a_message_joins_a_lane_that_was_empty_again(subject: Subject) -> None:
    await bring(subject, await submitted(subject), State.DELIVERED)
    later = await submitted(subject)
    assert await due(subject) == [later.message.id]


async def test_the_oldest_of_a_partner_is_due_first(subject: Subject) -> None:
    for number in (3, 1, 2):
        await subject.store.write(make_submit(lane=b"%d" % number, when=at(number), key=str(number)))
    candidates = await subject.outbox.due(at(10), 20)
    created = [(await subject.outbox.message(one.message_id)) for one in candidates]
    assert [one.created_at - int(START.timestamp()) for one in created if one is not None] == [1, 2, 3]


async def test_partners_take_turns(subject: Subject) -> None:
    for number in range(5):
        await submitted(subject, b"a%d" % number)
    lone = await submitted(subject, b"b", THIRD)
    first_two = await subject.outbox.due(at(0), 2)
    assert len(first_two) == 2
    assert lone.message.id in {candidate.message_id for candidate in first_two}


async def test_the_partner_that_waited_longest_is_first_to_have_its_turn(subject: Subject) -> None:
    for partner, when in (("la-904", 1), (PARTNER, 3), (THIRD, 2)):
        await subject.store.write(make_submit(partner=partner, when=at(when)))
    candidates = await subject.outbox.due(at(10), 2)
    assert [candidate.partner for candidate in candidates] == ["la-904", THIRD]


# --- receiving


async def test_a_new_message_is_stored_with_its_receipt_and_one_entry(subject: Subject) -> None:  # I2
    receive = make_receive()
    received = await subject.store.write(receive)
    assert (received.reception, received.receipt) == (Reception.NEW, receive.receipt)
    stored = await arrived(subject, receive.message.id)
    assert (stored.state, stored.inner) == (InboundState.RECEIVED, receive.inner)
    assert (stored.sender, stored.env, stored.received_at) == (PARTNER, receive.message.env, int(START.timestamp()))
    assert stored.receipts == (("checked", receive.receipt),)
    assert subject.kinds(receive.message.id) == ["received"]
    assert await subject.inbox.message(message_id()) is None


async def test_the_same_bytes_again_get_the_identical_receipt_and_change_nothing(subject: Subject) -> None:  # I7
    own = message_id()
    first = await subject.store.write(make_receive(id=own))
    await subject.store.write(make_event(2))  # whatever became of the agreement
    again = await subject.store.write(make_receive(id=own))  # another receipt was made for it, and is dropped
    assert (again.reception, again.receipt) == (Reception.DUPLICATE, first.receipt)
    assert (await arrived(subject, own)).receipts == (("checked", first.receipt),)
    assert subject.kinds(own) == ["received"]


async def test_the_same_bytes_under_another_id_are_the_message_they_were(subject: Subject) -> None:
    receive, again = make_receive(), make_receive()
    first = await subject.store.write(receive)
    same = replace(again, message=replace(again.message, env=receive.message.env))
    answer = await subject.store.write(same)
    assert (answer.reception, answer.receipt) == (Reception.DUPLICATE, first.receipt)
    assert await subject.inbox.message(same.message.id) is None


async def test_the_same_id_with_other_bytes_is_a_conflict_and_changes_nothing(subject: Subject) -> None:  # I7
    own = message_id()
    await subject.store.write(make_receive(id=own))
    before = await arrived(subject, own)
    for other in (make_receive(id=own, data=b"other bytes"), make_receive(id=own, data=b"other bytes", refused=True)):
        answer = await subject.store.write(other)
        assert (answer.reception, answer.receipt) == (Reception.CONFLICT, b"")
        assert await subject.inbox.stored_receipt(PARTNER, other.message.env) is None
    assert await arrived(subject, own) == before
    assert subject.kinds(own) == ["received"]


async def test_a_rejected_message_is_kept_without_a_body_and_with_one_entry(subject: Subject) -> None:
    receive = make_receive(refused=True)
    answer = await subject.store.write(receive)
    assert (answer.reception, answer.receipt) == (Reception.NEW, receive.receipt)
    stored = await arrived(subject, receive.message.id)
    assert (stored.state, stored.inner) == (InboundState.REFUSED, None)
    assert stored.receipts == (("rejected", receive.receipt),)
    assert subject.kinds(receive.message.id) == ["refused-inbound"]


async def test_a_rejected_message_sent_again_gets_the_identical_rejection(subject: Subject) -> None:
    own = message_id()
    first = await subject.store.write(make_receive(id=own, refused=True))
    again = await subject.store.write(make_receive(id=own))  # it would be accepted by now
    assert (again.reception, again.receipt) == (Reception.DUPLICATE, first.receipt)
    assert (await arrived(subject, own)).state is InboundState.REFUSED


async def test_a_message_checked_against_events_that_moved_is_refused(subject: Subject) -> None:
    receive = make_receive()
    await subject.store.write(make_event(2))
    with pytest.raises(HeadsMovedError):
        await subject.store.write(receive)
    assert await subject.inbox.env_of(PARTNER, receive.message.id) is None
    again = make_receive(id=receive.message.id, heads=make_heads(a=make_event(2).event.hash))
    assert (await subject.store.write(again)).reception is Reception.NEW


async def test_a_rejection_depends_on_no_events(subject: Subject) -> None:
    await subject.store.write(make_event(2))
    assert (await subject.store.write(make_receive(refused=True))).reception is Reception.NEW


async def test_the_stored_receipt_is_found_by_the_bytes_alone(subject: Subject) -> None:
    receive = make_receive()
    await subject.store.write(receive)
    row = receive.message
    assert await subject.inbox.stored_receipt(row.sender, row.env) == receive.receipt
    assert await subject.inbox.stored_receipt(THIRD, row.env) is None
    assert await subject.inbox.env_of(row.sender, row.id) == row.env
    assert await subject.inbox.env_of(row.sender, message_id()) is None


async def test_one_id_from_two_senders_is_two_messages(subject: Subject) -> None:
    own = message_id()
    for sender in (PARTNER, THIRD):
        assert (await subject.store.write(make_receive(id=own, sender=sender))).reception is Reception.NEW
    await subject.store.write(make_acknowledge(own, sender=THIRD))
    assert (await arrived(subject, own, PARTNER)).state is InboundState.RECEIVED
    third = await arrived(subject, own, THIRD)
    assert (third.sender, third.state, len(third.receipts)) == (THIRD, InboundState.TAKEN, 2)
    assert await subject.inbox.message(own) is None  # not to be guessed which


async def test_a_protected_child_that_arrives_is_listed_and_logged_once(subject: Subject) -> None:
    for _ in range(2):
        await subject.store.write(make_receive(protect=TAGS))
    assert await subject.protection.kinds(TAGS) == {"location"}
    assert [kind for kind, _ in subject.log()][1:] == ["received", "protection-added", "received"]


# --- acknowledging


@pytest.mark.parametrize("event", [ReceiptEvent.TAKEN, ReceiptEvent.COLLECTED])
async def test_an_acknowledgement_changes_state_logs_and_owes_the_receipt(
    subject: Subject, event: ReceiptEvent
) -> None:
    receive = make_receive()
    await subject.store.write(receive)
    acknowledge = make_acknowledge(receive.message.id, event)
    assert await subject.store.write(acknowledge) == acknowledge.receipt
    stored = await arrived(subject, receive.message.id)
    assert stored.state is InboundState(event)
    assert stored.receipts == (("checked", receive.receipt), (str(event), acknowledge.receipt))
    assert subject.kinds(receive.message.id) == ["received", acknowledge.entry.kind]
    assert await subject.outbox.owed(at(-1), 10) == ()
    (owed,) = await subject.outbox.owed(at(0), 10)
    assert (owed.partner, owed.kind, owed.ref, owed.data) == (
        PARTNER,
        "receipt",
        f"{receive.message.id}/{event}",
        acknowledge.receipt,
    )


async def test_a_repeated_acknowledgement_answers_the_first_receipt(subject: Subject) -> None:
    own = message_id()
    await subject.store.write(make_receive(id=own))
    first = await subject.store.write(make_acknowledge(own))
    assert await subject.store.write(make_acknowledge(own)) == first
    assert subject.kinds(own) == ["received", "handed-over"]
    assert len(await subject.outbox.owed(at(0), 10)) == 1


async def test_every_opening_is_logged_and_there_is_one_receipt_for_all(subject: Subject) -> None:
    own = message_id()
    await subject.store.write(make_receive(id=own))
    opening = make_acknowledge(own, ReceiptEvent.COLLECTED)
    first = await subject.store.write(opening)
    (owed,) = await subject.outbox.owed(at(0), 10)
    for event in (ReceiptEvent.COLLECTED, ReceiptEvent.TAKEN, ReceiptEvent.TAKEN, ReceiptEvent.COLLECTED):
        answer = await subject.store.write(make_acknowledge(own, event))
        assert (answer == first) is (event is ReceiptEvent.COLLECTED)
    assert subject.kinds(own) == ["received", "collected", "collected", "handed-over", "collected"]
    stored = await arrived(subject, own)
    assert stored.state is InboundState.COLLECTED
    assert [event for event, _ in stored.receipts] == ["checked", "collected", "taken"]
    assert [item.ref for item in await subject.outbox.owed(at(0), 10)] == [owed.ref, f"{own}/taken"]


async def test_a_repeated_acknowledgement_answers_the_first_receipt_after_it_arrived(subject: Subject) -> None:
    own = message_id()
    await subject.store.write(make_receive(id=own))
    first = await subject.store.write(make_acknowledge(own))
    (item,) = await subject.outbox.owed(at(0), 10)
    await subject.store.write(claim_outgoing(item.id))
    await subject.store.write(settle(item.id, None))
    assert await subject.store.write(make_acknowledge(own)) == first
    assert await subject.outbox.owed(at(MUCH_LATER), 10) == ()


async def test_a_message_opened_first_can_still_be_handed_over(subject: Subject) -> None:
    own = message_id()
    await subject.store.write(make_receive(id=own))
    for event in (ReceiptEvent.COLLECTED, ReceiptEvent.TAKEN):
        await subject.store.write(make_acknowledge(own, event))
    stored = await arrived(subject, own)
    assert stored.state is InboundState.COLLECTED
    assert [event for event, _ in stored.receipts] == ["checked", "collected", "taken"]
    assert subject.kinds(own) == ["received", "collected", "handed-over"]


async def test_what_was_refused_or_never_came_cannot_be_acknowledged(subject: Subject) -> None:
    refused = make_receive(refused=True)
    await subject.store.write(refused)
    for own in (refused.message.id, message_id()):
        with pytest.raises(IllegalTransitionError):
            await subject.store.write(make_acknowledge(own))
    assert await subject.outbox.owed(at(0), 10) == ()
    assert await log_size(subject) == 2


@pytest.mark.parametrize("event", [ReceiptEvent.CHECKED, ReceiptEvent.REJECTED])
async def test_only_a_receivers_acts_acknowledge(subject: Subject, event: ReceiptEvent) -> None:
    own = message_id()
    await subject.store.write(make_receive(id=own))
    with pytest.raises(IllegalTransitionError):
        await subject.store.write(make_acknowledge(own, event))
    assert (await arrived(subject, own)).state is InboundState.RECEIVED


# --- what is owed to partners besides messages


async def owing(subject: Subject) -> OutgoingItem:
    """Owe one event to the partner."""
    await subject.store.write(make_event(2, push_to=PARTNER))
    (item,) = await subject.outbox.owed(at(0), 10)
    return item


def claim_outgoing(item: int, token: bytes = b"token", now: float = 0) -> ClaimOutgoing:
    return ClaimOutgoing(id=item, token=token, now=at(now), until=at(now + 60))


def settle(item: int, what: Next | None, token: bytes = b"token") -> SettleOutgoing:
    return SettleOutgoing(id=item, token=token, next=what)


async def test_an_item_that_arrived_is_owed_no_more(subject: Subject) -> None:
    item = await owing(subject)
    assert (item.attempts, item.first_attempt_at) == (0, None)
    assert await subject.store.write(claim_outgoing(item.id)) is True
    assert await subject.outbox.owed(at(59), 10) == ()
    assert await subject.store.write(settle(item.id, None)) is True
    assert await subject.outbox.owed(at(MUCH_LATER), 10) == ()
    assert await subject.store.write(claim_outgoing(item.id, now=MUCH_LATER)) is False
    assert await subject.store.write(settle(item.id, RetryAt(at=at(0)))) is False


async def test_an_item_that_failed_is_owed_again_when_it_was_decided(subject: Subject) -> None:
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id, now=5))
    await subject.store.write(settle(item.id, RetryAt(at=at(100))))
    assert await subject.outbox.owed(at(99), 10) == ()
    assert await subject.store.write(claim_outgoing(item.id, now=99)) is False
    assert await subject.outbox.owed(at(100), 10) == (replace(item, attempts=1, first_attempt_at=at(5)),)
    await subject.store.write(claim_outgoing(item.id, now=100))
    assert await subject.outbox.owed(at(160), 10) == (replace(item, attempts=2, first_attempt_at=at(5)),)


@pytest.mark.parametrize("what", [DeadLetter(), Expire(), HoldLane(status=404)])
async def test_an_item_given_up_is_owed_no_more(subject: Subject, what: Next) -> None:
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id))
    assert await subject.store.write(settle(item.id, what)) is True
    assert await subject.outbox.owed(at(MUCH_LATER), 10) == ()
    counts = await subject.overview.counts()
    assert (counts["owed"], counts["owed.dead"]) == (0, 1)
    assert await subject.store.write(claim_outgoing(item.id, now=MUCH_LATER)) is False


async def test_an_item_is_leased_to_one_at_a_time(subject: Subject) -> None:
    item = await owing(subject)
    assert await subject.store.write(claim_outgoing(item.id)) is True
    assert await subject.store.write(claim_outgoing(item.id, b"other")) is False
    assert await subject.store.write(settle(item.id, None, b"other")) is False
    assert await subject.store.write(settle(item.id, None)) is True


@pytest.mark.parametrize("what", [None, RetryAt(at=at(5))])
async def test_a_late_answer_under_another_lease_changes_nothing(subject: Subject, what: Next | None) -> None:
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id, b"late"))
    assert await subject.store.write(claim_outgoing(item.id, b"current", now=60)) is True
    assert await subject.store.write(settle(item.id, what, b"late")) is False
    assert await subject.outbox.owed(at(119), 10) == ()
    assert [again.id for again in await subject.outbox.owed(at(120), 10)] == [item.id]


async def test_what_is_not_owed_cannot_be_claimed_or_settled(subject: Subject) -> None:
    assert await subject.store.write(claim_outgoing(17)) is False
    assert await subject.store.write(settle(17, None)) is False


async def test_the_oldest_debts_come_first(subject: Subject) -> None:
    for n, when in ((2, 50), (3, 30), (4, 40)):
        await subject.store.write(make_event(n, push_to=PARTNER, now=at(when)))
    hashes = [make_event(n).event.hash for n in (3, 4, 2)]
    assert [item.ref for item in await subject.outbox.owed(at(100), 10)] == hashes
    assert [item.ref for item in await subject.outbox.owed(at(100), 2)] == hashes[:2]


async def test_partners_take_turns_in_what_they_are_owed(subject: Subject) -> None:
    for n in range(2, 7):
        await subject.store.write(make_event(n, push_to=PARTNER, now=at(n)))
    lone = make_event(7, push_to=THIRD, now=at(50))
    await subject.store.write(lone)
    mine = [make_event(n).event.hash for n in range(2, 7)]
    assert [item.ref for item in await subject.outbox.owed(at(50), 3)] == [mine[0], lone.event.hash, mine[1]]
    assert [item.ref for item in await subject.outbox.owed(at(49), 3)] == mine[:3]


async def test_the_partner_that_is_owed_longest_comes_first(subject: Subject) -> None:
    for n, partner, when in ((2, "la-904", 1), (3, PARTNER, 3), (4, THIRD, 2)):
        await subject.store.write(make_event(n, push_to=partner, now=at(when)))
    assert [item.partner for item in await subject.outbox.owed(at(10), 2)] == ["la-904", THIRD]


# --- a graceful stop


def release(*tokens: bytes, now: float = 10) -> ReleaseLeases:
    return ReleaseLeases(tokens=frozenset(tokens), now=at(now))


async def test_a_released_lease_leaves_its_message_queued_and_due_at_once(subject: Subject) -> None:
    submit, behind = await submitted(subject), await submitted(subject)
    leased = await lease(subject, submit)
    entries = subject.log()
    assert await subject.store.write(release(leased.token)) == 1
    assert await state(subject, submit) is State.QUEUED
    assert await due(subject, 9) == []
    candidate = await in_turn(subject, submit, 10)
    assert (candidate.attempts, candidate.first_attempt_at, candidate.last_statuses) == (1, at(0), (None,))
    assert await state(subject, behind) is State.QUEUED
    assert subject.log() == entries
    assert (await lease(subject, submit, now=10)).attempt == 2


async def test_the_end_of_an_attempt_under_a_released_lease_changes_nothing(subject: Subject) -> None:  # I8
    submit = await submitted(subject)
    leased = await lease(subject, submit)
    await subject.store.write(release(leased.token))
    assert await subject.store.write(make_complete(leased, submit.message.id)) is False
    assert await subject.store.write(make_fail(leased, submit.message.id, DeadLetter())) is False
    assert await state(subject, submit) is State.QUEUED


async def test_a_lease_that_ended_is_released_while_nobody_has_taken_over(subject: Subject) -> None:
    submit = await submitted(subject)
    late = await lease(subject, submit)
    assert await subject.store.write(release(late.token, now=100)) == 1
    current = await lease(subject, submit, now=100)
    assert await subject.store.write(release(late.token, now=101)) == 0
    assert await subject.store.write(make_complete(current, submit.message.id)) is True


async def test_a_released_lease_leaves_its_item_owed_at_once(subject: Subject) -> None:
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id, b"mine"))
    assert await subject.store.write(release(b"mine")) == 1
    assert await subject.outbox.owed(at(9), 10) == ()
    assert await subject.outbox.owed(at(10), 10) == (replace(item, attempts=1, first_attempt_at=at(0)),)
    assert await subject.store.write(settle(item.id, None, b"mine")) is False
    assert await subject.store.write(claim_outgoing(item.id, b"next", now=10)) is True


async def test_only_the_leases_named_are_released_and_all_of_them(subject: Subject) -> None:
    one, two, other = [await submitted(subject, b"%d" % n) for n in range(3)]
    item = await owing(subject)
    await subject.store.write(claim_outgoing(item.id, b"item"))
    heads = make_heads(a=make_event(2).event.hash)
    tokens = []
    for submit in (one, two, other):
        leased = await subject.store.write(make_claim(await in_turn(subject, submit), heads=heads))
        assert leased is not None
        tokens.append(leased.token)
    assert await subject.store.write(release(tokens[0], tokens[1], b"item", b"unknown")) == 3
    assert [await state(subject, submit) for submit in (one, two, other)] == [
        State.QUEUED,
        State.QUEUED,
        State.SENDING,
    ]
    assert await subject.store.write(release(tokens[0], b"item")) == 0
    assert await subject.store.write(release()) == 0


async def test_whoever_takes_over_the_home_releases_every_lease(subject: Subject) -> None:
    submit, item = await submitted(subject), await owing(subject)
    await subject.store.write(claim_outgoing(item.id, b"item"))
    heads = make_heads(a=make_event(2).event.hash)
    assert await subject.store.write(make_claim(await in_turn(subject, submit), heads=heads)) is not None
    assert await subject.store.write(ReleaseLeases(tokens=None, now=at(10))) == 2
    assert await state(subject, submit) is State.QUEUED
    assert await subject.store.write(ReleaseLeases(tokens=None, now=at(10))) == 0


async def test_what_was_settled_is_not_released(subject: Subject) -> None:
    submit = await submitted(subject)
    leased = await lease(subject, submit)
    await subject.store.write(make_complete(leased, submit.message.id))
    assert await subject.store.write(release(leased.token)) == 0
    assert await state(subject, submit) is State.DELIVERED


# --- partners and bundles


def put(*, verified_by: tuple[str, ...] = ("one", "two"), fetched_at: int = 100, when: float = 0) -> PutPartner:
    said: dict[str, Any] = {
        "org": PARTNER,
        "name": "Council B",
        "root": "sha256:" + "00" * 32,
        "verified_by": verified_by,
        "route": "peer",
        "duty_number": "020 7946 0000",
    }
    return PutPartner(
        fetched_at=fetched_at,
        entry=make_entry("partner-verified", when=at(when), partner=PARTNER, rows=deciding.of_partner(**said)),
        **said,
    )


def add(bundle: KeyBundle, *, fetched_at: int = 200, broadcast_to: tuple[str, ...] = (), when: float = 0) -> AddBundle:
    return AddBundle(
        org=bundle.org,
        seq=bundle.seq,
        jws=bundle.jws,
        fetched_at=fetched_at,
        entry=make_entry(
            "key-bundle",
            when=at(when),
            partner=bundle.org,
            rows=deciding.of_bundle(org=bundle.org, seq=bundle.seq, jws=bundle.jws),
        ),
        broadcast_to=broadcast_to,
    )


async def partner(subject: Subject) -> Partner:
    stored = await subject.partners.get(PARTNER)
    assert stored is not None
    return stored


async def test_a_partner_is_read_back_with_its_bundles_ascending(subject: Subject) -> None:
    first = make_bundle(PARTNER)
    second = make_bundle(PARTNER, history=(first,))
    await subject.store.write(put())
    assert (await partner(subject)).bundles == ()
    assert await subject.store.write(add(second)) is True
    assert await subject.store.write(add(first)) is True
    stored = await partner(subject)
    assert (stored.bundles, stored.newest) == ((first, second), second)
    assert (stored.name, stored.verified_by, stored.route) == ("Council B", ("one", "two"), "peer")
    assert (stored.duty_number, stored.root) == ("020 7946 0000", "sha256:" + "00" * 32)
    assert await subject.partners.all() == (stored,)
    assert await subject.partners.get(THIRD) is None
    assert [kind for kind, _ in subject.log()][1:] == ["partner-verified", "key-bundle", "key-bundle"]


async def test_a_partner_written_anew_is_as_written(subject: Subject) -> None:
    await subject.store.write(put(verified_by=(), fetched_at=300))
    await subject.store.write(put(fetched_at=100))
    stored = await partner(subject)
    assert (stored.verified_by, stored.fetched_at) == (("one", "two"), 100)
    assert len(await subject.partners.all()) == 1


async def test_a_bundle_alone_makes_no_partner(subject: Subject) -> None:
    own = make_bundle(OWN)
    for bundle in (own, make_bundle(PARTNER)):
        await subject.store.write(add(bundle))
    assert await subject.partners.own_bundles() == (own,)
    assert await subject.partners.all() == ()


async def test_a_bundle_held_already_only_counts_as_fetched(subject: Subject) -> None:
    bundle = make_bundle(PARTNER)
    await subject.store.write(put(fetched_at=100))
    await subject.store.write(add(bundle, fetched_at=200))
    before = subject.log()
    assert await subject.store.write(add(bundle, fetched_at=300, broadcast_to=(THIRD,))) is False
    assert (await partner(subject)).fetched_at == 300
    assert await subject.store.write(add(bundle, fetched_at=250)) is False
    assert (await partner(subject)).fetched_at == 300
    assert subject.log() == before
    assert await subject.outbox.owed(at(0), 10) == ()


async def test_another_bundle_with_a_known_seq_is_refused(subject: Subject) -> None:
    first = make_bundle(PARTNER)
    await subject.store.write(put())
    await subject.store.write(add(first))
    with pytest.raises(ConflictError):
        await subject.store.write(add(make_bundle(PARTNER, name="Another Council"), fetched_at=300))
    stored = await partner(subject)
    assert (stored.bundles, stored.fetched_at) == ((first,), 200)


async def test_a_partner_whose_bundles_are_no_history_counts_as_absent(subject: Subject) -> None:
    first = make_bundle(PARTNER)
    revoking = make_bundle(PARTNER, history=(first,), revoked=(make_revocation(first.keys[0].kid),))
    forgetting = make_bundle(PARTNER, seq=3, prev=revoking.digest)
    await subject.store.write(put())
    for bundle in (first, revoking, forgetting):
        await subject.store.write(add(bundle))
    assert await subject.partners.get(PARTNER) is None
    assert await subject.partners.all() == ()


async def test_an_own_new_bundle_is_owed_to_partners(subject: Subject) -> None:
    own = make_bundle(OWN)
    await subject.store.write(add(own, broadcast_to=(PARTNER, THIRD)))
    owed = await subject.outbox.owed(at(0), 10)
    assert [(item.partner, item.kind, item.ref, item.data) for item in owed] == [
        (PARTNER, "bundle", own.digest, own.jws),
        (THIRD, "bundle", own.digest, own.jws),
    ]


# --- agreements and their events


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


# --- the protection list


def protect(*, add: bool = True, kinds: frozenset[str] = frozenset({"location"}), now: float = 0) -> Protect:
    entry = make_entry("protection-changed", rows=deciding.of_protection(TAGS, kinds, add=add))
    return Protect(tags=TAGS, kinds=kinds, add=add, now=at(now), entry=entry)


async def test_a_listed_tag_is_found_under_its_kinds(subject: Subject) -> None:
    both = frozenset({"location", "identity"})
    assert await subject.store.write(protect(kinds=both)) == 4
    assert await subject.protection.kinds([b"t" * 32]) == both
    assert await subject.protection.kinds([b"x" * 32]) == frozenset()
    assert await subject.protection.kinds([]) == frozenset()
    assert await subject.overview.protected() == {"location": 2, "identity": 2}


async def test_listing_again_changes_nothing_and_is_logged(subject: Subject) -> None:
    await subject.store.write(protect())
    assert await subject.store.write(protect()) == 0
    assert [kind for kind, _ in subject.log()][1:] == ["protection-changed"] * 2


async def test_a_tag_taken_off_is_gone_for_that_kind_only(subject: Subject) -> None:
    await subject.store.write(protect(kinds=frozenset({"location", "identity"})))
    assert await subject.store.write(protect(add=False)) == 2
    assert await subject.protection.kinds(TAGS) == {"identity"}
    assert await subject.store.write(protect(add=False)) == 0
    assert [kind for kind, _ in subject.log()][1:] == ["protection-changed"] * 3


# --- the log, and lists for people


async def test_a_record_is_one_entry_and_answers_its_place(subject: Subject) -> None:
    assert await subject.store.write(Record(entry=make_entry("search"))) == 1
    assert await subject.store.write(Record(entry=make_entry("export"))) == 2
    assert subject.log() == [("agreement-event", None), ("search", None), ("export", None)]


async def test_two_checkpoints_of_one_size_have_one_root(subject: Subject) -> None:
    put_one = PutCheckpoint(size=1, root=b"r" * 32, note="note", signed_at=100)
    for again in (put_one, replace(put_one, note="another note")):
        await subject.store.write(again)
    with pytest.raises(LogInconsistentError):
        await subject.store.write(replace(put_one, root=b"s" * 32))
    await subject.store.write(replace(put_one, size=2, root=b"s" * 32))


async def test_lists_show_the_newest_headers_and_no_body(subject: Subject) -> None:
    sent = [make_submit(lane=b"%d" % n, when=at(n)) for n in (1, 3, 2)]
    came = [make_receive(when=at(n)) for n in (1, 3, 2)]
    for command in (*sent, *came):
        await subject.store.write(command)
    await subject.store.write(make_acknowledge(came[1].message.id))
    outbox, inbox = await subject.overview.outbox(2), await subject.overview.inbox(2)
    assert [listed.id for listed in outbox] == [sent[1].message.id, sent[2].message.id]
    assert [listed.id for listed in inbox] == [came[1].message.id, came[2].message.id]
    assert outbox[0] == replace(await found(subject, sent[1]), envelope=b"", inner=b"")
    assert inbox[0] == replace(await arrived(subject, came[1].message.id), inner=None)


async def test_counts_are_by_state_and_of_what_is_owed_and_logged(subject: Subject) -> None:
    assert await subject.overview.counts() == {"owed": 0, "owed.dead": 0, "log.size": 1, "statements.different": 0}
    assert await subject.overview.protected() == {}
    await submitted(subject)
    await bring(subject, await submitted(subject, b"other"), State.DELIVERED)
    receive = make_receive()
    for command in (receive, make_receive(refused=True), make_acknowledge(receive.message.id)):
        await subject.store.write(command)
    (item,) = await subject.outbox.owed(at(0), 10)
    await subject.store.write(claim_outgoing(item.id))  # and still owed
    assert await subject.overview.counts() == {
        "outbound.queued": 1,
        "outbound.delivered": 1,
        "inbound.taken": 1,
        "inbound.refused": 1,
        "owed": 1,
        "owed.dead": 0,
        "log.size": 7,
        "statements.different": 0,
    }
