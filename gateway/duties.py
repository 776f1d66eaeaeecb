"""Duties: what a person does about service messages, and what the clock does. Destroying what was withdrawn, saying that it
is done, deciding a breach; telling of what is late.

What is asked lies in the store (`ports.Service`); an answer is itself a service message and goes out by `outbound`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts import service as bodies
from contracts.breach import ContractBreachError
from contracts.document import write_wire
from contracts.facts import civil_date
from gateway import circumstances, entries, outbound
from gateway.core import service
from gateway.core.alarms import AlarmCode
from gateway.core.errors import RowTamperedError, SubmissionRefusedError
from gateway.core.lifecycle import InboundState
from gateway.core.message import Submission
from gateway.core.service import Duty, Erasure
from gateway.ports import Exchange, InboundMessage, OutboundMessage
from gateway.service import entry_about

TELL_EVERY = timedelta(seconds=10)  # a withdrawal that destroyed its message by itself is answered soon
LOOK_EVERY = timedelta(minutes=5)  # for what is late

_OPERATOR, _MACHINE = "operator", "gateway"  # whose idempotency keys an answer has
_OF_THEIRS = (bodies.QUESTION, bodies.DESTROYED, bodies.ACK)
_GONE = (InboundState.WITHDRAWN, InboundState.DESTROYED)


async def say(
    message_type: str,
    body: Mapping[str, Any],
    exchange: Exchange,
    *,
    about: InboundMessage | OutboundMessage,
    urgency: str = "routine",
    client: str = _OPERATOR,
    key: str | None = None,
    by: str | None = None,
) -> bytes:
    """Send a service message about a message that was exchanged: same partner, same thread, same controllers; return the answer
    of `outbound.accept`, whose errors it raises."""
    ours = isinstance(about, OutboundMessage)
    sent_for, sent_to = _controllers(about)
    submission = Submission(
        partner=about.partner if isinstance(about, OutboundMessage) else about.sender,
        type=message_type,
        body=write_wire(dict(body)),
        facts={"urgency": urgency},
        client=client,
        key=key or exchange.entropy(16).hex(),
        on_behalf_of=sent_for if ours else sent_to,
        partner_for=sent_to if ours else sent_for,
        thread=about.thread,
        by=by,
    )
    return await outbound.accept(submission, exchange)


async def find(
    message_type: str, message_id: str, exchange: Exchange, *, sender: str | None = None
) -> InboundMessage | OutboundMessage:
    """Return the message that a person means when saying something of this type about it, ours before a partner's; a `sender` is
    needed only where two partners used one id. Raises SubmissionRefusedError. Whether it may be spoken of is judged later."""
    own = await exchange.outbox.message(message_id) if message_type not in _OF_THEIRS and sender is None else None
    message = own or await exchange.inbox.message(message_id, sender)
    if message is None:
        raise SubmissionRefusedError("message.unknown", "id", "no such message, or two partners' (name one)")
    return message


def _controllers(about: InboundMessage | OutboundMessage) -> tuple[str | None, str | None]:
    """For which controllers the message was sent and received; unknown where its content is destroyed."""
    if not about.inner:
        return None, None
    payload = circumstances.payload_of(about.inner)
    sender, recipient = payload.from_.for_, payload.to[0].for_
    return (sender if isinstance(sender, str) else None, recipient if isinstance(recipient, str) else None)


# --- destruction


async def destroy(message_id: str, exchange: Exchange, *, by: str, sender: str | None = None) -> bytes:
    """Destroy a partner's message because it was withdrawn, or its erasure was asked for: keys, ciphertext, log 'destroyed', and a
    destruction receipt to the sender. Repeated, it answers the same receipt. Returns the answer of `outbound.accept`.

    Raises SubmissionRefusedError where nobody asked for it.
    """
    message = await exchange.inbox.message(message_id, sender)
    if message is None:
        raise SubmissionRefusedError("message.unknown", "id", "no such message")
    if not await _asked_to_destroy(message, exchange):
        raise SubmissionRefusedError("message.not-owed", "id", "its sender has not asked for it to be destroyed")
    now = exchange.clock()
    what = entries.Circumstance(outcome="destroyed", by=by)
    entry = entries.about_message(exchange.journal, "destroyed", now, entry_about(message, message.sender, None), what)
    command = service.Destroy(
        sender=message.sender,
        message_id=message_id,
        how=service.KEYS_DESTROYED,
        entry=entry,
        at=int(now.timestamp()),
    )
    await exchange.store.write(command)
    done = await exchange.service.erasure(message.sender, message_id)
    if done is None:
        raise SubmissionRefusedError("message.not-destroyed", "id", "its content is still here")
    return await _send_receipt(message, done, exchange, by=by)


async def send_receipts(exchange: Exchange) -> None:
    """The clock's part: a destruction receipt for whatever a withdrawal destroyed by itself, or a stop left without one."""
    for duty in await exchange.service.duties(settled=False):
        if duty.asked.sender == exchange.own.id or not _asks_destruction(duty):
            continue
        if not await _reachable(duty.asked.partner, exchange):
            continue  # its keys have run out: that is told elsewhere, and would be refused and logged at every look
        for sender, message_id in duty.asked.about:
            try:
                message = await exchange.inbox.message(message_id, sender)
                done = await exchange.service.erasure(sender, message_id)
                if message is not None and done is not None and message.state in _GONE:
                    await _send_receipt(message, done, exchange, by=None)
            except (ContractBreachError, SubmissionRefusedError, RowTamperedError) as refusal:
                exchange.alarm("destruction-untold", {"message_id": message_id, "code": refusal.code})


async def _reachable(org: str, exchange: Exchange) -> bool:
    """Whether something can be sealed to this partner now."""
    partner, at = await exchange.partners.get(org), int(exchange.clock().timestamp())
    if partner is None or not partner.verified_by or not partner.newest.current_at(at):
        return False
    return partner.newest.active_message_kem(at) is not None


async def _send_receipt(message: InboundMessage, done: Erasure, exchange: Exchange, *, by: str | None) -> bytes:
    """One receipt for whatever asked last: the same key and the same body, whoever sends it."""
    asked = await _asked_to_destroy(message, exchange)
    on = civil_date(datetime.fromtimestamp(done.at, tz=UTC)).isoformat()
    body = {"messages": [message.id], "on": on, "how": done.how}
    key = f"destroyed:{message.sender}:{message.id}:{asked[-1].asked.message_id if asked else ''}"
    gone = replace(message, inner=None)  # as every later call finds it
    return await say(bodies.DESTROYED, body, exchange, about=gone, client=_MACHINE, key=key, by=by)


async def _asked_to_destroy(message: InboundMessage, exchange: Exchange) -> list[Duty]:
    """What its sender has said that destroying the message answers, the oldest first."""
    return [one for one in await exchange.service.said_of(message.sender, message.id) if _asks_destruction(one)]


def _asks_destruction(duty: Duty) -> bool:
    return service.answered_by_destruction(duty.asked.type, duty.asked.code)


# --- acknowledging


async def acknowledge(
    message_id: str, declined: str | None, exchange: Exchange, *, by: str | None, sender: str | None = None
) -> bytes:
    """Answer a partner's service message: what it asked is done, or not, with a reason. Returns the answer of `outbound.accept`."""
    message = await find(bodies.ACK, message_id, exchange, sender=sender)
    body: dict[str, Any] = {"message": message_id, "done": declined is None}
    body |= {} if declined is None else {"reason": declined}
    body |= {"on": civil_date(exchange.clock()).isoformat()}
    return await say(bodies.ACK, body, exchange, about=message, by=by)


# --- breaches


async def decide_breach(
    message_id: str, outcome: service.BreachState, exchange: Exchange, *, by: str, sender: str | None = None
) -> service.BreachRecord:
    """A person's decision on the breach that a service message opened: reported to the Commissioner, or not reportable; logged."""
    found = [
        one
        for one in await exchange.service.breaches()
        if one.message_id == message_id and sender in (None, one.sender)
    ]
    if len(found) != 1:
        raise SubmissionRefusedError("breach.unknown", "id", "no such breach, or two partners' (name one)")
    one = found[0]
    held = (
        await exchange.outbox.message(one.about_id)
        if one.about_sender == exchange.own.id
        else await exchange.inbox.message(one.about_id, one.about_sender)
    )
    if held is None:
        raise SubmissionRefusedError("message.unknown", "id", "the message it is about is not here")
    what = entries.Circumstance(outcome=outcome.value, by=by)
    about = entry_about(held, one.partner, None)
    entry = entries.about_message(exchange.journal, "breach-decided", exchange.clock(), about, what)
    command = service.DecideBreach(sender=one.sender, message_id=one.message_id, outcome=outcome, entry=entry)
    if not await exchange.store.write(command):
        raise SubmissionRefusedError("breach.decided", "id", "this breach was decided")
    return one


# --- nothing waits silently


async def remind(exchange: Exchange) -> None:
    """Raise an alarm for every duty and every undecided breach whose time is over, each at most once a day."""
    now = exchange.clock()
    late = [one for one in await exchange.service.duties(settled=False) if one.overdue(now)]
    late = [one for one in late if service.reminder_due(one.told_at, now)]
    undecided = [
        one
        for one in await exchange.service.breaches()
        if one.state is service.BreachState.OPEN
        and one.decide_by <= now.timestamp()
        and service.reminder_due(one.told_at, now)
    ]
    for duty in late:
        name: AlarmCode = "answer-awaited-overdue" if duty.asked.sender == exchange.own.id else "answer-owed-overdue"
        asked = duty.asked
        exchange.alarm(name, {"partner": asked.partner, "message_id": asked.message_id, "kind": asked.type})
    for breach in undecided:
        exchange.alarm("breach-undecided", {"partner": breach.partner, "message_id": breach.message_id})
    if late or undecided:
        await exchange.store.write(
            service.Reminded(
                duties=tuple((one.asked.sender, one.asked.message_id) for one in late),
                breaches=tuple((one.sender, one.message_id) for one in undecided),
                at=int(now.timestamp()),
            )
        )
