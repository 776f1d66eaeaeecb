"""Every port of `gateway.ports` on plain dictionaries: one gateway's durable state in memory.

For tests of the flows. What it does is what the docstrings of `gateway.core.commands` say, and `tests.conformance.test_store`
holds it and `gateway.store` to the same. Batches, macs, handoffs and what lies at rest are the store's alone, and have their
own tests.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, zip_longest
from typing import Any, TypeVar, cast

from contracts.check import ProtectedKind
from contracts.names import ZERO_DIGEST
from gateway.core import commands, daily, deciding, erasure, witnessing
from gateway.core import tokens as token_commands
from gateway.core.commands import Command, LogEntry
from gateway.core.errors import (
    ConflictError,
    HeadsMovedError,
    IdempotencyConflictError,
    IllegalTransitionError,
    LogInconsistentError,
    ReceiptRejectedError,
)
from gateway.core.halves import independent
from gateway.core.lifecycle import (
    TRANSITIONS,
    Event,
    InboundEvent,
    InboundState,
    ReceiptEvent,
    State,
    after,
    after_inbound,
    after_receipt,
)
from gateway.core.once import Once
from gateway.core.retry import EQUAL_ANSWERS, DeadLetter, Expire, HoldLane, RetryAt
from gateway.core.webhook import PutWebhookCursor
from gateway.ports import (
    AgreementRecord,
    Candidate,
    InboundMessage,
    Noted,
    OutboundMessage,
    OutgoingItem,
    Partner,
    Standing,
)
from keys.bundle import KeyBundle, replay_history
from keys.errors import BundleError
from tests.support import client, rows, service, statements, witnesses
from tests.support.keys import NOW, make_origin, payload_of
from tests.support.rows import check_stated
from tests.support.standing import noted, standing

R = TypeVar("R")
T = TypeVar("T")
M = TypeVar("M", InboundMessage, OutboundMessage)

OPEN_STATES = (State.QUEUED, State.SENDING, State.HELD, State.AVAILABLE, State.DEAD)
CAN_EXPIRE = tuple(state for state, events in TRANSITIONS.items() if Event.EXPIRE in events)
MOVES = (Event.RELEASE, Event.EXPIRE, Event.CANCEL, Event.RESEND)
ACTS = {ReceiptEvent.TAKEN: InboundEvent.HAND_OVER, ReceiptEvent.COLLECTED: InboundEvent.OPEN}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Clock:
    """The one clock of a test; it stands still until it is moved."""

    now: datetime = field(default_factory=lambda: datetime.fromtimestamp(NOW, tz=UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **how_long: float) -> None:
        self.now += timedelta(**how_long)


@dataclass
class Entropy:
    """Bytes that are never the same twice and always the same in every run."""

    label: str
    calls: int = 0

    def __call__(self, size: int) -> bytes:
        self.calls += 1
        return hashlib.shake_256(f"{self.label} {self.calls}".encode()).digest(size)


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


@dataclass
class Arrived:
    """A partner's message, as the store keeps it; every row of these is also a row of the inbox."""

    row: commands.InboundRow
    inner: bytes | None
    receipt: bytes
    state: InboundState
    acknowledged: dict[ReceiptEvent, bytes] = field(default_factory=dict)


@dataclass
class Owed:
    """An item of `outgoing`."""

    item: OutgoingItem
    run_at: datetime | None
    token: bytes | None = None
    dead: bool = False

    def due(self, now: datetime) -> bool:
        return self.run_at is not None and self.run_at <= now


class Memory:
    """Durable state of one gateway, and the commands that change it; all readers are views of it."""

    def __init__(self, own: str, clock: Clock) -> None:
        self.own = own
        self.clock = clock
        self.log: list[LogEntry] = []
        self.partner_rows: dict[str, commands.PutPartner] = {}
        self.bundles: dict[str, list[bytes]] = {}
        self.fetched_at: dict[str, int] = {}
        self.files: dict[str, commands.AgreementFile] = {}
        self.events: list[commands.EventRow] = []
        self.sent: dict[str, Sent] = {}
        self.arrived: dict[tuple[str, str], Arrived] = {}
        self.protected: set[tuple[bytes, str]] = set()
        self.answers: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self.outgoing: dict[int, Owed] = {}
        self.intentions: dict[bytes, dict[str, int]] = {}
        self.checkpoints: dict[int, commands.PutCheckpoint] = {}
        self.cursors: dict[str, int] = {}
        self.tokens: dict[bytes, token_commands.Token] = {}
        self.origin = make_origin(own)
        self.stated = statements.Stated()
        self.witnessed: dict[str, witnessing.Remember] = {}
        self.conflicts: list[witnessing.KeepConflict] = []
        self.cosigned: dict[tuple[int, str], witnessing.CosignatureRow] = {}
        self.proofs: dict[bytes, bytes] = {}
        self.ledger = service.Ledger()
        self._histories: dict[tuple[bytes, ...], tuple[KeyBundle, ...]] = {}

    # --- Store

    async def write(self, command: Command[R]) -> R:
        handlers = {**self._HANDLERS, **service.HANDLERS}
        if isinstance(command, Once):
            done = client.once(self, command, lambda act: handlers[type(act)](self, act))
            return cast(R, done)
        return cast(R, handlers[type(command)](self, command))

    def _append(self, *entries: LogEntry | None) -> int:
        self.log += [entry for entry in entries if entry is not None]
        return len(self.log) - 1

    def _record(self, command: commands.Record) -> int:
        return self._append(command.entry)

    def _check_heads(self, heads: commands.Heads) -> None:
        """Refuse what was decided against other events than those held; a forked chain has no head."""
        file = self.files.get(heads.agreement)
        if file is None:
            raise HeadsMovedError(heads.agreement)
        a, b = parties_of(file)
        tips = {a: str(ZERO_DIGEST), b: str(ZERO_DIGEST)}
        events = sorted((event for event in self.events if event.digest == file.digest), key=lambda event: event.n)
        tips |= {event.org: event.hash for event in events}
        forked = len({(event.org, event.n) for event in events}) < len(events)
        if forked or (heads.a, heads.b) != (tips[a], tips[b]):
            raise HeadsMovedError(heads.agreement)

    def _submit(self, command: commands.Submit) -> commands.Accepted:
        asked = command.idempotency
        seen = self.answers.get((asked.client, asked.key))
        if seen is not None:
            if seen[0] != asked.request_digest:
                raise IdempotencyConflictError("another request had this key")
            return commands.Accepted(response=seen[1], repeated=True, index=None)
        if command.heads is not None:
            self._check_heads(command.heads)
        self.answers[asked.client, asked.key] = (asked.request_digest, asked.response)
        self.sent[command.message.id] = Sent(
            row=command.message,
            envelope=command.envelope,
            inner=command.inner,
            delivery=len(self.sent) + 1,
            run_at=EPOCH + timedelta(microseconds=command.entry.at_us),
        )
        index = self._append(command.entry)
        service.apply(self, command.effects)
        return commands.Accepted(response=asked.response, repeated=False, index=index)

    def _claim(self, command: commands.Claim) -> commands.Lease | None:
        sent = self.sent.get(command.message_id)
        if sent is None or sent.delivery != command.delivery or not sent.due(command.now):
            return None
        if not any(head is sent for head in self._heads()):
            return None
        if command.heads is not None:
            self._check_heads(command.heads)
        state = sent.rested(command.now)
        queued = after(state, Event.RELEASE) if state is State.HELD else state
        sent.enter(after(queued, Event.CLAIM))
        sent.token, sent.until = command.token, command.until
        sent.tries.append(Attempt(at=command.now))
        return commands.Lease(delivery=sent.delivery, token=command.token, attempt=sent.attempts, until=command.until)

    def _leased(self, message_id: str, lease: commands.Lease) -> Sent | None:
        """The message, where this lease is still the current one."""
        sent = self.sent.get(message_id)
        current = sent is not None and (sent.delivery, sent.token) == (lease.delivery, lease.token)
        return sent if current else None

    def _complete(self, command: commands.Complete) -> bool:
        sent = self._leased(command.message_id, command.lease)
        if sent is None:
            return False
        self._apply(sent, command.receipt, command.entries)
        sent.tries[-1].status = 200
        return True

    def _fail(self, command: commands.Fail) -> bool:
        sent = self._leased(command.message_id, command.lease)
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
        self._append(command.entry)
        return True

    def _hold(self, command: commands.Hold) -> bool:
        sent = self.sent.get(command.message_id)
        if sent is None:
            return False
        state = sent.rested(EPOCH + timedelta(microseconds=command.entry.at_us))
        if state is State.SENDING or (state is not State.HELD and Event.HOLD not in TRANSITIONS[state]):
            return False
        same = sent.held_for == command.codes
        sent.enter(State.HELD, held_for=command.codes, run_at=command.look_again)
        if not same:
            self._append(command.entry)
        return not same

    def _move(self, command: commands.Move) -> State:
        sent = self.sent.get(command.message_id)
        if sent is None or command.event not in MOVES:
            raise IllegalTransitionError("no such message, or no act of a person or the clock")
        state = after(sent.rested(command.now), command.event)
        sent.enter(state, run_at=command.now if state is State.QUEUED else None)
        if state is State.QUEUED:
            sent.tries = []
        self._append(command.entry)
        return state

    def _take_receipt(self, command: commands.TakeReceipt) -> bool:
        sent = self.sent.get(command.receipt.message_id)
        if sent is None:
            raise ReceiptRejectedError("no such message")
        return self._apply(sent, command.receipt, command.entries)

    def _apply(self, sent: Sent, taken: commands.ReceiptIn, entries: Mapping[State, LogEntry]) -> bool:
        if taken.event in sent.receipts:
            return False
        if any(taken.leaf == held.leaf for other in self.sent.values() for held in other.receipts.values()):
            raise ReceiptRejectedError("its entry stood in an earlier receipt")
        states = after_receipt(sent.state, taken.event)
        if not entries.keys() >= set(states):
            raise IllegalTransitionError("a state is entered without an entry")
        sent.receipts[taken.event] = taken
        if states:
            sent.enter(states[-1])
        self._append(*(entries[state] for state in states))
        return True

    def _receive(self, command: commands.Receive) -> commands.Received:
        row = command.message
        known = [
            held
            for (sender, _), held in self.arrived.items()
            if sender == row.sender and (held.row.id == row.id or held.row.env == row.env)
        ]
        if known and all(held.row.env == row.env for held in known):
            return commands.Received(reception=commands.Reception.DUPLICATE, receipt=known[0].receipt)
        if known:
            return commands.Received(reception=commands.Reception.CONFLICT, receipt=b"")
        if command.heads is not None:
            self._check_heads(command.heads)
        self.arrived[row.sender, row.id] = Arrived(
            row=row,
            inner=command.inner,
            receipt=command.receipt,
            state=InboundState.REFUSED if command.inner is None else InboundState.RECEIVED,
        )
        new = {(tag, "location") for tag in command.protect} - self.protected
        check_stated((deciding.put("protection", tag=tag, kind=kind) for tag, kind in new), command.protect_entry)
        self.protected |= new
        self._append(command.entry, command.protect_entry if new else None)
        service.apply(self, command.effects)
        return commands.Received(reception=commands.Reception.NEW, receipt=command.receipt)

    def _release(self, command: commands.Release) -> None:
        held = self.arrived.get((command.sender, command.message_id))
        if held is None or held.inner is None:
            raise IllegalTransitionError("its content is not here")
        self._append(command.entry)

    def _acknowledge(self, command: commands.Acknowledge) -> bytes:
        held, act = self.arrived.get((command.sender, command.message_id)), ACTS.get(command.event)
        if held is None or act is None:
            raise IllegalTransitionError("no such message, or no act of its receiver")
        if command.event in held.acknowledged:
            if act is InboundEvent.OPEN:  # who opened it is logged every time, and what is destroyed is opened no more
                after_inbound(held.state, act)
                self._append(command.entry)
            return held.acknowledged[command.event]
        held.state = after_inbound(held.state, act)
        held.acknowledged[command.event] = command.receipt
        self._append(command.entry)
        ref = f"{command.message_id}/{command.event}"
        self.owe(command.sender, "receipt", ref, command.receipt, command.now)
        return command.receipt

    def _add_bundle(self, command: commands.AddBundle) -> bool:
        held = self.bundles.setdefault(command.org, [])
        if any(jws != command.jws and payload_of(jws)["seq"] == command.seq for jws in held):
            raise ConflictError("another bundle has this seq")
        now = EPOCH + timedelta(microseconds=command.entry.at_us)
        self.fetched_at[command.org] = max(command.fetched_at, self.fetched_at.get(command.org, 0))
        self._look_again(now, lambda row: row.partner == command.org)
        if command.jws in held:
            return False
        check_stated(deciding.of_bundle(org=command.org, seq=command.seq, jws=command.jws), command.entry)
        held.append(command.jws)
        self._append(command.entry)
        ref = f"sha256:{hashlib.sha256(command.jws).hexdigest()}"
        for org in command.broadcast_to:
            self.owe(org, "bundle", ref, command.jws, now)
        return True

    def _put_partner(self, command: commands.PutPartner) -> None:
        row = deciding.of_partner(
            org=command.org,
            name=command.name,
            root=command.root,
            verified_by=command.verified_by,
            route=command.route,
            duty_number=command.duty_number,
        )
        check_stated(row, command.entry)
        self.partner_rows[command.org] = command
        self.fetched_at[command.org] = command.fetched_at
        self._append(command.entry)
        self._look_again(EPOCH + timedelta(microseconds=command.entry.at_us), lambda row: row.partner == command.org)

    def _record_event(self, command: commands.RecordEvent) -> bool:
        file = command.file or self.files.get(command.event.digest)
        if file is None:
            raise ConflictError("an event on an agreement that is not held")
        if any(named(held) == named(file) for held in self.files.values() if held.digest != file.digest):
            raise ConflictError("another agreement has this id and version between the same parties")
        known = place(command.event) in {place(event) for event in self.events}
        if not known and command.own_head is not None:
            self._check_chain(command.event, command.own_head)
        if not known:
            check_stated(deciding.of_event(None if file.digest in self.files else file, command.event), command.entry)
        self.files.setdefault(file.digest, file)
        if known:
            return False
        self.events.append(command.event)
        self._append(command.entry)
        if command.push_to is not None:
            self.owe(command.push_to, "event", command.event.hash, command.event.jws, command.now)
        self._look_again(command.now, lambda row: row.agreement == command.event.digest)
        return True

    def _check_chain(self, event: commands.EventRow, head: str) -> None:
        """Refuse an event of ours that would fork our chain, or lengthen one that is forked or broken."""
        mine = [held for held in self.events if (held.digest, held.org) == (event.digest, event.org)]
        chain = sorted(mine, key=lambda held: held.n)
        tip = chain[-1].hash if chain else ZERO_DIGEST
        if tip != head or [held.n for held in chain] != list(range(1, event.n)):
            raise HeadsMovedError(event.digest)

    def _look_again(self, now: datetime, which: Callable[[commands.OutboundRow], bool]) -> None:
        """Let held messages be looked at now; one that waits for a person has no time, and goes on waiting."""
        for sent in self.sent.values():
            if sent.state is State.HELD and sent.run_at is not None and which(sent.row):
                sent.run_at = now

    def _protect(self, command: commands.Protect) -> int:
        rows = {(tag, kind) for tag in command.tags for kind in command.kinds}
        changed = rows - self.protected if command.add else rows & self.protected
        change = deciding.put if command.add else deciding.gone
        check_stated((change("protection", tag=tag, kind=kind) for tag, kind in changed), command.entry)
        self.protected = self.protected | rows if command.add else self.protected - rows
        self._append(command.entry)
        if not command.add:
            self._look_again(command.now, lambda _: True)
        return len(changed)

    def _intend(self, command: commands.Intend) -> tuple[str, ...]:
        """Two halves are used up by being answered, so that the next such act needs two again."""
        said = self.intentions.setdefault(command.act, {})
        valid = {by: at for by, at in said.items() if at >= command.not_before}
        others = {by for by in valid if independent(by, command.by)}
        self.intentions[command.act] = {} if others else {**valid, command.by: command.now}
        self._append(command.entry)
        return tuple(sorted({*others, command.by}))

    def _claim_outgoing(self, command: commands.ClaimOutgoing) -> bool:
        owed = self.outgoing.get(command.id)
        if owed is None or not owed.due(command.now):
            return False
        owed.token, owed.run_at = command.token, command.until  # due again by itself when the lease ends
        owed.item = dataclasses.replace(
            owed.item,
            attempts=owed.item.attempts + 1,
            first_attempt_at=owed.item.first_attempt_at or command.now,
        )
        return True

    def _settle_outgoing(self, command: commands.SettleOutgoing) -> bool:
        owed = self.outgoing.get(command.id)
        if owed is None or owed.token != command.token:
            return False
        owed.token, owed.run_at = None, command.next.at if isinstance(command.next, RetryAt) else None
        owed.dead = command.next is not None and owed.run_at is None
        self._append(command.entry)
        return True

    def _release_leases(self, command: commands.ReleaseLeases) -> int:
        def is_held(token: bytes | None) -> bool:
            return token is not None and (command.tokens is None or token in command.tokens)

        leased = [sent for sent in self.sent.values() if is_held(sent.token)]
        owed = [owed for owed in self.outgoing.values() if is_held(owed.token)]
        for sent in leased:
            sent.enter(after(sent.state, Event.LEASE_ENDED), run_at=command.now)
        for item in owed:
            item.token, item.run_at = None, command.now
        return len(leased) + len(owed)

    def _put_checkpoint(self, command: commands.PutCheckpoint) -> None:
        if self.checkpoints.setdefault(command.size, command).root != command.root:
            raise LogInconsistentError("two checkpoints of one size have different roots")

    def owe(self, partner: str, kind: str, ref: str, data: bytes, now: datetime) -> None:
        item = OutgoingItem(
            id=len(self.outgoing) + 1,
            partner=partner,
            kind=kind,
            ref=ref,
            data=data,
            attempts=0,
            first_attempt_at=None,
        )
        self.outgoing[item.id] = Owed(item=item, run_at=now)

    def _put_webhook_cursor(self, command: PutWebhookCursor) -> None:
        self.cursors[command.name] = max(command.position, self.cursors.get(command.name, 0))

    _HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
        commands.Submit: _submit,
        commands.Record: _record,
        commands.Claim: _claim,
        commands.Complete: _complete,
        commands.Fail: _fail,
        commands.Hold: _hold,
        commands.Move: _move,
        commands.TakeReceipt: _take_receipt,
        commands.ReleaseLeases: _release_leases,
        commands.Receive: _receive,
        commands.Acknowledge: _acknowledge,
        commands.Release: _release,
        commands.AddBundle: _add_bundle,
        commands.PutPartner: _put_partner,
        commands.RecordEvent: _record_event,
        commands.Protect: _protect,
        commands.Intend: _intend,
        commands.ClaimOutgoing: _claim_outgoing,
        commands.SettleOutgoing: _settle_outgoing,
        commands.PutCheckpoint: _put_checkpoint,
        PutWebhookCursor: _put_webhook_cursor,
        token_commands.CreateToken: client.create,
        token_commands.RevokeToken: client.revoke,
        token_commands.Remember: client.remember,
        erasure.Erase: rows.erase,
        daily.KeepStatement: statements.keep,
        daily.NoteDifference: statements.note,
        **witnesses.HANDLERS,
    }

    # --- what the readers see

    def _heads(self) -> list[Sent]:
        """The first open message of each lane."""
        heads: dict[tuple[str, bytes], Sent] = {}
        for sent in self.sent.values():
            if sent.state in OPEN_STATES:
                heads.setdefault((sent.row.partner, sent.row.lane_key), sent)
        return list(heads.values())

    def history(self, org: str) -> tuple[KeyBundle, ...]:
        """An organisation's bundles, verified again. Raises BundleError where they are no history."""
        published = tuple(self.bundles.get(org, ()))
        if published not in self._histories:
            ascending = sorted(published, key=lambda jws: payload_of(jws)["seq"])
            self._histories[published] = replay_history(ascending, org=org)
        return self._histories[published]


def parties_of(file: commands.AgreementFile) -> tuple[str, str]:
    parties = json.loads(file.canonical)["party"]
    return parties["a"]["id"], parties["b"]["id"]


def named(file: commands.AgreementFile) -> tuple[Any, ...]:
    """What only one agreement may have."""
    return file.id, file.version, *parties_of(file)


def place(event: commands.EventRow) -> tuple[Any, ...]:
    """What only one event may have: a fork has another hash."""
    return event.digest, event.org, event.n, event.hash


@dataclass(frozen=True)
class MemoryPartners:
    memory: Memory

    async def get(self, org: str) -> Partner | None:
        row, bundles = self.memory.partner_rows.get(org), _history(self.memory, org)
        if row is None or bundles is None:
            return None
        return Partner(
            org=org,
            name=row.name,
            root=row.root,
            verified_by=row.verified_by,
            route=row.route,
            duty_number=row.duty_number,
            fetched_at=self.memory.fetched_at[org],
            bundles=bundles,
        )

    async def all(self) -> tuple[Partner, ...]:
        found = [await self.get(org) for org in sorted(self.memory.partner_rows)]
        return tuple(partner for partner in found if partner is not None)

    async def own_bundles(self) -> tuple[KeyBundle, ...]:
        return _history(self.memory, self.memory.own) or ()


def _history(memory: Memory, org: str) -> tuple[KeyBundle, ...] | None:
    """None where the bundles are no history: the organisation counts as absent."""
    try:
        return memory.history(org)
    except BundleError:
        return None


@dataclass(frozen=True)
class MemoryAgreements:
    memory: Memory

    async def get(self, digest: str) -> AgreementRecord | None:
        file = self.memory.files.get(digest)
        events = sorted((event for event in self.memory.events if event.digest == digest), key=place)
        return None if file is None else AgreementRecord(file=file, events=tuple(events))

    async def between(self, partner: str) -> tuple[AgreementRecord, ...]:
        return tuple(record for record in await self.all() if partner in parties_of(record.file))

    async def all(self) -> tuple[AgreementRecord, ...]:
        found = [await self.get(file.digest) for file in sorted(self.memory.files.values(), key=named)]
        return tuple(record for record in found if record is not None)


@dataclass(frozen=True)
class MemoryOutbox:
    memory: Memory

    async def due(self, now: datetime, limit: int) -> tuple[Candidate, ...]:
        heads = sorted((head for head in self.memory._heads() if head.due(now)), key=lambda head: head.turn_at)
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


@dataclass(frozen=True)
class MemoryInbox:
    memory: Memory

    async def stored_receipt(self, sender: str, env: str) -> bytes | None:
        held = [a for a in self.memory.arrived.values() if (a.row.sender, a.row.env) == (sender, env)]
        return held[0].receipt if held else None

    async def env_of(self, sender: str, message_id: str) -> str | None:
        held = self.memory.arrived.get((sender, message_id))
        return held.row.env if held else None

    async def message(self, message_id: str, sender: str | None = None) -> InboundMessage | None:
        held = [a for a in self.memory.arrived.values() if a.row.id == message_id and sender in (None, a.row.sender)]
        if len(held) != 1:
            return None
        row, state = held[0].row, held[0].state
        first = ReceiptEvent.REJECTED if state is InboundState.REFUSED else ReceiptEvent.CHECKED
        given = [(first, held[0].receipt), *held[0].acknowledged.items()]
        return InboundMessage(
            sender=row.sender,
            id=row.id,
            type=row.type,
            agreement=row.agreement,
            state=state,
            env=row.env,
            jws=row.jws,
            thread=row.thread,
            urgency=row.urgency,
            created_at=row.created_at,
            expires_at=row.expires_at,
            received_at=row.received_at,
            receipts=tuple((str(event), data) for event, data in given),
            inner=held[0].inner,
        )


@dataclass(frozen=True)
class MemoryProtection:
    memory: Memory

    async def kinds(self, tags: Iterable[bytes]) -> frozenset[ProtectedKind]:
        wanted = set(tags)
        return frozenset(cast(ProtectedKind, kind) for tag, kind in self.memory.protected if tag in wanted)


@dataclass(frozen=True)
class MemoryOverview:
    memory: Memory

    async def inbox(self, limit: int) -> tuple[InboundMessage, ...]:
        inbox = MemoryInbox(self.memory)
        found = [await inbox.message(row_id, sender) for sender, row_id in self.memory.arrived]
        return tuple(dataclasses.replace(one, inner=None) for one in _newest(found)[:limit])

    async def outbox(self, limit: int) -> tuple[OutboundMessage, ...]:
        outbox = MemoryOutbox(self.memory)
        found = [await outbox.message(message_id) for message_id in self.memory.sent]
        return tuple(dataclasses.replace(one, envelope=b"", inner=b"") for one in _newest(found)[:limit])

    async def standing(self, now: datetime) -> Standing:
        return standing(self.memory, now)

    async def noted(self, start: int, limit: int) -> tuple[Noted, ...]:
        return noted(self.memory, start, limit)

    async def protected(self) -> Mapping[str, int]:
        return Counter(kind for _, kind in self.memory.protected)

    async def counts(self) -> Mapping[str, int]:
        return {
            **Counter(f"outbound.{sent.state}" for sent in self.memory.sent.values()),
            **Counter(f"inbound.{arrived.state}" for arrived in self.memory.arrived.values()),
            "owed": sum(owed.run_at is not None for owed in self.memory.outgoing.values()),
            "owed.dead": sum(owed.dead for owed in self.memory.outgoing.values()),
            "log.size": len(self.memory.log),
            "statements.different": len(self.memory.stated.noted),
        }


def _newest(found: Iterable[M | None]) -> list[M]:
    return sorted((one for one in found if one is not None), key=lambda one: (one.created_at, one.id), reverse=True)
