"""P, the signed payload of a message (envelope section 1): its members, in their order, and nothing else.

Pure. One declaration is schema, parser and serialiser: whatever parses must re-encode to the same bytes, so order,
duplicates, white space and needless escapes are all refused by one comparison.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from contracts.document import read_wire
from contracts.errors import DocumentError

PAYLOAD_LIMIT = 256 * 1024  # envelope section 1

ORG = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z"
KID = r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z"  # canonical base64url of 32 bytes
DIGEST = r"^sha256:[0-9a-f]{64}\Z"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z"  # RFC 9562
UUID7 = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z"
NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}")  # member names inside facts and body (section 10)

Org = Annotated[str, Meta(pattern=ORG)]
Kid = Annotated[str, Meta(pattern=KID)]
Digest = Annotated[str, Meta(pattern=DIGEST)]
MessageId = Annotated[str, Meta(pattern=UUID7)]
Instant = Annotated[int, Meta(ge=0, lt=2**53)]
Size = Annotated[int, Meta(ge=0, lt=2**53)]


class Member(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    """Base of the objects inside P: unknown members are refused, absent ones are UNSET and never null."""


class Sender(Member, frozen=True, kw_only=True):
    """Who sends: organisation, the controller it acts for, its two signing keys, the digest of its bundle."""

    org: Org
    for_: Org | UnsetType = msgspec.field(default=UNSET, name="for")
    sig: tuple[Kid, Kid]
    bundle: Digest


class Addressee(Member, frozen=True, kw_only=True):
    """One recipient key: organisation, the controller it acts for, and the KEM key sealed to."""

    org: Org
    for_: Org | UnsetType = msgspec.field(default=UNSET, name="for")
    enc: Kid


class Governing(Member, frozen=True, kw_only=True):
    """The one agreement that governs, and the heads of both parties' event chains that the sender checked against."""

    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,78}[a-z0-9]\Z")]  # as contracts.names
    version: Annotated[int, Meta(ge=1, lt=2**53)]
    digest: Digest
    heads: tuple[Digest, Digest]


class Attachment(Member, frozen=True, kw_only=True):
    """A file that travels beside the message (envelope section 3)."""

    name: Annotated[str, Meta(min_length=1, max_length=120)]
    media: Annotated[str, Meta(min_length=1, max_length=120)]
    size: Size
    alg: Literal["cobblestone-256"]
    key: Kid
    sha256: Digest
    csize: Size
    psha256: Digest


class Payload(Member, frozen=True, kw_only=True):
    """P itself. Times in seconds since 1970; digests `sha256:` and hex; `facts` and `body` keep the sender's order."""

    v: Literal[1]
    suite: Literal["sh1"]
    id: MessageId
    typ: Annotated[str, Meta(pattern=r"^[a-z0-9-]+(\.[a-z0-9_-]+)+\Z", max_length=80)]
    salt: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{21}[AQgw]\Z")]
    from_: Sender = msgspec.field(name="from")
    to: Annotated[tuple[Addressee, ...], Meta(min_length=1, max_length=16)]
    iat: Instant
    exp: Instant
    thread: MessageId | UnsetType = UNSET
    replaces: MessageId | UnsetType = UNSET
    agreement: Governing
    facts: dict[str, str | bool | int]
    body: dict[str, Any]
    att: Annotated[tuple[Attachment, ...], Meta(max_length=64)]


_decoder = msgspec.json.Decoder(Payload)
_encoder = msgspec.json.Encoder()


def encode_payload(payload: Payload) -> bytes:
    """Return P's wire bytes."""
    return _encoder.encode(payload)


def read_payload(data: bytes) -> Payload:
    """Return the payload of P's bytes; raises DocumentError where anything is other than section 1 and 10 say."""
    value = read_wire(data, limit=PAYLOAD_LIMIT)
    try:
        payload = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise DocumentError("a member is missing, unknown or of another form", _place(error)) from None
    if _encoder.encode(payload) != data:
        raise DocumentError("members are not in their order")
    for part in (value["facts"], value["body"]):
        _check_names(part)
    if len({(entry.org, entry.for_ if isinstance(entry.for_, str) else "") for entry in payload.to}) != 1:
        raise DocumentError("recipients of more than one organisation", "to")
    return payload


def _check_names(value: Any) -> None:
    if isinstance(value, dict):
        for name, member in value.items():
            if not NAME.fullmatch(name):
                raise DocumentError("a member name of another form inside facts or body")
            _check_names(member)
    elif isinstance(value, list):
        for item in value:
            _check_names(item)


_PLACE = re.compile(r"`\$\.([a-z0-9_.\[\]]{1,60})`\Z")


def _place(error: msgspec.ValidationError) -> str:
    """The path msgspec names, where it lies in P's own members; inside facts and body it could be data."""
    found = _PLACE.search(str(error))
    place = found.group(1) if found else ""
    return "" if place.startswith(("facts", "body")) else place
