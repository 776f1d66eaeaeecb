"""A leaf of the exchange log: what one entry may say, in the one form whose bytes are hashed.

Pure. An entry stands in the clear and for ever, so every member has a grammar too narrow for a name, a person's number
or a sentence; who and which case go in as commitments, whose openings lie elsewhere and can be erased. Members are those
of log A3, absent ones left out; the declaration below is schema, parser and serialiser at once. What an entry of a given
kind must hold is its author's business (flows, receipts), not this module's.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from binascii import b2a_base64
from collections.abc import Mapping
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from contracts.document import MAX_INTEGER, canonical
from gateway.tlog.errors import EntryError

ENTRY_LIMIT: Final = 32 * 1024  # bytes: an entry travels inside a receipt, twice base64url, and a receipt has 64 KB
SALT_LENGTH: Final = 32
NONCE_LENGTH: Final = 16

_FORM: Final = "not of the form that this member has"
_PLACE: Final = re.compile(r" - at `(?:key in )?\$\.?([a-z.]*)")


class _Members(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the objects in an entry: unknown members are refused, absent ones are UNSET and never null."""


class AgreementRef(_Members, frozen=True, kw_only=True):
    """The one agreement that governed, named so that nobody can mean another."""

    digest: str
    id: str
    version: int


class BreachRef(_Members, frozen=True, kw_only=True):
    """One breach: its code and place, without the value and without the rule's wording."""

    code: str
    path: str


class Entry(_Members, frozen=True, kw_only=True):
    """The members of log A3. `at` in microseconds since 1970; digests and commitments in text form; `paths` ascending.

    Made by hand it is not checked before `encode`; from `parse` it is. `v`, `kind`, `at` and `nonce` are always there:
    the nonce makes every leaf hash unique, and not to be guessed from what the entry says.
    """

    v: Literal[1]
    kind: str
    at: int
    nonce: str
    agreement: AgreementRef | UnsetType = UNSET
    basis: tuple[str, ...] | UnsetType = UNSET
    breaches: tuple[BreachRef, ...] | UnsetType = UNSET
    commit: Mapping[str, str] | UnsetType = UNSET
    conditions: Mapping[str, Literal["true", "false", "unknown"]] | UnsetType = UNSET
    dir: Literal["in", "out", "own"] | UnsetType = UNSET
    env: str | UnsetType = UNSET
    jws: str | UnsetType = UNSET
    msg: str | UnsetType = UNSET
    org: str | UnsetType = UNSET
    origin: str | UnsetType = UNSET
    outcome: str | UnsetType = UNSET
    partner: str | UnsetType = UNSET
    paths: tuple[str, ...] | UnsetType = UNSET
    receipt: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    thread: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    urgency: Literal["routine", "priority", "immediate_risk"] | UnsetType = UNSET


_SHA256 = r"sha256:[0-9a-f]{64}"
_UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"  # random: says nothing of the child
_ORG = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_CODE = r"[a-z][a-z0-9_.-]{0,63}"
_GENERIC = r"[a-z][a-z0-9_]{0,39}(?:\[\])?"
_CONCRETE = r"(?:[a-z][a-z0-9_]{0,39}|\?[0-9]{0,5})(?:\[[0-9]{0,5}\])?"  # ?n: a name that may itself be personal data

# What each text in an entry may be. Nothing here can hold a name, a sentence, or a person's number.
_GRAMMAR: Final[Mapping[str, re.Pattern[str]]] = {
    "agreement.digest": re.compile(_SHA256),
    "agreement.id": re.compile(r"[a-z0-9][a-z0-9._-]{0,79}"),
    "basis": re.compile(r"[A-Za-z0-9][A-Za-z0-9()._/-]{0,63}"),
    "breaches.code": re.compile(_CODE),
    "breaches.path": re.compile(rf"(?:{_CONCRETE}(?:\.{_CONCRETE})*)?"),
    "commit.name": re.compile(_CODE),
    "commit": re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"),  # 32 bytes in canonical base64url
    "conditions.name": re.compile(_CODE),
    "env": re.compile(_SHA256),
    "jws": re.compile(_SHA256),
    "kind": re.compile(r"(?=.{1,40}\Z)[a-z]+(?:-[a-z]+)*"),
    "msg": re.compile(_UUID7),
    "nonce": re.compile(r"[A-Za-z0-9_-]{21}[AQgw]"),  # 16 bytes in canonical base64url
    "org": re.compile(_ORG),
    "origin": re.compile(r"[!-*,-~]{1,200}"),  # a key name: no space, no plus (C2SP signed-note)
    "outcome": re.compile(_CODE),
    "partner": re.compile(_ORG),
    "paths": re.compile(rf"{_GENERIC}(?:\.{_GENERIC})*"),
    "receipt": re.compile(_SHA256),
    "role": re.compile(r"[a-z][a-z_-]{0,39}"),  # no digits, so no staff number
    "thread": re.compile(_UUID7),
    "type": re.compile(r"(?=.{1,80}\Z)[a-z0-9-]+(?:\.[a-z0-9_-]+)+"),
}
_TEXTS: Final = tuple(name for name in _GRAMMAR if "." not in name and name not in {"basis", "commit", "paths"})

_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """Return the canonical bytes (RFC 8785): what is stored, hashed and proven.

    Raises EntryError with the member and the rule it breaks.
    """
    try:
        data = _encoder.encode(entry)
    except (TypeError, ValueError, OverflowError):
        raise EntryError("", "a member of a foreign type") from None
    parse(data)  # nothing enters the log that a reader would refuse
    return data


def parse(data: bytes) -> Entry:
    """Return the entry of canonical bytes; for all bytes that parse, `encode(parse(data)) == data`.

    Raises EntryError with the member and the rule it breaks, never with what stands there.
    """
    entry = parse_shape(data)
    _check_texts(entry)
    return entry


def parse_shape(data: bytes) -> Entry:
    """Return the entry of canonical bytes, its members and their JSON types checked, but not what the texts say.

    For `fsck`, which must read a million: a hash over the bytes decides there, not a grammar.
    """
    if len(data) > ENTRY_LIMIT:
        raise EntryError("", f"larger than {ENTRY_LIMIT} bytes")
    try:
        entry = _decoder.decode(data)
    except msgspec.ValidationError as error:
        # msgspec quotes names and values that it did not expect: only the place leaves here.
        place = _PLACE.search(str(error))
        raise EntryError(place.group(1) if place else "", "a member is missing, foreign or of the wrong type") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise EntryError("", "not JSON in UTF-8") from None
    # INVARIANT: one entry, one sequence of bytes. Order, duplicates, white space, escapes and null all fail here.
    if not data.isascii() or _encoder.encode(entry) != data:
        raise EntryError("", "not canonical JSON")
    return entry


def _check_texts(entry: Entry) -> None:
    """Refuse an entry with a text or a number outside the grammar of its member."""
    if not 0 <= entry.at < MAX_INTEGER:
        raise EntryError("at", "not microseconds since 1970")
    for name in _TEXTS:
        text = getattr(entry, name)
        if text is not UNSET and _GRAMMAR[name].fullmatch(text) is None:
            raise EntryError(name, _FORM)
    if entry.agreement is not UNSET:
        _check_text("agreement.digest", entry.agreement.digest)
        _check_text("agreement.id", entry.agreement.id)
        if not 1 <= entry.agreement.version < MAX_INTEGER:
            raise EntryError("agreement.version", "not a whole number from 1")
    for basis in entry.basis or ():
        _check_text("basis", basis)
    for breach in entry.breaches or ():
        _check_text("breaches.code", breach.code)
        _check_text("breaches.path", breach.path)
    for name, text in (entry.commit or {}).items():
        _check_text("commit.name", name)
        _check_text("commit", text)
    for name in entry.conditions or ():
        _check_text("conditions.name", name)
    before = ""
    for path in entry.paths or ():
        _check_text("paths", path)
        if path <= before:
            raise EntryError("paths", "not strictly ascending")
        before = path


def _check_text(member: str, text: str) -> None:
    if _GRAMMAR[member].fullmatch(text) is None:
        raise EntryError(member, _FORM)


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(00 || entry), RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x00" + data).digest()


def row_mac(append_key: bytes, origin: str, index: int, data: bytes) -> bytes:
    """Return the `mac` column of an entry's row (log A2): HMAC-SHA-256(append key, origin || index u64be || entry)."""
    return hmac.digest(append_key, origin.encode() + index.to_bytes(8, "big") + data, "sha256")


def commitment(salt: bytes, field: str, value: object) -> str:
    """Return the `commit` member for a value that must be provable and yet erasable (log A3).

    HMAC-SHA-256(salt, field || 00 || canonical value) in base64url. `salt` is 32 fresh random bytes, one for each
    commitment: without its salt the text says nothing, even to someone who can guess the value.
    """
    if len(salt) != SALT_LENGTH:
        raise EntryError("commit", f"a salt is {SALT_LENGTH} bytes")
    if _GRAMMAR["commit.name"].fullmatch(field) is None:
        raise EntryError("commit", "a field is named by a code")
    return base64url(hmac.digest(salt, field.encode() + b"\x00" + canonical(value), "sha256"))


def commitment_opens(text: str, salt: bytes, field: str, value: object) -> bool:
    """Whether salt and value open the commitment `text` of `field`."""
    return hmac.compare_digest(text.encode(), commitment(salt, field, value).encode())


def nonce_text(nonce: bytes) -> str:
    """Return the `nonce` member for 16 random bytes."""
    if len(nonce) != NONCE_LENGTH:
        raise EntryError("nonce", f"not {NONCE_LENGTH} bytes")
    return base64url(nonce)


def digest_text(digest: bytes) -> str:
    """Return the text form of a SHA-256 digest (envelope, conventions)."""
    if len(digest) != 32:
        raise EntryError("", "a digest is 32 bytes")
    return f"sha256:{digest.hex()}"


def base64url(data: bytes) -> str:
    """Return base64url without padding, the form of bytes inside an entry."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode()


_TO_URL = bytes.maketrans(b"+/", b"-_")
