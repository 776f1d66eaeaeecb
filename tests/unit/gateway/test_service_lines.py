"""Service messages between two gateways in memory: each of the eight on its way, what it leaves behind, where it stops."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.breach import ContractBreachError
from contracts.events import Action
from contracts.names import SERVICE_TYPES
from gateway import duties, inbound, outbound, protection
from gateway.circumstances import payload_of
from gateway.core.commands import Release
from gateway.core.errors import IllegalTransitionError, SubmissionRefusedError
from gateway.core.lifecycle import InboundState, State
from gateway.core.message import Submission
from gateway.core.service import BreachState, DutyState
from gateway.kinds import RECORDS, SERVICE, kind_of
from tests.support import independent
from tests.support.exchange import Gateway, Town, make_town_in_force
from tests.support.messages import A, B, make_body, submission

TODAY = "2027-01-15"  # of NOW
LATER = "2027-02-15"
DOB, GIVEN = "child.date_of_birth", "child.name.given"


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


async def sent(town: Town, **changes: Any) -> str:
    """A transfer of la-207 that has arrived."""
    answer = await submission(town.a.exchange, key=town.a.entropy(8).hex(), **changes)
    await town.a.run()
    return str(answer["id"])


async def say(gateway: Gateway, message_type: str, *, run: bool = True, **said: Any) -> str:
    """Submit a service message as an own client does; keywords in capitals are the submission's own, the others the body's."""
    outer = {name.lower(): said.pop(name) for name in list(said) if name.isupper()}
    other = B if gateway.own == A else A
    members: dict[str, Any] = {
        "partner": other,
        "type": message_type,
        "body": independent.wire(said),
        "facts": {"urgency": "routine"},
        "client": "tests",
        "key": gateway.entropy(8).hex(),
    }
    answer = json.loads(await outbound.accept(Submission(**(members | outer)), gateway.exchange))
    if run:
        await gateway.run()
    return str(answer["id"])


def state(gateway: Gateway, own: str) -> State:
    return gateway.memory.sent[own].state


def breaches(refused: ContractBreachError) -> set[tuple[str, str]]:
    return {(str(breach.code), breach.path) for breach in refused.breaches}


async def refusal(gateway: Gateway, message_type: str, **said: Any) -> set[tuple[str, str]]:
    entries = len(gateway.memory.log)
    with pytest.raises(ContractBreachError) as refused:
        await say(gateway, message_type, **said)
    assert gateway.kinds()[entries:] == ["refused"]
    return breaches(refused.value)


async def open_duties(gateway: Gateway) -> list[tuple[str, str]]:
    held = await gateway.exchange.service.duties(settled=False)
    return [("awaited" if one.asked.sender == gateway.own else "owed", one.asked.type) for one in held]


async def arrived_state(gateway: Gateway, own: str) -> InboundState:
    message = await gateway.exchange.inbox.message(own)
    assert message is not None
    return message.state


def test_kind_is_decided_by_the_type_alone() -> None:
    assert {message_type for message_type in SERVICE_TYPES if kind_of(message_type) is not SERVICE} == set()
    assert kind_of("cme.transfer") is RECORDS
    assert kind_of("exchange.unheard_of") is RECORDS


# --- each of the eight, end to end


async def test_withdrawal_before_anybody_saw_the_message_destroys_it_and_is_answered(town: Town) -> None:
    own = await sent(town)
    withdrawal = await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
    assert state(town.a, withdrawal) is State.DELIVERED
    assert await arrived_state(town.b, own) is InboundState.WITHDRAWN
    assert town.b.memory.arrived[A, own].inner is None
    assert town.b.kinds()[-2:] == ["received", "withdrawn"]
    assert await open_duties(town.a) == [("awaited", "exchange.withdrawal")]
    await duties.send_receipts(town.b.exchange)
    await town.b.run()
    assert await open_duties(town.b) == [("awaited", "destruction.receipt")]
    assert await open_duties(town.a) == [("owed", "destruction.receipt")]
    receipt = next(one for one in town.a.memory.arrived.values() if one.row.type == "destruction.receipt")
    await duties.acknowledge(receipt.row.id, None, town.a.exchange, by="A Person")
    await town.a.run()
    assert (await open_duties(town.a), await open_duties(town.b)) == ([], [])
    assert (town.a.alarms, town.b.alarms) == ([], [])


async def test_clock_sends_one_destruction_receipt_however_often_it_looks(town: Town) -> None:
    own = await sent(town)
    await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
    for _ in range(3):
        await duties.send_receipts(town.b.exchange)
        town.clock.forward(days=1)
    assert len([one for one in town.b.memory.sent.values() if one.row.type == "destruction.receipt"]) == 1


async def test_withdrawal_that_is_said_again_is_answered_again(town: Town) -> None:
    own = await sent(town)
    for _ in range(2):
        await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
        await duties.send_receipts(town.b.exchange)
        await town.b.run()
        assert ("awaited", "exchange.withdrawal") not in await open_duties(town.a)
        town.clock.forward(hours=1)
    assert town.b.kinds().count("withdrawn") == 1


async def test_one_destruction_answers_everything_that_asked_for_it(town: Town) -> None:
    own = await sent(town)
    await inbound.take(own, town.b.exchange)
    await say(town.a, "rights.notice", message=own, right="erase", paths=[GIVEN], by=LATER)
    await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
    await duties.destroy(own, town.b.exchange, by="A Person")
    await duties.send_receipts(town.b.exchange)
    await town.b.run()
    assert await open_duties(town.b) == [("awaited", "destruction.receipt")]
    assert await open_duties(town.a) == [("owed", "destruction.receipt")]


async def test_withdrawn_message_that_a_case_system_read_is_destroyed_by_a_person(town: Town) -> None:
    own = await sent(town)
    _, payload = await inbound.release(own, A, "officer", town.b.exchange, by="token-1")
    assert payload.id == own
    await say(town.a, "exchange.withdrawal", message=own, reason="wrong-recipient")
    await duties.send_receipts(town.b.exchange)
    await town.b.run()
    assert await arrived_state(town.b, own) is InboundState.RECEIVED
    assert await open_duties(town.b) == [("owed", "exchange.withdrawal")]
    assert await open_duties(town.a) == [("awaited", "exchange.withdrawal")]
    await duties.destroy(own, town.b.exchange, by="A Person")
    await town.b.run()
    assert await arrived_state(town.b, own) is InboundState.DESTROYED
    assert await open_duties(town.a) == [("owed", "destruction.receipt")]


async def test_content_withdrawn_between_the_look_and_the_entry_is_not_shown(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await sent(town)
    write = town.b.exchange.store.write

    async def withdrawn_first(command: Any) -> Any:
        if isinstance(command, Release):
            monkeypatch.undo()
            await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
        return await write(command)

    monkeypatch.setattr(town.b.exchange.store, "write", withdrawn_first)
    with pytest.raises(IllegalTransitionError):
        await inbound.release(own, A, "officer", town.b.exchange, by="token-1")
    assert "released" not in town.b.kinds()


async def test_content_destroyed_between_the_entry_and_the_answer_is_not_shown(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await sent(town)
    await say(town.a, "rights.notice", message=own, right="erase", paths=[GIVEN], by=LATER)
    write = town.b.exchange.store.write

    async def destroyed_after(command: Any) -> Any:
        answer = await write(command)
        if isinstance(command, Release):
            monkeypatch.undo()
            await duties.destroy(own, town.b.exchange, by="A Person")
        return answer

    monkeypatch.setattr(town.b.exchange.store, "write", destroyed_after)
    with pytest.raises(SubmissionRefusedError) as refused:
        await inbound.release(own, A, "officer", town.b.exchange, by="token-1")
    assert refused.value.code == "message.destroyed"


@pytest.mark.parametrize("seen", ["taken", "collected"])
async def test_withdrawn_message_that_was_seen_is_destroyed_by_a_person(town: Town, seen: str) -> None:
    own = await sent(town)
    if seen == "taken":
        await inbound.take(own, town.b.exchange)
    else:
        await inbound.open_by(own, "officer", town.b.exchange)
    await say(town.a, "exchange.withdrawal", message=own, reason="child-found")
    await duties.send_receipts(town.b.exchange)
    assert (await arrived_state(town.b, own)).value == seen
    assert await open_duties(town.b) == [("owed", "exchange.withdrawal")]
    await duties.destroy(own, town.b.exchange, by="A Person")
    await town.b.run()
    assert await arrived_state(town.b, own) is InboundState.DESTROYED
    assert await open_duties(town.b) == [("awaited", "destruction.receipt")]
    assert await open_duties(town.a) == [("owed", "destruction.receipt")]
    assert "destroyed" in town.b.kinds()


async def test_destroying_again_answers_the_same_receipt(town: Town) -> None:
    own = await sent(town)
    await inbound.take(own, town.b.exchange)
    await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
    first = await duties.destroy(own, town.b.exchange, by="A Person")
    town.clock.forward(days=2)
    assert await duties.destroy(own, town.b.exchange, by="Another Person") == first
    assert town.b.kinds().count("destroyed") == 1


async def test_withdrawn_message_can_be_neither_taken_nor_opened(town: Town) -> None:
    own = await sent(town)
    await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
    for act in (inbound.take(own, town.b.exchange), inbound.open_by(own, "officer", town.b.exchange)):
        with pytest.raises(SubmissionRefusedError) as refused:
            await act
        assert refused.value.code == "message.withdrawn"


@pytest.mark.parametrize("reason", ["wrong-recipient", "wrong-child"])
async def test_withdrawal_of_what_was_not_theirs_opens_a_breach_on_both_sides(town: Town, reason: str) -> None:
    own = await sent(town)
    withdrawal = await say(town.a, "exchange.withdrawal", message=own, reason=reason)
    for gateway in (town.a, town.b):
        (breach,) = await gateway.exchange.service.breaches()
        assert (breach.message_id, breach.about_id, breach.code) == (withdrawal, own, reason)
        assert datetime.fromtimestamp(breach.decide_by, tz=UTC) == town.clock() + timedelta(hours=72)
        (entry,) = [entry for entry in gateway.memory.log if entry.kind == "breach-opened"]
        assert (entry.message_id, entry.outcome) == (own, reason)


async def test_breach_without_a_decision_alarms_daily_until_it_is_decided(town: Town) -> None:
    own = await sent(town)
    withdrawal = await say(town.a, "exchange.withdrawal", message=own, reason="wrong-child")
    for hours, alarms in ((71, 0), (2, 1), (1, 1), (24, 2)):
        town.clock.forward(hours=hours)
        await duties.remind(town.b.exchange)
        assert town.b.alarms.count("breach-undecided") == alarms
    await duties.decide_breach(withdrawal, BreachState.REPORTED, town.b.exchange, by="A Person")
    town.clock.forward(days=2)
    await duties.remind(town.b.exchange)
    assert town.b.alarms.count("breach-undecided") == 2
    assert town.b.kinds()[-1] == "breach-decided"
    with pytest.raises(SubmissionRefusedError):
        await duties.decide_breach(withdrawal, BreachState.REPORTED, town.b.exchange, by="A Person")


async def test_question_is_answered_by_a_correction_and_an_acknowledgement(town: Town) -> None:
    own = await sent(town, body=make_body(child__date_of_birth="2015-03-08"))
    question = await say(town.b, "exchange.question", message=own, paths=[DOB], reason="unclear")
    assert (await open_duties(town.a), await open_duties(town.b)) == (
        [("owed", "exchange.question")],
        [("awaited", "exchange.question")],
    )
    values = {"child": {"date_of_birth": "2015-03-09"}}
    await say(town.a, "exchange.correction", message=own, paths=[DOB], values=values)
    await duties.acknowledge(question, None, town.a.exchange, by="A Person")
    await town.a.run()
    assert await open_duties(town.b) == [("owed", "exchange.correction")]
    (said,) = [one for one in await town.b.exchange.service.said_of(A, own) if one.asked.type == "exchange.correction"]
    message = await town.b.exchange.inbox.message(said.asked.message_id)
    assert message is not None
    assert message.thread == own
    kept = await town.b.exchange.inbox.message(own)
    assert kept is not None
    assert kept.inner is not None
    assert (
        payload_of(kept.inner).body["child"]["date_of_birth"] == "2015-03-08"
    )  # it stands beside, and changes no byte


async def test_correction_is_logged_with_the_paths_it_carries_and_no_value(town: Town) -> None:
    own = await sent(town)
    values = {"child": {"name": {"given": "Quillfeather"}}}
    correction = await say(town.a, "exchange.correction", message=own, paths=[GIVEN, DOB], values=values)
    assert state(town.a, correction) is State.DELIVERED
    for gateway in (town.a, town.b):
        (entry,) = [e for e in gateway.memory.log if e.message_id == correction and e.kind in ("submitted", "received")]
        assert entry.paths == (GIVEN,)
        assert b"Quillfeather" not in entry.data
        assert entry.tags  # the child is found by it


async def test_rights_notice_is_owed_by_its_own_day(town: Town) -> None:
    own = await sent(town)
    notice = await say(town.a, "rights.notice", message=own, right="restrict", paths=[GIVEN], by=LATER)
    (duty,) = await town.b.exchange.service.duties(settled=False)
    assert datetime.fromtimestamp(duty.asked.due, tz=UTC) == datetime(2027, 2, 16, tzinfo=UTC)
    await duties.acknowledge(notice, "legal-hold", town.b.exchange, by="A Person")
    await town.b.run()
    (held,) = await town.a.exchange.service.duties(settled=True)
    assert (held.state, held.answer_code) == (DutyState.DECLINED, "legal-hold")


async def test_notice_to_erase_lets_the_message_be_destroyed_and_is_answered_by_that(town: Town) -> None:
    own = await sent(town)
    with pytest.raises(SubmissionRefusedError) as refused:
        await duties.destroy(own, town.b.exchange, by="A Person")
    assert refused.value.code == "message.not-owed"
    await say(town.a, "rights.notice", message=own, right="rectify", paths=[GIVEN], by=LATER)
    with pytest.raises(SubmissionRefusedError):
        await duties.destroy(own, town.b.exchange, by="A Person")
    await say(town.a, "rights.notice", message=own, right="erase", paths=[GIVEN], by=LATER)
    await duties.destroy(own, town.b.exchange, by="A Person")
    await town.b.run()
    assert ("awaited", "rights.notice") in await open_duties(town.a)  # the one to rectify
    assert len(await open_duties(town.a)) == 2  # and the receipt to acknowledge


@pytest.mark.parametrize("closer", ["a", "b"])
async def test_closing_a_case_sets_its_day_on_both_sides(town: Town, closer: str) -> None:
    own = await sent(town)
    gateway, other = (town.a, town.b) if closer == "a" else (town.b, town.a)
    await say(gateway, "case.closed", on="2027-01-14", status="in-education", THREAD=own)
    for held, partner in ((gateway, other.own), (other, gateway.own)):
        closure = await held.exchange.service.closure(partner, own)
        assert closure is not None
        assert (closure.on, closure.status, closure.said_by) == ("2027-01-14", "in-education", gateway.own)
    assert await open_duties(other) == [("owed", "case.closed")]


@pytest.mark.parametrize("finder", ["a", "b"])
async def test_breach_notice_goes_either_way_and_starts_the_clock(town: Town, finder: str) -> None:
    own = await sent(town)
    gateway, other = (town.a, town.b) if finder == "a" else (town.b, town.a)
    await say(gateway, "breach.notice", message=own, found_on="2027-01-14", kind="lost", paths=[GIVEN])
    (mine,), (theirs,) = await gateway.exchange.service.breaches(), await other.exchange.service.breaches()
    assert datetime.fromtimestamp(mine.decide_by, tz=UTC) == datetime(2027, 1, 17, tzinfo=UTC)  # found the day before
    assert datetime.fromtimestamp(theirs.opened_at, tz=UTC) == town.clock()


async def test_acknowledgement_of_a_service_message_is_owed_no_answer(town: Town) -> None:
    own = await sent(town)
    closed = await say(town.a, "case.closed", on=TODAY, status="located", THREAD=own)
    ack = await say(town.b, "exchange.ack", message=closed, done=True, on=TODAY)
    assert state(town.b, ack) is State.DELIVERED
    assert (await open_duties(town.a), await open_duties(town.b)) == ([], [])


# --- after the end


@pytest.mark.parametrize("ending", [Action.SUSPEND, Action.TERMINATE])
async def test_service_messages_travel_after_suspension_and_end(town: Town, ending: Action) -> None:
    own = await sent(town)
    await town.act(town.b, ending)
    said = [
        await say(town.a, "exchange.correction", message=own, paths=[GIVEN], values={}),
        await say(town.a, "exchange.withdrawal", message=own, reason="in-error"),
        await say(town.a, "case.closed", on=TODAY, status="located", THREAD=own),
    ]
    assert {state(town.a, one) for one in said} == {State.DELIVERED}
    ack = await say(town.b, "exchange.ack", message=said[2], done=True, on=TODAY)
    assert state(town.b, ack) is State.DELIVERED


async def test_service_message_travels_after_the_last_day(town: Town) -> None:
    own = await sent(town)
    town.clock.forward(days=20)
    for gateway in (town.a, town.b):
        gateway.memory.fetched_at = dict.fromkeys((A, B), int(town.clock().timestamp()))
    await town.act(town.a, Action.TERMINATE)
    with pytest.raises(ContractBreachError):
        await submission(town.a.exchange, key="another")
    question = await say(town.b, "exchange.question", message=own, paths=[GIVEN], reason="mismatch")
    assert state(town.b, question) is State.DELIVERED


async def test_service_message_queued_before_a_suspension_is_not_held(town: Town) -> None:
    own = await sent(town)
    withdrawal = await say(town.a, "exchange.withdrawal", message=own, reason="in-error", run=False)
    await town.act(town.b, Action.SUSPEND)
    await town.a.run()
    assert state(town.a, withdrawal) is State.DELIVERED


async def test_record_that_is_held_keeps_no_service_message_of_its_thread_back(town: Town) -> None:
    own = await sent(town)
    waiting = await submission(town.a.exchange, key="waits", thread=own)
    values = {"child": {"name": {"given": "Ada"}}}
    correction = await say(town.a, "exchange.correction", message=own, paths=[GIVEN], values=values, run=False)
    await town.act(town.b, Action.SUSPEND)
    await town.a.run()
    withdrawal = await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
    assert [state(town.a, one) for one in (waiting["id"], correction, withdrawal)] == [
        State.HELD,
        State.QUEUED,
        State.DELIVERED,
    ]


async def test_correction_with_values_waits_while_the_agreement_is_suspended(town: Town) -> None:
    own = await sent(town)
    values = {"child": {"name": {"given": "Ada"}}}
    correction = await say(town.a, "exchange.correction", message=own, paths=[GIVEN], values=values, run=False)
    await town.act(town.b, Action.SUSPEND)
    await town.a.run()
    held = town.a.memory.sent[correction]
    assert (held.state, held.held_for) == (State.HELD, ("agreement.not-in-force",))
    found = await refusal(town.a, "exchange.correction", message=own, paths=[GIVEN], values=values)
    assert found == {("agreement.not-in-force", "")}
    for gateway in (town.a, town.b):
        await town.act(gateway, Action.RESUME)
    await town.a.run()
    assert state(town.a, correction) is State.DELIVERED


# --- protection


async def test_place_of_a_child_protected_since_does_not_leave_in_a_correction(town: Town) -> None:
    own = await sent(town)
    await protection.add({"child": make_body()["child"]}, frozenset({"location"}), town.a.exchange, by="A Person")
    path, values = "child.address.postcode", {"child": {"address": {"postcode": "SO14 9ZY"}}}
    found = await refusal(town.a, "exchange.correction", message=own, paths=[path], values=values)
    assert found == {("field.protected", f"values.{path}")}
    named = await say(town.a, "exchange.correction", message=own, paths=[path], values={})
    assert state(town.a, named) is State.DELIVERED


async def test_correction_of_a_child_protected_meanwhile_is_held(town: Town) -> None:
    own = await sent(town)
    path, values = "child.address.postcode", {"child": {"address": {"postcode": "SO14 9ZY"}}}
    correction = await say(town.a, "exchange.correction", message=own, paths=[path], values=values, run=False)
    await protection.add({"child": make_body()["child"]}, frozenset({"location"}), town.a.exchange, by="A Person")
    await town.a.run()
    assert town.a.memory.sent[correction].held_for == ("field.protected",)


async def test_correction_that_says_protected_lists_the_child_here(town: Town) -> None:
    own = await sent(town)
    path, values = "child.address.protection", {"child": {"address": {"protection": "protected"}}}
    correction = await say(town.a, "exchange.correction", message=own, paths=[path], values=values)
    assert state(town.a, correction) is State.DELIVERED
    tags = town.b.exchange.tags(make_body())
    assert await town.b.exchange.protection.kinds(tags) == frozenset({"location"})
    assert town.b.kinds()[-1] == "protection-added"


async def test_child_taken_off_the_list_is_not_put_back_by_a_message_about_it(town: Town) -> None:
    own = await sent(town, body=make_body(child__address={"protection": "protected"}))
    child, everything = {"child": make_body()["child"]}, frozenset({"location"})
    for name in ("A Person", "Another"):
        await protection.remove(child, everything, town.b.exchange, by=name, alone=False)
    await say(town.a, "rights.notice", message=own, right="rectify", paths=[GIVEN], by=LATER)
    assert await town.b.exchange.protection.kinds(town.b.exchange.tags(make_body())) == frozenset()


async def test_corrections_are_destroyed_with_their_message(town: Town) -> None:
    own = await sent(town)
    values = {"child": {"name": {"given": "Ada"}}}
    correction = await say(town.a, "exchange.correction", message=own, paths=[GIVEN], values=values)
    await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
    assert town.b.memory.arrived[A, correction].inner is None


async def test_message_of_which_a_correction_was_read_waits_for_a_person_who_destroys_both(town: Town) -> None:
    own = await sent(town)
    values = {"child": {"name": {"given": "Ada"}}}
    correction = await say(town.a, "exchange.correction", message=own, paths=[GIVEN], values=values)
    await inbound.open_by(correction, "officer", town.b.exchange)
    await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
    parts = [town.b.memory.arrived[A, part] for part in (own, correction)]
    assert None not in [part.inner for part in parts]
    await duties.destroy(own, town.b.exchange, by="An Officer")
    assert [part.inner for part in parts] == [None, None]


# --- what stops at home


async def test_message_must_be_one_that_the_speaker_may_speak_of(town: Town) -> None:
    own = await sent(town)
    stranger = "019bbd3c-8ac0-7abc-8def-0123456789ff"
    unknown = {("message.unknown", "message")}
    right = {"paths": [GIVEN], "reason": "unclear"}
    assert await refusal(town.a, "exchange.question", message=own, **right) == unknown  # asked of the other side only
    assert await refusal(town.b, "exchange.withdrawal", message=own, reason="in-error") == unknown
    assert await refusal(town.b, "exchange.correction", message=own, paths=[GIVEN], values={}) == unknown
    assert await refusal(town.b, "rights.notice", message=own, right="erase", paths=[GIVEN], by=LATER) == unknown
    assert await refusal(town.b, "exchange.ack", message=own, done=True, on=TODAY) == unknown  # no service message
    for gateway in (town.a, town.b):
        assert await refusal(gateway, "exchange.withdrawal", message=stranger, reason="in-error") == unknown
        said = {"found_on": TODAY, "kind": "lost", "paths": [GIVEN]}
        assert await refusal(gateway, "breach.notice", message=stranger, **said) == unknown
        thread = {("message.unknown", "thread")}
        assert await refusal(gateway, "case.closed", on=TODAY, status="located", THREAD=stranger) == thread
        assert await refusal(gateway, "case.closed", on=TODAY, status="located") == thread
    receipt = {"messages": [own], "on": TODAY, "how": "deleted"}
    assert await refusal(town.a, "destruction.receipt", **receipt) == {("message.unknown", "messages")}


async def test_service_message_is_of_its_messages_thread_and_agreement(town: Town) -> None:
    own, other = await sent(town), await sent(town)
    said = {"message": own, "reason": "in-error"}
    assert await refusal(town.a, "exchange.withdrawal", THREAD=other, **said) == {("message.unknown", "thread")}
    assert await refusal(town.a, "exchange.withdrawal", AGREEMENT="another", **said) == {("agreement.none", "")}
    named = await say(town.a, "exchange.withdrawal", THREAD=own, **said)
    assert town.a.memory.sent[named].row.thread == own


async def test_body_that_is_wrong_is_refused_with_every_breach_and_no_value(town: Town) -> None:
    own = await sent(town)
    found = await refusal(town.a, "exchange.withdrawal", message=own, reason="Quillfeather", note="x")
    assert found == {("field.value", "reason"), ("field.unknown", "note")}
    assert await refusal(town.a, "exchange.withdrawal", message="Quillfeather") == {
        ("field.value", "message"),
        ("field.missing", "reason"),
    }
    assert not any(b"Quillfeather" in entry.data for entry in town.a.memory.log)


@pytest.mark.parametrize(
    ("outer", "code"),
    [
        ({"FACTS": {"urgency": "routine", "consent.state": "given"}}, "message.fact"),
        ({"FACTS": {}}, "message.fact"),
        ({"REPLACES": "019bbd3c-8ac0-7abc-8def-0123456789ff"}, "message.replaces"),
        ({"PARTNER": "la-999"}, "partner.unknown"),
    ],
)
async def test_submission_of_a_service_message_keeps_the_rules_of_every_submission(
    town: Town, outer: dict[str, Any], code: str
) -> None:
    own = await sent(town)
    with pytest.raises(SubmissionRefusedError) as refused:
        await say(town.a, "exchange.withdrawal", message=own, reason="in-error", **outer)
    assert refused.value.code == code


async def test_message_that_was_rejected_was_not_exchanged(town: Town) -> None:
    answer = await submission(town.a.exchange)
    await town.act(town.b, Action.SUSPEND, push=False)
    await town.a.run()
    assert state(town.a, answer["id"]) is State.REJECTED
    found = await refusal(town.a, "exchange.withdrawal", message=answer["id"], reason="in-error")
    assert found == {("message.unknown", "message")}


async def test_message_that_has_not_gone_out_is_cancelled_not_withdrawn(town: Town) -> None:
    answer = await submission(town.a.exchange)
    with pytest.raises(SubmissionRefusedError) as refused:
        await say(town.a, "exchange.withdrawal", message=answer["id"], reason="in-error")
    assert refused.value.code == "message.not-delivered"


async def test_nobody_says_destroyed_of_what_is_here(town: Town) -> None:
    own = await sent(town)
    await inbound.take(own, town.b.exchange)
    withdrawal = await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
    for message_type, said in (
        ("destruction.receipt", {"messages": [own], "on": TODAY, "how": "deleted"}),
        ("exchange.ack", {"message": withdrawal, "done": True, "on": TODAY}),
    ):
        with pytest.raises(SubmissionRefusedError) as refused:
            await say(town.b, message_type, **said)
        assert refused.value.code == "message.not-destroyed"
    declined = await say(town.b, "exchange.ack", message=withdrawal, done=False, reason="duty-to-keep", on=TODAY)
    assert state(town.b, declined) is State.DELIVERED
    assert await open_duties(town.a) == []


async def test_message_of_which_nothing_is_owed_is_not_destroyed(town: Town) -> None:
    own = await sent(town)
    for named in (own, "019bbd3c-8ac0-7abc-8def-0123456789ff"):
        with pytest.raises(SubmissionRefusedError):
            await duties.destroy(named, town.b.exchange, by="A Person")
    assert await arrived_state(town.b, own) is InboundState.RECEIVED


# --- what nobody answers


async def test_unanswered_duties_alarm_daily_on_both_sides(town: Town) -> None:
    own = await sent(town)
    await inbound.take(own, town.b.exchange)
    await say(town.a, "exchange.withdrawal", message=own, reason="in-error")  # a Friday: due when Tuesday is over
    for days, alarms in ((4, 0), (1, 1), (0.5, 1), (1, 2)):
        town.clock.forward(days=days)
        for gateway in (town.a, town.b):
            await duties.remind(gateway.exchange)
        assert town.a.alarms.count("answer-awaited-overdue") == alarms
        assert town.b.alarms.count("answer-owed-overdue") == alarms
    await duties.destroy(own, town.b.exchange, by="A Person")
    town.clock.forward(hours=30)
    await duties.remind(town.b.exchange)
    assert town.b.alarms.count("answer-owed-overdue") == 2


async def test_question_that_the_other_side_rejects_lapses(town: Town) -> None:
    own = await sent(town)
    del town.a.memory.sent[own]  # as after a restore from a backup that was older
    question = await say(town.b, "exchange.question", message=own, paths=[GIVEN], reason="missing")
    assert state(town.b, question) is State.REJECTED
    assert await open_duties(town.b) == []
    assert b"message.unknown" in town.b.memory.log[-1].data


async def test_message_destroyed_between_looking_and_opening_is_not_shown(town: Town) -> None:
    own = await sent(town)
    exchange = town.b.exchange
    await inbound.open_by(own, "officer", exchange)
    await say(town.a, "exchange.withdrawal", message=own, reason="in-error")
    await duties.destroy(own, exchange, by="A Person")
    with pytest.raises((SubmissionRefusedError, IllegalTransitionError)):
        await inbound.open_by(own, "officer", exchange)
