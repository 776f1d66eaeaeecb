"""Service messages: what they name is found among what was exchanged with this partner, their fixed body is checked, and what
follows is decided. They need no grant and no agreement in force, but one that was: the thread's.

A message can be named only by who sent or received it, in the right direction; both ends look it up with their own eyes. What
follows (duties, destruction, breaches, closures) goes along as effects and is carried out with the message.

A service message has a lane of its own within its thread: what it names has arrived, so nothing need go before it, and a record
that is held because the agreement was suspended must not keep a withdrawal back. A correction with values is a disclosure and
waits among the records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Final

from contracts import service as bodies
from contracts.breach import Breach, BreachCode, ContractBreachError
from contracts.check import ProtectedKind
from contracts.compiled import facts_named
from contracts.facts import civil_date
from contracts.names import SERVICE_TYPES
from contracts.service import Original, check_service, check_shape, named_in, overlay
from gateway import circumstances, entries, governing
from gateway.core import service
from gateway.core.commands import Effect, Heads
from gateway.core.errors import SubmissionRefusedError
from gateway.core.lifecycle import InboundState, State
from gateway.core.message import Submission
from gateway.core.payload import Payload
from gateway.core.working_days import start_of
from gateway.governing import HeldAgreement
from gateway.judged import Judged
from gateway.ports import Exchange, InboundMessage, OutboundMessage

_NOT_GONE_OUT: Final = frozenset({State.QUEUED, State.SENDING, State.HELD, State.AVAILABLE})
_CODE_MEMBERS: Final = ("reason", "right", "status", "kind", "how")
_MAY_BE_NAMED: Final = service.ANSWER_WITHIN.keys()  # by an acknowledgement: every service message but another one


def _is_record(message_type: str) -> bool:
    return message_type not in SERVICE_TYPES


def _holds_values(message_type: str) -> bool:
    return _is_record(message_type) or message_type == bodies.CORRECTION


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Which messages a service type may name: whether its own sender sent them (None: either of the two), and of which types."""

    spoken: bool | None
    fits: Callable[[str], bool]


_TARGETS: Final[Mapping[str, _Target]] = MappingProxyType(
    {
        bodies.QUESTION: _Target(spoken=False, fits=_is_record),
        bodies.WITHDRAWAL: _Target(spoken=True, fits=_holds_values),
        bodies.CORRECTION: _Target(spoken=True, fits=_is_record),
        bodies.RIGHTS: _Target(spoken=True, fits=_is_record),
        bodies.BREACH: _Target(spoken=None, fits=_holds_values),
        bodies.DESTROYED: _Target(spoken=False, fits=_holds_values),
        bodies.ACK: _Target(spoken=False, fits=lambda message_type: message_type in _MAY_BE_NAMED),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speech:
    """Who says what to whom: `ours`, where we are the sender. `body` may still be anything."""

    ours: bool
    partner: str
    type: str
    body: Any = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """A message that is named, as this gateway holds it. `body` is empty where its content is destroyed."""

    message: InboundMessage | OutboundMessage
    sender: str
    body: Mapping[str, Any] = field(repr=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.sender, self.message.id


@dataclass(frozen=True, slots=True, kw_only=True)
class _SpokenOf:
    """What a service message is about: the messages it names, all of one thread, and the agreements it may name."""

    messages: tuple[_Named, ...]
    thread: str
    agreements: tuple[str, ...]

    @property
    def record(self) -> Mapping[str, Any]:
        """The record of the child, of the first message named."""
        first = self.messages[0] if self.messages else None
        return first.body if first is not None and _is_record(first.message.type) else {}


class ServiceKind:
    """`kinds.Kind` for the eight types of `contracts.service`."""

    def check_standing(self, held: HeldAgreement) -> None:
        if not held.has_bound:
            raise governing.refuse(BreachCode.AGREEMENT_NOT_IN_FORCE, "the agreement was never in force")

    def guard(self, held: HeldAgreement, body: Mapping[str, Any]) -> Heads | None:
        return held.heads if bodies.carries_values(body) else None

    async def outgoing(
        self, submission: Submission, body: dict[str, Any], message_id: str, now: datetime, exchange: Exchange
    ) -> Judged:
        if submission.replaces is not None:
            raise SubmissionRefusedError(
                "message.replaces", "replaces", "a service message is said again, not replaced"
            )
        circumstances.check_asserted(submission.facts)
        today = civil_date(now)
        speech = _Speech(ours=True, partner=submission.partner, type=submission.type, body=body)
        spoken_of = await _spoken_of(speech, submission.thread, today, exchange)
        held = await governing.load(exchange, spoken_of.agreements[0], now)
        if held is None or submission.agreement not in (None, held.agreement.id):
            raise governing.refuse(BreachCode.AGREEMENT_NONE, "not the agreement of the thread")
        self.check_standing(held)
        await _check_possible(speech, spoken_of, exchange)
        original = await _original(speech, spoken_of, held, exchange)
        facts = _facts_to_state(submission.facts, original, held, exchange)
        about = _about(speech, spoken_of)
        checked = check_service(
            body,
            type=submission.type,
            compiled=held.compiled,
            sender=held.side(exchange.own.id),
            facts=facts,
            issued=today,
            on=today,
            in_force=held.state.in_force,
            original=original,
            protected=await exchange.protection.kinds(exchange.tags(about)),
            sending=True,
        )
        effects = _effects(speech, spoken_of, held, message_id, str(facts.get("urgency", "")), now, exchange)
        return Judged(
            held=held,
            checked=checked,
            about=about,
            carried=body.get("values", {}),
            thread=spoken_of.thread,
            lane=None if bodies.carries_values(body) else f"{spoken_of.thread} service",
            effects=effects,
        )

    async def incoming(self, payload: Payload, held: HeldAgreement, now: datetime, exchange: Exchange) -> Judged:
        issued = civil_date(datetime.fromtimestamp(payload.iat, tz=now.tzinfo))
        speech = _Speech(ours=False, partner=payload.from_.org, type=payload.typ, body=payload.body)
        spoken_of = await _spoken_of(speech, circumstances.thread_of(payload), issued, exchange)
        if held.digest not in spoken_of.agreements:
            raise governing.refuse(BreachCode.AGREEMENT_NONE, "not the agreement of the thread")
        original = await _original(speech, spoken_of, held, exchange)
        checked = check_service(
            payload.body,
            type=payload.typ,
            compiled=held.compiled,
            sender=held.side(payload.from_.org),
            facts=payload.facts,
            issued=issued,
            on=issued,
            in_force=held.state.in_force,
            original=original,
            protected=frozenset(),
            sending=False,
        )
        effects = _effects(speech, spoken_of, held, payload.id, str(payload.facts.get("urgency", "")), now, exchange)
        about = _about(speech, spoken_of)
        carried = about if bodies.carries_values(payload.body) else {}
        return Judged(
            held=held, checked=checked, about=about, carried=carried, thread=spoken_of.thread, effects=effects
        )

    async def again(
        self,
        payload: Payload,
        held: HeldAgreement,
        protected: frozenset[ProtectedKind],
        now: datetime,
        exchange: Exchange,
    ) -> None:
        issued = civil_date(datetime.fromtimestamp(payload.iat, tz=now.tzinfo))
        speech = _Speech(ours=True, partner=payload.to[0].org, type=payload.typ, body=payload.body)
        spoken_of = await _spoken_of(speech, circumstances.thread_of(payload), issued, exchange)
        check_service(
            payload.body,
            type=payload.typ,
            compiled=held.compiled,
            sender=held.side(exchange.own.id),
            facts=payload.facts,
            issued=issued,
            on=civil_date(now),
            in_force=held.state.in_force,
            original=await _original(speech, spoken_of, held, exchange),
            protected=protected,
            sending=True,
        )

    async def about(self, payload: Payload, exchange: Exchange) -> Mapping[str, Any]:
        issued = civil_date(datetime.fromtimestamp(payload.iat, tz=exchange.clock().tzinfo))
        speech = _Speech(ours=True, partner=payload.to[0].org, type=payload.typ, body=payload.body)
        try:
            spoken_of = await _spoken_of(speech, circumstances.thread_of(payload), issued, exchange)
        except ContractBreachError:
            return {}  # what it names is not here any more: `again` says so
        return _about(speech, spoken_of)


# --- what is spoken of


async def _spoken_of(speech: _Speech, thread: str | None, issued: date, exchange: Exchange) -> _SpokenOf:
    """Find what a service message names. Raises ContractBreachError where its form allows no look-up, where a message is not
    held with this partner in the right direction, and where it is of another thread."""
    ids = named_in(speech.body, speech.type)
    if ids is None:
        check_shape(speech.body, type=speech.type, issued=issued, vocabulary=exchange.vocabulary)
        raise AssertionError("a body that names nothing to look up has its form wrong")
    if speech.type == bodies.CLOSED:
        agreements = () if thread is None else await exchange.service.agreements_of(speech.partner, thread)
        if thread is None or not agreements:
            raise _unknown("thread", "no thread with this partner")
        return _SpokenOf(messages=(), thread=thread, agreements=agreements)
    place = "messages" if speech.type == bodies.DESTROYED else "message"
    found = [await _find(speech, one, exchange) for one in ids]
    named = tuple(one for one in found if one is not None)
    if len(named) < len(ids):
        raise _unknown(place, "no message that its sender may speak of to this partner")
    first = named[0].message
    if any((one.message.thread, one.message.agreement) != (first.thread, first.agreement) for one in named):
        raise _unknown(place, "messages of several threads or agreements")
    if thread not in (first.thread, *((None,) if speech.ours else ())):
        raise _unknown("thread", "not the thread of the message named")
    return _SpokenOf(messages=named, thread=first.thread, agreements=(first.agreement,))


async def _find(speech: _Speech, message_id: str, exchange: Exchange) -> _Named | None:
    """The message of this id, if the speaker sent or received it as its type demands, and its own type fits."""
    target = _TARGETS[speech.type]
    sent_by_us = (True, False) if speech.ours else (False, True)  # the speaker's own first
    for ours in sent_by_us if target.spoken is None else (target.spoken is speech.ours,):
        message = await _held(ours, speech.partner, message_id, exchange)
        if message is not None and target.fits(message.type):
            sender = exchange.own.id if ours else speech.partner
            return _Named(message=message, sender=sender, body=_body(message))
    return None


async def _held(
    ours: bool, partner: str, message_id: str, exchange: Exchange
) -> InboundMessage | OutboundMessage | None:
    """The message as held with this partner; what either side rejected was not exchanged."""
    if ours:
        sent = await exchange.outbox.message(message_id)
        return sent if sent is not None and sent.partner == partner and sent.state is not State.REJECTED else None
    received = await exchange.inbox.message(message_id, partner)
    return received if received is not None and received.state is not InboundState.REFUSED else None


def _body(message: InboundMessage | OutboundMessage) -> Mapping[str, Any]:
    return circumstances.sealed(message).body if message.inner else {}


def _unknown(place: str, rule: str) -> ContractBreachError:
    return ContractBreachError((Breach(BreachCode.MESSAGE_UNKNOWN, place, rule),))


async def _check_possible(speech: _Speech, spoken_of: _SpokenOf, exchange: Exchange) -> None:
    """What only the sender's own gateway can know: the message has gone out, or what is said to be destroyed is."""
    for one in spoken_of.messages:
        if isinstance(one.message, OutboundMessage) and one.message.state in _NOT_GONE_OUT:
            raise SubmissionRefusedError(
                "message.not-delivered", "message", "it has not gone out: safehand message cancel"
            )
        if not await _destroyed_as_said(speech, one, exchange):
            raise SubmissionRefusedError(
                "message.not-destroyed", "message", "the content is still here: safehand inbox destroy"
            )


async def _destroyed_as_said(speech: _Speech, one: _Named, exchange: Exchange) -> bool:
    """A destruction receipt, and an acknowledgement that a withdrawal was carried out, say what this gateway knows to be so."""
    if speech.type == bodies.DESTROYED:
        return await exchange.service.erasure(*one.key) is not None
    if speech.type == bodies.ACK and one.message.type == bodies.WITHDRAWAL and speech.body.get("done") is True:
        return await exchange.service.erasure(one.sender, str(one.body.get("message"))) is not None
    return True


async def _original(speech: _Speech, spoken_of: _SpokenOf, held: HeldAgreement, exchange: Exchange) -> Original | None:
    """The message that a correction corrects, with what its request asked for."""
    if speech.type != bodies.CORRECTION:
        return None
    message = spoken_of.messages[0].message
    asked = circumstances.requested_by if speech.ours else circumstances.requested_of
    return Original(
        type=message.type,
        body=spoken_of.messages[0].body,
        requested=await asked(exchange, held, message.thread),
    )


def _facts_to_state(
    asserted: Mapping[str, str | bool], original: Original | None, held: HeldAgreement, exchange: Exchange
) -> Mapping[str, str | bool]:
    """The facts that travel: the urgency, and with a correction what the conditions of the corrected type ask for."""
    if original is None:
        return asserted
    named = facts_named(held.compiled, original.type, held.side(exchange.own.id))
    recorded: dict[str, str | bool] = {} if original.requested is None else {"request.verified": True}
    return {name: value for name, value in {**asserted, **recorded}.items() if name in named}


def _about(speech: _Speech, spoken_of: _SpokenOf) -> Mapping[str, Any]:
    """The record that it is about; with a correction, as it then stands."""
    values = speech.body.get("values") if speech.type == bodies.CORRECTION else None
    return overlay(spoken_of.record, values) if isinstance(values, dict) else spoken_of.record


# --- what follows


def _effects(
    speech: _Speech,
    spoken_of: _SpokenOf,
    held: HeldAgreement,
    message_id: str,
    urgency: str,
    now: datetime,
    exchange: Exchange,
) -> tuple[Effect, ...]:
    """What follows from a service message whose body has passed the check, here; the other side decides for itself."""
    at, body = int(now.timestamp()), speech.body
    speaker, listener = (exchange.own.id, speech.partner) if speech.ours else (speech.partner, exchange.own.id)
    code = next((body[name] for name in _CODE_MEMBERS if name in body), None)
    asked = _asked(speech, spoken_of, held, message_id, code, urgency, now, exchange)
    effects: list[Effect] = [] if asked is None else [asked]
    first = spoken_of.messages[0] if spoken_of.messages else None
    if first is not None and service.breach_opens(speech.type, code):
        effects.append(_breach(speech, first, speaker, message_id, str(code), now, exchange))
    match speech.type:
        case bodies.WITHDRAWAL if not speech.ours and first is not None:
            what = entries.Circumstance(outcome="withdrawn")
            entry = entries.about_message(
                exchange.journal, "withdrawn", now, entry_about(first.message, speech.partner, held), what
            )
            effects.append(service.Withdraw(sender=speaker, message_id=first.message.id, erased=entry, at=at))
        case bodies.ACK:
            effects.append(
                service.Answer(
                    sender=listener,
                    message_id=body["message"],
                    answer_id=message_id,
                    declined=not body["done"],
                    code=code,
                    at=at,
                )
            )
        case bodies.DESTROYED:
            named = tuple(one.message.id for one in spoken_of.messages)
            effects.append(service.AnswerDestroyed(sender=listener, messages=named, answer_id=message_id, at=at))
        case bodies.CLOSED:
            closure = service.Closure(
                partner=speech.partner,
                thread=spoken_of.thread,
                on=body["on"],
                status=body["status"],
                said_by=speaker,
                said_at=at,
            )
            effects.append(service.CloseThread(closure=closure))
        case _:  # the duty is all that follows
            pass
    return tuple(effects)


def _asked(
    speech: _Speech,
    spoken_of: _SpokenOf,
    held: HeldAgreement,
    message_id: str,
    code: str | None,
    urgency: str,
    now: datetime,
    exchange: Exchange,
) -> service.Ask | None:
    today, clock = civil_date(now), held.agreement.clocks.get(speech.type)
    due = service.answer_due(
        speech.type,
        urgency=urgency,
        asked_at=now,
        by=date.fromisoformat(speech.body["by"]) if "by" in speech.body else None,
        agreed=None if clock is None else clock.answer_working_days,
        holidays=exchange.bank_holidays(today.year) | exchange.bank_holidays(today.year + 1),
    )
    if due is None:
        return None
    return service.Ask(
        asked=service.Asked(
            sender=exchange.own.id if speech.ours else speech.partner,
            message_id=message_id,
            partner=speech.partner,
            type=speech.type,
            code=code,
            thread=spoken_of.thread,
            about=tuple(one.key for one in spoken_of.messages),
            since=int(now.timestamp()),
            due=int(due.timestamp()),
        )
    )


def _breach(
    speech: _Speech, about: _Named, speaker: str, message_id: str, code: str, now: datetime, exchange: Exchange
) -> service.OpenBreach:
    """Its clock starts when this organisation knew: for our own notice on the day it was found, else now."""
    opened = now
    if speech.ours and speech.type == bodies.BREACH:
        opened = min(now, start_of(date.fromisoformat(speech.body["found_on"])))
    what = entries.Circumstance(outcome=code)
    entry = entries.about_message(
        exchange.journal, "breach-opened", now, entry_about(about.message, speech.partner, None), what
    )
    return service.OpenBreach(
        sender=speaker,
        message_id=message_id,
        partner=speech.partner,
        about_sender=about.sender,
        about_id=about.message.id,
        code=code,
        opened_at=int(opened.timestamp()),
        decide_by=int(service.decide_by(opened).timestamp()),
        entry=entry,
    )


def entry_about(message: InboundMessage | OutboundMessage, partner: str, held: HeldAgreement | None) -> entries.About:
    """What a log entry says of a message that something happened to, whichever way it went."""
    spoken = held is not None and held.has_word_of(held.other(partner))
    ours = spoken or message.type in SERVICE_TYPES or isinstance(message, OutboundMessage)
    return entries.About(
        dir="in" if isinstance(message, InboundMessage) else "out",
        msg=message.id,
        partner=partner,
        type=message.type if ours else None,
        agreement=held.named_by(held.other(partner)) if held else None,
        env=message.env,
        jws=message.jws,
        thread=message.thread if message.thread != message.id else None,
        urgency=entries.known_urgency(message.urgency),
    )
