"""Delivery: a queued message is checked once more, handed over, and finished by a verified receipt.

Candidate -> agreement and protection again -> leased -> handed over -> receipt verified -> finished and logged. Only a
verified receipt finishes anything; every other answer is a failed attempt (envelope section 4, log.md B3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from adapters.port import DeliveryError, Handover, Parcel
from contracts.breach import ContractBreachError
from contracts.check import ProtectedKind
from contracts.names import SERVICE_TYPES
from gateway import circumstances, entries, governing, kinds, quorum, receipts
from gateway.core import commands, receipt, retry
from gateway.core.alarms import AlarmCode
from gateway.core.errors import (
    HeadsMovedError,
    ReceiptRejectedError,
    RowTamperedError,
    SubmissionRefusedError,
)
from gateway.core.lifecycle import Event, State
from gateway.core.payload import Payload
from gateway.core.retry import Setback
from gateway.governing import HeldAgreement
from gateway.ports import Candidate, Exchange, OutboundMessage, Partner
from keys.key import Kid
from keys.listed import Role
from keys.ring import KeyRing

LEASE = timedelta(seconds=60)  # longer than an adapter's total time-out of 30 s
LOOK_AGAIN = timedelta(seconds=60)  # without a cause to: events, protection and partners wake what they held at once
TAMPERED: Final[AlarmCode] = "row-tampered"  # as of rows that decide
STALE_AFTER = timedelta(hours=72)  # bundles not refreshed for so long: nothing is sent (envelope section 5)

_ALARMS: Final[Mapping[str, AlarmCode]] = {
    "dead-lettered": "message-dead-lettered",
    "expired": "message-expired",
    "held": "message-held",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """One candidate whose turn it is, with everything its attempt needs."""

    candidate: Candidate
    message: OutboundMessage
    payload: Payload
    partner: Partner
    held: HeldAgreement
    protected: frozenset[ProtectedKind]
    lease: commands.Lease


async def hand_over(candidate: Candidate, exchange: Exchange) -> None:
    """Candidate -> checked again -> leased -> handed over -> receipt verified -> finished; or held, or tried again later."""
    now = exchange.clock()
    message = await exchange.outbox.message(candidate.message_id)
    partner = await exchange.partners.get(candidate.partner)
    if message is None or partner is None:
        raise RowTamperedError("message" if message is None else "partner")  # absent, where a row must be
    try:
        payload = _sealed(candidate, message)
    except RowTamperedError:  # its row says something else than its sealed bytes: it waits for a person
        exchange.tell(TAMPERED, message.id, {"table": "message", "row": message.id}, now)
        await _hold(message, circumstances.readable(message), None, ("row.tampered",), now, exchange)
        return
    if int(now.timestamp()) >= message.expires_at:
        await expire(message.id, now, exchange)
        return
    protected = await _protected(payload, exchange)
    held, codes = await _obstacles(message, payload, partner, protected, now, exchange)
    codes = tuple(sorted({*codes, *await _unwitnessed(message, now, exchange)}))
    if held is None or codes:
        await _hold(message, payload, held, codes, now, exchange)
        return
    guard = kinds.kind_of(payload.typ).guard(held, payload.body)
    lease = await _lease(candidate, guard, now, exchange)
    if lease is None:
        return
    settled = False
    try:
        turn = _Turn(
            candidate=candidate,
            message=message,
            payload=payload,
            partner=partner,
            held=held,
            protected=protected,
            lease=lease,
        )
        settled = await _attempt(turn, exchange)
    finally:  # a stop or a fault in the middle: whoever comes next need not wait for the lease to end
        if not settled:
            await exchange.store.write(commands.ReleaseLeases(tokens=frozenset({lease.token}), now=exchange.clock()))


def _sealed(candidate: Candidate, message: OutboundMessage) -> Payload:
    if candidate.partner != message.partner:
        raise RowTamperedError("delivery")
    return circumstances.sealed(message)


async def _protected(payload: Payload, exchange: Exchange) -> frozenset[ProtectedKind]:
    about = await kinds.kind_of(payload.typ).about(payload, exchange)
    return await exchange.protection.kinds(exchange.tags(about))


async def _obstacles(
    message: OutboundMessage,
    payload: Payload,
    partner: Partner,
    protected: frozenset[ProtectedKind],
    now: datetime,
    exchange: Exchange,
) -> tuple[HeldAgreement | None, tuple[str, ...]]:
    """Why the message must not go now: its agreement, its facts, the child's protection, or the recipient's keys."""
    codes = {*_key_obstacles(payload, partner, now), *_own_key_obstacles(payload, exchange.ring(), now)}
    held = await governing.load(exchange, payload.agreement.digest, now)
    if held is None:
        return None, ("agreement.none",)
    kind = kinds.kind_of(payload.typ)
    try:
        kind.check_standing(held)
        await kind.again(payload, held, protected, now, exchange)
    except ContractBreachError as refusal:
        codes |= {breach.code for breach in refusal.breaches}
    return held, tuple(sorted(codes))


def _key_obstacles(payload: Payload, partner: Partner, now: datetime) -> list[str]:
    codes = []
    if not partner.verified_by:
        codes.append("partner.unverified")
    if now.timestamp() - partner.fetched_at > STALE_AFTER.total_seconds():
        codes.append("partner.keys-stale")
    if not partner.newest.current_at(int(now.timestamp())):
        codes.append("partner.keys-expired")
    if any(partner.newest.is_revoked(Kid(entry.enc)) for entry in payload.to):
        codes.append("partner.key-revoked")
    return codes


def _own_key_obstacles(payload: Payload, ring: KeyRing, now: datetime) -> list[str]:
    """A missed ceremony holds what waits until the next one, and uses up no attempt."""
    codes = []
    if Role.HTTP in ring.missing(int(now.timestamp())):
        codes.append("own.keys-missing")
    if any(ring.bundle.is_revoked(Kid(kid)) for kid in payload.from_.sig):
        codes.append("own.key-revoked")
    return codes


async def _unwitnessed(message: OutboundMessage, now: datetime, exchange: Exchange) -> tuple[str, ...]:
    """A new routine record waits while nobody could tell if our log were rewritten; nothing more urgent ever does, nothing
    that the partner may have received already (log A4), and no service message: a withdrawal keeps harm small."""
    if message.urgency != "routine" or message.attempts or message.type in SERVICE_TYPES:
        return ()
    return (quorum.UNWITNESSED,) if await quorum.holds_routine(exchange, now) else ()


async def _hold(
    message: OutboundMessage,
    payload: Payload | None,
    held: HeldAgreement | None,
    codes: tuple[str, ...],
    now: datetime,
    exchange: Exchange,
) -> None:
    what = entries.Circumstance(breaches=entries.codes(codes), outcome="held")
    about = circumstances.about_row(message) if payload is None else circumstances.about(message, payload, held)
    entry = entries.about_message(exchange.journal, "held", now, about, what)
    await exchange.store.write(
        commands.Hold(message_id=message.id, codes=codes, entry=entry, look_again=now + LOOK_AGAIN)
    )


async def _lease(
    candidate: Candidate, heads: commands.Heads | None, now: datetime, exchange: Exchange
) -> commands.Lease | None:
    """Claim the delivery against the heads just checked: an event that came in between refuses the claim."""
    try:
        return await exchange.store.write(
            commands.Claim(
                delivery=candidate.delivery,
                message_id=candidate.message_id,
                heads=heads,
                token=exchange.entropy(16),
                now=now,
                until=now + LEASE,
            )
        )
    except HeadsMovedError:
        return None  # the next round checks against the new events


async def _attempt(turn: _Turn, exchange: Exchange) -> bool:
    """Right before connecting, what no transaction guards once more; then hand over and settle. False: nothing was settled."""
    message, partner, started = turn.message, turn.partner, exchange.clock()
    if await _changed_since(turn, exchange):
        return False
    parcel = Parcel(
        kind="messages", partner=partner.org, url=partner.url, idempotency_key=message.id, data=message.envelope
    )
    try:
        handover = await exchange.peer.deliver(parcel)
    except DeliveryError as error:
        return await _fail(turn, Setback.unanswered(error.code), started, exchange)
    try:
        return await _finish(turn, handover, started, exchange)
    except ReceiptRejectedError as error:
        if handover.status == 200:
            exchange.alarm("receipt-refused", {"partner": partner.org, "message_id": message.id, "cause": error.cause})
        return await _fail(turn, Setback.answer(handover.status, handover.retry_after), started, exchange)


async def _changed_since(turn: _Turn, exchange: Exchange) -> bool:
    """The child was protected, or the partner's row or keys changed, after the check: the next round looks again.

    The agreement needs no second look: the claim was made against the heads of its events.
    """
    partner = await exchange.partners.get(turn.partner.org)
    if partner is None or (partner.verified_by, partner.newest.digest) != (
        turn.partner.verified_by,
        turn.partner.newest.digest,
    ):
        return True
    return await _protected(turn.payload, exchange) != turn.protected


async def _finish(turn: _Turn, handover: Handover, started: datetime, exchange: Exchange) -> bool:
    """The answer is a verified receipt, or ReceiptRejectedError."""
    if handover.status != 200:
        raise ReceiptRejectedError(f"answered {handover.status}")
    message = turn.message
    claimed = receipt.read_receipt(handover.body)
    verdict = await receipts.verify(claimed, message, turn.payload, turn.partner, exchange)
    now = exchange.clock()
    await exchange.store.write(
        commands.Complete(
            lease=turn.lease,
            message_id=message.id,
            receipt=receipts.as_received(message.id, claimed),
            entries=receipts.entries_for(
                message, turn.payload, turn.held, verdict, claimed, now, exchange, State.SENDING
            ),
            now=now,
            ms=_milliseconds(started, now),
        )
    )
    exchange.wake()
    return True


async def _fail(turn: _Turn, setback: Setback, started: datetime, exchange: Exchange) -> bool:
    """What follows a failed attempt is decided by its history and the time (`core.retry`)."""
    now, message = exchange.clock(), turn.message
    failure = retry.Failure(
        attempts=turn.lease.attempt,
        first_attempt_at=turn.candidate.first_attempt_at or started,
        statuses=(*turn.candidate.last_statuses, setback.status),
        retry_after=setback.retry_after,
    )
    expires_at = datetime.fromtimestamp(message.expires_at, tz=now.tzinfo)
    upcoming = retry.after_failure(failure, now=now, expires_at=expires_at, jitter=exchange.jitter())
    kind = {retry.DeadLetter: "dead-lettered", retry.Expire: "expired", retry.HoldLane: "held"}.get(type(upcoming))
    what, about = entries.Circumstance(outcome=setback.code), circumstances.about(message, turn.payload, turn.held)
    entry = entries.about_message(exchange.journal, kind, now, about, what) if kind else None
    if kind:
        exchange.alarm(_ALARMS[kind], {"partner": message.partner, "message_id": message.id})
    await exchange.store.write(
        commands.Fail(
            lease=turn.lease,
            message_id=message.id,
            outcome=setback.code,
            http_status=setback.status,
            next=upcoming,
            entry=entry,
            now=now,
            ms=_milliseconds(started, now),
        )
    )
    return True


# --- the clock's act, and a person's


async def expire(message_id: str, now: datetime, exchange: Exchange) -> None:
    """A message past its `exp` is expired, never dead; a person is told."""
    message = await exchange.outbox.message(message_id)
    if message is None:
        return
    payload = circumstances.readable(message)
    if payload is not None and int(now.timestamp()) < payload.exp:  # its row alone says that its time is over
        exchange.tell(TAMPERED, message.id, {"table": "message", "row": message.id}, now)
        return
    what = entries.Circumstance(outcome="expired")
    about = await _about(message, payload, now, exchange)
    entry = entries.about_message(exchange.journal, "expired", now, about, what)
    exchange.alarm("message-expired", {"partner": message.partner, "message_id": message.id})
    await exchange.store.write(commands.Move(message_id=message_id, event=Event.EXPIRE, entry=entry, now=now))


async def _about(message: OutboundMessage, payload: Payload | None, now: datetime, exchange: Exchange) -> entries.About:
    """What an entry says of an own message; one whose sealed bytes are gone can still be ended."""
    if payload is None:
        return circumstances.about_row(message)
    return circumstances.about(message, payload, await governing.load(exchange, payload.agreement.digest, now))


async def resend(message_id: str, exchange: Exchange, *, by: str | None) -> State:
    """Dead, or held in a stuck lane -> queued: the same bytes again, by a person's act. Raises IllegalTransitionError."""
    message = await exchange.outbox.message(message_id)
    held = message is not None and message.state is State.HELD
    return await _move(message_id, Event.RELEASE if held else Event.RESEND, "resent", exchange, by)


async def cancel(message_id: str, exchange: Exchange, *, by: str | None) -> State:
    """Queued, held or dead -> cancelled, by a person's act."""
    return await _move(message_id, Event.CANCEL, "cancelled", exchange, by)


async def _move(message_id: str, event: Event, kind: str, exchange: Exchange, by: str | None) -> State:
    now = exchange.clock()
    message = await exchange.outbox.message(message_id)
    if message is None:
        raise SubmissionRefusedError("message.unknown", "id", "no such message")
    what = entries.Circumstance(by=by, outcome=kind)
    about = await _about(message, circumstances.readable(message), now, exchange)
    entry = entries.about_message(exchange.journal, kind, now, about, what)
    state = await exchange.store.write(commands.Move(message_id=message_id, event=event, entry=entry, now=now))
    exchange.wake()
    return state


def _milliseconds(started: datetime, now: datetime) -> int:
    return max(0, int((now - started) / timedelta(milliseconds=1)))
