"""RFC 9421 HTTP message signatures in the one fixed form between partners (envelope sections 6 and 10).

Pure: no clock, no socket. Not a general implementation: covered components, parameters and their order are fixed,
so a header either is the text that this module would write or is refused. Read `read_signature` before the body is
read (it tells which key to fetch), `verify_request` after, and record the nonce only then.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from keys import base64url, suite
from keys.errors import Base64Error, HttpSignatureError, SignatureError
from keys.key import Ed25519Public, Ed25519Secret, Kid

WINDOW = 300  # seconds that `created` may be away from now
NONCE_SIZE = 16
NONCE_LIFETIME = 600  # seconds: `created` may be ahead of now by one window and is good for another
NONCE_LIMIT = 2**18  # nonces of one organisation: 430 requests a second, all the time

_WITH_BODY = frozenset({"POST", "PUT"})
_METHODS = _WITH_BODY | {"GET"}
_COVERED = '("@method" "@target-uri")'
_COVERED_WITH_BODY = '("@method" "@target-uri" "content-type" "content-digest" "idempotency-key")'
_PARAMETERS = re.compile(
    r';created=([1-9][0-9]{0,14});nonce="([A-Za-z0-9_-]{22})"'
    r';keyid="([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)#([A-Za-z0-9_-]{43})";alg="ed25519";tag="safehand-1"'
)
_LABEL = "safehand="
_VISIBLE = re.compile(r"[!-~]+")
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedSignature:
    """A well-formed signature that nobody has verified: `org` is who the sender says it is."""

    org: str
    kid: Kid
    created: int
    nonce: bytes = field(repr=False)
    idempotency_key: str | None
    content_digest: bytes | None = field(repr=False)
    base: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def sign_request(
    *,
    method: str,
    target_uri: str,
    body: bytes | None,
    idempotency_key: str | None,
    content_type: str | None,
    created: int,
    nonce: bytes,
    org: str,
    secret: Ed25519Secret,
) -> dict[str, str]:
    """Return the headers to send with a request; `created` in seconds, `nonce` 16 fresh random bytes.

    A POST or PUT has a body (even if empty), a content type and an idempotency key; a GET has none of them.
    """
    if (method in _WITH_BODY) is (body is None):
        raise ValueError("a request has a body if and only if it is a POST or PUT")
    if len(nonce) != NONCE_SIZE:
        raise ValueError("a nonce is 16 bytes")
    headers: dict[str, str] = {}
    if body is not None:
        headers["Content-Type"] = content_type or ""
        headers["Content-Digest"] = f"sha-256=:{_base64(hashlib.sha256(body).digest())}:"
        headers["Idempotency-Key"] = idempotency_key or ""
    elif content_type is not None or idempotency_key is not None:
        raise ValueError("a request without a body has no content type and no idempotency key")
    covered = _COVERED if body is None else _COVERED_WITH_BODY
    parameters = (
        f'{covered};created={created};nonce="{base64url.encode(nonce)}"'
        f';keyid="{org}#{secret.public.kid}";alg="ed25519";tag="safehand-1"'
    )
    signature = secret.sign(_base(method, target_uri, headers, parameters))
    headers["Signature-Input"] = _LABEL + parameters
    headers["Signature"] = f"{_LABEL}:{_base64(signature)}:"
    try:
        read_signature(tuple(headers.items()), method=method, target_uri=target_uri)
    except HttpSignatureError as error:  # nothing is sent that a partner would refuse for its form
        raise ValueError(f"the request cannot be signed: {error.rule}") from error
    return headers


def read_signature(headers: Sequence[tuple[str, str]], *, method: str, target_uri: str) -> ClaimedSignature:
    """Return what the headers claim, before the body is read.

    `headers` are all (name, value) pairs as received, repeated ones included. `target_uri` is the configured public
    URL followed by the raw path and query, never built from Host. Raises HttpSignatureError.
    """
    if method not in _METHODS:
        raise HttpSignatureError("http.method", "a partner's request is a GET, POST or PUT")
    if not _VISIBLE.fullmatch(target_uri):
        raise HttpSignatureError("http.target", "the target is visible ASCII")
    signature = _byte_sequence(_only(headers, "Signature"), _LABEL, suite.ED25519_SIGNATURE_SIZE, "http.form")
    covered, signed, content_digest, idempotency_key = _COVERED, {}, None, None
    if method in _WITH_BODY:
        signed = {name: _only(headers, name) for name in ("Content-Type", "Content-Digest", "Idempotency-Key")}
        covered, idempotency_key = _COVERED_WITH_BODY, signed["Idempotency-Key"]
        content_digest = _byte_sequence(signed["Content-Digest"], "sha-256=", 32, "http.content-digest")
        if signed["Content-Type"] != suite.MEDIA_TYPE:
            raise HttpSignatureError("http.content-type", "the content type is exactly the one of JWS and JWE")
        if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise HttpSignatureError("http.idempotency-key", "the idempotency key is a bare id")
    given = _only(headers, "Signature-Input")
    match = _PARAMETERS.fullmatch(given.removeprefix(_LABEL + covered))
    if match is None or given != _LABEL + covered + match[0]:
        raise HttpSignatureError("http.form", "Signature-Input is the one fixed form")
    try:
        nonce = base64url.decode(match[2], NONCE_SIZE)
        base64url.decode(match[4], 32)
    except Base64Error as error:
        raise HttpSignatureError("http.form", error.rule) from error
    return ClaimedSignature(
        org=match[3],
        kid=Kid(match[4]),
        created=int(match[1]),
        nonce=nonce,
        idempotency_key=idempotency_key,
        content_digest=content_digest,
        base=_base(method, target_uri, signed, covered + match[0]),
        signature=signature,
    )


def verify_request(claimed: ClaimedSignature, body: bytes, public: Ed25519Public, now: int) -> None:
    """Raise HttpSignatureError unless the key of `claimed.kid` signed this body no more than 300 seconds from now.

    Not checked here: that `public` is the organisation's HTTP key in force, and that the nonce is new.
    """
    verify_headers(claimed, public, now)
    verify_body(claimed, body)


def verify_headers(claimed: ClaimedSignature, public: Ed25519Public, now: int) -> None:
    """The half of `verify_request` that needs no body: window, key and signature, which covers the body's digest."""
    if abs(now - claimed.created) > WINDOW:
        raise HttpSignatureError("http.window", "the request was signed within 300 seconds of now")
    if public.kid != claimed.kid:
        raise HttpSignatureError("http.key", "the key is the one that the request names")
    try:
        public.verify(claimed.signature, claimed.base)
    except SignatureError as error:
        raise HttpSignatureError("http.signature", error.rule) from error


def verify_body(claimed: ClaimedSignature, body: bytes) -> None:
    """The other half: the body is the one whose digest was signed, or there is none."""
    if claimed.content_digest is None and body:
        raise HttpSignatureError("http.body", "a request without a signed digest has no body")
    if claimed.content_digest is not None and hashlib.sha256(body).digest() != claimed.content_digest:
        raise HttpSignatureError("http.content-digest", "the body is the one that was signed")


class NonceMemory:
    """The nonces of verified requests, for 600 seconds, so that none is good twice; a restart forgets them.

    Bounded: an organisation that fills its share is refused until the oldest is past its time (nothing is forgotten
    early, which would let it be replayed). Not for several threads.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._expiries: dict[str, OrderedDict[bytes, int]] = {}

    def remember(self, org: str, nonce: bytes, now: int) -> None:
        """Record the nonce of a request whose signature verified. Raises HttpSignatureError `http.replay`,
        or `http.nonces` if the organisation has used up its share."""
        expiries = self._expiries.setdefault(org, OrderedDict())
        while expiries and next(iter(expiries.values())) < now:
            expiries.popitem(last=False)
        if nonce in expiries:
            raise HttpSignatureError("http.replay", "a nonce is used once")
        if len(expiries) >= self._limit:
            raise HttpSignatureError("http.nonces", "an organisation has so many requests in 600 seconds and no more")
        expiries[nonce] = now + NONCE_LIFETIME


def _base(method: str, target_uri: str, signed: dict[str, str], parameters: str) -> bytes:
    lines = [f'"@method": {method}', f'"@target-uri": {target_uri}']
    lines += [f'"{name.lower()}": {value}' for name, value in signed.items()]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode("ascii")  # RFC 9421 section 2.5


def _only(headers: Sequence[tuple[str, str]], name: str) -> str:
    values = [value for other, value in headers if other.lower() == name.lower()]
    if len(values) != 1:
        raise HttpSignatureError("http.header", f"there is exactly one {name}")
    return values[0]


def _byte_sequence(text: str, prefix: str, length: int, code: str) -> bytes:
    """Return the bytes of a dictionary with one member, a byte sequence (RFC 9651 section 3.3.5), canonical."""
    try:
        data = binascii.a2b_base64(text.removeprefix(prefix).strip(":"), strict_mode=True)
    except ValueError:
        raise HttpSignatureError(code, "a byte sequence is base64") from None
    if len(data) != length or f"{prefix}:{_base64(data)}:" != text:
        raise HttpSignatureError(code, f"exactly one member, of {length} bytes in canonical base64")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
