"""The gate of the exchange listener: who asks, and not too much at a time. Judges requests, answers none.

A `SignedRequest` or `SignedPost` comes from `Gate` alone, so a handler that has one knows which partner it serves.
What stops what: a stranger cannot make us read a body, or use up a partner's share, with the partner's public key id:
the signature is judged first, as it covers the digest of the body; a body that trickles in ends at its time-out; a
request heard on the way is good once, as its nonce is remembered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NoReturn

from aiohttp import hdrs, web

from gateway import partner_keys
from gateway.core.errors import NotYetError, SafehandError
from gateway.ports import Exchange
from gateway.watch import logger
from gateway.web.middleware import PARTNER, template
from keys.errors import HttpSignatureError
from keys.http import NONCE_LIMIT, ClaimedSignature, NonceMemory, read_signature, verify_body, verify_headers
from keys.key import Ed25519Public

_BUSY = {hdrs.RETRY_AFTER: "1"}

_log = logger("safehand.gate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may cost. Sizes in bytes (envelope section 10; `lists` answered are as long as we read one); `in_flight` requests of one partner, `strangers`
    of one address on the unsigned routes; `body_time` from the first byte of a body to its last."""

    messages: int = 640 * 1024
    receipts: int = 64 * 1024
    documents: int = 640 * 1024
    lists: int = 4 * 1024 * 1024
    in_flight: int = 32
    strangers: int = 4
    body_time: timedelta = timedelta(seconds=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A request without a body that `org`, a verified partner, signed."""

    org: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPost:
    """A body that `org`, a verified partner, signed together with the id that it says is inside."""

    org: str
    idempotency_key: str
    body: bytes = field(repr=False)


class TooLargeError(SafehandError):
    """A body that no document of its kind can have (envelope section 2, step 1)."""

    code = "post.too-large"


class Slots:
    """How many requests of each caller are under way: nobody has more than `most`, so that one cannot take them all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, who: str) -> Iterator[None]:
        """Hold one; 503 where `who` has them all."""
        if self._taken[who] >= self._most:
            raise web.HTTPServiceUnavailable(headers=_BUSY)
        self._taken[who] += 1
        try:
            yield
        finally:
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]


class Gate:
    """Lets in what a verified partner signed. One for a listener: it remembers nonces and counts who is inside."""

    def __init__(self, exchange: Exchange, *, public_url: str, limits: Limits) -> None:
        self._exchange = exchange
        self._public_url = public_url
        self._limits = limits
        self._nonces = NonceMemory(limit=NONCE_LIMIT)
        self._partners = Slots(limits.in_flight)
        self._strangers = Slots(limits.strangers)

    @asynccontextmanager
    async def post(self, request: web.Request, limit: int) -> AsyncIterator[SignedPost]:
        """Length -> claim -> key in force -> signature -> share -> body -> digest and nonce; held while it is worked on."""
        now = self._exchange.clock()
        check_length(request, limit)
        claimed = await self._signer(request, now)
        with self._partners.taken(claimed.org):
            body = await self._body(request)
            self._admit(request, claimed, body, now)
            # `read_signature` refuses a POST without one
            yield SignedPost(org=claimed.org, idempotency_key=claimed.idempotency_key or "", body=body)

    @asynccontextmanager
    async def get(self, request: web.Request) -> AsyncIterator[SignedRequest]:
        """As `post`, for a request without a body."""
        now = self._exchange.clock()
        if request.body_exists:
            raise web.HTTPBadRequest
        claimed = await self._signer(request, now)
        with self._partners.taken(claimed.org):
            self._admit(request, claimed, b"", now)
            yield SignedRequest(org=claimed.org)

    @asynccontextmanager
    async def unsigned(self, request: web.Request, limit: int) -> AsyncIterator[bytes]:
        """The body of a request that proves itself by its content: from anybody, a few at a time."""
        check_length(request, limit)
        with self._strangers.taken(request.remote or ""):
            yield await self._body(request)

    @contextmanager
    def strangers(self, request: web.Request) -> Iterator[None]:
        """A question of anybody: a few at a time of one address, together with what it posts."""
        with self._strangers.taken(request.remote or ""):
            yield

    async def _signer(self, request: web.Request, now: datetime) -> ClaimedSignature:
        """The key that the request names, if it is in force and signed these headers: all that can be judged without the body."""
        try:
            claimed = read_signature(
                tuple(request.headers.items()), method=request.method, target_uri=self._public_url + request.raw_path
            )
            verify_headers(claimed, await self._http_key(claimed, now), int(now.timestamp()))
        except HttpSignatureError as error:
            _refuse(request, error)
        request[PARTNER] = claimed.org
        return claimed

    async def _http_key(self, claimed: ClaimedSignature, now: datetime) -> Ed25519Public:
        """From the partner's newest unexpired bundle; where that does not have it, from a newer one, fetched now."""
        partner = await self._exchange.partners.get(claimed.org)
        if partner is None or not partner.verified_by or not partner.bundles:
            raise HttpSignatureError("http.partner", "only verified partners are let in")
        at = int(now.timestamp())
        public = partner.newest.http_key_for(claimed.kid, at)
        if public is None:
            try:
                partner = await partner_keys.refresh(partner, now, self._exchange)
            except NotYetError as error:
                _log.warning("refresh-failed", partner=partner.org, cause=error.cause)
            public = partner.newest.http_key_for(claimed.kid, at)
        if public is None:
            raise HttpSignatureError("http.key", "no HTTP key in force has this id")
        return public

    def _admit(self, request: web.Request, claimed: ClaimedSignature, body: bytes, now: datetime) -> None:
        try:
            verify_body(claimed, body)
            self._nonces.remember(
                claimed.org, claimed.nonce, int(now.timestamp())
            )  # last: what is not verified must not fill the memory
        except HttpSignatureError as error:
            _refuse(request, error)

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_time.total_seconds()):
                return await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except (web.RequestPayloadError, ConnectionError):
            raise web.HTTPBadRequest from None


def check_length(request: web.Request, limit: int) -> None:
    """Refuse a body of unknown length (411), and one above `limit` bytes as unreadable, before any of it is read."""
    if request.content_length is None:
        raise web.HTTPLengthRequired
    if request.content_length > limit:
        raise TooLargeError(f"larger than {limit} bytes")


def _refuse(request: web.Request, error: HttpSignatureError) -> NoReturn:
    """401 whatever it was; the cause goes to the local log, without what the request claimed about itself."""
    _log.warning("signature-refused", route=template(request), code=error.code, rule=error.rule)
    raise web.HTTPUnauthorized from None
