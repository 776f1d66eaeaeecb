"""What the conformance tests of messages say in one word: steps from state to state, and commands with their entries."""

from __future__ import annotations

from typing import Any

from gateway.core import deciding
from gateway.core.commands import (
    AddBundle,
    ClaimOutgoing,
    Hold,
    Lease,
    Move,
    Protect,
    PutPartner,
    SettleOutgoing,
    Submit,
    TakeReceipt,
)
from gateway.core.lifecycle import Event, ReceiptEvent, State
from gateway.core.retry import DeadLetter, Next
from gateway.ports import Candidate, InboundMessage, OutboundMessage, OutgoingItem
from keys.bundle import KeyBundle
from tests.conformance.subject import Subject
from tests.support.store import (
    PARTNER,
    at,
    entries_for,
    make_claim,
    make_complete,
    make_entry,
    make_event,
    make_fail,
    make_receipt_in,
    make_submit,
)

THIRD = "la-903"
OTHER_DIGEST = "sha256:" + "cd" * 32
MUCH_LATER = 1_000_000
TAGS = frozenset({b"t" * 32, b"u" * 32})
REACHED = [state for state in State if state is not State.AVAILABLE]  # no command leads there


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


async def owing(subject: Subject) -> OutgoingItem:
    """Owe one event to the partner."""
    await subject.store.write(make_event(2, push_to=PARTNER))
    (item,) = await subject.outbox.owed(at(0), 10)
    return item


def claim_outgoing(item: int, token: bytes = b"token", now: float = 0) -> ClaimOutgoing:
    return ClaimOutgoing(id=item, token=token, now=at(now), until=at(now + 60))


def settle(item: int, what: Next | None, token: bytes = b"token") -> SettleOutgoing:
    return SettleOutgoing(id=item, token=token, next=what)


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


def protect(*, add: bool = True, kinds: frozenset[str] = frozenset({"location"}), now: float = 0) -> Protect:
    entry = make_entry("protection-changed", rows=deciding.of_protection(TAGS, kinds, add=add))
    return Protect(tags=TAGS, kinds=kinds, add=add, now=at(now), entry=entry)
