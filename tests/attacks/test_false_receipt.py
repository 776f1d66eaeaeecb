"""Aim: make the sender believe that a message arrived, was opened or was refused, when it was not.

Held off by the conditions of envelope.md section 4, all of them: two signatures by the recipient's newest pair, over the
digests of the very bytes that were sent, bound to an entry of the recipient's log. Whatever else answers is an attempt
that failed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import to_builtins

from adapters.port import Handover, Parcel
from gateway import receipts
from gateway.core import receipt
from gateway.core.errors import ReceiptRejectedError
from gateway.core.lifecycle import ReceiptEvent, State
from gateway.core.message import SealedMessage
from gateway.tlog import entry as tlog_entry
from keys.key import SigningPair
from keys.listed import Role
from tests.support import independent
from tests.support.exchange import Town, make_town_in_force
from tests.support.keys import NOW, ed25519, follow, make_jws, make_origin, make_revocation, ml_dsa_65
from tests.support.messages import (
    RECEIPT_ID,
    A,
    B,
    C,
    about,
    altered,
    bundle_of,
    make_body,
    make_checked,
    make_draft,
    make_entry,
    make_receipt,
    pair_of,
    seal_it,
    signer_of,
    submission,
)

OTHER_DIGEST = "sha256:" + "4" * 64
OTHER_ID = "019bbd3c-8ac0-7abc-8def-0123456789ff"


@pytest.fixture(scope="module")
def sealed() -> SealedMessage:
    return seal_it()


def accept(data: bytes, sealed: SealedMessage, *, now: int = NOW) -> receipt.Verdict:
    claimed = receipt.read_receipt(data)
    entry = to_builtins(tlog_entry.parse(claimed.entry))
    return receipt.accept(claimed, about(sealed), pair_of(B).public, entry=entry, now=now)


def refuse(data: bytes, sealed: SealedMessage, *, now: int = NOW) -> str:
    with pytest.raises(ReceiptRejectedError) as refused:
        accept(data, sealed, now=now)
    return refused.value.cause


def forged(sealed: SealedMessage, change: Callable[[dict[str, Any]], object], *, org: str = B) -> bytes:
    """A receipt whose members were changed before `org` truly signed it."""
    honest = independent.read_statement(make_receipt(sealed), independent.RECEIPT, signer_of(B).publics)
    change(honest)
    return signer_of(org).sign(independent.wire(honest), independent.RECEIPT)


def test_honest_receipt_is_accepted(sealed: SealedMessage) -> None:
    assert accept(make_receipt(sealed), sealed) == receipt.Verdict(event=ReceiptEvent.CHECKED)
    assert accept(forged(sealed, lambda _: None), sealed).event is ReceiptEvent.CHECKED


# --- for something else


def test_receipt_for_other_bytes_is_rejected(sealed: SealedMessage) -> None:
    """The same id, another envelope: `env` and `jws` differ."""
    other = seal_it(make_draft(make_checked(make_body(child__name__given="Mara"))))
    assert other.draft.id == sealed.draft.id
    assert refuse(make_receipt(other), sealed) == "for other bytes than were sent"


def test_receipt_for_the_same_text_sealed_anew_is_rejected(sealed: SealedMessage) -> None:
    again = replace(sealed, env=OTHER_DIGEST)
    assert refuse(make_receipt(again), sealed) == "for other bytes than were sent"


@pytest.mark.parametrize(
    ("name", "value"),
    [("msg", OTHER_ID), ("env", OTHER_DIGEST), ("jws", OTHER_DIGEST), ("att", [OTHER_DIGEST])],
)
def test_receipt_that_names_another_message_or_digest_is_rejected(
    sealed: SealedMessage, name: str, value: object
) -> None:
    data = forged(sealed, lambda members: members.update({name: value}))
    assert refuse(data, sealed) == "for other bytes than were sent"


@pytest.mark.parametrize(("name", "value"), [("version", 2), ("digest", OTHER_DIGEST), ("heads", [OTHER_DIGEST] * 2)])
def test_receipt_under_another_agreement_is_rejected(sealed: SealedMessage, name: str, value: object) -> None:
    data = forged(sealed, lambda members: members["agreement"].update({name: value}))
    assert refuse(data, sealed) == "for other bytes than were sent"


# --- by somebody else


def test_receipt_signed_by_another_organisation_is_rejected(sealed: SealedMessage) -> None:
    assert "header" in refuse(forged(sealed, lambda _: None, org=C), sealed)
    named = forged(sealed, lambda members: members.update({"sig": list(signer_of(C).kids), "from": C}), org=C)
    assert "header" in refuse(named, sealed)


@pytest.mark.parametrize(("name", "value"), [("from", C), ("from", A), ("to", C), ("to", B)])
def test_receipt_from_or_to_another_organisation_is_rejected(sealed: SealedMessage, name: str, value: str) -> None:
    data = forged(sealed, lambda members: members.update({name: value}))
    assert refuse(data, sealed) == "from or to another organisation"


def test_receipt_that_names_other_keys_than_signed_it_is_rejected(sealed: SealedMessage) -> None:
    data = forged(sealed, lambda members: members.update({"sig": list(signer_of(C).kids)}))
    assert refuse(data, sealed) == "signed by other keys than it names"


@pytest.mark.parametrize(
    "surgery",
    [
        pytest.param(lambda signatures: signatures.pop(), id="one stripped"),
        pytest.param(lambda signatures: signatures.append(signatures[0]), id="one doubled"),
        pytest.param(lambda signatures: signatures.extend(signatures[:]), id="both doubled"),
        pytest.param(lambda signatures: signatures.reverse(), id="order swapped"),
        pytest.param(lambda signatures: signatures[1].update(signature=independent.b64u(bytes(3309))), id="one blank"),
    ],
)
def test_receipt_without_both_signatures_in_order_is_rejected(
    sealed: SealedMessage, surgery: Callable[[list[Any]], object]
) -> None:
    refuse(altered(make_receipt(sealed), lambda statement: surgery(statement["signatures"])), sealed)


def test_message_is_no_receipt(sealed: SealedMessage) -> None:
    honest = independent.read_statement(make_receipt(sealed), independent.RECEIPT, signer_of(B).publics)
    data = signer_of(B).sign(independent.wire(honest), independent.MESSAGE)
    refuse(data, sealed)


# --- at another time, from another log


@pytest.mark.parametrize(("ahead", "taken"), [(300, True), (301, False)])
def test_receipt_of_the_future_is_rejected(sealed: SealedMessage, ahead: int, taken: bool) -> None:
    data = make_receipt(sealed, at=NOW + ahead)
    if taken:
        assert accept(data, sealed).event is ReceiptEvent.CHECKED
    else:
        assert refuse(data, sealed) == "from the future"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "handed-over"},
        {"kind": "refused-inbound"},
        {"msg": OTHER_ID},
        {"env": OTHER_DIGEST},
        {"jws": OTHER_DIGEST},
        {"org": C},
        {"origin": make_origin(C)},
    ],
)
def test_receipt_bound_to_another_log_entry_is_rejected(sealed: SealedMessage, change: dict[str, str]) -> None:
    entry = make_entry(about(sealed), **change)
    assert "log entry names another" in refuse(make_receipt(sealed, entry=entry), sealed)


def test_entry_need_not_repeat_the_organisation_and_the_log(sealed: SealedMessage) -> None:
    """Log A3 lets an author leave members out; the receipt itself names the origin."""
    members = json.loads(make_entry(about(sealed)))
    del members["org"], members["origin"], members["partner"], members["type"]
    data = make_receipt(sealed, entry=independent.wire(members))
    assert accept(data, sealed).event is ReceiptEvent.CHECKED


def test_receipt_without_a_log_entry_is_rejected(sealed: SealedMessage) -> None:
    with pytest.raises(ReceiptRejectedError):
        receipt.read_receipt(forged(sealed, lambda members: members.pop("log")))


# --- in another form


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"code": "expired"}, id="code without rejected"),
        pytest.param({"event": "rejected"}, id="rejected without code"),
        pytest.param({"event": "rejected", "code": "agreement"}, id="agreement without breaches"),
        pytest.param(
            {"event": "rejected", "code": "expired", "breaches": [{"code": "field.type", "path": "", "rule": "x"}]},
            id="breaches without agreement",
        ),
        pytest.param({"event": "rejected", "code": "agreement", "breaches": []}, id="no breach"),
        pytest.param({"event": "rejected", "code": "unreadable"}, id="a code that is none"),
        pytest.param({"event": "delivered"}, id="an event that is none"),
        pytest.param({"v": 2}, id="another version"),
        pytest.param({"id": "1"}, id="no id"),
        pytest.param({"at": -1}, id="before all time"),
        pytest.param({"at": "1800000000"}, id="time as text"),
        pytest.param({"log": {"origin": "x", "entry": "e30="}}, id="padded entry"),
    ],
)
def test_receipt_in_another_form_is_rejected(sealed: SealedMessage, change: dict[str, Any]) -> None:
    order = ("v", "id", "event", "code", "breaches", "msg", "env", "jws", "att", "agreement", "from", "to", "sig")

    def write(members: dict[str, Any]) -> None:
        merged = {**members, **change}
        names = [name for name in (*order, "bundle", "at", "log") if name in merged]
        members.clear()
        members.update({name: merged[name] for name in names})

    with pytest.raises(ReceiptRejectedError):
        receipt.read_receipt(forged(sealed, write))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data + b"\n", id="line break at the end"),
        pytest.param(lambda data: data.replace(b",", b", ", 1), id="white space"),
        pytest.param(lambda data: data.replace(b'{"payload":', b'{"payload":"","payload":', 1), id="duplicate member"),
        pytest.param(lambda data: data[:-1], id="truncated"),
        pytest.param(lambda _: b"", id="nothing"),
        pytest.param(lambda _: b"{}", id="an empty object"),
        pytest.param(lambda _: b"[" * 70_000, id="too large"),
    ],
)
def test_bytes_that_are_no_strict_statement_are_no_receipt(
    sealed: SealedMessage, change: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(ReceiptRejectedError):
        receipt.read_receipt(change(make_receipt(sealed)))


@pytest.mark.parametrize("change", [lambda p: p + b" ", lambda p: p.replace(b'"v":1,', b'"v":1,"v":1,', 1)])
def test_payload_in_another_form_is_no_receipt(sealed: SealedMessage, change: Callable[[bytes], bytes]) -> None:
    honest = independent.read_statement(make_receipt(sealed), independent.RECEIPT, signer_of(B).publics)
    data = signer_of(B).sign(change(independent.wire(honest)), independent.RECEIPT)
    with pytest.raises(ReceiptRejectedError):
        receipt.read_receipt(data)


def test_members_in_another_order_are_no_receipt(sealed: SealedMessage) -> None:
    def move_first_to_the_end(members: dict[str, Any]) -> None:
        members["v"] = members.pop("v")

    with pytest.raises(ReceiptRejectedError):
        receipt.read_receipt(forged(sealed, move_first_to_the_end))


# --- through the flow: what is no receipt finishes nothing


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


async def sent(town: Town) -> Any:
    """The one own message of la-207 after one attempt."""
    await delivery_of(town)
    return next(iter(town.a.memory.sent.values()))


async def delivery_of(town: Town) -> None:
    if not town.a.memory.sent:
        await submission(town.a.exchange)
    await town.a.run()


Answer = Callable[[Parcel, Handover], Handover]

ANSWERS: dict[str, Answer] = {
    "200 without a body": lambda parcel, reply: Handover(status=200, body=b""),
    "200 with words": lambda parcel, reply: Handover(status=200, body=b'{"status":"received, thank you"}'),
    "200 with another message's receipt": lambda parcel, reply: Handover(status=200, body=make_receipt(seal_it())),
    "200 with the message itself": lambda parcel, reply: Handover(status=200, body=parcel.data),
    "receipt with another status": lambda parcel, reply: Handover(status=202, body=reply.body),
    "redirect": lambda parcel, reply: Handover(status=302, body=b""),
    "gone": lambda parcel, reply: Handover(status=410, body=reply.body),
    "unreadable": lambda parcel, reply: Handover(status=400, body=b'{"code":"unreadable"}'),
    "server error": lambda parcel, reply: Handover(status=500, body=b"{}"),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_every_answer_but_a_receipt_is_an_attempt_that_failed(town: Town, answer: Answer) -> None:
    town.a.wire.after = answer
    message = await sent(town)
    assert (message.state, message.receipts) == (State.QUEUED, {})
    assert town.a.kinds()[-1] == "submitted"
    # The true receipt, when it comes, finishes it: nothing was lost.
    town.a.wire.after = lambda parcel, reply: reply
    town.clock.forward(hours=1)
    assert (await sent(town)).state is State.DELIVERED
    assert town.b.kinds().count("received") == 1


async def test_false_receipt_is_told_to_a_person(town: Town) -> None:
    town.a.wire.after = ANSWERS["200 with another message's receipt"]
    await sent(town)
    assert town.a.alarms == ["receipt-refused"]


async def test_three_equal_refusals_hold_the_lane_and_end_nothing(town: Town) -> None:
    town.a.wire.after = ANSWERS["unreadable"]
    message = await sent(town)
    for _ in range(5):
        town.clock.forward(hours=7)
        await town.a.run()
    assert (message.state, message.attempts, message.receipts) == (State.HELD, 3, {})
    assert town.a.alarms == ["message-held"]


def answer_signed_by(signer: independent.Signer, **changes: Any) -> Answer:
    """The recipient's own receipt, signed anew with other keys, truly the recipient's or not."""

    def answer(parcel: Parcel, reply: Handover) -> Handover:
        honest = independent.read_statement(reply.body, independent.RECEIPT, signer_of(B).publics)
        honest |= {"sig": list(signer.kids), **changes}
        return Handover(status=200, body=signer.sign(independent.wire(honest), independent.RECEIPT))

    return answer


async def test_receipt_by_keys_of_another_job_of_the_recipient_is_refused(town: Town) -> None:
    agreeing = independent.Signer(ed25519(f"{B} agreement-sign").seed, ml_dsa_65(f"{B} agreement-sign").seed)
    town.a.wire.after = answer_signed_by(agreeing)
    assert (await sent(town)).state is State.QUEUED


async def test_receipt_by_a_revoked_key_is_refused(town: Town) -> None:
    revoked = (make_revocation(bundle_of(B).pairs[0].kids[1]),)
    town.a.memory.bundles[B].append(make_jws(follow(bundle_of(B), revoked=revoked)))
    assert (await sent(town)).state is State.QUEUED


async def test_receipt_dated_outside_its_keys_time_is_refused(town: Town) -> None:
    pair = next(pair for pair in bundle_of(B).pairs if pair.role is Role.MESSAGE_SIGN)
    town.a.wire.after = answer_signed_by(signer_of(B), at=pair.nbf - 1)
    assert (await sent(town)).state is State.QUEUED


async def test_receipt_bound_to_a_log_of_another_organisation_is_refused(town: Town) -> None:
    def answer(parcel: Parcel, reply: Handover) -> Handover:
        honest = independent.read_statement(reply.body, independent.RECEIPT, signer_of(B).publics)
        entry = json.loads(independent.unb64u(honest["log"]["entry"]))
        entry["origin"] = make_origin(C)
        honest["log"] = {"origin": make_origin(C), "entry": independent.b64u(independent.wire(entry))}
        return Handover(status=200, body=signer_of(B).sign(independent.wire(honest), independent.RECEIPT))

    town.a.wire.after = answer
    assert (await sent(town)).state is State.QUEUED


async def test_receipt_bound_to_an_entry_that_is_none_is_refused(town: Town) -> None:
    def answer(parcel: Parcel, reply: Handover) -> Handover:
        honest = independent.read_statement(reply.body, independent.RECEIPT, signer_of(B).publics)
        honest["log"]["entry"] = independent.b64u(b" " + independent.unb64u(honest["log"]["entry"]))
        return Handover(status=200, body=signer_of(B).sign(independent.wire(honest), independent.RECEIPT))

    town.a.wire.after = answer
    assert (await sent(town)).state is State.QUEUED


async def test_receipt_posted_by_another_organisation_is_refused(town: Town) -> None:
    message = await sent(town)
    taken = make_receipt_of(message, ReceiptEvent.TAKEN)
    with pytest.raises(ReceiptRejectedError):
        await receipts.take(taken, C, town.a.exchange)
    await receipts.take(taken, B, town.a.exchange)
    assert message.state is State.TAKEN


async def test_receipt_for_no_message_of_ours_is_refused(town: Town) -> None:
    with pytest.raises(ReceiptRejectedError):
        await receipts.take(make_receipt(seal_it()), B, town.a.exchange)


async def test_receipt_taken_twice_changes_nothing(town: Town) -> None:
    message = await sent(town)
    taken = make_receipt_of(message, ReceiptEvent.TAKEN)
    for _ in range(3):
        await receipts.take(taken, B, town.a.exchange)
    assert town.a.kinds().count("taken") == 1


async def test_rejection_after_delivery_changes_nothing(town: Town) -> None:
    message = await sent(town)
    rejected = make_receipt_of(message, ReceiptEvent.REJECTED)
    await receipts.take(rejected, B, town.a.exchange)
    assert message.state is State.DELIVERED


def make_receipt_of(message: Any, event: ReceiptEvent, pair: SigningPair | None = None) -> bytes:
    """A true receipt of la-850 for a message that went through the flow."""
    claimed = receipt.read_receipt(message.receipts[ReceiptEvent.CHECKED].data).payload
    subject = receipt.ReceiptFor(
        msg=claimed.msg, env=claimed.env, jws=claimed.jws, agreement=claimed.agreement, sender=A, recipient=B
    )
    verdict = receipt.Verdict(event=event, code="expired" if event is ReceiptEvent.REJECTED else None)
    return receipt.issue(
        verdict,
        subject,
        pair or pair_of(B),
        receipt_id=RECEIPT_ID,
        bundle=bundle_of(B).digest,
        at=NOW,
        origin=make_origin(B),
        entry=make_entry(subject, receipt.ENTRY_KINDS[event.value]),
    )
