"""What surrounds one body when it is checked: facts with their trust, the protection list, the request it answers.

Shared by the lines of the story. Derived facts are the check's own; recorded facts come from what this gateway holds,
never from the body of the message (agreements.md section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.check import ProtectedKind
from contracts.facts import FACTS, Trust
from gateway import entries
from gateway.core.envelope import digest
from gateway.core.errors import RowTamperedError, SubmissionRefusedError
from gateway.core.payload import Payload, read_payload
from gateway.governing import HeldAgreement
from gateway.ports import Exchange, InboundMessage, OutboundMessage
from keys.statement import read_statement

_STATEMENT_LIMIT = 640 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """`facts` known of this message, the kinds under which its child is `protected`, the paths `requested` (None: no request held)."""

    facts: Mapping[str, str | bool]
    protected: frozenset[ProtectedKind]
    requested: frozenset[str] | None


async def when_sending(
    exchange: Exchange,
    held: HeldAgreement,
    message_type: str,
    *,
    asserted: Mapping[str, str | bool],
    body: Mapping[str, Any],
    thread: str | None,
) -> Circumstances:
    """Return what is known here, now, of a body that is to leave; a caller may state asserted facts only."""
    check_asserted(asserted)
    requested = await requested_by(exchange, held, thread)
    recorded: dict[str, str | bool] = {} if requested is None else {"request.verified": True}
    protected = await exchange.protection.kinds(exchange.tags(body))
    message = held.compiled.message(message_type, held.side(exchange.own.id))
    named = message.facts_named if message else frozenset()  # nothing travels that no condition asks for
    facts = {name: value for name, value in {**asserted, **recorded}.items() if name in named}
    return Circumstances(facts=facts, protected=protected, requested=requested)


def check_asserted(facts: Mapping[str, str | bool]) -> None:
    """Raise SubmissionRefusedError for a fact that is not the sender's to state."""
    for name in facts:
        if name not in FACTS or FACTS[name].trust is not Trust.ASSERTED:
            raise SubmissionRefusedError("message.fact", "facts", "only asserted facts may be stated by a sender")


async def requested_by(exchange: Exchange, held: HeldAgreement, thread: str | None) -> frozenset[str] | None:
    """Return the field paths that the other party's signed request asked for, where `thread` is such a request under
    this agreement that this gateway holds; else None."""
    if thread is None:
        return None
    request = await exchange.inbox.message(thread, held.other(exchange.own.id))
    if request is None or request.inner is None or request.agreement != held.digest:
        return None
    return _fields(request.inner)


async def requested_of(exchange: Exchange, held: HeldAgreement, thread: str | None) -> frozenset[str] | None:
    """The mirror of `requested_by`: what our own request asked for, when its answer comes in."""
    if thread is None:
        return None
    request = await exchange.outbox.message(thread)
    if request is None or agreement_of(request) != held.digest:
        return None
    return _fields(request.inner)


def about(message: OutboundMessage, payload: Payload, held: HeldAgreement | None) -> entries.About:
    """What every log entry says of an own message, whose `payload_of` the caller has."""
    return entries.About(
        dir="out",
        msg=message.id,
        partner=payload.to[0].org,
        type=payload.typ,
        agreement=held.named_by(payload.from_.org) if held else None,
        env=message.env,
        jws=message.jws,
        thread=thread_of(payload),
        urgency=entries.known_urgency(payload.facts.get("urgency")),
    )


def about_row(message: OutboundMessage) -> entries.About:
    """As `about`, of a message whose sealed bytes are gone: what its row says, which names no agreement."""
    return entries.About(
        dir="out",
        msg=message.id,
        partner=message.partner,
        type=None,
        agreement=None,
        env=message.env,
        jws=message.jws,
        thread=None,
        urgency=None,
    )


def _fields(inner: bytes) -> frozenset[str] | None:
    fields = payload_of(inner).body.get("request", {}).get("fields")
    return frozenset(fields) if isinstance(fields, list) else None


def thread_of(payload: Payload) -> str | None:
    """The message that a payload answers or follows, None where it opens a thread."""
    return payload.thread if isinstance(payload.thread, str) else None


def sealed(message: OutboundMessage | InboundMessage) -> Payload:
    """Return the payload of a message that is held, where its row says what the sealed bytes say: the columns are copies.
    Raises RowTamperedError; the content of a message that has none is not asked for."""
    inner = message.inner or b""
    if digest(inner) != message.jws:
        raise RowTamperedError("message")
    payload = payload_of(inner)
    said = {
        "id": payload.id,
        "type": payload.typ,
        "agreement": payload.agreement.digest,
        "thread": thread_of(payload) or payload.id,
        "urgency": entries.known_urgency(payload.facts.get("urgency")) or "routine",
        "created_at": payload.iat,
        "expires_at": payload.exp,
    }
    said |= {"sender": payload.from_.org} if isinstance(message, InboundMessage) else {"partner": payload.to[0].org}
    if any(getattr(message, name) != value for name, value in said.items()):
        raise RowTamperedError("message")
    return payload


def readable(message: OutboundMessage) -> Payload | None:
    """The payload of an own message, None where its sealed bytes are gone."""
    return payload_of(message.inner) if digest(message.inner) == message.jws else None


def agreement_of(message: OutboundMessage) -> str:
    """The digest of the agreement that an own message names in its signed bytes, whatever its row says."""
    return payload_of(message.inner).agreement.digest


def payload_of(inner: bytes) -> Payload:
    """Return the payload inside signed bytes that this gateway verified or made."""
    return read_payload(read_statement(inner, limit=_STATEMENT_LIMIT).payload)
