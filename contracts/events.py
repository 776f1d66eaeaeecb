"""The payload of one agreement event, as its two signatures cover it (envelope section 10, agreements section 3).

Pure. Reads and writes the payload bytes only: who signed them is proven elsewhere, and what a chain of events
amounts to is decided in `contracts.lifecycle`. Example:

    {"v":1,"id":"018f..","org":"la-850","sig":["<43>","<43>"],"bundle":"sha256:..",
     "agreement":{"id":"rbkc-hants-cme-transfer","version":1,"digest":"sha256:.."},
     "action":"sign","at":1764547200,"actor_role":"dpo","n":1,"seen":"sha256:.."}
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from contracts.document import MAX_INTEGER, read_wire, write_wire
from contracts.errors import DocumentError

EVENT_TYPE = "safehand-agr+jws"  # `typ` of the statement that carries an event
MAX_EVENT_BYTES = 64 * 1024  # of the payload: a resume that lifts several hundred suspensions still fits

Digest = Annotated[str, Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
_Uuid = Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")]
_Org = Annotated[str, Meta(pattern=r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")]
# 32 bytes in base64url are 43 characters, and the last one carries only four bits.
_Kid = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")]
_AgreementId = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,78}[a-z0-9]\Z")]
_Role = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?\Z")]
_Seconds = Annotated[int, Meta(ge=0, lt=MAX_INTEGER)]
_Count = Annotated[int, Meta(ge=1, lt=MAX_INTEGER)]


class Action(StrEnum):
    """What an event does. The last four are read, and kept in their chain, but not carried out yet."""

    PROPOSE = "propose"
    SIGN = "sign"
    SUSPEND = "suspend"
    RESUME = "resume"
    TERMINATE = "terminate"
    SUPERSEDE = "supersede"
    WITHDRAW = "withdraw"
    REVIEW = "review"
    EXTEND = "extend"


SUPPORTED = frozenset({Action.PROPOSE, Action.SIGN, Action.SUSPEND, Action.RESUME, Action.TERMINATE})
# Only these two may be signed in a hurry, with the keys that the running gateway holds.
MESSAGE_SIGN_SUFFICES = frozenset({Action.SUSPEND, Action.TERMINATE})


class AgreementName(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one agreement an event is about: the digest decides, id and version are for people."""

    id: _AgreementId
    version: _Count
    digest: Digest


class EventPayload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One event as written by `org`; members stand in the order of the wire, `at` is in seconds since 1970."""

    v: Literal[1]
    id: _Uuid
    org: _Org
    sig: tuple[_Kid, _Kid]
    bundle: Digest
    agreement: AgreementName
    action: Action
    at: _Seconds
    actor_role: _Role
    n: _Count
    prev: Digest | None = None
    seen: Digest | None = None
    ref: tuple[Digest, ...] = ()
    diff: Digest | None = None


def read_event(data: bytes) -> EventPayload:
    """Return the event of a payload in wire form. Raises DocumentError naming the place and the rule, never a value."""
    read_wire(data, limit=MAX_EVENT_BYTES)
    try:
        payload = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise DocumentError("not what an agreement event holds here", _place(error)) from None
    # Another member order, `[]` where the member should be absent: whatever parses must re-encode to the same bytes.
    if write_event(payload) != data:
        raise DocumentError("members of an agreement event are out of order, or present though empty")
    check_event(payload)
    return payload


def write_event(payload: EventPayload) -> bytes:
    """Return the bytes to be signed."""
    return write_wire(msgspec.to_builtins(payload))


def check_event(payload: EventPayload) -> None:
    """Refuse what no single member shows: a first event with a predecessor, a later one without, a repeated `ref`."""
    if (payload.prev is None) != (payload.n == 1):
        raise DocumentError("absent in a chain's first event, present in every later one", "prev")
    if len(set(payload.ref)) != len(payload.ref):
        raise DocumentError("names one event twice", "ref")


def _place(error: msgspec.ValidationError) -> str:
    found = re.search(r" - at `\$\.([a-z_.]+(?:\[\d+\])?)`\Z", str(error))
    return found.group(1) if found else ""


_decoder = msgspec.json.Decoder(EventPayload)
