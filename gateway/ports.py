"""All that a flow may touch: Protocols owned by this side, the rows they answer, and `Exchange`, which holds them together.

No library stands behind any name here; `app` is the one module that knows the concrete classes. Readers MUST return
only rows whose mac holds (log A6): a row that fails it counts as absent and raises an alarm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from adapters.port import Adapter
from contracts.check import ProtectedKind
from contracts.vocabulary import Vocabulary
from gateway.core.commands import AgreementFile, Command, EventRow
from gateway.core.daily import Difference, KeptStatement, Window
from gateway.core.lifecycle import InboundState, State
from gateway.entries import Journal
from keys.bundle import KeyBundle
from keys.ring import KeyRing

R = TypeVar("R")
T = TypeVar("T")


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
class Quorum:
    """The witnesses of our log: how many are configured, and when a checkpoint last had a quorum (seconds)."""

    configured: int
    reached_at: int | None


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
    quorum: Quorum


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """One entry of the log, for counting: `codes` are those of a refusal (empty for all else), each once."""

    index: int
    kind: str
    dir: str
    codes: tuple[str, ...]


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


class Statements(Protocol):
    """Daily statements of both sides (`direction` out: ours, in: the partner's), and how they compare with the log."""

    async def last(self, direction: str, partner: str) -> KeptStatement | None: ...
    async def numbered(self, direction: str, partner: str, n: int) -> KeptStatement | None: ...
    async def window(self, partner: str, after: int) -> Window | None:
        """What the log says of the partner from index `after` to the newest checkpoint (an earlier one where that would
        be too much for one statement); None while no checkpoint lies beyond `after`."""
        ...

    async def differences(self, partner: str, before: datetime) -> tuple[tuple[Difference, str], ...]:
        """Contradictions, with the message each is about, a hundred of a kind at most; what is missing from the
        partner's lists counts only where our log had it before an instant."""
        ...


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
    statements: Statements
    peer: Adapter
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    tags: Callable[[Mapping[str, Any]], frozenset[bytes]]
    lane_key: Callable[[str, bool], bytes]
    in_thread: Callable[[Callable[[], T]], Awaitable[T]]
    journal: Journal
    asked: dict[str, int]  # when each partner was last asked for its bundles, in seconds; forgotten at a restart
    wake: Callable[[], None]
    alarm: Callable[[str, Mapping[str, str]], None]

    def jitter(self) -> float:
        """A random fraction in [0, 1), for waits that must not fall together."""
        return int.from_bytes(self.entropy(4), "big") / 2**32
