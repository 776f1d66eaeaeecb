"""The lines of the story between two gateways in memory: what a message leaves behind on its way, and where it stops."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.port import DeliveryError, Handover, Parcel
from contracts.breach import ContractBreachError
from contracts.events import Action
from gateway import delivery, inbound, protection
from gateway.core.errors import IdempotencyConflictError, SubmissionRefusedError
from gateway.core.lifecycle import InboundState, State
from gateway.core.receipt import read_receipt
from gateway.governing import EventRejectedError, claimed_event
from gateway.partner_keys import keep_event, refresh
from keys.listed import DAY
from tests.support.exchange import Gateway, Town, make_message, make_town, make_town_in_force
from tests.support.keys import make_bundle, make_revocation
from tests.support.messages import MESSAGE_ID, A, B, bundle_of, kem_of, make_body, submission


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


def only(gateway: Gateway) -> Any:
    (sent,) = gateway.memory.sent.values()
    return sent


async def test_message_is_sent_received_taken_and_opened(town: Town) -> None:
    answer = await submission(town.a.exchange)
    assert (answer["state"], answer["partner"]) == ("queued", B)
    await town.a.run()
    assert only(town.a).state is State.DELIVERED
    await inbound.take(answer["id"], town.b.exchange)
    await town.b.run()
    assert only(town.a).state is State.TAKEN
    message, inner = await inbound.open_by(answer["id"], "duty", town.b.exchange, by="A Person")
    await town.b.run()
    assert only(town.a).state is State.COLLECTED
    assert (message.state, b'"payload"' in inner) == (InboundState.COLLECTED, True)
    assert town.a.kinds()[2:] == ["submitted", "delivered", "taken", "collected"]
    assert town.b.kinds()[2:] == ["received", "handed-over", "collected"]
    assert (town.a.alarms, town.b.alarms) == ([], [])


async def test_answer_goes_the_other_way_in_the_same_thread(town: Town) -> None:
    first = await submission(town.a.exchange)
    await town.a.run()
    body = {"case": {"reference": "KC/2027/0042", "answer": "accepted"}}
    await submission(town.b.exchange, partner=A, type="cme.answer", body=body, thread=first["id"])
    await town.b.run()
    held = next(iter(town.a.memory.arrived.values()))
    assert (held.row.type, held.row.thread, held.state) == ("cme.answer", first["id"], InboundState.RECEIVED)


async def test_own_log_entry_of_a_delivery_holds_the_receipts_digest_and_theirs_does_not(town: Town) -> None:
    await submission(town.a.exchange)
    await town.a.run()
    assert b'"receipt":"sha256:' in town.a.memory.log[-1].data
    assert b'"receipt"' not in town.b.memory.log[-1].data


# --- submitting


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"partner": "la-999"}, "partner.unknown"),
        ({"partner": "No Such Council!"}, "partner.unknown"),
        ({"body": b"{"}, "message.malformed"),
        ({"body": b"[]"}, "message.malformed"),
        ({"thread": "case 42"}, "message.thread"),
        ({"replaces": "the other one"}, "message.replaces"),
        ({"on_behalf_of": "la-999"}, "message.not-in-agreement"),
        ({"facts": {"urgency": "routine", "consent.state": "given"}}, "message.fact"),
    ],
)
async def test_request_that_cannot_be_sent_is_refused_and_logged_by_its_code(
    town: Town, said: dict[str, Any], code: str
) -> None:
    with pytest.raises(SubmissionRefusedError) as refused:
        await submission(town.a.exchange, **said)
    assert refused.value.code == code
    assert town.a.memory.sent == {}
    assert town.a.kinds()[-1] == "refused"
    assert code.encode() in town.a.memory.log[-1].data


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"body": make_body(child__ethnicity="WBRI")}, "field.not-allowed"),
        ({"type": "cme.unheard_of", "body": {}}, "message.not-in-agreement"),
        ({"type": "NO TYPE", "body": {}}, "message.not-in-agreement"),
        ({"body": {f"x{n}": n for n in range(5_000)}}, "field.unknown"),
    ],
)
async def test_breach_is_refused_and_logged_without_values(town: Town, said: dict[str, Any], code: str) -> None:
    with pytest.raises(ContractBreachError) as refused:
        await submission(town.a.exchange, **said)
    assert code in {breach.code for breach in refused.value.breaches}
    assert town.a.kinds()[-1] == "refused"
    assert b"WBRI" not in town.a.memory.log[-1].data


async def test_repeat_of_a_request_gets_the_first_answer(town: Town) -> None:
    first = await submission(town.a.exchange)
    assert await submission(town.a.exchange) == first
    assert len(town.a.memory.sent) == 1
    with pytest.raises(IdempotencyConflictError):
        await submission(town.a.exchange, body=make_body(child__name__given="Mara"))


async def test_nothing_is_sealed_to_a_partner_that_was_not_verified(town: Town) -> None:
    town.a.know(B, verified=False)
    with pytest.raises(SubmissionRefusedError) as refused:
        await submission(town.a.exchange)
    assert refused.value.code == "partner.unverified"


async def test_protected_childs_address_does_not_leave(town: Town) -> None:
    await protection.add({"child": make_body()["child"]}, frozenset({"location"}), town.a.exchange, by="A Person")
    with pytest.raises(ContractBreachError) as refused:
        await submission(town.a.exchange)
    assert {str(breach.code) for breach in refused.value.breaches} == {"field.protected"}


# --- handing over


async def test_message_queued_before_a_suspension_is_held_and_goes_after_it(town: Town) -> None:
    await submission(town.a.exchange)
    await town.act(town.b, Action.SUSPEND)
    await town.a.run(2)
    assert (only(town.a).state, only(town.a).held_for) == (State.HELD, ("agreement.not-in-force",))
    assert town.a.kinds().count("held") == 1
    for gateway in (town.a, town.b):
        await town.act(gateway, Action.RESUME)
    await town.a.run()
    assert only(town.a).state is State.DELIVERED


async def test_message_of_a_child_protected_meanwhile_is_held(town: Town) -> None:
    await submission(town.a.exchange)
    await protection.add({"child": make_body()["child"]}, frozenset({"location"}), town.a.exchange, by="A Person")
    await town.a.run()
    assert (only(town.a).state, only(town.a).held_for) == (State.HELD, ("field.protected",))
    assert town.b.memory.arrived == {}


async def test_message_sealed_to_a_key_revoked_meanwhile_is_held(town: Town) -> None:
    await submission(town.a.exchange)
    revoked = (make_revocation(kem_of(B).public.kid),)
    town.a.memory.bundles[B].append(make_bundle(B, history=(bundle_of(B),), revoked=revoked).jws)
    await town.a.run()
    assert only(town.a).held_for == ("partner.key-revoked",)


async def test_nothing_goes_to_a_partner_whose_keys_were_not_refreshed_for_three_days(town: Town) -> None:
    await submission(town.a.exchange)
    town.clock.forward(hours=73)
    await town.a.run()
    assert only(town.a).held_for == ("partner.keys-stale",)


async def test_refresh_without_anything_new_counts_as_one(town: Town) -> None:
    await submission(town.a.exchange)
    town.clock.forward(hours=71)
    partner = await town.a.exchange.partners.get(B)
    assert partner is not None
    entries = len(town.a.memory.log)
    assert (await refresh(partner, town.clock(), town.a.exchange)).fetched_at == int(town.clock().timestamp())
    assert len(town.a.memory.log) == entries  # and is no entry
    town.clock.forward(hours=2)
    await town.a.run()
    assert only(town.a).state is State.DELIVERED


async def test_lost_answer_is_made_good_by_the_next_attempt(town: Town) -> None:
    """The message arrived, its receipt did not: the same bytes get the same receipt, and nothing is doubled."""
    await submission(town.a.exchange)

    def lose(parcel: Parcel, reply: Handover) -> Handover:
        raise DeliveryError("time-out")

    town.a.wire.after = lose
    await town.a.run()
    assert (only(town.a).state, only(town.a).last_error) == (State.QUEUED, "time-out")
    town.a.wire.after = lambda parcel, reply: reply
    town.clock.forward(hours=1)
    await town.a.run()
    assert only(town.a).state is State.DELIVERED
    assert town.b.kinds().count("received") == 1
    sent = [parcel.data for parcel in town.a.wire.parcels if parcel.kind == "messages"]
    assert len(sent) == 2
    assert sent[0] == sent[1]


async def test_message_that_nobody_took_expires(town: Town) -> None:
    await submission(town.a.exchange)
    del town.a.wire.gateways[B]
    town.clock.forward(days=31)
    await town.a.run()
    assert only(town.a).state is State.EXPIRED
    assert town.a.kinds()[-1] == "expired"


async def test_message_refused_by_the_other_side_is_rejected_with_its_breaches(town: Town) -> None:
    await submission(town.a.exchange)
    await town.act(town.b, Action.SUSPEND, push=False)
    await town.a.run()
    assert only(town.a).state is State.REJECTED
    assert town.a.kinds()[-1] == "rejected"
    assert b"agreement.not-in-force" in town.a.memory.log[-1].data


async def test_message_that_came_to_rest_is_sent_again_with_the_same_bytes(town: Town) -> None:
    answer = await submission(town.a.exchange)
    town.a.wire.after = lambda parcel, reply: Handover(status=400, body=b"")
    for _ in range(3):
        await town.a.run()
        town.clock.forward(hours=7)
    assert only(town.a).state is State.HELD
    town.a.wire.after = lambda parcel, reply: reply
    await delivery.resend(answer["id"], town.a.exchange, by="A Person")
    await town.a.run()
    assert only(town.a).state is State.DELIVERED
    assert len({parcel.data for parcel in town.a.wire.parcels if parcel.kind == "messages"}) == 1


# --- what is owed besides


async def test_receipts_and_events_are_named_by_the_id_inside_them(town: Town) -> None:
    await town.b.accept(await make_message(town), A, MESSAGE_ID)
    await inbound.take(MESSAGE_ID, town.b.exchange)
    await town.b.run()
    await town.act(town.b, Action.SUSPEND)
    receipt, event = town.b.wire.parcels
    assert (receipt.kind, receipt.idempotency_key) == ("receipts", read_receipt(receipt.data).payload.id)
    assert (event.kind, event.idempotency_key) == ("events", claimed_event(event.data).id)


async def test_what_is_owed_is_tried_again(town: Town) -> None:
    await submission(town.a.exchange)
    await town.a.run()
    town.b.wire.before = _cut
    await inbound.take(next(iter(town.a.memory.sent)), town.b.exchange)
    await town.b.run()
    assert only(town.a).state is State.DELIVERED
    town.b.wire.before = lambda parcel: parcel
    town.clock.forward(hours=1)
    await town.b.run()
    assert only(town.a).state is State.TAKEN


def _cut(parcel: Parcel) -> Parcel:
    raise DeliveryError("no-connection")


async def test_taking_twice_makes_one_entry_and_one_receipt(town: Town) -> None:
    await town.b.accept(await make_message(town), A, MESSAGE_ID)
    receipts = {await inbound.take(MESSAGE_ID, town.b.exchange) for _ in range(3)}
    assert len(receipts) == 1
    assert town.b.kinds().count("handed-over") == 1


@pytest.mark.parametrize("role", ["Duty Officer", "officer7", "", "o" * 41])
async def test_role_that_could_name_a_person_is_refused(town: Town, role: str) -> None:
    await town.b.accept(await make_message(town), A, MESSAGE_ID)
    with pytest.raises(SubmissionRefusedError) as refused:
        await inbound.open_by(MESSAGE_ID, role, town.b.exchange)
    assert refused.value.code == "role.unknown"


async def test_refused_message_has_nothing_to_take(town: Town) -> None:
    await town.b.accept(await make_message(town, typ="cme.unheard_of"), A, MESSAGE_ID)
    with pytest.raises(SubmissionRefusedError) as refused:
        await inbound.take(MESSAGE_ID, town.b.exchange)
    assert refused.value.code == "message.refused"


async def test_event_of_an_unverified_partner_is_not_kept() -> None:
    town = make_town()
    town.b.know(A, verified=False)
    await town.act(town.a, Action.PROPOSE)
    assert town.b.memory.events == []
    with pytest.raises(EventRejectedError):
        await keep_event(town.a.memory.events[0].jws, from_org=A, exchange=town.b.exchange)


async def test_message_lives_as_long_as_the_shortest_of_its_limits(town: Town) -> None:
    answer = await submission(town.a.exchange)
    assert answer["expires_at"] == int(town.clock().timestamp()) + 30 * DAY


async def test_a_name_that_is_no_field_stands_in_the_answer_and_not_in_the_log(town: Town) -> None:
    body = make_body()
    body["child"]["ada_quark"] = 1
    with pytest.raises(ContractBreachError) as refused:
        await submission(town.a.exchange, body=body)
    assert [breach.path for breach in refused.value.breaches] == ["child.ada_quark"]
    assert b'"path":"child.?"' in town.a.memory.log[-1].data
    assert b"ada_quark" not in town.a.memory.log[-1].data


async def test_a_child_in_another_form_is_not_listed_as_if_it_could_be_found(town: Town) -> None:
    child = make_body()["child"] | {"date_of_birth": "20140402"}
    with pytest.raises(SubmissionRefusedError) as refused:
        await protection.add({"child": child}, frozenset({"location"}), town.a.exchange, by="A Person")
    assert (refused.value.code, refused.value.place) == ("protection.child", "child.date_of_birth")
    assert town.a.memory.protected == set()
