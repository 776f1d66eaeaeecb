"""Every port of `gateway.ports` on plain dictionaries: one gateway's durable state in memory.

For tests of the flows. What it does is what the docstrings of `gateway.core.commands` say, without lanes that share a
batch, leases that end by themselves, or macs: those are the store's, and have their own tests.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from contracts.check import ProtectedKind
from contracts.names import ZERO_DIGEST
from contracts.register import vocabulary
from gateway import governing
from gateway.core import commands
from gateway.core.commands import Command, LogEntry
from gateway.core.errors import (
    ConflictError,
    HeadsMovedError,
    IdempotencyConflictError,
    ReceiptRejectedError,
)
from gateway.core.lifecycle import (
    Event,
    InboundEvent,
    InboundState,
    ReceiptEvent,
    State,
    after,
    after_inbound,
    after_receipt,
)
from gateway.core.retry import DeadLetter, Expire, HoldLane, RetryAt
from gateway.ports import (
    AgreementRecord,
    Candidate,
    InboundMessage,
    OutboundMessage,
    OutgoingItem,
    Partner,
)
from keys.bundle import KeyBundle, replay_history
from tests.support.keys import NOW

R = TypeVar("R")

OPEN_STATES = (State.QUEUED, State.SENDING, State.HELD, State.AVAILABLE, State.DEAD)
CAN_EXPIRE = (State.QUEUED, State.HELD, State.AVAILABLE, State.DEAD)


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
class Sent:
    """An own message and its delivery, as the store keeps them."""

    row: commands.OutboundRow
    envelope: bytes
    inner: bytes
    delivery: int
    run_at: datetime
    state: State = State.QUEUED
    held_for: tuple[str, ...] = ()
    attempts: int = 0
    first_attempt_at: datetime | None = None
    token: bytes | None = None
    statuses: tuple[int | None, ...] = ()
    last_error: str | None = None
    receipts: dict[ReceiptEvent, commands.ReceiptIn] = field(default_factory=dict)


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
    run_at: datetime
    done: bool = False
    token: bytes | None = None


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
        self.outgoing: list[Owed] = []
        self.intentions: dict[bytes, dict[str, int]] = {}
        self.checkpoints: list[commands.PutCheckpoint] = []
        self._histories: dict[tuple[bytes, ...], tuple[KeyBundle, ...]] = {}

    # --- Store

    async def write(self, command: Command[R]) -> R:
        return cast(R, self._HANDLERS[type(command)](self, command))

    def _append(self, *entries: LogEntry | None) -> int:
        self.log += [entry for entry in entries if entry is not None]
        return len(self.log) - 1

    def _record(self, command: commands.Record) -> int:
        return self._append(command.entry)

    def _check_heads(self, heads: commands.Heads) -> None:
        canonical = self.files[heads.agreement].canonical
        agreement, _ = governing.compiled_from(canonical, vocabulary())
        tips = {party.id: ZERO_DIGEST for party in agreement.parties.values()}
        for event in sorted((e for e in self.events if e.digest == heads.agreement), key=lambda e: e.n):
            tips[cast(Any, event.org)] = cast(Any, event.hash)
        if (heads.a, heads.b) != (tips[agreement.parties["a"].id], tips[agreement.parties["b"].id]):
            raise HeadsMovedError(heads.agreement)

    def _submit(self, command: commands.Submit) -> commands.Accepted:
        asked = command.idempotency
        seen = self.answers.get((asked.client, asked.key))
        if seen is not None:
            if seen[0] != asked.request_digest:
                raise IdempotencyConflictError("another request had this key")
            return commands.Accepted(response=seen[1], repeated=True, index=None)
        self._check_heads(command.heads)
        self.answers[asked.client, asked.key] = (asked.request_digest, asked.response)
        self.sent[command.message.id] = Sent(
            row=command.message,
            envelope=command.envelope,
            inner=command.inner,
            delivery=len(self.sent) + 1,
            run_at=self.clock(),
        )
        return commands.Accepted(response=asked.response, repeated=False, index=self._append(command.entry))

    def _claim(self, command: commands.Claim) -> commands.Lease | None:
        sent = self.sent.get(command.message_id)
        if sent is None or sent not in self._heads() or sent.run_at > command.now:
            return None
        if sent.state not in (State.QUEUED, State.HELD):
            return None
        self._check_heads(command.heads)
        for event in (Event.RELEASE, Event.CLAIM) if sent.state is State.HELD else (Event.CLAIM,):
            sent.state = after(sent.state, event)
        sent.attempts += 1
        sent.first_attempt_at = sent.first_attempt_at or command.now
        sent.token = command.token
        return commands.Lease(delivery=sent.delivery, token=command.token, attempt=sent.attempts, until=command.until)

    def _leased(self, message_id: str, lease: commands.Lease) -> Sent | None:
        sent = self.sent[message_id]
        return sent if sent.state is State.SENDING and sent.token == lease.token else None

    def _complete(self, command: commands.Complete) -> bool:
        sent = self._leased(command.message_id, command.lease)
        if sent is None:
            return False
        self._apply(sent, command.receipt, command.entries)
        return True

    def _fail(self, command: commands.Fail) -> bool:
        sent = self._leased(command.message_id, command.lease)
        if sent is None:
            return False
        sent.statuses, sent.last_error = (*sent.statuses, command.http_status), command.outcome
        match command.next:
            case RetryAt(at=at):
                sent.state, sent.run_at = after(sent.state, Event.ATTEMPT_FAILED), at
            case HoldLane():
                sent.state, sent.held_for = after(sent.state, Event.HOLD), ("lane.held",)
                sent.run_at = datetime.max.replace(tzinfo=UTC)
            case DeadLetter():
                sent.state = after(sent.state, Event.GIVE_UP)
            case Expire():
                sent.state = after(after(sent.state, Event.ATTEMPT_FAILED), Event.EXPIRE)
        self._append(command.entry)
        return True

    def _hold(self, command: commands.Hold) -> bool:
        sent = self.sent[command.message_id]
        if sent.state not in (State.QUEUED, State.HELD):
            return False
        same = sent.state is State.HELD and sent.held_for == command.codes
        sent.state, sent.held_for, sent.run_at = State.HELD, command.codes, command.look_again
        if not same:
            self._append(command.entry)
        return not same

    def _move(self, command: commands.Move) -> State:
        sent = self.sent[command.message_id]
        sent.state = after(sent.state, command.event)
        if sent.state is State.QUEUED:
            sent.run_at, sent.attempts, sent.first_attempt_at, sent.statuses = command.now, 0, None, ()
        self._append(command.entry)
        return sent.state

    def _take_receipt(self, command: commands.TakeReceipt) -> bool:
        return self._apply(self.sent[command.receipt.message_id], command.receipt, command.entries)

    def _apply(self, sent: Sent, taken: commands.ReceiptIn, entries: Mapping[State, LogEntry]) -> bool:
        if taken.event in sent.receipts:
            return False
        if any(taken.leaf == held.leaf for other in self.sent.values() for held in other.receipts.values()):
            raise ReceiptRejectedError("its entry stood in an earlier receipt")
        sent.receipts[taken.event] = taken
        for state in after_receipt(sent.state, taken.event):
            sent.state = state
            self._append(entries[state])
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
        self.protected |= new
        self._append(command.entry, command.protect_entry if new else None)
        return commands.Received(reception=commands.Reception.NEW, receipt=command.receipt)

    def _acknowledge(self, command: commands.Acknowledge) -> bytes:
        held = self.arrived[command.sender, command.message_id]
        if command.event in held.acknowledged:
            return held.acknowledged[command.event]
        act = {ReceiptEvent.TAKEN: InboundEvent.HAND_OVER, ReceiptEvent.COLLECTED: InboundEvent.OPEN}[command.event]
        held.state = after_inbound(held.state, act)
        held.acknowledged[command.event] = command.receipt
        self._append(command.entry)
        self._owe(command.sender, "receipt", f"{command.message_id}-{command.event}", command.receipt)
        return command.receipt

    def _add_bundle(self, command: commands.AddBundle) -> bool:
        self.fetched_at[command.org] = max(command.fetched_at, self.fetched_at.get(command.org, 0))
        held = self.bundles.setdefault(command.org, [])
        if command.jws in held:
            return False
        held.append(command.jws)
        self._append(command.entry)
        for org in command.broadcast_to:
            self._owe(org, "bundle", hashlib.sha256(command.jws).hexdigest(), command.jws)
        return True

    def _put_partner(self, command: commands.PutPartner) -> None:
        self.partner_rows[command.org] = command
        self.fetched_at[command.org] = command.fetched_at
        self._append(command.entry)

    def _record_event(self, command: commands.RecordEvent) -> bool:
        if command.event.hash in {event.hash for event in self.events}:
            return False
        if command.file is not None:
            self.files.setdefault(command.file.digest, command.file)
        elif command.event.digest not in self.files:
            raise ConflictError("an event on an agreement that is not held")
        self.events.append(command.event)
        self._append(command.entry)
        if command.push_to is not None:
            self._owe(command.push_to, "event", command.event.hash, command.event.jws)
        for sent in self.sent.values():
            if sent.state is State.HELD and sent.row.agreement == command.event.digest:
                sent.run_at = command.now
        return True

    def _protect(self, command: commands.Protect) -> int:
        rows = {(tag, kind) for tag in command.tags for kind in command.kinds}
        changed = rows - self.protected if command.add else rows & self.protected
        self.protected = self.protected | rows if command.add else self.protected - rows
        self._append(command.entry)
        return len(changed)

    def _intend(self, command: commands.Intend) -> tuple[str, ...]:
        said = self.intentions.setdefault(command.act, {})
        said[command.by] = command.now
        return tuple(sorted(name for name, at in said.items() if at >= command.not_before))

    def _claim_outgoing(self, command: commands.ClaimOutgoing) -> bool:
        owed = self.outgoing[command.id]
        if owed.done or owed.token is not None or owed.run_at > command.now:
            return False
        owed.token = command.token
        owed.item = dataclasses.replace(owed.item, attempts=owed.item.attempts + 1)
        return True

    def _settle_outgoing(self, command: commands.SettleOutgoing) -> bool:
        owed = self.outgoing[command.id]
        if owed.token != command.token:
            return False
        owed.token, owed.done = None, not isinstance(command.next, RetryAt)
        if isinstance(command.next, RetryAt):
            owed.run_at = command.next.at
        return True

    def _put_checkpoint(self, command: commands.PutCheckpoint) -> None:
        self.checkpoints.append(command)

    def _owe(self, partner: str, kind: str, ref: str, data: bytes) -> None:
        item = OutgoingItem(
            id=len(self.outgoing),
            partner=partner,
            kind=kind,
            ref=ref,
            data=data,
            attempts=0,
            first_attempt_at=None,
        )
        self.outgoing.append(Owed(item=item, run_at=self.clock()))

    _HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
        commands.Submit: _submit,
        commands.Record: _record,
        commands.Claim: _claim,
        commands.Complete: _complete,
        commands.Fail: _fail,
        commands.Hold: _hold,
        commands.Move: _move,
        commands.TakeReceipt: _take_receipt,
        commands.Receive: _receive,
        commands.Acknowledge: _acknowledge,
        commands.AddBundle: _add_bundle,
        commands.PutPartner: _put_partner,
        commands.RecordEvent: _record_event,
        commands.Protect: _protect,
        commands.Intend: _intend,
        commands.ClaimOutgoing: _claim_outgoing,
        commands.SettleOutgoing: _settle_outgoing,
        commands.PutCheckpoint: _put_checkpoint,
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
        published = tuple(self.bundles.get(org, ()))
        if published not in self._histories:
            self._histories[published] = replay_history(published, org=org)
        return self._histories[published]


@dataclass(frozen=True)
class MemoryPartners:
    memory: Memory

    async def get(self, org: str) -> Partner | None:
        row = self.memory.partner_rows.get(org)
        if row is None:
            return None
        return Partner(
            org=org,
            name=row.name,
            root=row.root,
            verified_by=row.verified_by,
            route=row.route,
            url=row.url,
            duty_number=row.duty_number,
            fetched_at=self.memory.fetched_at[org],
            bundles=self.memory.history(org),
        )

    async def all(self) -> tuple[Partner, ...]:
        found = [await self.get(org) for org in sorted(self.memory.partner_rows)]
        return tuple(partner for partner in found if partner is not None)

    async def own_bundles(self) -> tuple[KeyBundle, ...]:
        return self.memory.history(self.memory.own)


@dataclass(frozen=True)
class MemoryAgreements:
    memory: Memory

    async def get(self, digest: str) -> AgreementRecord | None:
        file = self.memory.files.get(digest)
        events = tuple(event for event in self.memory.events if event.digest == digest)
        return None if file is None else AgreementRecord(file=file, events=events)

    async def between(self, partner: str) -> tuple[AgreementRecord, ...]:
        """Those that name this organisation as a party."""
        found = []
        for record in await self.all():
            agreement, _ = governing.compiled_from(record.file.canonical, vocabulary())
            if partner in {party.id for party in agreement.parties.values()}:
                found.append(record)
        return tuple(found)

    async def all(self) -> tuple[AgreementRecord, ...]:
        found = [await self.get(digest) for digest in sorted(self.memory.files)]
        return tuple(record for record in found if record is not None)


@dataclass(frozen=True)
class MemoryOutbox:
    memory: Memory

    async def due(self, now: datetime, limit: int) -> tuple[Candidate, ...]:
        heads = [s for s in self.memory._heads() if s.state in (State.QUEUED, State.HELD) and s.run_at <= now]
        return tuple(
            Candidate(
                delivery=sent.delivery,
                message_id=sent.row.id,
                partner=sent.row.partner,
                state=sent.state,
                attempts=sent.attempts,
                first_attempt_at=sent.first_attempt_at,
                last_statuses=sent.statuses[-3:],
            )
            for sent in sorted(heads, key=lambda sent: sent.run_at)[:limit]
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
        past = [s for s in self.memory.sent.values() if s.row.expires_at <= now.timestamp() and s.state in CAN_EXPIRE]
        return tuple(sent.row.id for sent in past[:limit])

    async def owed(self, now: datetime, limit: int) -> tuple[OutgoingItem, ...]:
        return tuple(o.item for o in self.memory.outgoing if not o.done and o.token is None and o.run_at <= now)[:limit]

    async def response(self, client: str, key: str) -> tuple[bytes, bytes] | None:
        return self.memory.answers.get((client, key))


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
        return tuple(message for message in found if message is not None)[:limit]

    async def outbox(self, limit: int) -> tuple[OutboundMessage, ...]:
        outbox = MemoryOutbox(self.memory)
        found = [await outbox.message(message_id) for message_id in self.memory.sent]
        return tuple(message for message in found if message is not None)[:limit]

    async def protected(self) -> Mapping[str, int]:
        kinds = [kind for _, kind in self.memory.protected]
        return {kind: kinds.count(kind) for kind in set(kinds)}

    async def counts(self) -> Mapping[str, int]:
        counts: dict[str, int] = {"log.size": len(self.memory.log)}
        for sent in self.memory.sent.values():
            name = f"outbound.{sent.state}"
            counts[name] = counts.get(name, 0) + 1
        return counts
