"""Receipts: a recipient's signed word for the BYTES received (envelope.md sections 4 and 10), and all conditions for accepting one.

Pure. Issuing makes the statement over entry bytes that were made before the commit; accepting compares every member
with what the sender stored. Reading an entry's members is the caller's (tlog knows entries).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.document import read_wire
from contracts.errors import DocumentError
from gateway.core.errors import ReceiptRejectedError
from gateway.core.lifecycle import ReceiptEvent
from gateway.core.message import CLOCK_SKEW
from gateway.core.payload import UUID, Digest, Governing, Instant, Kid, Member, MessageId, Org
from keys import base64url
from keys.errors import KeysError
from keys.key import SigningPair, VerifyingPair
from keys.statement import ClaimedStatement, read_statement, sign_statement, verify_statement
from keys.suite import RECEIPT_TYPE

RECEIPT_LIMIT: Final = 64 * 1024  # section 10
RULE_LENGTH: Final = 1024  # characters: a rule is a phrase

ENTRY_KINDS: Final[Mapping[str, str]] = {
    "checked": "received",
    "taken": "handed-over",
    "collected": "collected",
    "rejected": "refused-inbound",
}

Code = Literal["expired", "lifetime", "agreement"]


class ReceiptBreach(Member, frozen=True, kw_only=True):
    """One breach of the agreement, as it is told to a partner."""

    code: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,63}\Z")]
    path: Annotated[str, Meta(max_length=1024)]
    rule: Annotated[str, Meta(max_length=RULE_LENGTH)]


class LogBinding(Member, frozen=True, kw_only=True):
    """The entry in the issuer's log, byte for byte, and which log."""

    origin: Annotated[str, Meta(min_length=1, max_length=255)]
    entry: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\Z")]


class ReceiptPayload(Member, frozen=True, kw_only=True):
    """The payload of a receipt, in the order of section 4; `code` only and always with rejected, `breaches` with code agreement."""

    v: Literal[1]
    id: Annotated[str, Meta(pattern=UUID)]
    event: Literal["checked", "taken", "collected", "rejected"]
    code: Code | UnsetType = UNSET
    breaches: Annotated[tuple[ReceiptBreach, ...], Meta(min_length=1)] | UnsetType = UNSET
    msg: MessageId
    env: Digest
    jws: Digest
    att: tuple[Digest, ...]
    agreement: Governing
    from_: Org = msgspec.field(name="from")
    to: Org
    sig: tuple[Kid, Kid]
    bundle: Digest
    at: Instant
    log: LogBinding | UnsetType = UNSET


_decoder = msgspec.json.Decoder(ReceiptPayload)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptFor:
    """The bytes a receipt is for: message id, digests, agreement, who sent them and who received them."""

    msg: str
    env: str
    jws: str
    agreement: Governing
    sender: str
    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a receipt says: the event, and for a rejection its code and the breaches."""

    event: ReceiptEvent
    code: Code | None = None
    breaches: tuple[ReceiptBreach, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedReceipt:
    """A receipt in strict form; nothing in it is proven. `entry` are the issuer's entry bytes."""

    data: bytes
    statement: ClaimedStatement
    payload: ReceiptPayload
    entry: bytes


def issue(
    verdict: Verdict,
    about: ReceiptFor,
    pair: SigningPair,
    *,
    receipt_id: str,
    bundle: str,
    at: int,
    origin: str,
    entry: bytes,
) -> bytes:
    """Return the receipt's exact bytes. `at` in seconds; `entry` the own log entry this receipt is bound to."""
    rejected = verdict.event is ReceiptEvent.REJECTED
    payload = ReceiptPayload(
        v=1,
        id=receipt_id,
        event=verdict.event.value,
        code=verdict.code if rejected and verdict.code else UNSET,
        breaches=verdict.breaches or UNSET,
        msg=about.msg,
        env=about.env,
        jws=about.jws,
        att=(),
        agreement=about.agreement,
        from_=about.recipient,
        to=about.sender,
        sig=pair.kids,
        bundle=bundle,
        at=at,
        log=LogBinding(origin=origin, entry=base64url.encode(entry)),
    )
    return sign_statement(msgspec.json.encode(payload), RECEIPT_TYPE, pair.signers)


def read_receipt(data: bytes) -> ClaimedReceipt:
    """Return the parts of a receipt in strict form; raises ReceiptRejectedError."""
    try:
        statement = read_statement(data, limit=RECEIPT_LIMIT)
        read_wire(statement.payload, limit=RECEIPT_LIMIT)
        payload = _decoder.decode(statement.payload)
    except (KeysError, DocumentError, msgspec.ValidationError):
        raise ReceiptRejectedError("not a receipt in strict form") from None
    if msgspec.json.encode(payload) != statement.payload:
        raise ReceiptRejectedError("members are not in their order")
    rejected = payload.event == "rejected"
    if rejected != (payload.code is not UNSET) or (payload.code == "agreement") != (payload.breaches is not UNSET):
        raise ReceiptRejectedError("code or breaches where they do not belong")
    # A receipt without a log binding comes from a browser; keys held by gateways always bind.
    if isinstance(payload.log, UnsetType):
        raise ReceiptRejectedError("no log entry in the receipt of a gateway")
    try:
        entry = base64url.decode(payload.log.entry)
    except KeysError:
        raise ReceiptRejectedError("the log entry is not canonical base64url") from None
    return ClaimedReceipt(data=data, statement=statement, payload=payload, entry=entry)


def accept(
    claimed: ClaimedReceipt, about: ReceiptFor, pair: VerifyingPair, *, entry: Mapping[str, Any], now: int
) -> Verdict:
    """Return what the receipt proves, if every condition of section 4 holds; raises ReceiptRejectedError naming the first that fails.

    `pair` is the message-sign pair named by `sig` in the newest bundle of the recipient, unrevoked and inside nbf/exp at
    `at` (found by the caller); `entry` the members of the claimed entry. That its leaf was in no earlier receipt, and that
    its origin is a log key's of the recipient, is checked where those are known.
    """
    payload = claimed.payload
    try:
        verify_statement(claimed.statement, RECEIPT_TYPE, pair.publics)
    except KeysError as error:
        raise ReceiptRejectedError(error.rule) from None
    if payload.sig != pair.kids:
        raise ReceiptRejectedError("signed by other keys than it names")
    if (payload.from_, payload.to) != (about.recipient, about.sender):
        raise ReceiptRejectedError("from or to another organisation")
    if (payload.msg, payload.env, payload.jws, payload.att, payload.agreement) != (
        about.msg,
        about.env,
        about.jws,
        (),
        about.agreement,
    ):
        raise ReceiptRejectedError("for other bytes than were sent")
    if payload.at > now + CLOCK_SKEW:
        raise ReceiptRejectedError("from the future")
    expected = {"kind": ENTRY_KINDS[payload.event], "msg": about.msg, "env": about.env, "jws": about.jws}
    if any(entry.get(name) != value for name, value in expected.items()):
        raise ReceiptRejectedError("the log entry names another kind, message or digest")
    origin = payload.log.origin if isinstance(payload.log, LogBinding) else ""
    if (entry.get("org", about.recipient), entry.get("origin", origin)) != (about.recipient, origin):
        raise ReceiptRejectedError("the log entry names another organisation or log")
    return Verdict(
        event=ReceiptEvent(payload.event),
        code=None if isinstance(payload.code, UnsetType) else payload.code,
        breaches=() if isinstance(payload.breaches, UnsetType) else payload.breaches,
    )
