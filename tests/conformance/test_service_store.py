"""What a store owes the flows about service messages; run over `gateway.store` and over the fake.

The claims are those of `gateway.core.service` and of `ports.Service`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.service import BODIES
from gateway.core import service
from gateway.core.commands import Effect, Move, Submit
from gateway.core.errors import IllegalTransitionError
from gateway.core.lifecycle import Event, InboundState, ReceiptEvent
from gateway.core.service import (
    Answer,
    AnswerDestroyed,
    Ask,
    Asked,
    BreachState,
    CloseThread,
    Closure,
    DecideBreach,
    Destroy,
    Duty,
    DutyState,
    Erasure,
    OpenBreach,
    Reminded,
    Withdraw,
)
from tests.conformance.subject import Subject
from tests.support.store import (
    DIGEST,
    OWN,
    PARTNER,
    START,
    at,
    make_acknowledge,
    make_claim,
    make_complete,
    make_entry,
    make_event,
    make_receive,
    make_release,
    make_submit,
    message_id,
    seconds,
)

THIRD = "la-903"


# --- what the tests say


def make_asked(own: str, *about: str, **changes: Any) -> Asked:
    """A withdrawal of a partner, by default; `about` are messages of whoever asks."""
    members: dict[str, Any] = {
        "sender": PARTNER,
        "message_id": own,
        "partner": PARTNER,
        "type": "exchange.withdrawal",
        "code": "in-error",
        "thread": own,
        "since": seconds(),
        "due": seconds() + 3600,
    }
    asked = members | changes
    return Asked(**asked, about=tuple((asked["sender"], one) for one in about))


async def received(subject: Subject, *effects: Effect, sender: str = PARTNER, **changes: Any) -> str:
    """A partner's message; `effects` come with it."""
    command = make_receive(sender=sender, data=message_id().encode(), **changes)
    await subject.store.write(replace(command, effects=effects))
    return command.message.id


async def asked_of_us(subject: Subject, *about: str, **changes: Any) -> str:
    own = changes.pop("own", None) or message_id()
    with_it = changes.pop("with_it", ())
    asked = make_asked(own, *about, **changes)
    await received(subject, Ask(asked=asked), *with_it, id=own, sender=asked.sender)
    return own


async def asked_by_us(subject: Subject, *about: str, **changes: Any) -> Submit:
    submit = make_submit(lane=message_id().encode())
    asked = make_asked(submit.message.id, *about, sender=OWN, **changes)
    submit = replace(submit, effects=(Ask(asked=asked),))
    await subject.store.write(submit)
    return submit


def make_withdraw(own: str) -> Withdraw:
    entry = make_entry("withdrawn", msg=own, outcome="withdrawn")
    return Withdraw(sender=PARTNER, message_id=own, erased=entry, at=seconds())


def make_destroy(own: str, sender: str = PARTNER) -> Destroy:
    entry = make_entry("destroyed", msg=own, outcome="destroyed", by="Officer One")
    return Destroy(sender=sender, message_id=own, how="keys-destroyed", entry=entry, at=seconds())


def make_answer(own: str, *, sender: str = PARTNER, declined: bool = False, code: str | None = None) -> Answer:
    return Answer(sender=sender, message_id=own, answer_id=message_id(), declined=declined, code=code, at=seconds())


async def duty_of(subject: Subject, own: str) -> Duty:
    (found,) = [one for one in await subject.service.duties(settled=True) if one.asked.message_id == own]
    return found


async def open_ids(subject: Subject) -> list[str]:
    return [one.asked.message_id for one in await subject.service.duties(settled=False)]


async def state_of(subject: Subject, own: str) -> InboundState:
    held = await subject.inbox.message(own)
    assert held is not None
    return held.state


# --- duties


async def test_duty_is_kept_as_it_was_asked(subject: Subject) -> None:
    named = [await received(subject) for _ in range(2)]
    own = await asked_of_us(subject, *named)
    held = await duty_of(subject, own)
    assert held.asked == make_asked(own, *named)
    assert (held.state, held.answered_by, held.told_at) == (DutyState.OPEN, None, None)


async def test_open_duties_come_with_the_one_due_first_first(subject: Subject) -> None:
    late = await asked_of_us(subject, due=seconds() + 200)
    soon = await asked_of_us(subject, due=seconds() + 100)
    done = await asked_of_us(subject, due=seconds())
    await received(subject, make_answer(done))
    assert await open_ids(subject) == [soon, late]
    assert len(await subject.service.duties(settled=True)) == 3


async def test_effects_are_carried_out_once_however_often_the_message_comes(subject: Subject) -> None:
    own = message_id()
    command = replace(make_receive(id=own), effects=(Ask(asked=make_asked(own)),))
    for _ in range(2):
        await subject.store.write(command)
    assert await open_ids(subject) == [own]


async def test_answer_closes_the_duty_it_names_and_no_other(subject: Subject) -> None:
    own, other = await asked_of_us(subject), await asked_of_us(subject)
    answer = make_answer(own, declined=True, code="legal-hold")
    await received(subject, answer)
    held = await duty_of(subject, own)
    assert (held.state, held.answered_by, held.answer_code) == (DutyState.DECLINED, answer.answer_id, "legal-hold")
    assert await open_ids(subject) == [other]


async def test_what_was_declined_may_be_done_later_and_what_is_done_stays_done(subject: Subject) -> None:
    own = await asked_of_us(subject)
    for declined, expected in ((True, DutyState.DECLINED), (False, DutyState.DONE), (True, DutyState.DONE)):
        await received(subject, make_answer(own, declined=declined))
        assert (await duty_of(subject, own)).state is expected


async def test_answer_to_what_was_never_asked_changes_nothing(subject: Subject) -> None:
    own = await asked_of_us(subject)
    await received(subject, make_answer(own, sender=THIRD), make_answer(message_id()))
    assert await open_ids(subject) == [own]


async def test_destruction_answers_what_asked_for_it_about_that_message(subject: Subject) -> None:
    gone, kept = await received(subject), await received(subject)
    withdrawal = await asked_of_us(subject, gone)
    erase = await asked_of_us(subject, kept, gone, type="rights.notice", code="erase")
    rectify = await asked_of_us(subject, gone, type="rights.notice", code="rectify")
    other = await asked_of_us(subject, kept)
    await received(subject, AnswerDestroyed(sender=PARTNER, messages=(gone,), answer_id=message_id(), at=seconds()))
    assert {(await duty_of(subject, one)).state for one in (withdrawal, erase)} == {DutyState.DONE}
    assert set(await open_ids(subject)) == {rectify, other}


async def test_our_own_question_lapses_where_its_message_never_arrived(subject: Subject) -> None:
    asked = await asked_by_us(subject, type="exchange.question")
    own = asked.message.id
    assert await open_ids(subject) == [own]
    entry = make_entry("cancelled", msg=own)
    await subject.store.write(Move(message_id=own, event=Event.CANCEL, entry=entry, now=START))
    assert await open_ids(subject) == []
    assert (await duty_of(subject, own)).state is DutyState.LAPSED


async def test_what_was_said_of_a_message_is_found_under_it_alone(subject: Subject) -> None:
    named, other = await received(subject), await received(subject)
    first = await asked_of_us(subject, named, type="exchange.correction", code=None)
    second = await asked_of_us(subject, named, since=seconds() + 5)
    await asked_of_us(subject, other)
    assert [one.asked.message_id for one in await subject.service.said_of(PARTNER, named)] == [first, second]
    assert await subject.service.said_of(OWN, named) == ()
    assert await subject.service.said_of(THIRD, named) == ()


async def test_reminders_are_remembered(subject: Subject) -> None:
    own, other = await asked_of_us(subject), await asked_of_us(subject)
    await subject.store.write(Reminded(duties=((PARTNER, own),), breaches=(), at=77))
    assert ((await duty_of(subject, own)).told_at, (await duty_of(subject, other)).told_at) == (77, None)


# --- withdrawal and destruction


async def test_withdrawn_message_that_nobody_saw_is_destroyed_at_once(subject: Subject) -> None:
    own = await received(subject)
    before = await subject.inbox.message(own)
    await asked_of_us(subject, own, with_it=(make_withdraw(own),))
    held = await subject.inbox.message(own)
    assert held is not None
    assert before is not None
    assert (held.state, held.inner) == (InboundState.WITHDRAWN, None)
    assert held.receipts == before.receipts
    erased = Erasure(sender=PARTNER, message_id=own, at=seconds(), how="keys-destroyed")
    assert await subject.service.erasure(PARTNER, own) == erased
    assert ("withdrawn", own) in subject.log()


@pytest.mark.parametrize("event", [ReceiptEvent.TAKEN, ReceiptEvent.COLLECTED])
async def test_withdrawn_message_that_somebody_saw_waits_for_a_person(subject: Subject, event: ReceiptEvent) -> None:
    own = await received(subject)
    await subject.store.write(make_acknowledge(own, event))
    withdrawal = await asked_of_us(subject, own, with_it=(make_withdraw(own),))
    held = await subject.inbox.message(own)
    assert held is not None
    assert held.inner is not None
    assert await subject.service.erasure(PARTNER, own) is None
    assert "destroyed" not in [kind for kind, _ in subject.log()]
    assert await open_ids(subject) == [withdrawal]


async def test_withdrawn_message_whose_content_was_given_to_a_system_waits_for_a_person(subject: Subject) -> None:
    own = await received(subject)
    await subject.store.write(make_release(own))
    withdrawal = await asked_of_us(subject, own, with_it=(make_withdraw(own),))
    held = await subject.inbox.message(own)
    assert held is not None
    assert (held.state, held.inner is None) == (InboundState.RECEIVED, False)
    assert await subject.service.erasure(PARTNER, own) is None
    assert "withdrawn" not in [kind for kind, _ in subject.log()]
    assert await open_ids(subject) == [withdrawal]


async def test_only_what_was_given_of_that_sender_s_message_keeps_it(subject: Subject) -> None:
    own, other = await received(subject), await received(subject)
    await received(subject, sender=THIRD, id=own)
    for release in (make_release(other), make_release(own, sender=THIRD)):
        await subject.store.write(release)
    await asked_of_us(subject, own, with_it=(make_withdraw(own),))
    held = await subject.inbox.message(own, PARTNER)
    assert held is not None
    assert held.state is InboundState.WITHDRAWN


async def test_content_is_given_to_a_system_as_often_as_it_asks_and_no_state_changes(subject: Subject) -> None:
    own = await received(subject)
    for _ in range(2):
        await subject.store.write(make_release(own))
    assert subject.log()[-2:] == [("released", own)] * 2
    assert await state_of(subject, own) is InboundState.RECEIVED


@pytest.mark.parametrize("gone", ["withdrawn", "destroyed", "another sender's", "unknown"])
async def test_content_that_is_not_here_is_given_to_no_system(subject: Subject, gone: str) -> None:
    own = message_id() if gone == "unknown" else await received(subject)
    if gone == "withdrawn":
        await asked_of_us(subject, own, with_it=(make_withdraw(own),))
    if gone == "destroyed":
        await subject.store.write(make_destroy(own))
    entries = len(subject.log())
    with pytest.raises(IllegalTransitionError):
        await subject.store.write(make_release(own, sender=THIRD if gone == "another sender's" else PARTNER))
    assert len(subject.log()) == entries


async def test_withdrawal_touches_the_messages_of_its_sender_alone(subject: Subject) -> None:
    own = await received(subject, sender=THIRD)
    await received(subject, make_withdraw(own))
    assert await state_of(subject, own) is InboundState.RECEIVED


@pytest.mark.parametrize("event", [None, ReceiptEvent.TAKEN, ReceiptEvent.COLLECTED])
async def test_destroyed_message_leaves_its_row_and_receipts(subject: Subject, event: ReceiptEvent | None) -> None:
    own = await received(subject)
    if event is not None:
        await subject.store.write(make_acknowledge(own, event))
    assert await subject.store.write(make_destroy(own)) is True
    held = await subject.inbox.message(own)
    assert held is not None
    assert (held.state, held.inner) == (InboundState.DESTROYED, None)
    assert len(held.receipts) == (1 if event is None else 2)
    assert await subject.inbox.stored_receipt(PARTNER, held.env) is not None
    assert subject.log()[-1] == ("destroyed", own)


async def test_destroying_twice_changes_nothing(subject: Subject) -> None:
    own = await received(subject)
    await subject.store.write(make_destroy(own))
    entries = len(subject.log())
    assert await subject.store.write(make_destroy(own)) is False
    assert len(subject.log()) == entries


async def test_what_was_never_kept_is_not_destroyed(subject: Subject) -> None:
    refused = await received(subject, refused=True)
    for own, sender in ((refused, PARTNER), (message_id(), PARTNER), (await received(subject), THIRD)):
        with pytest.raises(IllegalTransitionError):
            await subject.store.write(make_destroy(own, sender))


@pytest.mark.parametrize("seen", ["opened", "given to a system"])
async def test_withdrawn_message_of_which_a_correction_was_seen_waits_for_a_person(subject: Subject, seen: str) -> None:
    own = await received(subject)
    correction = await asked_of_us(subject, own, type="exchange.correction", code=None)
    act = make_acknowledge(correction, ReceiptEvent.COLLECTED) if seen == "opened" else make_release(correction)
    await subject.store.write(act)
    await asked_of_us(subject, own, with_it=(make_withdraw(own),))
    for one in (own, correction):
        held = await subject.inbox.message(one)
        assert held is not None
        assert held.inner is not None
        assert await subject.service.erasure(PARTNER, one) is None
    await subject.store.write(make_destroy(own))
    for one in (own, correction):
        held = await subject.inbox.message(one)
        assert held is not None
        assert (held.state, held.inner) == (InboundState.DESTROYED, None)


async def test_corrections_go_with_the_message_that_they_correct(subject: Subject) -> None:
    own, other = await received(subject), await received(subject)
    mine = await asked_of_us(subject, own, type="exchange.correction", code=None)
    another = await asked_of_us(subject, other, type="exchange.correction", code=None)
    question = await asked_of_us(subject, own, type="rights.notice", code="rectify")
    await asked_of_us(subject, own, with_it=(make_withdraw(own),))
    assert await state_of(subject, mine) is InboundState.DESTROYED
    assert await state_of(subject, another) is InboundState.RECEIVED
    assert await state_of(subject, question) is InboundState.RECEIVED


async def test_destroyed_message_is_opened_no_more_and_taking_it_again_says_what_was_said(subject: Subject) -> None:
    own = await received(subject)
    taken = make_acknowledge(own, ReceiptEvent.TAKEN)
    first = await subject.store.write(taken)
    await subject.store.write(make_acknowledge(own, ReceiptEvent.COLLECTED))
    await subject.store.write(make_destroy(own))
    with pytest.raises(IllegalTransitionError):
        await subject.store.write(make_acknowledge(own, ReceiptEvent.COLLECTED))
    assert await subject.store.write(make_acknowledge(own, ReceiptEvent.TAKEN)) == first


async def test_withdrawn_message_is_not_taken(subject: Subject) -> None:
    own = await received(subject)
    await received(subject, make_withdraw(own))
    with pytest.raises(IllegalTransitionError):
        await subject.store.write(make_acknowledge(own))


# --- breaches, closures, threads


def make_opening(own: str, about: str) -> OpenBreach:
    return OpenBreach(
        sender=PARTNER,
        message_id=own,
        partner=PARTNER,
        about_sender=PARTNER,
        about_id=about,
        code="wrong-child",
        opened_at=seconds(),
        decide_by=seconds() + 72 * 3600,
        entry=make_entry("breach-opened", msg=about, outcome="wrong-child"),
    )


def make_decision(own: str) -> DecideBreach:
    entry = make_entry("breach-decided", outcome="reported")
    return DecideBreach(sender=PARTNER, message_id=own, outcome=BreachState.REPORTED, entry=entry)


async def test_breach_opens_with_its_entry_and_is_decided_once(subject: Subject) -> None:
    about, own = await received(subject), message_id()
    await received(subject, make_opening(own, about), id=own)
    assert subject.log()[-1] == ("breach-opened", about)
    (held,) = await subject.service.breaches()
    assert (held.state, held.code, held.about_id, held.told_at) == (BreachState.OPEN, "wrong-child", about, None)
    assert held.decide_by - held.opened_at == 72 * 3600
    await subject.store.write(Reminded(duties=(), breaches=((PARTNER, own),), at=5))
    assert await subject.store.write(make_decision(own)) is True
    assert await subject.store.write(make_decision(own)) is False
    (held,) = await subject.service.breaches()
    assert (held.state, held.told_at) == (BreachState.REPORTED, 5)
    assert [kind for kind, _ in subject.log()].count("breach-decided") == 1


async def test_last_word_on_a_thread_stands(subject: Subject) -> None:
    said = Closure(
        partner=PARTNER, thread=message_id(), on="2026-11-30", status="located", said_by=PARTNER, said_at=seconds()
    )
    later = replace(said, on="2026-12-01", status="in-education", said_by=OWN)
    for closure in (said, later, replace(said, partner=THIRD)):
        await received(subject, CloseThread(closure=closure))
    assert await subject.service.closure(PARTNER, said.thread) == later
    assert await subject.service.closure(PARTNER, message_id()) is None


async def test_thread_has_the_agreements_of_its_messages_with_that_partner(subject: Subject) -> None:
    thread = await received(subject)
    submit = make_submit()
    await subject.store.write(replace(submit, message=replace(submit.message, thread=thread)))
    refused = await received(subject, refused=True)
    assert await subject.service.agreements_of(PARTNER, thread) == (DIGEST,)
    assert await subject.service.agreements_of(THIRD, thread) == ()
    assert await subject.service.agreements_of(PARTNER, refused) == ()


async def test_thread_of_a_message_that_was_rejected_is_none(subject: Subject) -> None:
    submit = make_submit()
    await subject.store.write(submit)
    (candidate,) = await subject.outbox.due(at(0), 5)
    lease = await subject.store.write(make_claim(candidate))
    assert lease is not None
    await subject.store.write(make_complete(lease, submit.message.id, ReceiptEvent.REJECTED))
    assert await subject.service.agreements_of(PARTNER, submit.message.thread) == ()


async def test_without_heads_a_message_is_submitted_claimed_and_received_whatever_the_events(subject: Subject) -> None:
    """A fork, or an event in between, holds no service message back."""
    submit = replace(make_submit(), heads=None)
    await subject.store.write(submit)
    for fork in (b"one", b"another"):
        await subject.store.write(make_event(1, org=PARTNER, data=fork))
    (candidate,) = await subject.outbox.due(at(0), 5)
    assert await subject.store.write(replace(make_claim(candidate), heads=None)) is not None
    other = replace(make_receive(), heads=None)
    await subject.store.write(other)
    assert await state_of(subject, other.message.id) is InboundState.RECEIVED


def test_how_this_gateway_destroys_is_a_code_of_the_receipt() -> None:
    assert service.KEYS_DESTROYED in BODIES["destruction.receipt"]["how"].codes
