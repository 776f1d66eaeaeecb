"""What a key bundle says: strict reading and exact writing of its payload, and every rule that it keeps by itself.

Pure. Knows no signature and no other bundle: what is read here proves nothing until `keys.bundle` accepted it. One
text for one content: whatever is read would be written back as the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from contracts.document import read_wire, write_wire
from contracts.errors import DocumentError
from keys import base64url, suite
from keys.errors import Base64Error, BundleError, KeyFormatError
from keys.key import Ed25519Public, Kid, MlDsa65Public, VerifyingPair, public_from_jwk
from keys.listed import (
    DAY,
    EntryWire,
    ListedKey,
    Mark,
    check_text,
    marks,
    pair_up,
    read_entry,
    write_entry,
)

BUNDLE_LIMIT: Final = 640 * 1024  # bytes; envelope section 10
BUNDLE_LIFETIME: Final = 90 * DAY
FIRST_SEQ: Final = 1
_ROOT: Final = "root"  # the role of root keys wherever roles are compared; no entry can have it

_ORGANISATION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ENDPOINT = re.compile(r"https://(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?")
_PORT_LIMIT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A key that is refused from the moment this is known; `since` (`from` on the wire) judges stored evidence only."""

    kid: Kid
    since: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where the organisation is reached: https, host and port, no path."""

    exchange: str
    witness: str | None
    police: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedBundle:
    """All that a bundle says except its roots: what `keys request` writes and the holder of the root reads and signs."""

    org: str
    name: str
    seq: int
    prev: str | None
    iat: int
    exp: int
    suites: tuple[str, ...]
    keys: tuple[ListedKey, ...]
    revoked: tuple[Revocation, ...]
    endpoints: Endpoints

    def to_bytes(self) -> bytes:
        """Return the request file: the members of a bundle in their order, without `roots` and `next_roots`."""
        return _write(self, None, ())

    @classmethod
    def from_bytes(cls, data: bytes) -> UnsignedBundle:
        """Return the request of a file, held to every rule of a bundle. Raises BundleError."""
        wire = _read(data)
        if wire.roots is not msgspec.UNSET or wire.next_roots is not msgspec.UNSET:
            raise BundleError("bundle.malformed", "an unsigned request has no roots and no next_roots")
        return _content(wire)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedBundle:
    """A whole payload that keeps the rules for a bundle by itself, and that nobody may have signed."""

    content: UnsignedBundle
    roots: VerifyingPair
    next_roots: tuple[Kid, Kid]

    def claims(self) -> Iterator[tuple[Mark, str, Kid]]:
        """Yield (mark, role, kid) of all that is claimed as the organisation's own, announced roots included."""
        for public in self.roots.publics:
            for mark in marks(public):
                yield mark, _ROOT, public.kid
        for kid in self.next_roots:
            yield kid, _ROOT, kid
        for key in self.content.keys:
            for mark in marks(key.public):
                yield mark, key.role, key.kid


def read_payload(payload: bytes) -> ClaimedBundle:
    """Return what a signed payload says. Raises BundleError."""
    wire = _read(payload)
    if wire.roots is msgspec.UNSET or wire.next_roots is msgspec.UNSET:
        raise BundleError("bundle.malformed", "a bundle has roots and next_roots")
    claimed = ClaimedBundle(content=_content(wire), roots=_roots(wire.roots), next_roots=_next_roots(wire.next_roots))
    if len({*claimed.roots.kids, *claimed.next_roots}) != 4:
        raise BundleError("bundle.roots", "both next_roots differ from the roots")
    check_owners({}, claimed.claims())
    return claimed


def write_payload(content: UnsignedBundle, roots: VerifyingPair, next_roots: tuple[Kid, Kid]) -> bytes:
    """Return the payload to sign, after holding it to every rule that `read_payload` holds it to (BundleError)."""
    payload = _write(content, roots, next_roots)
    read_payload(payload)
    return payload


def check_owners(owners: dict[Mark, tuple[str, Kid]], claims: Iterable[tuple[Mark, str, Kid]]) -> None:
    """Enter claims into `owners`; refuse a mark that is there under another role or another key id."""
    for mark, role, kid in claims:
        before_role, before_kid = owners.setdefault(mark, (role, kid))
        if before_role != role:
            raise BundleError("bundle.two-roles", "a key has one role for ever")
        if before_kid != kid:
            raise BundleError("bundle.duplicate", "a public key, or its X25519 half, stands under one kid only")


class _RevokedWire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kid: str
    since: int = msgspec.field(name="from")
    reason: str


class _EndpointsWire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    exchange: str
    witness: str | msgspec.UnsetType = msgspec.UNSET
    police: str | msgspec.UnsetType = msgspec.UNSET


class _BundleWire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The members in their order (envelope section 5)."""

    v: Literal[1]
    org: str
    name: str
    seq: int
    prev: str | msgspec.UnsetType = msgspec.UNSET
    iat: int
    exp: int
    roots: list[dict[str, str]] | msgspec.UnsetType = msgspec.UNSET
    next_roots: list[str] | msgspec.UnsetType = msgspec.UNSET
    suites: list[str]
    keys: list[EntryWire]
    revoked: list[_RevokedWire]
    endpoints: _EndpointsWire


def _read(payload: bytes) -> _BundleWire:
    try:
        value = read_wire(payload, limit=BUNDLE_LIMIT)
        wire = msgspec.convert(value, _BundleWire, strict=True)
    except DocumentError as error:
        raise BundleError("bundle.malformed", error.rule) from error
    except msgspec.ValidationError as error:
        place = str(error).rpartition(" - at ")[2] if " - at " in str(error) else "`$`"
        raise BundleError("bundle.malformed", f"a member is missing, unknown or of the wrong type at {place}") from None
    if write_wire(msgspec.to_builtins(wire)) != payload:
        raise BundleError("bundle.malformed", "the members stand in their order")
    return wire


def _write(content: UnsignedBundle, roots: VerifyingPair | None, next_roots: Sequence[Kid]) -> bytes:
    wire = _BundleWire(
        v=1,
        org=content.org,
        name=content.name,
        seq=content.seq,
        prev=_unset(content.prev),
        iat=content.iat,
        exp=content.exp,
        roots=msgspec.UNSET if roots is None else [public.jwk() for public in roots.publics],
        next_roots=msgspec.UNSET if roots is None else list(next_roots),
        suites=list(content.suites),
        keys=[write_entry(key) for key in content.keys],
        revoked=[_RevokedWire(kid=entry.kid, since=entry.since, reason=entry.reason) for entry in content.revoked],
        endpoints=_EndpointsWire(
            exchange=content.endpoints.exchange,
            witness=_unset(content.endpoints.witness),
            police=_unset(content.endpoints.police),
        ),
    )
    return write_wire(msgspec.to_builtins(wire))


def _content(wire: _BundleWire) -> UnsignedBundle:
    """Return what the members say, if it keeps the rules for a bundle by itself."""
    if not _ORGANISATION.fullmatch(wire.org):
        raise BundleError("bundle.malformed", "org is an organisation id")
    check_text(wire.name, "name")
    if wire.seq < FIRST_SEQ:
        raise BundleError("bundle.malformed", "seq is 1 or more")
    if (wire.prev is msgspec.UNSET) != (wire.seq == FIRST_SEQ):
        raise BundleError("bundle.prev", "prev is absent in the first bundle and present in every other")
    if wire.prev is not msgspec.UNSET and not _DIGEST.fullmatch(wire.prev):
        raise BundleError("bundle.prev", "prev is a digest")
    if not 0 <= wire.iat < wire.exp <= wire.iat + BUNDLE_LIFETIME:
        raise BundleError("bundle.period", "a bundle expires after iat and within 90 days")
    if suite.SUITE not in wire.suites:
        raise BundleError("bundle.suites", "suites contains sh1")
    keys = tuple(read_entry(entry) for entry in wire.keys)
    if len({key.kid for key in keys}) != len(keys):
        raise BundleError("bundle.duplicate", "a kid occurs once in keys")
    pair_up(keys)
    return UnsignedBundle(
        org=wire.org,
        name=wire.name,
        seq=wire.seq,
        prev=_none(wire.prev),
        iat=wire.iat,
        exp=wire.exp,
        suites=tuple(wire.suites),
        keys=keys,
        revoked=_revoked(wire.revoked),
        endpoints=Endpoints(
            exchange=_endpoint(wire.endpoints.exchange),
            witness=None if wire.endpoints.witness is msgspec.UNSET else _endpoint(wire.endpoints.witness),
            police=None if wire.endpoints.police is msgspec.UNSET else _endpoint(wire.endpoints.police),
        ),
    )


def _roots(jwks: Sequence[Mapping[str, Any]]) -> VerifyingPair:
    try:
        publics = [public_from_jwk(jwk) for jwk in jwks]
    except KeyFormatError as error:
        raise BundleError("bundle.roots", error.rule) from error
    if len(publics) == 2:
        ed, ml = publics
        if isinstance(ed, Ed25519Public) and isinstance(ml, MlDsa65Public):
            return VerifyingPair(ed, ml)
    raise BundleError("bundle.roots", "roots are an Ed25519 and an ML-DSA-65 key, in this order")


def _next_roots(kids: Sequence[str]) -> tuple[Kid, Kid]:
    if len(kids) != 2:
        raise BundleError("bundle.roots", "next_roots are two thumbprints")
    return _kid(kids[0]), _kid(kids[1])


def _revoked(entries: Sequence[_RevokedWire]) -> tuple[Revocation, ...]:
    for entry in entries:
        check_text(entry.reason, "reason")
        if entry.since < 0:
            raise BundleError("bundle.malformed", "from is a time in revoked")
    if len({entry.kid for entry in entries}) != len(entries):
        raise BundleError("bundle.duplicate", "a kid occurs once in revoked")
    return tuple(Revocation(kid=_kid(entry.kid), since=entry.since, reason=entry.reason) for entry in entries)


def _endpoint(url: str) -> str:
    match = _ENDPOINT.fullmatch(url)
    if match is None or int(match[1] or 0) > _PORT_LIMIT:
        raise BundleError("bundle.endpoints", "an endpoint is https, a host and perhaps a port, nothing else")
    return url


def _kid(text: str) -> Kid:
    try:
        base64url.decode(text, hashlib.sha256().digest_size)
    except Base64Error as error:
        raise BundleError("bundle.malformed", f"a thumbprint is {error.rule}") from error
    return Kid(text)


def _unset(text: str | None) -> str | msgspec.UnsetType:
    return msgspec.UNSET if text is None else text


def _none(text: str | msgspec.UnsetType) -> str | None:
    return None if text is msgspec.UNSET else text
