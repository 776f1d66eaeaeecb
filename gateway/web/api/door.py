"""The door of the API: who asks, not too often, and a request that is as described. Judges requests, answers none.

A `Call` comes from here alone, so a handler that has one knows the token that asks and that its scope allows it. In order:
1. address: one that showed too many wrong tokens waits, unless what it shows was good a while ago;
2. token: in force, by its digest; 3. share: its rate, and how many at a time; 4. scope; 5. path and query as described;
6. key, media type, size and time of a body, and the token once more; 7. JSON; 8. schema; 9. the key is not at work elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from contracts.document import read_loose
from contracts.errors import DocumentError
from gateway import tokens
from gateway.config import ApiSettings
from gateway.core.tokens import Scope, Token, TokenUnknownError, digest_of
from gateway.ports import Exchange
from gateway.watch import logger
from gateway.web.api import refusals
from gateway.web.api.description import Operation, check_body, fits
from gateway.web.api.rates import Rates
from gateway.web.gate import Slots
from gateway.web.middleware import template

REQUEST_LIMIT: Final = 384 * 1024  # bytes: a payload of 256 KiB, its white space and what stands around it
BODY_WITHIN: Final = timedelta(seconds=20)  # from the first byte of a body to its last
_KNOWN: Final = 1_000  # digests of tokens that were good
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_NOT_FOUND: Final[Mapping[str, str]] = {"digest": "agreement.none"}

_log = logger("safehand.api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that was let in. `digest` is what makes two requests the same; `body` is JSON as described, None without one."""

    token: Token
    path: Mapping[str, str]
    query: Mapping[str, str | int]
    key: str
    digest: bytes
    body: Any = field(repr=False)


Answering = Callable[[Call], Awaitable[web.Response]]


class Door:
    """Lets in whoever shows a token. One for a listener: it remembers rates, wrong tokens and keys at work."""

    def __init__(self, exchange: Exchange, settings: ApiSettings, *, body_within: timedelta) -> None:
        self._exchange = exchange
        self._body_within = body_within.total_seconds()
        self._rates = Rates(per_minute=settings.requests_per_minute, burst=settings.burst)
        self._failures = Rates(per_minute=settings.failures_per_minute, burst=settings.failures_per_minute)
        self._slots = Slots(settings.in_flight)
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._running: set[tuple[str, str]] = set()

    def to(self, operation: Operation, handler: Answering) -> Handler:
        """Return aiohttp's handler of an operation: through the door, then to ours."""

        async def enter(request: web.Request) -> web.StreamResponse:
            token = await self._token(request)
            self._share(token)
            with self._slots.taken(token.id):
                scope = Scope(operation.scope or "")
                tokens.require(token, scope)
                path, query = _path(operation, request), _query(operation, request)
                key = _key(operation, request)
                data = await _body(operation, request, self._body_within)
                if data:  # it took its time, in which the token may have been revoked
                    tokens.require(await tokens.authorise(_shown(request), self._exchange), scope)
                body = _read(operation, data)
                digest = _digest(request, data)
                call = Call(token=token, path=path, query=query, key=key, digest=digest, body=body)
                with self._at_work(operation, token, key):
                    return await handler(call)

        return enter

    async def _token(self, request: web.Request) -> Token:
        """Steps 1 and 2. A wrong token counts against its address; a good one does not wait for others of that address."""
        now, address = self._exchange.clock(), request.remote or ""
        shown = _shown(request)
        digest = digest_of(shown)
        wait = self._failures.wait(address, now)
        if wait and digest not in self._good:
            raise refusals.too_many(wait)
        try:
            token = await tokens.authorise(shown, self._exchange)
        except TokenUnknownError as error:
            self._failures.count(address, now)
            _log.warning("token-refused", route=template(request), code=error.code)
            raise
        if digest is not None:
            self._good[digest] = None
            if len(self._good) > _KNOWN:
                self._good.popitem(last=False)
        return token

    def _share(self, token: Token) -> None:
        now = self._exchange.clock()
        wait = self._rates.wait(token.id, now)
        if wait:
            raise refusals.too_many(wait)
        self._rates.count(token.id, now)

    @contextmanager
    def _at_work(self, operation: Operation, token: Token, key: str) -> Iterator[None]:
        """Step 9: one request at a time for one key of one token."""
        if not operation.keyed:
            yield
            return
        mine = (token.id, key)
        if mine in self._running:
            raise refusals.still_running()
        self._running.add(mine)
        try:
            yield
        finally:
            self._running.discard(mine)


def _shown(request: web.Request) -> str:
    """The text after Bearer, in the one header that there may be; empty where there is none."""
    headers = request.headers.getall(hdrs.AUTHORIZATION, [])
    scheme, _, text = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    return text.strip(" ") if scheme.lower() == "bearer" else ""


def _path(operation: Operation, request: web.Request) -> Mapping[str, str]:
    for name, value in request.match_info.items():
        if not fits(operation, "path", name, value):
            raise refusals.unknown(_NOT_FOUND.get(name, "message.unknown"))
    return dict(request.match_info)


def _query(operation: Operation, request: web.Request) -> Mapping[str, str | int]:
    """Return the members of the query, each known and there once; numbers as numbers."""
    try:
        pairs = parse_qsl(
            request.rel_url.raw_query_string,
            keep_blank_values=True,
            strict_parsing=bool(request.rel_url.raw_query_string),
            max_num_fields=8,
            errors="strict",
        )
    except ValueError:
        raise refusals.bad_query("", "is not in its form") from None
    known = {name for kind, name in operation.parameters if kind == "query"}
    found: dict[str, str | int] = {}
    for name, text in pairs:
        if name not in known or name in found:
            raise refusals.bad_query("", "has a member that is not known here, or one twice")
        value: str | int = int(text) if name == "limit" and _NUMBER.fullmatch(text) else text
        if not fits(operation, "query", name, value):
            raise refusals.bad_query(name, "is not in its form")
        found[name] = value
    for kind, name in operation.required:
        if kind == "query" and name not in found:
            raise refusals.bad_query(name, "is missing")
    return found


def _key(operation: Operation, request: web.Request) -> str:
    if not operation.keyed:
        return ""
    given = request.headers.getall("Idempotency-Key", [])
    if len(given) != 1 or not fits(operation, "header", "Idempotency-Key", given[0]):
        raise refusals.bad_key()
    return given[0]


async def _body(operation: Operation, request: web.Request, within: float) -> bytes:
    """The bytes of the body, as many and as fast as is allowed; empty where none is expected."""
    if operation.body is None or not request.body_exists:
        return b""
    if request.content_type != "application/json" or hdrs.CONTENT_ENCODING in request.headers:
        raise refusals.wrong_type()
    if (request.content_length or 0) > REQUEST_LIMIT:
        raise refusals.too_large()
    try:
        async with asyncio.timeout(within):
            return await request.read()
    except TimeoutError:
        raise refusals.too_slow() from None
    except (web.RequestPayloadError, ConnectionError):
        raise refusals.malformed("its body did not come whole") from None


def _read(operation: Operation, data: bytes) -> Any:
    if operation.body is None:
        return None
    if not data:
        if operation.body_needed:
            raise refusals.malformed("a body is needed")
        return None
    try:
        body = read_loose(data, limit=REQUEST_LIMIT)
    except DocumentError as error:
        raise refusals.malformed(error.rule) from None
    check_body(operation, body)
    return body


def _digest(request: web.Request, data: bytes) -> bytes:
    """What makes two requests the same: method, path and the exact bytes of the body."""
    head = f"{request.method} {request.rel_url.raw_path}\n".encode()
    return hashlib.sha256(hashlib.sha256(head).digest() + data).digest()
