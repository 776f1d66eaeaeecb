"""Own messages on plain dictionaries, from submission to the last receipt: the fake of `ports.Outbox`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.core import commands
from gateway.core.commands import Command, LogEntry
from gateway.core.errors import IdempotencyConflictError, IllegalTransitionError, ReceiptRejectedError
from gateway.core.lifecycle import TRANSITIONS, Event, ReceiptEvent, State, after, after_receipt
from gateway.core.retry import EQUAL_ANSWERS, DeadLetter, Expire, HoldLane, RetryAt
from gateway.ports import Candidate, OutboundMessage, OutgoingItem
from tests.support import service
from tests.support.agreement_events import check_heads
from tests.support.clock import EPOCH

if TYPE_CHECKING:
    from tests.support.memory import Memory

T = TypeVar("T")

OPEN_STATES = (State.QUEUED, State.SENDING, State.HELD, State.AVAILABLE, State.DEAD)
CAN_EXPIRE = tuple(state for state, events in TRANSITIONS.items() if Event.EXPIRE in events)
MOVES = (Event.RELEASE, Event.EXPIRE, Event.CANCEL, Event.RESEND)


@dataclass
class Attempt:
    """One attempt at a delivery; `status` stays None where there was no answer."""

    at: datetime
    status: int | None = None


@dataclass
class Sent:
    """An own message and its delivery, as the store keeps them; `tries` are the attempts of this round."""

    row: commands.OutboundRow
    envelope: bytes
    inner: bytes
    delivery: int
    run_at: datetime | None
    state: State = State.QUEUED
    held_for: tuple[str, ...] = ()
    tries: list[Attempt] = field(default_factory=list)
    token: bytes | None = None
    until: datetime | None = None
    last_error: str | None = None
    receipts: dict[ReceiptEvent, commands.ReceiptIn] = field(default_factory=dict)

    @property
    def attempts(self) -> int:
        return len(self.tries)

    @property
    def turn_at(self) -> datetime | None:
        """When it is to be looked at, were it the head of its lane: never while it waits for a person."""
        if self.state is State.SENDING:
            return self.until
        return self.run_at if self.state in (State.QUEUED, State.HELD) else None

    def due(self, now: datetime) -> bool:
        return self.turn_at is not None and self.turn_at <= now

    def rested(self, now: datetime) -> State:
        """The state, a lease that has ended taken off."""
        return after(self.state, Event.LEASE_ENDED) if self.state is State.SENDING and self.due(now) else self.state

    def enter(self, state: State, *, held_for: tuple[str, ...] = (), run_at: datetime | None = None) -> None:
        """Come to `state`, which the state table has allowed; whoever held the lease holds it no more."""
        self.state, self.held_for, self.run_at, self.token, self.until = state, held_for, run_at, None, None


def submit(memory: Memory, command: commands.Submit) -> commands.Accepted:
    asked = command.idempotency
    seen = memory.answers.get((asked.client, asked.key))
    if seen is not None:
        if seen[0] != asked.request_digest:
            raise IdempotencyConflictError("another request had this key")
        return commands.Accepted(response=seen[1], repeated=True, index=None)
    if command.heads is not None:
        check_heads(memory, command.heads)
    memory.answers[asked.client, asked.key] = (asked.request_digest, asked.response)
    memory.sent[command.message.id] = Sent(
        row=command.message,
        envelope=command.envelope,
        inner=command.inner,
        delivery=len(memory.sent) + 1,
        run_at=EPOCH + timedelta(microseconds=command.entry.at_us),
    )
    index = memory._append(command.entry)
    service.apply(memory, command.effects)
    return commands.Accepted(response=asked.response, repeated=False, index=index)


def claim(memory: Memory, command: commands.Claim) -> commands.Lease | None:
    sent = memory.sent.get(command.message_id)
    if sent is None or sent.delivery != command.delivery or not sent.due(command.now):
        return None
    if not any(head is sent for head in heads_of(memory)):
        return None
    if command.heads is not None:
        check_heads(memory, command.heads)
    state = sent.rested(command.now)
    queued = after(state, Event.RELEASE) if state is State.HELD else state
    sent.enter(after(queued, Event.CLAIM))
    sent.token, sent.until = command.token, command.until
    sent.tries.append(Attempt(at=command.now))
    return commands.Lease(delivery=sent.delivery, token=command.token, attempt=sent.attempts, until=command.until)


def _leased(memory: Memory, message_id: str, lease: commands.Lease) -> Sent | None:
    """The message, where this lease is still the current one."""
    sent = memory.sent.get(message_id)
    current = sent is not None and (sent.delivery, sent.token) == (lease.delivery, lease.token)
    return sent if current else None


def complete(memory: Memory, command: commands.Complete) -> bool:
    sent = _leased(memory, command.message_id, command.lease)
    if sent is None:
        return False
    _take(memory, sent, command.receipt, command.entries)
    sent.tries[-1].status = 200
    return True


def fail(memory: Memory, command: commands.Fail) -> bool:
    sent = _leased(memory, command.message_id, command.lease)
    if sent is None:
        return False
    match command.next:
        case RetryAt(at=at):
            sent.enter(after(sent.state, Event.ATTEMPT_FAILED), run_at=at)
        case HoldLane():
            sent.enter(after(sent.state, Event.HOLD), held_for=("lane.held",))
        case DeadLetter():
            sent.enter(after(sent.state, Event.GIVE_UP))
        case Expire():
            sent.enter(after(after(sent.state, Event.ATTEMPT_FAILED), Event.EXPIRE))
    sent.tries[-1].status, sent.last_error = command.http_status, command.outcome
    memory._append(command.entry)
    return True


def hold(memory: Memory, command: commands.Hold) -> bool:
    sent = memory.sent.get(command.message_id)
    if sent is None:
        return False
    state = sent.rested(EPOCH + timedelta(microseconds=command.entry.at_us))
    if state is State.SENDING or (state is not State.HELD and Event.HOLD not in TRANSITIONS[state]):
        return False
    same = sent.held_for == command.codes
    sent.enter(State.HELD, held_for=command.codes, run_at=command.look_again)
    if not same:
        memory._append(command.entry)
    return not same


def move(memory: Memory, command: commands.Move) -> State:
    sent = memory.sent.get(command.message_id)
    if sent is None or command.event not in MOVES:
        raise IllegalTransitionError("no such message, or no act of a person or the clock")
    state = after(sent.rested(command.now), command.event)
    sent.enter(state, run_at=command.now if state is State.QUEUED else None)
    if state is State.QUEUED:
        sent.tries = []
    memory._append(command.entry)
    return state


def take_receipt(memory: Memory, command: commands.TakeReceipt) -> bool:
    sent = memory.sent.get(command.receipt.message_id)
    if sent is None:
        raise ReceiptRejectedError("no such message")
    return _take(memory, sent, command.receipt, command.entries)


def _take(memory: Memory, sent: Sent, taken: commands.ReceiptIn, entries: Mapping[State, LogEntry]) -> bool:
    if taken.event in sent.receipts:
        return False
    if any(taken.leaf == held.leaf for other in memory.sent.values() for held in other.receipts.values()):
        raise ReceiptRejectedError("its entry stood in an earlier receipt")
    states = after_receipt(sent.state, taken.event)
    if not entries.keys() >= set(states):
        raise IllegalTransitionError("a state is entered without an entry")
    sent.receipts[taken.event] = taken
    if states:
        sent.enter(states[-1])
    memory._append(*(entries[state] for state in states))
    return True


def heads_of(memory: Memory) -> list[Sent]:
    """The first open message of each lane."""
    heads: dict[tuple[str, bytes], Sent] = {}
    for sent in memory.sent.values():
        if sent.state in OPEN_STATES:
            heads.setdefault((sent.row.partner, sent.row.lane_key), sent)
    return list(heads.values())


HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
    commands.Submit: submit,
    commands.Claim: claim,
    commands.Complete: complete,
    commands.Fail: fail,
    commands.Hold: hold,
    commands.Move: move,
    commands.TakeReceipt: take_receipt,
}


@dataclass(frozen=True)
class MemoryOutbox:
    memory: Memory

    async def due(self, now: datetime, limit: int) -> tuple[Candidate, ...]:
        heads = sorted((head for head in heads_of(self.memory) if head.due(now)), key=lambda head: head.turn_at)
        return tuple(
            Candidate(
                delivery=sent.delivery,
                message_id=sent.row.id,
                partner=sent.row.partner,
                state=sent.rested(now),
                attempts=sent.attempts,
                first_attempt_at=sent.tries[0].at if sent.tries else None,
                last_statuses=tuple(attempt.status for attempt in sent.tries[-EQUAL_ANSWERS:]),
            )
            for sent in _in_turn(heads, lambda sent: sent.row.partner)[:limit]
        )

    async def message(self, message_id: str) -> OutboundMessage | None:
        sent = self.memory.sent.get(message_id)
        if sent is None:
            return None
        row = sent.row
        return OutboundMessage(
            id=row.id,
            partner=row.partner,
            type=row.type,
            agreement=row.agreement,
            state=sent.state,
            env=row.env,
            jws=row.jws,
            thread=row.thread,
            urgency=row.urgency,
            created_at=row.created_at,
            expires_at=row.expires_at,
            held_for=sent.held_for,
            attempts=sent.attempts,
            last_error=sent.last_error,
            receipts=tuple((str(event), held.data) for event, held in sent.receipts.items()),
            envelope=sent.envelope,
            inner=sent.inner,
        )

    async def expiring(self, now: datetime, limit: int) -> tuple[str, ...]:
        past = [sent for sent in self.memory.sent.values() if sent.row.expires_at <= now.timestamp()]
        found = [sent for sent in past if sent.rested(now) in CAN_EXPIRE]
        return tuple(sent.row.id for sent in sorted(found, key=lambda sent: sent.row.expires_at)[:limit])

    async def owed(self, now: datetime, limit: int) -> tuple[OutgoingItem, ...]:
        due = sorted((owed for owed in self.memory.outgoing.values() if owed.due(now)), key=lambda owed: owed.run_at)
        return tuple(owed.item for owed in _in_turn(due, lambda owed: owed.item.partner)[:limit])

    async def response(self, client: str, key: str) -> tuple[bytes, bytes] | None:
        return self.memory.answers.get((client, key))


def _in_turn(due: Iterable[T], partner: Callable[[T], str]) -> list[T]:
    """One of each partner after the other, whoever waited longest first; `due` is oldest first."""
    queues: dict[str, list[T]] = {}
    for one in due:
        queues.setdefault(partner(one), []).append(one)
    return [one for one in chain.from_iterable(zip_longest(*queues.values())) if one is not None]
