"""All that a flow may touch: Protocols owned by this side, the rows they answer, and `Exchange`, which holds them together.

No library stands behind any name here; `app` is the one module that knows the concrete classes. Readers MUST return
only rows whose mac holds (log A6): a row that fails it counts as absent and raises an alarm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, Protocol, TypeVar

from adapters.port import Adapter, WitnessLine
from contracts.check import ProtectedKind
from contracts.vocabulary import Vocabulary
from gateway.config import WitnessSettings
from gateway.core.alarms import Alarm, AlarmCode
from gateway.core.commands import AgreementFile, Command, EventRow
from gateway.core.daily import Difference, KeptStatement, Window
from gateway.core.deciding import RefusedRow
from gateway.core.halves import Waiting
from gateway.core.lifecycle import InboundState, State
from gateway.core.service import BreachRecord, Closure, Duty, Erasure
from gateway.core.tokens import Token
from gateway.core.witnessing import CosignatureRow
from gateway.entries import Journal
from keys.bundle import KeyBundle
from keys.key import Kid
from keys.ring import KeyRing

R = TypeVar("R")
T = TypeVar("T")

TELL_AGAIN = 3600  # seconds between two alarms of the same cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """A partner as held: `bundles` are every accepted bundle, ascending; nothing is exchanged while `verified_by` is empty."""

    org: str
    name: str
    root: str
    verified_by: tuple[str, ...]
    route: str
    duty_number: str
    fetched_at: int
    bundles: tuple[KeyBundle, ...]

    @property
    def newest(self) -> KeyBundle:
        return self.bundles[-1]

    @property
    def url(self) -> str:
        """Its exchange URL, by its newest bundle: a partner that moves says so there."""
        return self.newest.endpoints.exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRecord:
    """An agreement as stored, with every event of both chains (forks included), unverified."""

    file: AgreementFile
    events: tuple[EventRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A delivery whose turn has come: the head of its lane, or a held one to look at again."""

    delivery: int
    message_id: str
    partner: str
    state: State
    attempts: int
    first_attempt_at: datetime | None
    last_statuses: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundMessage:
    """An own message as stored; `envelope` and `inner` are the exact bytes sealed and signed."""

    id: str
    partner: str
    type: str
    agreement: str
    state: State
    env: str
    jws: str
    thread: str
    urgency: str
    created_at: int
    expires_at: int
    held_for: tuple[str, ...]
    attempts: int
    last_error: str | None
    receipts: tuple[tuple[str, bytes], ...]
    envelope: bytes = field(repr=False)
    inner: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """A partner's message as stored: header, state, own receipts; `inner` (None when refused) is the signed bytes."""

    sender: str
    id: str
    type: str
    agreement: str
    state: InboundState
    env: str
    jws: str
    thread: str
    urgency: str
    created_at: int
    expires_at: int
    received_at: int
    receipts: tuple[tuple[str, bytes], ...]
    inner: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingItem:
    """Something owed to a partner that is no first delivery: a receipt, an agreement event, a bundle."""

    id: int
    partner: str
    kind: str
    ref: str
    data: bytes
    attempts: int
    first_attempt_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pile:
    """Messages of one partner in one state, counted: `oldest` is when the first of them was written (outbound) or received
    (inbound), in seconds; `recent` how many of them were within a week."""

    direction: Literal["out", "in"]
    partner: str
    state: str
    urgent: bool
    count: int
    recent: int
    oldest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEntry:
    """An entry of the exchange log: `data` are the exact bytes hashed, `leaf` their leaf hash."""

    index: int
    data: bytes
    leaf: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckpoint:
    """A checkpoint of the own log as signed: `note` are its bytes, `signed_at` in seconds."""

    size: int
    root: bytes
    note: bytes
    signed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """Why an entry is in the log: `hashes` lead from its leaf to the root of the checkpoint (RFC 6962 section 2.1.1)."""

    entry: LoggedEntry
    hashes: tuple[bytes, ...]
    checkpoint: SignedCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessedLog:
    """What we cosigned last of a partner's log: `note` holds its text, the log's signature and our cosignature."""

    origin: str
    partner: str
    size: int
    root: bytes
    note: bytes
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnprovenReceipt:
    """A receipt for an own message whose entry has not been proven to be in its issuer's log; `leaf` is that entry's,
    `number` grows with each receipt kept."""

    number: int
    message_id: str
    data: bytes
    leaf: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands in the store, counted: states and codes, never a message, a case or a person.

    `held` counts held messages by code, `owed` owed items by state. `log_at` is the instant of the newest entry,
    `checkpoint` (size, root) the newest one signed and `signed_at` when. `ahead` is by how many seconds each partner's clock
    seems to be ahead of ours, judged by the times in its newest receipts; `differences` how many were ever found between
    partners' daily statements and our log.
    """

    revision: str
    piles: tuple[Pile, ...]
    held: Mapping[str, int]
    owed: Mapping[str, int]
    owed_since: int | None
    log_size: int
    log_at: int
    checkpoint: tuple[int, bytes] | None
    signed_at: int | None
    ahead: Mapping[str, int]
    differences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """One entry of the log, for counting: `codes` are those of a refusal (empty for all else), each once."""

    index: int
    kind: str
    dir: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumStanding:
    """How far witnesses vouch for our log: `needed` of `witnesses` cosigned its first `size` entries. `since` is when (in
    seconds) the first checkpoint beyond that was signed, None where there is none, or nobody is asked."""

    witnesses: int
    needed: int
    size: int
    since: int | None
    looked_at: datetime


class Store(Protocol):
    """Durable writes. MUST answer only after the commit; MUST apply commands in order of arrival."""

    async def write(self, command: Command[R]) -> R: ...


class Partners(Protocol):
    async def get(self, org: str) -> Partner | None: ...
    async def all(self) -> tuple[Partner, ...]: ...
    async def own_bundles(self) -> tuple[KeyBundle, ...]: ...


class Agreements(Protocol):
    async def get(self, digest: str) -> AgreementRecord | None: ...
    async def all(self) -> tuple[AgreementRecord, ...]: ...
    async def between(self, partner: str) -> tuple[AgreementRecord, ...]:
        """Every agreement to which `partner` is a party."""
        ...


class Outbox(Protocol):
    async def due(self, now: datetime, limit: int) -> tuple[Candidate, ...]:
        """Lane heads (queued or held) whose run_at has come and whose lane is not busy, oldest first, fair by partner."""
        ...

    async def message(self, message_id: str) -> OutboundMessage | None: ...
    async def expiring(self, now: datetime, limit: int) -> tuple[str, ...]:
        """Ids of own messages past `exp` in a state that can expire."""
        ...

    async def owed(self, now: datetime, limit: int) -> tuple[OutgoingItem, ...]: ...
    async def response(self, client: str, key: str) -> tuple[bytes, bytes] | None:
        """(request digest, stored response) of an idempotency key already seen."""
        ...


class Inbox(Protocol):
    async def stored_receipt(self, sender: str, env: str) -> bytes | None:
        """The receipt given for exactly these bytes of this sender (reading step 1a)."""
        ...

    async def env_of(self, sender: str, message_id: str) -> str | None: ...
    async def message(self, message_id: str, sender: str | None = None) -> InboundMessage | None:
        """The message of this id; ids are unique per sender only, so None also where several used it and none is named."""
        ...


class Protection(Protocol):
    async def kinds(self, tags: Iterable[bytes]) -> frozenset[ProtectedKind]:
        """The kinds (location, identity) under which any of these tags is listed."""
        ...


class Overview(Protocol):
    """Lists for people: headers and states, never a body."""

    async def inbox(self, limit: int) -> tuple[InboundMessage, ...]: ...
    async def outbox(self, limit: int) -> tuple[OutboundMessage, ...]: ...
    async def counts(self) -> Mapping[str, int]:
        """How many: `outbound.<state>`, `inbound.<state>`, `owed`, `owed.dead` (given up), `log.size`,
        `statements.different` (differences ever found)."""
        ...

    async def standing(self, now: datetime) -> Standing: ...
    async def noted(self, start: int, limit: int) -> tuple[Noted, ...]:
        """The entries of the log from index `start` on, in order."""
        ...

    async def protected(self) -> Mapping[str, int]:
        """How many tags are on the protection list, by kind; who they are cannot be told from them."""
        ...


class Halves(Protocol):
    """Halves of acts that need two people."""

    async def waiting(self) -> Waiting:
        """Those of every act that the log states and has not stated gone."""
        ...


class Refusals(Protocol):
    """Rows that decide and were refused (log A6), until the exchange log has been told of them."""

    def take(self) -> RefusedRow | None:
        """The oldest, which MUST be added again where it could not be told; None where nothing waits."""
        ...

    def add(self, row: RefusedRow) -> None: ...


class Seeds(Protocol):
    """The seeds of the own KEM keys, in the keystore and in the memory of this process."""

    def held(self) -> frozenset[Kid]:
        """Those in memory."""
        ...

    def destroy(self, kids: Set[Kid]) -> frozenset[Kid]:
        """Take seeds out of memory, then out of the keystore; return those that the keystore held. Called in a thread.

        MUST be out of memory whatever becomes of the keystore. Raises KeystoreError and HomeError where it cannot be written.
        """
        ...

    async def logged(self) -> frozenset[str]:
        """The digests of keys that a 'key-destroyed' entry of the log names."""
        ...


class Statements(Protocol):
    """Daily statements of both sides (`direction` out: ours, in: the partner's), and how they compare with the log."""

    async def last(self, direction: str, partner: str) -> KeptStatement | None:
        """The newest of the highest number."""
        ...

    async def numbered(self, direction: str, partner: str, n: int) -> tuple[KeptStatement, ...]:
        """Those of this number, the newest first: a partner that was restored numbers anew."""
        ...

    async def heard_until(self, partner: str) -> int | None:
        """The latest `to` that the partner stated, under whatever number; None where it stated nothing."""
        ...

    async def window(self, partner: str, after: int) -> Window | None:
        """What the log says of the partner from index `after` to the newest checkpoint (an earlier one where that would
        be too much for one statement); None while no checkpoint lies beyond `after`."""
        ...

    async def differences(self, partner: str, before: datetime) -> tuple[tuple[Difference, str], ...]:
        """Contradictions that are not noted yet, with the message each is about, a hundred of a kind at most; what is
        missing from the partner's lists counts only where our log had it before an instant."""
        ...


class WebhookCursors(Protocol):
    async def position(self, name: str) -> int | None:
        """The index before which a receiver has everything; None where it is new."""
        ...


class Log(Protocol):
    """The own exchange log, read. MUST NOT answer with a proof that does not hold: LogInconsistentError instead."""

    async def checkpoint(self) -> SignedCheckpoint | None:
        """The newest signed one; None until the first."""
        ...

    async def proof(self, index: int, size: int | None = None) -> Inclusion | None:
        """That this entry is in the tree of the newest checkpoint, or of the one of `size`; None where that does not reach
        it (yet), or is not kept."""
        ...

    async def consistency(self, size1: int, size2: int) -> tuple[bytes, ...] | None:
        """That the tree of `size1` begins that of `size2` (RFC 6962 section 2.1.2); None unless 1 <= size1 <= size2 <= entries."""
        ...

    async def index_of_leaf(self, leaf: bytes) -> int | None: ...
    async def entries_of(self, message_id: str, limit: int) -> tuple[LoggedEntry, ...]:
        """The entries that name this message, oldest first."""
        ...


class Witnesses(Protocol):
    """Who cosigned our log, what we cosigned of others', and which receipts are proven."""

    async def log(self, origin: str) -> WitnessedLog | None:
        """What we remember of a log. MUST raise RowTamperedError, not answer None, where the row's mac fails."""
        ...

    async def logs(self) -> tuple[WitnessedLog, ...]: ...
    async def cosignatures(self, size: int) -> tuple[CosignatureRow, ...]:
        """Those of our checkpoint of this size."""
        ...

    async def newest_cosigned(self, witnesses: Collection[str], at_most: int | None) -> Mapping[str, int]:
        """For each of these verifier keys the largest size that it cosigned, up to `at_most` where it is given; without
        those that cosigned none. MUST NOT take longer the more cosignatures there are."""
        ...

    async def last_cosigned(self, witnesses: Collection[str]) -> int:
        """The largest size that one of these verifier keys cosigned; 0 where none did."""
        ...

    async def first_above(self, size: int) -> SignedCheckpoint | None:
        """Our smallest checkpoint larger than this size."""
        ...

    async def unproven_from(self) -> tuple[str, ...]:
        """The partners who gave a receipt that is not proven."""
        ...

    async def unproven(
        self, partner: str, limit: int, *, after: int = 0, sent_by: int | None = None
    ) -> tuple[UnprovenReceipt, ...]:
        """Receipts of this partner that are not proven, oldest first; only those behind the one numbered `after`, and
        for messages made at `sent_by` (seconds) or before."""
        ...

    async def proof(self, leaf: bytes) -> bytes | None:
        """The proof kept for the receipt with this leaf."""
        ...


class Service(Protocol):
    """What service messages have asked, either way, and what followed."""

    async def duties(self, *, settled: bool) -> tuple[Duty, ...]:
        """Every duty that is open, or every one there ever was, the one due first first."""
        ...

    async def said_of(self, sender: str, message_id: str) -> tuple[Duty, ...]:
        """What service messages have said of one message of `sender`, the oldest first."""
        ...

    async def breaches(self) -> tuple[BreachRecord, ...]:
        """Every breach, the one to decide first first."""
        ...

    async def closure(self, partner: str, thread: str) -> Closure | None: ...
    async def erasure(self, sender: str, message_id: str) -> Erasure | None: ...
    async def agreements_of(self, partner: str, thread: str) -> tuple[str, ...]:
        """The digests of the agreements under which messages of this thread went to or came from this partner, each once,
        the oldest message's first; what was refused is left out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEvent:
    """What one entry of the exchange log says became of a message: ids and codes. `state` is the one it led to."""

    index: int
    at_us: int
    kind: str
    dir: Literal["in", "out"]
    message_id: str
    partner: str
    thread: str
    state: State | InboundState


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far the lists of own clients go: entries of the log, the newest arrival's place (0: none), and the leaf hash of the
    newest entry `restored` (None: none), since which numbers are counted."""

    entries: int
    arrivals: int
    restored: bytes | None


class Events(Protocol):
    """What own clients are told of: the entries that changed a message's state, in the order of the log."""

    async def after(self, index: int, limit: int) -> tuple[MessageEvent, ...]:
        """The first `limit` whose entry has an index above `index` (-1: from the beginning), ascending."""
        ...

    async def reach(self) -> Reach: ...


class Arrivals(Protocol):
    """Partners' messages in the order in which they were kept; what was refused at the door is not among them."""

    async def after(self, place: int, limit: int) -> tuple[tuple[int, InboundMessage], ...]:
        """The first `limit` with a place above `place` (0: from the beginning), ascending. A place never changes, and
        what is kept later has a higher one."""
        ...


class Enquiries(Protocol):
    async def asked(self, tags: Iterable[bytes], since: datetime) -> frozenset[str]:
        """The partners to whom a `cme.enquiry` with any of these tags was submitted at `since` or later."""
        ...


class Tokens(Protocol):
    """Tokens of own clients, revoked and expired ones too: whether one is in force is the flow's to say."""

    async def of(self, digest: bytes) -> Token | None:
        """The token whose text has this SHA-256; one indexed lookup."""
        ...

    async def all(self) -> tuple[Token, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """Who this gateway is: `url` is the public exchange URL, from configuration and never from a request."""

    id: str
    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Everything a flow may touch. One value, passed in; no globals."""

    own: Organisation
    vocabulary: Vocabulary
    ring: Callable[[], KeyRing]

    store: Store
    partners: Partners
    agreements: Agreements
    outbox: Outbox
    inbox: Inbox
    protection: Protection
    overview: Overview
    seeds: Seeds
    statements: Statements
    log: Log
    witnesses: Witnesses
    service: Service
    bank_holidays: Callable[[int], frozenset[date]]  # of England, in a year
    events: Events
    webhooks: WebhookCursors
    arrivals: Arrivals
    enquiries: Enquiries
    tokens: Tokens
    halves: Halves
    peer: Adapter
    witness_line: WitnessLine
    witness_settings: WitnessSettings
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    tags: Callable[[Mapping[str, Any]], frozenset[bytes]]
    lane_key: Callable[[str, bool], bytes]
    in_thread: Callable[[Callable[[], T]], Awaitable[T]]
    journal: Journal
    asked: dict[str, int]  # when each partner was last asked for its bundles, in seconds; forgotten at a restart
    standing: dict[str, QuorumStanding]  # the last look at who cosigned, by our log's origin; forgotten at a restart
    told: dict[
        str, int
    ]  # when an alarm was last raised that would else be raised too often, in seconds; forgotten likewise
    wake: Callable[[], None]
    sign_log: Callable[[], Awaitable[bool]]  # has a checkpoint signed now, where the log grew since the last
    alarm: Alarm

    def tell(self, alarm: AlarmCode, about: str, details: Mapping[str, str], now: datetime) -> None:
        """Raise an alarm that strangers, or the clock, could raise without end: once an hour for what it is `about`."""
        at = int(now.timestamp())
        if at - self.told.get(f"{alarm} {about}", 0) >= TELL_AGAIN:
            self.told[f"{alarm} {about}"] = at
            self.alarm(alarm, details)

    def jitter(self) -> float:
        """A random fraction in [0, 1), for waits that must not fall together."""
        return int.from_bytes(self.entropy(4), "big") / 2**32
