"""Outbound: an own client's submission becomes a sealed message that waits for delivery.

Submission -> agreement -> check -> seal -> outbox and log, in one transaction. Handing over is `gateway.delivery`'s.
A refused submission is logged too, by codes and paths; nothing else of it is kept.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime

from contracts.breach import ContractBreachError
from contracts.document import read_loose, write_wire
from contracts.errors import DocumentError
from contracts.names import is_organisation
from gateway import circumstances, entries, governing, kinds
from gateway.core import commands
from gateway.core.envelope import seal
from gateway.core.errors import (
    HeadsMovedError,
    IdempotencyConflictError,
    IllegalTransitionError,
    StoreChangedError,
    SubmissionRefusedError,
)
from gateway.core.ids import new_message_id
from gateway.core.lifecycle import Event, State
from gateway.core.message import DAY, PUSH_LIFETIME, Draft, Party, SealedMessage, Submission
from gateway.core.payload import PAYLOAD_LIMIT
from gateway.governing import HeldAgreement
from gateway.judged import Judged
from gateway.ports import Exchange, OutboundMessage, Partner
from keys.key import XWingPublic
from keys.listed import ListedKey
from keys.ring import Signing

_REPLACEABLE = frozenset({State.QUEUED, State.HELD, State.DEAD, State.EXPIRED})
_TRIES = 5  # how often the agreement may move under a submission before the client is told to come back


async def accept(submission: Submission, exchange: Exchange) -> bytes:
    """Submission -> agreement -> checked -> sealed -> queued and logged; return the answer, the same for every repeat.

    Raises SubmissionRefusedError and ContractBreachError (both logged), IdempotencyConflictError, BusyError.
    """
    request_digest = _request_digest(submission)
    seen = await exchange.outbox.response(submission.client, submission.key)
    if seen is not None:
        if seen[0] != request_digest:
            raise IdempotencyConflictError("the idempotency key was used for another request")
        return seen[1]
    now = exchange.clock()
    try:
        for _ in range(_TRIES):
            try:
                return await _accept_once(submission, request_digest, now, exchange)
            except HeadsMovedError:
                continue
        raise HeadsMovedError("the agreement keeps changing")
    except (ContractBreachError, SubmissionRefusedError) as refusal:
        await exchange.store.write(commands.Record(entry=await _refused(submission, refusal, now, exchange)))
        raise


async def _accept_once(submission: Submission, request_digest: bytes, now: datetime, exchange: Exchange) -> bytes:
    body = _read_body(submission.body)
    partner = await _verified_partner(submission.partner, now, exchange)
    replaced = await _replaced(submission, exchange)
    message_id = new_message_id(now, exchange.entropy)
    kind = kinds.kind_of(submission.type)
    judged = await kind.outgoing(submission, body, message_id, now, exchange)
    draft = _draft(submission, message_id, judged, partner, now, exchange)
    pair = exchange.ring().signing(int(now.timestamp())).pair
    cek, iv, salt = exchange.entropy(32), exchange.entropy(12), exchange.entropy(16)
    sealed = await exchange.in_thread(lambda: seal(draft, pair, cek=cek, iv=iv, salt=salt))
    heads = kind.guard(judged.held, body)
    answer = await exchange.store.write(_submit(submission, request_digest, sealed, judged, heads, now, exchange))
    if replaced is not None:
        await _retire(replaced, judged.held, now, exchange)
    exchange.wake()
    return answer.response


async def _replaced(submission: Submission, exchange: Exchange) -> OutboundMessage | None:
    """The message that this one replaces: it went to the same partner and has not arrived (envelope section 1)."""
    if submission.replaces is None:
        return None
    message = await exchange.outbox.message(submission.replaces)
    if message is None or message.partner != submission.partner or message.state not in _REPLACEABLE:
        raise SubmissionRefusedError(
            "message.replaces", "replaces", "not a message to this partner that can be replaced"
        )
    return message


async def _retire(replaced: OutboundMessage, held: HeldAgreement, now: datetime, exchange: Exchange) -> None:
    """The replaced message becomes expired, unless it arrived in the meantime."""
    about = circumstances.about(replaced, circumstances.payload_of(replaced.inner), held)
    what = entries.Circumstance(outcome="replaced")
    entry = entries.about_message(exchange.journal, "expired", now, about, what)
    move = commands.Move(message_id=replaced.id, event=Event.EXPIRE, entry=entry, now=now)
    for _ in range(_TRIES):  # the new message is queued by now: the flow is not to be run again
        with suppress(IllegalTransitionError, StoreChangedError):
            await exchange.store.write(move)
            return


def _read_body(data: bytes) -> dict[str, object]:
    try:
        body = read_loose(data, limit=PAYLOAD_LIMIT)
    except DocumentError as error:
        raise SubmissionRefusedError("message.malformed", "body", error.rule) from None
    if not isinstance(body, dict):
        raise SubmissionRefusedError("message.malformed", "body", "an object was expected")
    return body


async def _verified_partner(org: str, now: datetime, exchange: Exchange) -> Partner:
    partner = await exchange.partners.get(org)
    if partner is None:
        raise SubmissionRefusedError("partner.unknown", "partner", "no such partner: safehand partner add")
    if not partner.verified_by:
        raise SubmissionRefusedError("partner.unverified", "partner", "its fingerprint has not been compared yet")
    if not partner.newest.current_at(int(now.timestamp())):
        raise SubmissionRefusedError("partner.keys-expired", "partner", "its newest key bundle has expired")
    return partner


def _draft(
    submission: Submission,
    message_id: str,
    judged: Judged,
    partner: Partner,
    now: datetime,
    exchange: Exchange,
) -> Draft:
    at = int(now.timestamp())
    sealing = partner.newest.active_message_kem(at)
    if sealing is None:
        raise SubmissionRefusedError("partner.keys-expired", "partner", "it has no key to seal to now")
    ring = exchange.ring()
    _check_acting_for(submission, judged.held, exchange.own.id)
    return Draft(
        id=message_id,
        type=submission.type,
        checked=judged.checked,
        sender=Party(org=exchange.own.id, acting_for=submission.on_behalf_of),
        bundle=ring.bundle.digest,
        recipient=Party(org=partner.org, acting_for=submission.partner_for),
        sealing_keys=(_kem(sealing),),
        issued_at=at,
        expires_at=_expiry(at, sealing, ring.signing(at)),
        agreement=judged.held.ref,
        thread=judged.thread,
        replaces=submission.replaces,
    )


def _kem(listed: ListedKey) -> XWingPublic:
    assert isinstance(listed.public, XWingPublic)  # noqa: S101 - the bundle lists no other kind for message-kem
    return listed.public


def _check_acting_for(submission: Submission, held: HeldAgreement, own: str) -> None:
    """Each side acts for itself or for a controller that the agreement lists under it."""
    for org, acting_for, place in (
        (own, submission.on_behalf_of, "on_behalf_of"),
        (submission.partner, submission.partner_for, "partner_for"),
    ):
        if acting_for is not None and acting_for not in held.on_behalf_of(org):
            raise SubmissionRefusedError(
                "message.not-in-agreement", place, "the agreement does not list this controller"
            )


def _expiry(at: int, sealing: ListedKey, signing: Signing) -> int:
    """Envelope section 1: 30 days by push, never past retire + 30 d of the KEM key nor past exp of a signing key."""
    return min(at + PUSH_LIFETIME, sealing.retire + 30 * DAY, signing.exp)


def _submit(
    submission: Submission,
    request_digest: bytes,
    sealed: SealedMessage,
    judged: Judged,
    heads: commands.Heads | None,
    now: datetime,
    exchange: Exchange,
) -> commands.Submit:
    draft, held = sealed.draft, judged.held
    urgency = entries.known_urgency(draft.checked.facts.get("urgency"))
    if urgency is None:
        raise SubmissionRefusedError("message.fact", "facts", "urgency is always stated")
    thread = draft.thread or draft.id
    about = entries.About(
        dir="out",
        msg=draft.id,
        partner=draft.recipient.org,
        type=draft.type,
        agreement=held.named_by(exchange.own.id),
        env=sealed.env,
        jws=sealed.jws,
        thread=draft.thread,
        urgency=urgency,
    )
    what = entries.Circumstance(
        checked=draft.checked, by=submission.by, tags=exchange.tags(judged.about), outcome="queued"
    )
    response = write_wire(
        {
            "id": draft.id,
            "state": "queued",
            "partner": draft.recipient.org,
            "type": draft.type,
            "agreement": {"id": held.agreement.id, "version": held.agreement.version, "digest": held.digest},
            "expires_at": draft.expires_at,
        }
    )
    return commands.Submit(
        message=commands.OutboundRow(
            id=draft.id,
            partner=draft.recipient.org,
            type=draft.type,
            agreement=held.digest,
            env=sealed.env,
            jws=sealed.jws,
            thread=thread,
            urgency=urgency,
            created_at=draft.issued_at,
            expires_at=draft.expires_at,
            lane_key=exchange.lane_key(judged.lane or thread, urgency == "immediate_risk"),
        ),
        envelope=sealed.envelope,
        inner=sealed.inner,
        idempotency=commands.Idempotency(
            client=submission.client, key=submission.key, request_digest=request_digest, response=response
        ),
        heads=heads,
        effects=judged.effects,
        entry=entries.about_message(exchange.journal, "submitted", now, about, what),
    )


async def _refused(
    submission: Submission, refusal: ContractBreachError | SubmissionRefusedError, now: datetime, exchange: Exchange
) -> commands.LogEntry:
    """What was asked for in vain. An organisation and a type are named where this gateway knows them, for what a client
    wrote there instead may be anything, and an entry is for ever."""
    partner = await exchange.partners.get(submission.partner) if is_organisation(submission.partner) else None
    found = (
        entries.refs(refusal.breaches) if isinstance(refusal, ContractBreachError) else entries.codes([refusal.code])
    )
    about = entries.About(
        dir="out",
        msg=None,
        partner=partner.org if partner else None,
        type=submission.type if await governing.knows_type(submission.type, exchange) else None,
        agreement=None,
        env=None,
        jws=None,
        thread=None,
        urgency=None,
    )
    what = entries.Circumstance(breaches=found, by=submission.by, outcome="refused")
    return entries.about_message(exchange.journal, "refused", now, about, what)


def _request_digest(submission: Submission) -> bytes:
    """What makes two requests the same: everything the client said, the exact bytes of the body included."""
    said = write_wire(
        {
            "partner": submission.partner,
            "type": submission.type,
            "facts": dict(submission.facts),
            "on_behalf_of": submission.on_behalf_of,
            "partner_for": submission.partner_for,
            "agreement": submission.agreement,
            "thread": submission.thread,
            "replaces": submission.replaces,
        }
    )
    return hashlib.sha256(hashlib.sha256(said).digest() + submission.body).digest()
