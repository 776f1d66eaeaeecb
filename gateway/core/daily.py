"""The daily statement: what one organisation says it sent to a partner and received from it (envelope section 1).

Pure. Each side lists by its own log what it sent with a receipt to show for it, what it received and what it rejected,
between two checkpoints of its log; the statements of both sides together must say the same. Names and digests only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.document import read_wire
from contracts.errors import DocumentError
from gateway.core.commands import Command, LogEntry
from gateway.core.errors import SafehandError
from gateway.core.payload import UUID, Digest, Instant, Kid, Member, MessageId, Org
from keys.errors import KeysError
from keys.key import SigningPair
from keys.statement import ClaimedStatement, read_statement, sign_statement
from keys.suite import STATEMENT_TYPE

STATEMENT_LIMIT: Final = 640 * 1024  # bytes, envelope section 10
A_DAY: Final = timedelta(days=1)
MOST_A_DAY: Final = 8  # of one partner's that are kept: one is the rule, and more where it has much to catch up with
MOST_ITEMS: Final = 3_000  # of all three lists: 140 bytes each, a third more in base64url


class StatementRejectedError(SafehandError):
    """A daily statement that is not in its one form, or not its organisation's; `cause` names the rule."""

    code = "statement.rejected"

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(cause)


class Difference(StrEnum):
    """How the partner's statements and our own log contradict each other."""

    CLAIMED_RECEIVED = "claimed-received"  # the partner received in our name what we never sent
    CLAIMED_SENT = "claimed-sent"  # the partner holds a receipt of ours for what we do not have
    NOT_RECEIVED = "not-received"  # we hold a receipt for what the partner does not say it received
    NOT_SENT = "not-sent"  # we received what the partner does not say it sent
    FORKED = "forked"  # a statement that does not follow the one before, or the second under one number
    UNANSWERED = "unanswered"  # the partner has stated nothing for two days


class Item(Member, frozen=True, kw_only=True):
    """One message: its id and the digest of its sealed bytes."""

    id: MessageId
    env: Digest


class Head(Member, frozen=True, kw_only=True):
    """The checkpoint of the issuer's log at which the statement ends."""

    origin: Annotated[str, Meta(min_length=1, max_length=255)]
    size: Instant
    root: Digest


class StatementPayload(Member, frozen=True, kw_only=True):
    """The payload, in its order. `n` counts from 1 for each partner, `prev` is absent in the first; times in seconds.

    Lists ascend by id. `from` is the `to` of the one before.
    """

    v: Literal[1]
    id: Annotated[str, Meta(pattern=UUID)]
    org: Org
    sig: tuple[Kid, Kid]
    bundle: Digest
    partner: Org
    n: Annotated[int, Meta(ge=1, lt=2**53)]
    prev: Digest | UnsetType = UNSET
    from_: Instant = msgspec.field(name="from")
    to: Instant
    sent: tuple[Item, ...]
    received: tuple[Item, ...]
    rejected: tuple[Item, ...]
    head: Head


_decoder = msgspec.json.Decoder(StatementPayload)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDaily:
    """A daily statement in strict form; nothing in it is proven."""

    data: bytes
    statement: ClaimedStatement
    payload: StatementPayload


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What the own log says of one partner from the last statement's size up to the checkpoint `head`; `more` where that
    is not the newest checkpoint, because it would be too much for one statement."""

    sent: tuple[Item, ...]
    received: tuple[Item, ...]
    rejected: tuple[Item, ...]
    head: Head
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptStatement:
    """A statement as stored, one's own or a partner's."""

    n: int
    digest: str
    to: int
    head: Head
    data: bytes


def sign_daily(payload: StatementPayload, pair: SigningPair) -> bytes:
    """Return the statement's exact bytes."""
    return sign_statement(msgspec.json.encode(payload), STATEMENT_TYPE, pair.signers)


def read_daily(data: bytes) -> ClaimedDaily:
    """Return the parts of a daily statement in strict form; raises StatementRejectedError."""
    try:
        statement = read_statement(data, limit=STATEMENT_LIMIT)
        read_wire(statement.payload, limit=STATEMENT_LIMIT)
        payload = _decoder.decode(statement.payload)
    except (KeysError, DocumentError, msgspec.ValidationError):
        raise StatementRejectedError("not a daily statement in strict form") from None
    if msgspec.json.encode(payload) != statement.payload:
        raise StatementRejectedError("members are not in their order")
    if (payload.n == 1) != (payload.prev is UNSET):
        raise StatementRejectedError("prev is absent in the first statement, and in no other")
    if payload.to < payload.from_:
        raise StatementRejectedError("it ends before it begins")
    for listed in (payload.sent, payload.received, payload.rejected):
        if any(a.id >= b.id for a, b in pairwise(listed)):
            raise StatementRejectedError("a list does not ascend")
    return ClaimedDaily(data=data, statement=statement, payload=payload)


def ascending(items: Sequence[Item]) -> tuple[Item, ...]:
    """Return the items by id, each once."""
    return tuple(sorted({item.id: item for item in items}.values(), key=lambda item: item.id))


# --- commands


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepStatement(Command[bool]):
    """Keep a statement, ours (`dir` out: queued for the partner in the same transaction) or a verified one of the partner
    (`dir` in: its lists are kept for comparison), and log it. Another one under a number that is held is kept beside it.
    False, changing nothing, where these bytes are held already. Raises NotYetError where a partner's would be one more than
    MOST_A_DAY in a day: what it has to say is heard later, and nobody can fill our disk with what he signs."""

    dir: Literal["in", "out"]
    partner: str
    payload: StatementPayload
    digest: str
    data: bytes
    entry: LogEntry
    now: datetime

    def touches(self) -> frozenset[str]:
        return frozenset({f"statement:{self.dir}:{self.partner}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteDifference(Command[bool]):
    """Log a difference found, once for each partner, kind and subject (a message id; the number of a FORKED one; since when it is UNANSWERED)."""

    partner: str
    difference: Difference
    subject: str
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({f"difference:{self.partner}:{self.difference}:{self.subject}"})
