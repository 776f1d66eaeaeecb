"""Aim: get more through than the agreement lists, under whatever pretext.

Held off by the receiver's own check with its own copy of the agreement: a partner that signs correctly is not believed
about what it may send. What is refused here is told to the sender with its places and never its values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from adapters.port import DeliveryError, Handover
from contracts.breach import BreachCode
from contracts.events import Action
from gateway.core.errors import NotYetError
from gateway.core.lifecycle import InboundState
from gateway.core.receipt import RECEIPT_LIMIT, ReceiptPayload, read_receipt
from tests.support.exchange import Town, make_message, make_town, make_town_in_force
from tests.support.messages import MESSAGE_ID, A, B, C, make_body, make_members, transfer

SECRET = "Quillfeather"  # stands in bodies only; must not come back


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


async def bring(town: Town, **changes: Any) -> bytes:
    return await town.b.accept(await make_message(town, **changes), A, MESSAGE_ID)


def breaches(receipt: bytes) -> set[tuple[str, str]]:
    payload = read_receipt(receipt).payload
    assert (payload.event, payload.code) == ("rejected", "agreement")
    assert isinstance(payload.breaches, tuple)
    return {(breach.code, breach.path) for breach in payload.breaches}


def said(receipt: bytes) -> ReceiptPayload:
    return read_receipt(receipt).payload


async def test_honest_message_is_taken(town: Town) -> None:
    assert said(await bring(town)).event == "checked"


async def test_field_that_no_grant_lists_is_refused_by_its_path(town: Town) -> None:
    receipt = await bring(town, body=make_body(child__ethnicity=SECRET, child__nationality=[SECRET]))
    assert breaches(receipt) == {
        (BreachCode.FIELD_NOT_ALLOWED, "child.ethnicity"),
        (BreachCode.FIELD_NOT_ALLOWED, "child.nationality"),
    }
    held = town.b.memory.arrived[A, MESSAGE_ID]
    assert (held.state, held.inner) == (InboundState.REFUSED, None)
    assert town.b.kinds()[-1] == "refused-inbound"


async def test_refusal_repeats_no_value_and_no_unsafe_name(town: Town) -> None:
    receipt = await bring(town, body={"case": {"reference": SECRET, "status": SECRET}, "quillfeather_a": 1, "x.y": 2})
    assert SECRET.encode() not in receipt
    assert SECRET.encode() not in town.b.memory.log[-1].data
    assert any(path.startswith("?") for _, path in breaches(receipt))


async def test_field_under_urgency_is_refused_without_it(town: Town) -> None:
    body = make_body(safeguarding__summary="An invented sentence.")
    assert (BreachCode.FIELD_NOT_ALLOWED, "safeguarding.summary") in breaches(await bring(town, body=body))


async def test_field_under_urgency_is_taken_with_it(town: Town) -> None:
    body = make_body(safeguarding__summary="An invented sentence.")
    assert said(await bring(town, body=body, facts={"urgency": "immediate_risk"})).event == "checked"


@pytest.mark.parametrize(
    ("facts", "path"),
    [
        ({}, "urgency"),
        ({"urgency": "whenever"}, "urgency"),
        ({"urgency": "routine", "consent.state": "given"}, "consent.state"),
        ({"urgency": "routine", "shoe_size": 7}, "?"),
    ],
)
async def test_facts_are_those_that_conditions_ask_for(town: Town, facts: dict[str, Any], path: str) -> None:
    assert (BreachCode.MESSAGE_FACT, path) in breaches(await bring(town, facts=facts))


async def test_message_in_the_wrong_direction_is_refused(town: Town) -> None:
    assert breaches(await bring(town, typ="cme.unheard_of")) == {(BreachCode.MESSAGE_NOT_IN_AGREEMENT, "")}


async def test_suspended_agreement_lets_nothing_in(town: Town) -> None:
    await town.act(town.b, Action.SUSPEND)
    assert breaches(await bring(town)) == {(BreachCode.AGREEMENT_NOT_IN_FORCE, "")}


async def test_suspension_that_the_sender_does_not_know_of_yet_counts(town: Town) -> None:
    sealed_before = await make_message(town)
    await town.act(town.b, Action.SUSPEND, push=False)
    receipt = await town.b.accept(sealed_before, A, MESSAGE_ID)
    assert breaches(receipt) == {(BreachCode.AGREEMENT_NOT_IN_FORCE, "")}


async def test_agreement_that_one_party_alone_signed_lets_nothing_in() -> None:
    town = make_town()
    await town.act(town.a, Action.PROPOSE)
    assert breaches(await bring(town)) == {(BreachCode.AGREEMENT_NOT_IN_FORCE, "")}


async def test_agreement_that_is_not_held_here_lets_nothing_in(town: Town) -> None:
    assert breaches(await bring(town, agreement__digest="sha256:" + "7" * 64)) == {(BreachCode.AGREEMENT_NONE, "")}


async def test_agreement_with_a_third_organisation_lets_nothing_in(town: Town) -> None:
    """Both are in force and both are la-207's, but la-850 is no party to this one."""
    agreement, _ = transfer(A, C)
    town.b.memory.files[agreement.digest] = town.b.memory.files[town.digest].__class__(
        digest=agreement.digest, id=agreement.id, version=agreement.version, toml=None, canonical=agreement.canonical
    )
    zeros = ["sha256:" + "0" * 64] * 2
    receipt = await bring(town, agreement__digest=agreement.digest, agreement__heads=zeros)
    assert breaches(receipt) == {(BreachCode.AGREEMENT_NONE, "")}


@pytest.mark.parametrize("change", [{"agreement__id": "some-other-agreement"}, {"agreement__version": 2}])
async def test_id_and_version_must_be_those_of_the_digest(town: Town, change: dict[str, Any]) -> None:
    assert breaches(await bring(town, **change)) == {(BreachCode.AGREEMENT_DIGEST_MISMATCH, "")}


async def test_controller_that_the_agreement_does_not_list_is_refused(town: Town) -> None:
    members = make_members()["from"]
    acting = {"org": A, "for": "la-213", "sig": members["sig"], "bundle": members["bundle"]}
    assert said(await bring(town, **{"from": acting})).event == "checked"  # listed in the agreement
    stranger = acting | {"for": "la-999"}
    town = await make_town_in_force()
    assert breaches(await bring(town, **{"from": stranger})) == {(BreachCode.AGREEMENT_NONE, "")}


async def test_events_that_are_not_known_are_pulled_before_anything_is_refused(town: Town) -> None:
    """la-207 resumed what it had suspended and we have not heard: pulled, then judged."""
    await town.act(town.a, Action.SUSPEND, push=False)
    held = town.a.memory.events[-1]
    envelope = await make_message(town, agreement__heads=[held.hash, _head(town, B)])
    assert breaches(await town.b.accept(envelope, A, MESSAGE_ID)) == {(BreachCode.AGREEMENT_NOT_IN_FORCE, "")}
    assert held.hash in {event.hash for event in town.b.memory.events}


async def test_events_that_cannot_be_had_are_no_refusal(town: Town) -> None:
    envelope = await make_message(town, agreement__heads=["sha256:" + "9" * 64, _head(town, B)])
    with pytest.raises(NotYetError):  # the partner has no such event either
        await town.b.accept(envelope, A, MESSAGE_ID)

    async def cut(partner: str, url: str, path: str, *, signed: bool) -> Handover:
        raise DeliveryError("no-connection")

    town.b.wire.fetch = cut  # type: ignore[method-assign]
    with pytest.raises(NotYetError):
        await town.b.accept(envelope, A, MESSAGE_ID)
    assert not town.b.memory.arrived


async def test_event_that_is_refused_when_pulled_is_no_refusal_of_the_message(town: Town) -> None:
    await town.act(town.a, Action.SUSPEND, push=False)
    event = town.a.memory.events[-1]
    forged = event.jws.replace(b'"signature":"', b'"signature":"A', 1)
    town.a.memory.events[-1] = event.__class__(
        digest=event.digest, org=event.org, n=event.n, hash=event.hash, jws=forged, received_at=event.received_at
    )
    envelope = await make_message(town, agreement__heads=[event.hash, _head(town, B)])
    with pytest.raises(NotYetError):
        await town.b.accept(envelope, A, MESSAGE_ID)
    assert not town.b.memory.arrived


Flood = Callable[[], dict[str, Any]]


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(lambda: {f"x{n}": 1 for n in range(20_000)}, id="unknown names"),
        pytest.param(lambda: {"child": {f"a{n:039}": 1 for n in range(4_000)}}, id="long unknown names"),
        pytest.param(lambda: {"contacts": [{"title": 1, "shoe": 1}] * 8_000}, id="long lists"),
    ],
)
async def test_flood_of_breaches_still_gets_a_receipt_that_can_be_read(town: Town, flood: Flood) -> None:
    receipt = await bring(town, body=flood())
    assert len(receipt) <= RECEIPT_LIMIT
    assert len(breaches(receipt)) > 20


async def test_protected_child_that_arrives_is_listed_here_and_not_refused(town: Town) -> None:
    assert said(await bring(town, body=make_body(child__address__protection="protected"))).event == "checked"
    assert {kind for _, kind in town.b.memory.protected} == {"location"}
    assert town.b.kinds()[-2:] == ["received", "protection-added"]


def _head(town: Town, org: str) -> str:
    return max((event for event in town.b.memory.events if event.org == org), key=lambda event: event.n).hash
