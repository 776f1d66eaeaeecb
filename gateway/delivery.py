"""Delivery: a queued message is checked once more, handed over, and finished by a verified receipt.

Candidate -> agreement and protection again -> leased -> handed over -> receipt verified -> finished and logged. Only a
verified receipt finishes anything; every other answer is a failed attempt (envelope section 4, log.md B3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from msgspec import to_builtins

from adapters.port import DeliveryError, Handover, Parcel
from contracts.breach import ContractBreachError
from contracts.check import check
from contracts.facts import civil_date
from gateway import circumstances, entries, governing, partner_keys
from gateway.core import commands, receipt, retry
from gateway.core.envelope import digest
from gateway.core.errors import HeadsMovedError, NotYetError, ReceiptRejectedError, SubmissionRefusedError
from gateway.core.lifecycle import Event, ReceiptEvent, State, after_receipt
from gateway.governing import HeldAgreement
from gateway.ports import Candidate, Exchange, OutboundMessage, OutgoingItem, Partner
from gateway.tlog import entry as tlog_entry
from gateway.tlog.errors import TlogError
from keys.bundle import KeyBundle
from keys.key import Kid

LEASE = timedelta(seconds=60)  # longer than an adapter's total time-out of 30 s
LOOK_AGAIN = timedelta(seconds=10)  # how often a held message is looked at without a cause to
OWED_FOR = timedelta(days=365)  # what is owed besides messages does not expire; it is given up like one (retry)
_ROUTES: Mapping[str, str] = {"receipt": "receipts", "event": "events", "bundle": "bundles"}  # of what is owed
STALE_AFTER = timedelta(hours=72)  # bundles not refreshed for so long: nothing is sent (envelope section 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """Why one attempt failed: a code for the log, the HTTP status if there was an answer, and what it asked for."""

    code: str
    status: int | None
    retry_after: timedelta | None

    @classmethod
    def answer(cls, handover: Handover) -> Setback:
        asked = None if handover.retry_after is None else timedelta(seconds=handover.retry_after)
        return cls(code=f"answered.{handover.status}", status=handover.status, retry_after=asked)


async def hand_over(candidate: Candidate, exchange: Exchange) -> None:
    """Candidate -> checked again -> leased -> handed over -> receipt verified -> finished; or held, or tried again later."""
    now = exchange.clock()
    message = await exchange.outbox.message(candidate.message_id)
    partner = await exchange.partners.get(candidate.partner)
    if message is None or partner is None:
        return  # the row fails its mac: it counts as absent, and the alarm is raised where that was found
    if int(now.timestamp()) >= message.expires_at:
        await expire(message.id, now, exchange)
        return
    held, codes = await _obstacles(message, partner, now, exchange)
    if held is None or codes:
        await _hold(message, held, codes, now, exchange)
        return
    lease = await _lease(candidate, held, now, exchange)
    if lease is not None:
        await _attempt(candidate, lease, message, partner, held, exchange)


async def _obstacles(
    message: OutboundMessage, partner: Partner, now: datetime, exchange: Exchange
) -> tuple[HeldAgreement | None, tuple[str, ...]]:
    """Why the message must not go now: its agreement, its facts, the child's protection, or the recipient's keys."""
    codes = set(_key_obstacles(message, partner, now))
    held = await governing.load(exchange, message.agreement, now)
    if held is None:
        return None, ("agreement.none",)
    if not held.state.in_force:
        return held, tuple(sorted(codes | {"agreement.not-in-force"}))
    payload = circumstances.payload_of(message.inner)
    thread = payload.thread if isinstance(payload.thread, str) else None
    try:
        check(
            payload.body,
            compiled=held.compiled,
            type=payload.typ,
            sender=held.side(exchange.own.id),
            facts=payload.facts,
            on=civil_date(now),
            requested=await circumstances.requested_by(exchange, held, thread),
            protected=await exchange.protection.kinds(exchange.tags(payload.body)),
            sending=True,
        )
    except ContractBreachError as refusal:
        codes |= {breach.code for breach in refusal.breaches}
    return held, tuple(sorted(codes))


def _key_obstacles(message: OutboundMessage, partner: Partner, now: datetime) -> list[str]:
    payload = circumstances.payload_of(message.inner)
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


async def _hold(
    message: OutboundMessage, held: HeldAgreement | None, codes: tuple[str, ...], now: datetime, exchange: Exchange
) -> None:
    what = entries.Circumstance(breaches=entries.codes(codes), outcome="held")
    entry = entries.about_message(exchange.journal, "held", now, _about(message, held), what)
    await exchange.store.write(
        commands.Hold(message_id=message.id, codes=codes, entry=entry, look_again=now + LOOK_AGAIN)
    )


async def _lease(candidate: Candidate, held: HeldAgreement, now: datetime, exchange: Exchange) -> commands.Lease | None:
    """Claim the delivery against the heads just checked: an event that came in between refuses the claim."""
    try:
        return await exchange.store.write(
            commands.Claim(
                delivery=candidate.delivery,
                message_id=candidate.message_id,
                heads=held.heads,
                token=exchange.entropy(16),
                now=now,
                until=now + LEASE,
            )
        )
    except HeadsMovedError:
        return None  # the next round checks against the new events


async def _attempt(
    candidate: Candidate,
    lease: commands.Lease,
    message: OutboundMessage,
    partner: Partner,
    held: HeldAgreement,
    exchange: Exchange,
) -> None:
    started = exchange.clock()
    parcel = Parcel(
        kind="messages", partner=partner.org, url=partner.url, idempotency_key=message.id, data=message.envelope
    )
    try:
        handover = await exchange.peer.deliver(parcel)
    except DeliveryError as error:
        setback = Setback(code=error.code, status=None, retry_after=None)
        await _fail(candidate, lease, message, held, setback, started, exchange)
        return
    try:
        verdict, claimed = await _verified(handover, message, partner, exchange)
    except ReceiptRejectedError as error:
        if handover.status == 200:
            exchange.alarm("receipt-refused", {"partner": partner.org, "message_id": message.id, "cause": error.cause})
        await _fail(candidate, lease, message, held, Setback.answer(handover), started, exchange)
    else:
        await _finish(lease, message, held, verdict, claimed, started, exchange)


async def _verified(
    handover: Handover, message: OutboundMessage, partner: Partner, exchange: Exchange
) -> tuple[receipt.Verdict, receipt.ClaimedReceipt]:
    if handover.status != 200:
        raise ReceiptRejectedError(f"answered {handover.status}")
    claimed = receipt.read_receipt(handover.body)
    return await verify_receipt(claimed, message, partner, exchange), claimed


async def verify_receipt(
    claimed: receipt.ClaimedReceipt, message: OutboundMessage, partner: Partner, exchange: Exchange
) -> receipt.Verdict:
    """Return what a receipt proves about our message, by every condition of envelope section 4; raises ReceiptRejectedError."""
    now = exchange.clock()
    payload = claimed.payload
    if partner.newest.message_sign_pair_for(payload.sig) is None:
        partner = await _with_newer_keys(partner, now, exchange)
    listed = partner.newest.message_sign_pair_for(payload.sig)
    if listed is None or not partner.newest.trusts(listed, payload.at):
        raise ReceiptRejectedError("its signing keys are not the recipient's, or revoked, or outside their time")
    if not isinstance(payload.log, receipt.LogBinding) or not _has_log(partner.bundles, payload.log.origin):
        raise ReceiptRejectedError("bound to no log of the recipient")
    try:
        entry: Mapping[str, Any] = to_builtins(tlog_entry.parse(claimed.entry))
    except TlogError:
        raise ReceiptRejectedError("its log entry is not in canonical form") from None
    about = receipt.ReceiptFor(
        msg=message.id,
        env=message.env,
        jws=message.jws,
        agreement=circumstances.payload_of(message.inner).agreement,
        sender=exchange.own.id,
        recipient=partner.org,
    )
    return await exchange.in_thread(
        lambda: receipt.accept(claimed, about, listed.public, entry=entry, now=int(now.timestamp()))
    )


async def _with_newer_keys(partner: Partner, now: datetime, exchange: Exchange) -> Partner:
    """Keys that are not listed here may stand in a bundle whose push was lost: ask, at most once a minute."""
    try:
        return await partner_keys.refresh(partner, now, exchange)
    except NotYetError:
        return partner


def _has_log(bundles: tuple[KeyBundle, ...], origin: str) -> bool:
    return any(bundle.has_log(origin) for bundle in bundles)


async def _finish(
    lease: commands.Lease,
    message: OutboundMessage,
    held: HeldAgreement,
    verdict: receipt.Verdict,
    claimed: receipt.ClaimedReceipt,
    started: datetime,
    exchange: Exchange,
) -> None:
    now = exchange.clock()
    await exchange.store.write(
        commands.Complete(
            lease=lease,
            message_id=message.id,
            receipt=_receipt_in(message.id, claimed),
            entries=_entries_for(message, held, verdict, claimed, now, exchange, State.SENDING),
            now=now,
            ms=_milliseconds(started, now),
        )
    )
    exchange.wake()


async def _fail(
    candidate: Candidate,
    lease: commands.Lease,
    message: OutboundMessage,
    held: HeldAgreement,
    setback: Setback,
    started: datetime,
    exchange: Exchange,
) -> None:
    now = exchange.clock()
    failure = retry.Failure(
        attempts=lease.attempt,
        first_attempt_at=candidate.first_attempt_at or started,
        statuses=(*candidate.last_statuses, setback.status),
        retry_after=setback.retry_after,
    )
    expires_at = datetime.fromtimestamp(message.expires_at, tz=now.tzinfo)
    upcoming = retry.after_failure(failure, now=now, expires_at=expires_at, jitter=_jitter(exchange))
    kind = {retry.DeadLetter: "dead-lettered", retry.Expire: "expired", retry.HoldLane: "held"}.get(type(upcoming))
    what = entries.Circumstance(outcome=setback.code)
    entry = entries.about_message(exchange.journal, kind, now, _about(message, held), what) if kind else None
    if kind:
        exchange.alarm(f"message-{kind}", {"partner": message.partner, "message_id": message.id})
    await exchange.store.write(
        commands.Fail(
            lease=lease,
            message_id=message.id,
            outcome=setback.code,
            http_status=setback.status,
            next=upcoming,
            entry=entry,
            now=now,
            ms=_milliseconds(started, now),
        )
    )


# --- receipts that come by themselves, and what is owed to partners besides messages


async def take_receipt(data: bytes, http_org: str, exchange: Exchange) -> None:
    """Receipt -> verified against what was sent -> state and log; repeats change nothing. Raises ReceiptRejectedError."""
    now = exchange.clock()
    claimed = receipt.read_receipt(data)
    message = await exchange.outbox.message(claimed.payload.msg)
    partner = await exchange.partners.get(http_org)
    if message is None or partner is None or message.partner != http_org:
        raise ReceiptRejectedError("for no message of ours to this organisation")
    verdict = await verify_receipt(claimed, message, partner, exchange)
    held = await governing.load(exchange, message.agreement, now)
    command = commands.TakeReceipt(
        receipt=_receipt_in(message.id, claimed),
        entries=_entries_for(message, held, verdict, claimed, now, exchange, message.state),
        now=now,
    )
    await exchange.store.write(command)
    exchange.wake()


async def send_owed(item: OutgoingItem, exchange: Exchange) -> None:
    """Outgoing item -> leased -> handed over -> settled: 204 is done, anything else is tried again until it is hopeless."""
    now = exchange.clock()
    partner = await exchange.partners.get(item.partner)
    token = exchange.entropy(16)
    if partner is None or not await exchange.store.write(
        commands.ClaimOutgoing(id=item.id, token=token, now=now, until=now + LEASE)
    ):
        return
    try:
        handover = await exchange.peer.deliver(
            Parcel(
                kind=_ROUTES[item.kind],
                partner=partner.org,
                url=partner.url,
                idempotency_key=_id_inside(item),
                data=item.data,
            )
        )
        setback = None if handover.status == 204 else Setback.answer(handover)
    except DeliveryError as error:
        setback = Setback(code=error.code, status=None, retry_after=None)
    upcoming = None
    if setback is not None:
        failure = retry.Failure(
            attempts=item.attempts + 1,
            first_attempt_at=item.first_attempt_at or now,
            statuses=(setback.status,),
            retry_after=setback.retry_after,
        )
        upcoming = retry.after_failure(
            failure, now=exchange.clock(), expires_at=now + OWED_FOR, jitter=_jitter(exchange)
        )
    await exchange.store.write(commands.SettleOutgoing(id=item.id, token=token, next=upcoming))


def _id_inside(item: OutgoingItem) -> str:
    """The `id` that a receipt or an event carries: it is the request's idempotency key (envelope section 10)."""
    if item.kind == "receipt":
        return receipt.read_receipt(item.data).payload.id
    return governing.claimed_event(item.data).id if item.kind == "event" else item.ref


async def expire(message_id: str, now: datetime, exchange: Exchange) -> None:
    """A message past its `exp` is expired, never dead; a person is told."""
    message = await exchange.outbox.message(message_id)
    if message is None:
        return
    held = await governing.load(exchange, message.agreement, now)
    what = entries.Circumstance(outcome="expired")
    entry = entries.about_message(exchange.journal, "expired", now, _about(message, held), what)
    await exchange.store.write(commands.Move(message_id=message_id, event=Event.EXPIRE, entry=entry, now=now))


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
    held = await governing.load(exchange, message.agreement, now)
    what = entries.Circumstance(by=by, outcome=kind)
    entry = entries.about_message(exchange.journal, kind, now, _about(message, held), what)
    state = await exchange.store.write(commands.Move(message_id=message_id, event=event, entry=entry, now=now))
    exchange.wake()
    return state


# --- shared


def _entries_for(
    message: OutboundMessage,
    held: HeldAgreement | None,
    verdict: receipt.Verdict,
    claimed: receipt.ClaimedReceipt,
    now: datetime,
    exchange: Exchange,
    state: State,
) -> dict[State, commands.LogEntry]:
    """One entry for each state that this receipt can lead to from `state`; the store writes those it enters."""
    about, hash_ = _about(message, held), digest(claimed.data)
    made = {}
    for entered in after_receipt(state, verdict.event):
        found = verdict.breaches if entered is State.REJECTED else ()
        told = entries.refs_told((breach.code, breach.path) for breach in found)
        what = entries.Circumstance(receipt=hash_, breaches=told, outcome=verdict.code or verdict.event.value)
        made[entered] = entries.about_message(exchange.journal, entered.value, now, about, what)
    return made


def _receipt_in(message_id: str, claimed: receipt.ClaimedReceipt) -> commands.ReceiptIn:
    return commands.ReceiptIn(
        message_id=message_id,
        event=ReceiptEvent(claimed.payload.event),
        data=claimed.data,
        leaf=tlog_entry.leaf_hash(claimed.entry),
    )


def _about(message: OutboundMessage, held: HeldAgreement | None) -> entries.About:
    payload = circumstances.payload_of(message.inner)
    return entries.About(
        dir="out",
        msg=message.id,
        partner=message.partner,
        type=message.type,
        agreement=held.named if held else None,
        env=message.env,
        jws=message.jws,
        thread=payload.thread if isinstance(payload.thread, str) else None,
        urgency=entries.known_urgency(message.urgency),
    )


def _milliseconds(started: datetime, now: datetime) -> int:
    return max(0, int((now - started) / timedelta(milliseconds=1)))


def _jitter(exchange: Exchange) -> float:
    return int.from_bytes(exchange.entropy(4), "big") / 2**32
