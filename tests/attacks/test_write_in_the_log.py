"""Aim: as a partner with good keys, to have words of one's own written where they stand for ever: in the other's exchange log.

A message need not be acceptable for it, nor a receipt honest: what is refused is logged too. What holds is that an entry
repeats a partner's word only where it is one of ours as well: a type of an agreement that we spoke on, a code and a place of
our own tables. What these tests do not hold off: message ids and digests, whose digits are the partner's to choose; and the
signed documents themselves, which are kept beside the log as evidence.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import structs

from adapters.port import Handover, Parcel
from contracts.events import Action
from gateway import partner_keys
from gateway.core import receipt
from gateway.core.errors import NotYetError
from gateway.core.lifecycle import State
from gateway.governing import UNSAID, EventRejectedError
from tests.support import canary, independent
from tests.support.exchange import Gateway, Town, make_message, make_town, make_town_in_force
from tests.support.messages import MESSAGE_ID, B, signer_of, submission

NAMES = "zebulonia-quark-upn-q207299981357"
"""Twice a canary, in the form of an agreement's id."""


def said(gateway: Gateway) -> bytes:
    """Everything that the log says and that is copied beside it to search by, and every alarm."""
    log = [repr(entry).encode() + entry.data for entry in gateway.memory.log]
    return b"\n".join((*log, *(alarm.encode() for alarm in gateway.alarms)))


def newest(gateway: Gateway) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(gateway.memory.log[-1].data)
    return entry


async def refused(town: Town, **changes: Any) -> dict[str, Any]:
    """What b logs of a message of a's that it refuses."""
    answer = await town.b.accept(await make_message(town, **changes), town.a.own, MESSAGE_ID)
    assert receipt.read_receipt(answer).payload.event == "rejected"
    entry = newest(town.b)
    assert entry["kind"] == "refused-inbound"
    assert canary.leaks(said(town.b)) == set()
    return entry


async def test_a_type_that_no_agreement_lists_is_not_repeated() -> None:
    town = await make_town_in_force()
    entry = await refused(town, typ="zebulonia-quark.2013-02-17")
    assert "type" not in entry
    assert entry["agreement"]["digest"] == town.digest
    (row,) = town.b.memory.arrived.values()
    assert canary.leaks(repr(row.row).encode()) == set()


async def test_an_agreement_that_is_not_held_is_not_named() -> None:
    town = await make_town_in_force()
    entry = await refused(town, agreement__id=NAMES, agreement__digest="sha256:" + "ab" * 32)
    assert "agreement" not in entry
    assert entry["type"] == "cme.transfer"


async def test_an_agreement_that_is_held_is_named_as_it_names_itself() -> None:
    town = await make_town_in_force()
    entry = await refused(town, agreement__id=NAMES, agreement__version=20130217)
    held = town.b.memory.files[town.digest]
    assert entry["agreement"] == {"digest": town.digest, "id": held.id, "version": held.version}


async def test_an_agreement_that_a_partner_alone_has_spoken_on_is_named_by_its_digest() -> None:
    town = make_town()
    await town.act(town.a, Action.PROPOSE)
    entry = newest(town.b)
    assert entry["kind"] == "agreement-propose"
    assert entry["agreement"] == {"digest": town.digest, **UNSAID}
    await town.act(town.b, Action.SIGN)
    assert newest(town.b)["agreement"]["id"] == town.b.memory.files[town.digest].id


async def test_a_type_of_a_proposal_that_we_never_signed_is_not_repeated() -> None:
    town = make_town()
    await town.act(town.a, Action.PROPOSE)
    entry = await refused(town)
    assert "type" not in entry
    assert entry["agreement"] == {"digest": town.digest, **UNSAID}


@pytest.mark.parametrize(
    ("code", "path", "logged"),
    [
        ("zebulonia.quark", "child.zebulonia_quark.marzipanstow", ("code.unknown", "?")),
        ("field.unknown", "child.name.zebulonia_quark", ("field.unknown", "child.name.?")),
        ("field.unknown", "zebulonia_quark", ("field.unknown", "?")),
        ("field.value", "contacts[20729].telephone", ("field.value", "contacts[].telephone")),
        ("field.value", "contacts[Zebulonia-Quark].telephone", ("field.value", "?")),
        ("field.not-allowed", "child.upn", ("field.not-allowed", "child.upn")),
        ("message.fact", "urgency", ("message.fact", "urgency")),
        ("agreement.none", "", ("agreement.none", "")),
        ("field.missing", "message", ("field.missing", "message")),
        ("field.not-allowed", "values.child.upn", ("field.not-allowed", "values.child.upn")),
    ],
)
async def test_a_receipt_names_codes_and_places_of_our_own_tables_alone(
    code: str, path: str, logged: tuple[str, str]
) -> None:
    town = await make_town_in_force()
    await town.act(town.b, Action.SUSPEND, push=False)  # so that b refuses, and truly says so

    def lie(_: Parcel, reply: Handover) -> Handover:
        honest = receipt.read_receipt(reply.body).payload
        told = receipt.ReceiptBreach(code=code, path=path, rule="Zebulonia-Quark, born 2013-02-17")
        signed = msgspec.json.encode(structs.replace(honest, breaches=(told,)))
        return Handover(status=reply.status, body=signer_of(B).sign(signed, independent.RECEIPT))

    town.a.wire.after = lie
    await submission(town.a.exchange)
    await town.a.run()
    (sent,) = town.a.memory.sent.values()
    assert sent.state is State.REJECTED
    entry = newest(town.a)
    assert entry["kind"] == "rejected"
    assert [(one["code"], one["path"]) for one in entry["breaches"]] == [logged]
    assert canary.leaks(said(town.a)) == set()


async def test_what_is_wrong_with_a_fetched_agreement_is_not_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's complaint names the key that is wrong, and the partner named that; the cause of a 503 is logged."""
    town = await make_town_in_force()

    async def refuses(*_: object, **__: object) -> bool:
        raise EventRejectedError(f"the agreement does not compile: {NAMES}: not a known key")

    monkeypatch.setattr(partner_keys, "keep_event", refuses)
    held = town.a.memory.events
    with pytest.raises(NotYetError) as told:
        await partner_keys.pull_events(town.a.own, held[0].digest, None, town.b.exchange)
    assert canary.leaks(f"{told.value} {vars(told.value)}".encode()) == set()
