"""Inbound: a partner's bytes become a message that a person or a case system can take: the outbound line mirrored.

Bytes -> envelope -> sender proven -> agreement -> check -> receipt -> inbox and log, in one transaction. The steps are
those of envelope.md section 2, with their numbers; 2 to 12 stand in `core.envelope`. Before step 14 nothing reaches the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from contracts.breach import Breach, BreachCode, ContractBreachError
from contracts.names import ZERO_DIGEST
from contracts.service import CORRECTION
from gateway import circumstances, entries, governing, kinds, partner_keys
from gateway.core import commands, deciding, receipt
from gateway.core.alarms import AlarmCode
from gateway.core.commands import Reception
from gateway.core.envelope import check_size, digest, prove, read_envelope, unlock
from gateway.core.errors import (
    ConflictError,
    EnvelopeRejectedError,
    HeadsMovedError,
    LogInconsistentError,
    NotYetError,
    RowTamperedError,
    SubmissionRefusedError,
)
from gateway.core.ids import new_message_id
from gateway.core.lifecycle import InboundState, ReceiptEvent
from gateway.core.message import CLOCK_SKEW, DAY, PUSH_LIFETIME, ClaimedMessage, OpenedMessage
from gateway.core.payload import Payload
from gateway.core.roles import check_role
from gateway.governing import HeldAgreement
from gateway.judged import Judged
from gateway.ports import Exchange, InboundMessage, Partner
from keys.bundle import KeyBundle
from keys.key import Kid
from keys.listed import ListedPair

UNKNOWN_TYPE: Final = "type.unknown"  # shown for the type of a refused message that no agreement of ours lists
_TRIES = 5
_BREACHES_ROOM = 16 * 1024  # bytes; with the entry, which names breaches too, a receipt stays below its 64 KB
_BREACH_FRAME = 40  # bytes of JSON around one breach
_GONE = (InboundState.WITHDRAWN, InboundState.DESTROYED)
TAMPERED: Final[AlarmCode] = "row-tampered"  # as of rows that decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Bytes that a partner brought: `http_org` is the organisation that signed the request, `idempotency_key` the id it named."""

    data: bytes = field(repr=False)
    http_org: str
    idempotency_key: str


async def accept(arrival: Arrival, exchange: Exchange) -> bytes:
    """Bytes -> opened -> agreement -> checked -> receipted -> stored and logged; return the receipt, the stored one for a duplicate.

    Raises EnvelopeRejectedError (400), ConflictError (409), NotYetError and BusyError (503); a message that is refused
    for its time or by its agreement earns a signed `rejected` receipt, which is returned.
    """
    now = exchange.clock()
    check_size(arrival.data)  # 1
    # 1a: what was answered once is answered again, whatever has happened to keys or agreement since
    stored = await exchange.inbox.stored_receipt(arrival.http_org, digest(arrival.data))
    if stored is not None:
        return stored
    message, partner = await _open(arrival, now, exchange)  # 2 to 12
    await _check_new(message, exchange)  # 13
    if message.payload.iat - CLOCK_SKEW > int(now.timestamp()):
        raise NotYetError("the message is from the future: one of the two clocks is wrong")
    late = _out_of_time(message.payload, partner.newest, exchange.ring().bundle, now)
    if late is not None:
        return await _refuse(message, receipt.Verdict(event=ReceiptEvent.REJECTED, code=late), None, now, exchange)
    for _ in range(_TRIES):  # 14
        try:
            return await _judge(message, now, exchange)
        except HeadsMovedError:
            continue
    raise NotYetError("the agreement keeps changing")


async def _open(arrival: Arrival, now: datetime, exchange: Exchange) -> tuple[OpenedMessage, Partner]:
    """Steps 2 to 12: envelope read, unlocked with an own key, sender proven from its newest bundle."""
    ring, at = exchange.ring(), int(now.timestamp())
    claimed = unlock(read_envelope(arrival.data), lambda kid: ring.opening(Kid(kid), at))
    partner = await exchange.partners.get(arrival.http_org)
    if partner is None or not partner.verified_by or not partner.bundles:
        raise EnvelopeRejectedError("10", "no verified partner")
    partner = await _with_keys_for(claimed, partner, now, exchange)
    listed = _signing_pair(partner.newest, claimed.payload, at)
    opened = await exchange.in_thread(
        lambda: prove(
            claimed,
            listed.public,
            http_org=arrival.http_org,
            own=exchange.own.id,
            idempotency_key=arrival.idempotency_key,
        )
    )
    return opened, partner


def _signing_pair(newest: KeyBundle, payload: Payload, at: int) -> ListedPair:
    """Step 10: the pair that signed, found in the sender's newest bundle, unrevoked, in its time at `iat` and now.

    Only what a newer bundle could heal is a NotYetError.
    """
    kids = [Kid(kid) for kid in payload.from_.sig]
    if any(newest.is_revoked(kid) for kid in kids):
        raise EnvelopeRejectedError("10", "a signing key is revoked")
    listed = newest.message_sign_pair_for(payload.from_.sig)
    if listed is None and all(newest.find(kid) is not None for kid in kids):
        raise EnvelopeRejectedError("10", "the signing keys are no pair for messages")
    if listed is None or not newest.current_at(at):
        raise NotYetError("the sender's keys are not known here")
    if not newest.trusts(listed, payload.iat, at):
        raise EnvelopeRejectedError("10", "a signing key is outside its time")
    return listed


async def _with_keys_for(claimed: ClaimedMessage, partner: Partner, now: datetime, exchange: Exchange) -> Partner:
    """Step 10: where the signing keys or the named bundle are not known, fetch the partner's bundles (at most once a minute)."""
    sender = claimed.payload.from_
    if sender.org != partner.org:
        raise EnvelopeRejectedError("10", "written by another organisation than the one that brought it")
    known = any(bundle.digest == sender.bundle for bundle in partner.bundles)
    listed = all(partner.newest.find(Kid(kid)) is not None for kid in sender.sig)
    if known and listed and partner.newest.current_at(int(now.timestamp())):
        return partner
    refreshed = await partner_keys.refresh(partner, now, exchange)
    if not any(bundle.digest == sender.bundle for bundle in refreshed.bundles):
        raise NotYetError("the sender's key bundle is not known here")
    return refreshed


async def _check_new(message: OpenedMessage, exchange: Exchange) -> None:
    """Step 13, id: (`from.org`, `id`) is unique for ever; with other bytes it is a conflict that a person looks at."""
    payload = message.payload
    known = await exchange.inbox.env_of(payload.from_.org, payload.id)
    if known is not None and known != message.env:
        raise _conflict(message, exchange)


def _conflict(message: OpenedMessage, exchange: Exchange) -> ConflictError:
    exchange.alarm("message-id-reused", {"partner": message.payload.from_.org, "message_id": message.payload.id})
    return ConflictError("this id was used for other bytes")


def _out_of_time(payload: Payload, senders: KeyBundle, own: KeyBundle, now: datetime) -> receipt.Code | None:
    """Step 13, time then lifetime: expired, or a lifetime longer than its kind of transport and its keys allow."""
    if int(now.timestamp()) >= payload.exp + CLOCK_SKEW:
        return "expired"
    limits = [payload.iat + PUSH_LIFETIME]
    limits += [key.retire + 30 * DAY for entry in payload.to if (key := own.find(Kid(entry.enc))) is not None]
    signing = senders.message_sign_pair_for(payload.from_.sig)
    limits += [signing.exp] if signing is not None else []
    return "lifetime" if payload.exp <= payload.iat or payload.exp > min(limits) else None


async def _judge(message: OpenedMessage, now: datetime, exchange: Exchange) -> bytes:
    """Step 14: the agreement that the message names, as it stands by both parties' events, and the check with our own copy."""
    kind = kinds.kind_of(message.payload.typ)
    try:
        held = await _agreement(message.payload, kind, now, exchange)
        judged = await kind.incoming(message.payload, held, now, exchange)
    except ContractBreachError as refusal:
        verdict = receipt.Verdict(event=ReceiptEvent.REJECTED, code="agreement", breaches=_told(refusal))
        return await _refuse(message, verdict, refusal, now, exchange)
    return await _keep(message, judged, kind.guard(held, message.payload.body), now, exchange)


async def _agreement(payload: Payload, kind: kinds.Kind, now: datetime, exchange: Exchange) -> HeldAgreement:
    named, sender = payload.agreement, payload.from_.org
    held = await governing.load(exchange, named.digest, now)
    if held is None or not held.knows(named):
        await partner_keys.pull_events(sender, named.digest, held, exchange)  # NotYetError where they cannot be had
        held = await governing.load(exchange, named.digest, now)
    if held is None:
        raise governing.refuse(BreachCode.AGREEMENT_NONE, "this agreement is not held here")
    if not held.knows(named):
        raise NotYetError("events of the agreement are not known here")
    if (held.agreement.id, held.agreement.version) != (named.id, named.version):
        raise governing.refuse(BreachCode.AGREEMENT_DIGEST_MISMATCH, "the digest is another agreement's")
    if {sender, exchange.own.id} != set(held.parties) or not _acting_for_listed(payload, held):
        raise governing.refuse(BreachCode.AGREEMENT_NONE, "sender and receiver are not its parties")
    kind.check_standing(held)
    if "urgency" not in payload.facts:
        raise ContractBreachError((Breach(BreachCode.MESSAGE_FACT, "urgency", "always stated"),))
    return held


def _acting_for_listed(payload: Payload, held: HeldAgreement) -> bool:
    sides = ((payload.from_.org, payload.from_.for_), *((entry.org, entry.for_) for entry in payload.to))
    return all(not isinstance(for_, str) or for_ in held.on_behalf_of(org) for org, for_ in sides)


async def _keep(
    message: OpenedMessage, judged: Judged, heads: commands.Heads | None, now: datetime, exchange: Exchange
) -> bytes:
    """The good end: receipt over the entry's bytes, then inbox, receipt and log in one transaction."""
    tags = exchange.tags(judged.about)
    about = await _about(message, judged.held, exchange)
    read = judged.held.has_word_of(exchange.own.id)
    what = entries.Circumstance(checked=judged.checked, names_terms=read, tags=tags, outcome="checked")
    entry = entries.about_message(exchange.journal, "received", now, about, what)
    hidden = _says_protected(judged.carried)
    command = commands.Receive(
        message=_row(message, now),
        inner=message.inner,
        receipt=await issue(receipt.Verdict(event=ReceiptEvent.CHECKED), _subject(message), entry, now, exchange),
        entry=entry,
        heads=heads,
        effects=judged.effects,
        protect=tags if hidden else frozenset(),
        protect_entry=_protected(tags, now, exchange) if hidden else None,
    )
    return _answer(await exchange.store.write(command), message, exchange)


async def _refuse(
    message: OpenedMessage,
    verdict: receipt.Verdict,
    refusal: ContractBreachError | None,
    now: datetime,
    exchange: Exchange,
) -> bytes:
    """The other end: a signed `rejected` receipt, an inbox row without a handoff, one entry."""
    what = entries.Circumstance(breaches=entries.refs(refusal.breaches) if refusal else (), outcome=verdict.code)
    about = await _about(message, None, exchange)
    entry = entries.about_message(exchange.journal, "refused-inbound", now, about, what)
    command = commands.Receive(
        message=_nameless(_row(message, now), about),
        inner=None,
        receipt=await issue(verdict, _subject(message), entry, now, exchange),
        entry=entry,
        heads=None,
    )
    return _answer(await exchange.store.write(command), message, exchange)


def _told(refusal: ContractBreachError) -> tuple[receipt.ReceiptBreach, ...]:
    """The breaches as the sender is told them: a hundred, or as many as a receipt has room for (agreements word the rules)."""
    told: list[receipt.ReceiptBreach] = []
    room = _BREACHES_ROOM
    for breach in refusal.breaches[: entries.MOST_BREACHES]:
        rule = breach.rule[: receipt.RULE_LENGTH]
        room -= len(breach.code) + len(breach.path) + len(rule.encode()) + _BREACH_FRAME
        if told and room < 0:
            break
        told.append(receipt.ReceiptBreach(code=breach.code, path=breach.path, rule=rule))
    return tuple(told)


def _answer(received: commands.Received, message: OpenedMessage, exchange: Exchange) -> bytes:
    if received.reception is Reception.CONFLICT:
        raise _conflict(message, exchange)
    return received.receipt


def _says_protected(body: Mapping[str, Any]) -> bool:
    child = body.get("child", {})
    return bool(child.get("address", {}).get("protection") == "protected")


def _protected(tags: frozenset[bytes], now: datetime, exchange: Exchange) -> commands.LogEntry:
    rows = deciding.of_protection(tags, {"location"}, add=True)
    what = entries.Circumstance(outcome="location", rows=rows)
    return entries.about_own(exchange.journal, "protection-added", now, what)


# --- the receiver's later acts: a case system has it, a person opened it


async def take(
    message_id: str,
    exchange: Exchange,
    *,
    sender: str | None = None,
    by: str | None = None,
    role: str | None = None,
) -> bytes:
    """Received -> taken: a case system has the message; log 'handed-over' and send the `taken` receipt. Returns the receipt.

    `sender` is needed only where two partners used one id, here and below; `role` is what the case system stands for.
    """
    return await _acknowledge(message_id, sender, ReceiptEvent.TAKEN, role, by, exchange)


async def open_by(
    message_id: str, role: str, exchange: Exchange, *, sender: str | None = None, by: str | None = None
) -> tuple[InboundMessage, bytes]:
    """Received -> collected: a person of `role` opens the message; log and send the `collected` receipt, then show it."""
    await _acknowledge(message_id, sender, ReceiptEvent.COLLECTED, role, by, exchange)
    message = await exchange.inbox.message(message_id, sender)
    if message is None:  # acknowledged a line above, and no row is ever taken away
        raise LogInconsistentError("a message that was just acknowledged is gone")
    if message.inner is None:
        raise _nothing_to_open(message)
    return message, message.inner


async def opened(message_id: str, role: str, exchange: Exchange, *, sender: str, by: str) -> bytes:
    """As `open_by`, where a case system says it of a person: the content is not shown. Returns the receipt."""
    return await _acknowledge(message_id, sender, ReceiptEvent.COLLECTED, role, by, exchange)


async def _sealed(message: InboundMessage, exchange: Exchange) -> Payload:
    """The payload of a message that is here, as its sealed bytes say. Raises RowTamperedError where the row says otherwise,
    and refuses a correction of what is gone: it repeats what that said."""
    try:
        payload = circumstances.sealed(message)
    except RowTamperedError:
        exchange.tell(TAMPERED, message.id, {"table": "message", "row": message.id}, exchange.clock())
        raise
    if payload.typ == CORRECTION:
        original = await exchange.inbox.message(str(payload.body.get("message")), message.sender)
        if original is not None and original.state in _GONE:
            raise _nothing_to_open(original)
    return payload


def _nothing_to_open(message: InboundMessage) -> SubmissionRefusedError:
    """Its content was never kept, or is destroyed: by its sender's withdrawal, or because that was owed."""
    state = message.state.value
    return SubmissionRefusedError(f"message.{state}", "id", f"this message was {state}: there is nothing to open")


async def release(
    message_id: str, sender: str, role: str, exchange: Exchange, *, by: str
) -> tuple[InboundMessage, Payload]:
    """Give the content to a case system: log 'released' with the role it stands for, then show it. No state changes, and
    no receipt goes: that a system read it says nothing of a person. A withdrawal after it waits for a person, though.

    Raises IllegalTransitionError where the content went between the look and the entry; nothing is logged then.
    """
    message = await exchange.inbox.message(message_id, sender)
    if message is None:
        raise SubmissionRefusedError("message.unknown", "id", "no such message")
    if message.inner is None:
        raise _nothing_to_open(message)
    payload = await _sealed(message, exchange)
    kept = OpenedMessage(payload=payload, env=message.env, inner=message.inner, jws=message.jws)
    what = entries.Circumstance(role=role, by=by, outcome="case-system")
    entry = entries.about_message(
        exchange.journal, "released", exchange.clock(), await _about(kept, None, exchange), what
    )
    await exchange.store.write(commands.Release(sender=message.sender, message_id=message_id, entry=entry))
    given = await exchange.inbox.message(message_id, message.sender)
    if given is None:  # logged a line above, and no row is ever taken away
        raise LogInconsistentError("a message that was just released is gone")
    if given.inner is None:
        raise _nothing_to_open(given)
    return given, payload


async def _acknowledge(
    message_id: str, sender: str | None, event: ReceiptEvent, role: str | None, by: str | None, exchange: Exchange
) -> bytes:
    now = exchange.clock()
    if role is not None:
        check_role(role)
    message = await exchange.inbox.message(message_id, sender)
    if message is None:
        raise SubmissionRefusedError("message.unknown", "id", "no such message")
    if message.inner is None:
        raise _nothing_to_open(message)
    payload = await _sealed(message, exchange)
    kept = OpenedMessage(payload=payload, env=message.env, inner=message.inner, jws=message.jws)
    what = entries.Circumstance(role=role, by=by, outcome=event.value)
    about = await _about(kept, None, exchange)
    entry = entries.about_message(exchange.journal, receipt.ENTRY_KINDS[event.value], now, about, what)
    command = commands.Acknowledge(
        sender=message.sender,
        message_id=message_id,
        event=event,
        receipt=await issue(receipt.Verdict(event=event), _subject(kept), entry, now, exchange),
        entry=entry,
        now=now,
    )
    stored = await exchange.store.write(command)
    exchange.wake()
    return stored


# --- shared


async def issue(
    verdict: receipt.Verdict, about: receipt.ReceiptFor, entry: commands.LogEntry, now: datetime, exchange: Exchange
) -> bytes:
    """Return a receipt over the entry's bytes, signed with the keys in force; signing runs in a thread."""
    ring, at = exchange.ring(), int(now.timestamp())
    pair = ring.signing(at).pair
    receipt_id = new_message_id(now, exchange.entropy)
    return await exchange.in_thread(
        lambda: receipt.issue(
            verdict,
            about,
            pair,
            receipt_id=receipt_id,
            bundle=ring.bundle.digest,
            at=at,
            origin=exchange.journal.origin,
            entry=entry.data,
        )
    )


def _subject(message: OpenedMessage) -> receipt.ReceiptFor:
    payload = message.payload
    return receipt.ReceiptFor(
        msg=payload.id,
        env=message.env,
        jws=message.jws,
        agreement=payload.agreement,
        sender=payload.from_.org,
        recipient=payload.to[0].org,
    )


async def _about(message: OpenedMessage, held: HeldAgreement | None, exchange: Exchange) -> entries.About:
    """What an entry says of a partner's message, for ever: of the partner's own words none but those that are ours too.

    An agreement that is not held, and a type that no agreement of ours lists, are left out; the signed message names them.
    """
    payload = message.payload
    held = held or await governing.load(exchange, payload.agreement.digest, exchange.clock())
    own = exchange.own.id
    if held is not None and own not in held.parties:
        held = None
    listed = held is not None and held.has_word_of(own) and held.lists(payload.typ)
    return entries.About(
        dir="in",
        msg=payload.id,
        partner=payload.from_.org,
        type=payload.typ if listed or await governing.knows_type(payload.typ, exchange) else None,
        agreement=held.named_by(own) if held else None,
        env=message.env,
        jws=message.jws,
        thread=circumstances.thread_of(payload),
        urgency=entries.known_urgency(payload.facts.get("urgency")),
    )


def _nameless(row: commands.InboundRow, about: entries.About) -> commands.InboundRow:
    """The row of a refused message, which is never erased, with the same words left out."""
    agreement = about.agreement.digest if about.agreement else ZERO_DIGEST
    return replace(row, type=about.type or UNKNOWN_TYPE, agreement=agreement)


def _row(message: OpenedMessage, now: datetime) -> commands.InboundRow:
    payload = message.payload
    return commands.InboundRow(
        sender=payload.from_.org,
        id=payload.id,
        type=payload.typ,
        agreement=payload.agreement.digest,
        env=message.env,
        jws=message.jws,
        thread=circumstances.thread_of(payload) or payload.id,
        urgency=entries.known_urgency(payload.facts.get("urgency")) or "routine",
        created_at=payload.iat,
        expires_at=payload.exp,
        received_at=int(now.timestamp()),
    )
