"""The typed commands that change durable state: pure values, one per transaction of log.md B3.

A flow builds a command after everything has been decided and verified; the store only carries it out. A command
names what it `touches`, so that two commands on one message, lane, agreement or row never share a batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Generic, Literal, TypeVar

from gateway.core.lifecycle import Event, ReceiptEvent, State
from gateway.core.retry import Next

R = TypeVar("R", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The erasable opening of one commitment in an entry (log A3): kept encrypted, apart from the entry."""

    field: str
    salt: bytes = dataclasses.field(repr=False)
    value: bytes = dataclasses.field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry ready to append: the exact bytes that are hashed, their leaf hash, and copies for search.

    `tags` are keyed tags of the child (erasable); `openings` the erasable openings of the entry's commitments.
    """

    kind: str
    at_us: int
    data: bytes
    leaf: bytes
    message_id: str | None = None
    partner: str | None = None
    dir: str | None = None
    type: str | None = None
    agreement: str | None = None
    outcome: str | None = None
    role: str | None = None
    paths: tuple[str, ...] = ()
    tags: frozenset[bytes] = frozenset()
    openings: tuple[Opening, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The heads of both parties' event chains that a decision was made against."""

    agreement: str
    a: str
    b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[R]):
    """Base of all commands; `R` is what the store answers after the commit.

    `settled` ones keep what has happened already; the others were decided on what was read, and are decided again where
    somebody else wrote to the database meanwhile.
    """

    settled: ClassVar[bool] = False

    def touches(self) -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What follows from a message besides the message itself, carried out in its transaction (`core.service`)."""

    def touches(self) -> frozenset[str]:
        return frozenset()


def _touched_by(effects: tuple[Effect, ...]) -> frozenset[str]:
    return frozenset().union(*(effect.touches() for effect in effects))


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """The key under which an own client may repeat a request, the digest of the request, and the stored answer."""

    client: str
    key: str
    request_digest: bytes
    response: bytes


# --- outbound


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRow:
    """An own message as it is stored. Times in seconds; digests in text form; `lane_key` is a keyed tag."""

    id: str
    partner: str
    type: str
    agreement: str
    env: str
    jws: str
    thread: str
    urgency: str
    created_at: int
    expires_at: int
    lane_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A submission that is durably queued; `response` is what every repeat of it gets, `repeated` whether this was one."""

    response: bytes
    repeated: bool
    index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit(Command[Accepted]):
    """T1: command + message + content + lane + delivery + 'submitted', then the effects. Raises HeadsMovedError,
    IdempotencyConflictError. `heads` None: nothing was decided by the agreement's events."""

    message: OutboundRow
    envelope: bytes
    inner: bytes = field(repr=False)
    idempotency: Idempotency
    heads: Heads | None
    entry: LogEntry
    effects: tuple[Effect, ...] = ()

    def touches(self) -> frozenset[str]:
        return _touched_by(self.effects) | {
            f"lane:{self.message.partner}:{self.message.lane_key.hex()}",
            f"message:{self.message.id}",
            f"idempotency:{self.idempotency.client}:{self.idempotency.key}",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Command[int]):
    """One entry and nothing else (a refusal, a search, a note of an operator's act); answers its index."""

    settled: ClassVar[bool] = True

    entry: LogEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to attempt one delivery. After `until` another may claim it: from then on this token changes nothing."""

    delivery: int
    token: bytes
    attempt: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Command[Lease | None]):
    """T2: lease one lane head whose run_at has come, and write the attempt row BEFORE the attempt; None if it is not to
    be had (not the head, not ready, leased). Message queued|held -> sending. Raises HeadsMovedError; `heads` as in Submit."""

    delivery: int
    message_id: str
    heads: Heads | None
    token: bytes
    now: datetime
    until: datetime

    def touches(self) -> frozenset[str]:
        return frozenset({f"message:{self.message_id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptIn:
    """A verified receipt of a partner for an own message: exact bytes, and the leaf of the partner's entry in it."""

    message_id: str
    event: ReceiptEvent
    data: bytes
    leaf: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete(Command[bool]):
    """T3: the answer was a verified receipt. `entries` maps each state entered to its entry (delivered; rejected).
    Answers False, changing nothing, where the lease token is no longer the current one (I8)."""

    settled: ClassVar[bool] = True

    lease: Lease
    message_id: str
    receipt: ReceiptIn
    entries: Mapping[State, LogEntry]
    now: datetime
    ms: int

    def touches(self) -> frozenset[str]:
        return frozenset({f"message:{self.message_id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(Command[bool]):
    """T3': the attempt failed; `next` says what becomes of the delivery, `entry` is given where that is logged
    (dead-lettered, expired, held). False, changing nothing, where the lease token is no longer the current one."""

    settled: ClassVar[bool] = True

    lease: Lease
    message_id: str
    outcome: str
    http_status: int | None
    next: Next
    entry: LogEntry | None
    now: datetime
    ms: int

    def touches(self) -> frozenset[str]:
        return frozenset({f"message:{self.message_id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Command[bool]):
    """Keep a queued message back (agreement, protection); looked at again at `look_again`. The entry is written only
    when the message was not held for the same `codes` before; answers whether it was. False, changing nothing, while a
    lease on the message is in force: what is on its way is not kept back."""

    message_id: str
    codes: tuple[str, ...]
    entry: LogEntry
    look_again: datetime

    def touches(self) -> frozenset[str]:
        return frozenset({f"message:{self.message_id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Move(Command[State]):
    """A person's or the clock's act on an own message by the state table: release (held -> queued), expire, cancel,
    resend (dead -> queued; same bytes). Answers the new state; IllegalTransitionError where the table refuses."""

    message_id: str
    event: Event
    entry: LogEntry | None
    now: datetime

    def touches(self) -> frozenset[str]:
        return frozenset({f"message:{self.message_id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeReceipt(Command[bool]):
    """A verified receipt that came by itself (taken, collected, rejected): states by `after_receipt`, one entry for each
    state entered. Repeats (same message and event) change nothing and answer False."""

    receipt: ReceiptIn
    entries: Mapping[State, LogEntry]
    now: datetime

    def touches(self) -> frozenset[str]:
        return frozenset({f"message:{self.receipt.message_id}"})


# --- inbound


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundRow:
    """A partner's message as it is stored, after step 14. `state` received or refused."""

    sender: str
    id: str
    type: str
    agreement: str
    env: str
    jws: str
    thread: str
    urgency: str
    created_at: int
    expires_at: int
    received_at: int


class Reception(StrEnum):
    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of received bytes, and the receipt to answer with: the stored one for a duplicate, empty for a conflict."""

    reception: Reception
    receipt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive(Command[Received]):
    """T4: inbox row; new and checked -> message + handoff + content + 'received'; new and rejected (`inner` None) -> the row
    and its 'refused-inbound' entry only. Duplicates change nothing; same id with other bytes is a CONFLICT.
    `heads` None for a rejection, and as in Submit; `effects` follow a message that is kept. `protect` are tags to put on the list as `location` (a protected child arrived)."""

    message: InboundRow
    inner: bytes | None = field(repr=False)
    receipt: bytes
    entry: LogEntry
    heads: Heads | None
    protect: frozenset[bytes] = frozenset()
    protect_entry: LogEntry | None = None
    effects: tuple[Effect, ...] = ()

    def touches(self) -> frozenset[str]:
        row = self.message
        return _touched_by(self.effects) | {f"inbox:{row.sender}:{row.id}", f"envelope:{row.sender}:{row.env}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge(Command[bytes]):
    """T5: taken by a case system ('handed-over') or opened by a person ('collected'): state, entry, and the receipt queued
    for the sender in one transaction. Answers the receipt: the stored one where it was done before, for there is one of
    each, ever. Taken again changes nothing; opened again appends `entry`, because the log says who opened it every time."""

    sender: str
    message_id: str
    event: ReceiptEvent
    receipt: bytes
    entry: LogEntry
    now: datetime

    def touches(self) -> frozenset[str]:
        return frozenset({f"inbox:{self.sender}:{self.message_id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Command[None]):
    """The content of a partner's message is given to a case system: one 'released' entry, and no state changes. From then on
    a withdrawal does not destroy it by itself. Raises IllegalTransitionError where its content is not here (any more)."""

    sender: str
    message_id: str
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({f"inbox:{self.sender}:{self.message_id}"})


# --- partners, agreements, protection


@dataclass(frozen=True, slots=True, kw_only=True)
class AddBundle(Command[bool]):
    """Keep an accepted key bundle (own or a partner's) and log it; False where the same bytes are held already.
    `broadcast_to` are partners who are to be told of an own new bundle. Messages held for the partner are looked at again
    at once."""

    org: str
    seq: int
    jws: bytes
    fetched_at: int
    entry: LogEntry
    broadcast_to: tuple[str, ...] = ()

    def touches(self) -> frozenset[str]:
        return frozenset({f"partner:{self.org}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PutPartner(Command[None]):
    """Write a partner's row (add, or verify): `verified_by` empty means unverified, nothing is sealed to it.
    Messages held for this partner are looked at again at once."""

    org: str
    name: str
    root: str
    verified_by: tuple[str, ...]
    route: Literal["peer", "mailbox", "s2s"]
    duty_number: str
    fetched_at: int
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({f"partner:{self.org}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementFile:
    """An agreement as stored: canonical JSON decides; `toml` only where it was drafted here."""

    digest: str
    id: str
    version: int
    toml: bytes | None
    canonical: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event of one party's chain, in its published bytes; `hash` is the digest of those bytes in text form."""

    digest: str
    org: str
    n: int
    hash: str
    jws: bytes
    received_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEvent(Command[bool]):
    """Keep an agreement (when new) and one event on it, log it, queue it for the other party when it is ours.
    False where the same event is held already. Held messages of the agreement are looked at again at once.

    `own_head` is given for an event that we wrote: the digest of our last event that it was written after, ZERO_DIGEST
    for the first. Raises HeadsMovedError, changing nothing, where our chain as held is not exactly the n - 1 events that
    end there: it must not fork. None for an event that came from outside, our own brought back by a partner included:
    that is kept as it is, beside another of the same org and n too, because a fork is evidence."""

    file: AgreementFile | None
    event: EventRow
    own_head: str | None
    entry: LogEntry
    push_to: str | None
    now: datetime

    def touches(self) -> frozenset[str]:
        return frozenset({f"agreement:{self.event.digest}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect(Command[int]):
    """Put tags on the protection list (kinds location, identity) or take them off; answers how many rows changed.
    Taking off lets every held message be looked at again at once: whose child it is about, nobody knows."""

    tags: frozenset[bytes]
    kinds: frozenset[str]
    add: bool
    now: datetime
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({"protection"})


# --- what is no first delivery: receipts, events, bundles to partners


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOutgoing(Command[bool]):
    """Lease one outgoing item before its attempt; False if it is not to be had."""

    id: int
    token: bytes
    now: datetime
    until: datetime

    def touches(self) -> frozenset[str]:
        return frozenset({f"outgoing:{self.id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleOutgoing(Command[bool]):
    """The item arrived (`next` None), or what comes next; False where the token is no longer the current one.
    `entry` is written with it: where the item is given up."""

    settled: ClassVar[bool] = True

    id: int
    token: bytes
    next: Next | None
    entry: LogEntry | None = None

    def touches(self) -> frozenset[str]:
        return frozenset({f"outgoing:{self.id}"})


# --- a graceful stop


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLeases(Command[int]):
    """Give back the leases that these tokens hold (None: every lease; only who holds the home may), messages' and outgoing
    items' alike: what was being sent is queued, and due at once. Answers how many there were; a token that is no longer the current one of anything changes nothing."""

    settled: ClassVar[bool] = True

    tokens: frozenset[bytes] | None
    now: datetime


# --- the log's own


@dataclass(frozen=True, slots=True, kw_only=True)
class PutCheckpoint(Command[None]):
    """Publish a signed checkpoint of the log."""

    settled: ClassVar[bool] = True

    size: int
    root: bytes
    note: str
    signed_at: int
