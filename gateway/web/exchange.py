"""The exchange listener: what partners' gateways ask of this one (envelope section 6). Translates, decides nothing.

Each handler lets a request through the gate, calls one flow and answers in the wire's words. To a partner every fault of
a document is one answer, byte for byte; what it was goes to the local log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from contracts.names import is_digest, is_organisation
from gateway import governing, inbound, partner_keys, receipts, repeats, statements
from gateway.core.daily import StatementRejectedError
from gateway.core.errors import (
    BusyError,
    ConflictError,
    EnvelopeRejectedError,
    HeadsMovedError,
    NotYetError,
    ReceiptRejectedError,
    SafehandError,
)
from gateway.governing import EventRejectedError
from gateway.inbound import Arrival
from gateway.ports import AgreementRecord, Exchange, Partner
from gateway.web.gate import Gate, Limits, TooLargeError
from gateway.web.listening import Runner
from gateway.web.middleware import guard, hide_software
from gateway.web.witness import add_log_routes
from keys.bundle_payload import ClaimedBundle, read_payload
from keys.errors import BundleError, StatementError
from keys.statement import read_statement
from keys.suite import MEDIA_TYPE

JSON: Final = "application/json"
KEEP_ALIVE: Final = 60.0  # seconds for the next request, and for a whole header; longer than a partner's own patience
_LINGER: Final = 5.0  # seconds in which the rest of a body that nobody wants is thrown away
_STOP_WITHIN: Final = 25.0  # seconds for requests under way (log.md B3)
_BUSY_AGAIN: Final = 5  # seconds

_COUNT = re.compile(r"0|[1-9][0-9]{0,14}")


class PostRejectedError(SafehandError):
    """A bundle or a question that is not in its one form, or that is refused; `cause` names the rule."""

    code = "post.rejected"

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(cause)


_FACES: Final[tuple[tuple[type[SafehandError], int, bytes], ...]] = (
    (EnvelopeRejectedError, 400, b'{"code":"unreadable"}'),
    (ReceiptRejectedError, 400, b'{"code":"unreadable"}'),
    (EventRejectedError, 400, b'{"code":"unreadable"}'),
    (StatementRejectedError, 400, b'{"code":"unreadable"}'),
    (PostRejectedError, 400, b'{"code":"unreadable"}'),
    (TooLargeError, 400, b'{"code":"unreadable"}'),
    (ConflictError, 409, b'{"code":"conflict"}'),
)


def exchange_app(exchange: Exchange, *, public_url: str, limits: Limits | None = None) -> web.Application:
    """Return the application; `public_url` is the one that partners sign for, from configuration and never from a request."""
    limits = limits or Limits()
    gate = Gate(exchange, public_url=public_url, limits=limits)
    routes = _Routes(exchange, gate, limits)
    app = web.Application(
        middlewares=[guard(face)], client_max_size=max(limits.messages, limits.receipts, limits.documents)
    )
    app.on_response_prepare.append(hide_software)
    app.router.add_post("/exchange/v1/messages", routes.post_message)
    app.router.add_post("/exchange/v1/receipts", routes.post_receipt)
    app.router.add_post("/exchange/v1/events", routes.post_event)
    app.router.add_post("/exchange/v1/statements", routes.post_statement)
    app.router.add_post("/exchange/v1/bundles", routes.post_bundle)
    app.router.add_get("/exchange/v1/bundles", routes.list_bundles, allow_head=False)
    app.router.add_get("/exchange/v1/events", routes.list_events, allow_head=False)
    app.router.add_get("/exchange/v1/agreements/{hash:[0-9a-f]{64}}", routes.show_agreement, allow_head=False)
    add_log_routes(app, exchange, gate)
    return app


def exchange_runner(app: web.Application) -> Runner:
    """Return the runner of the listener: no access log, bodies as they came, and patience that ends."""
    return Runner(
        app,
        auto_decompress=False,
        keepalive_timeout=KEEP_ALIVE,
        lingering_time=_LINGER,
        shutdown_timeout=_STOP_WITHIN,
    )


def face(error: Exception) -> web.Response | None:
    """Return what a partner sees of an error (envelope section 6); None for a fault of ours."""
    if isinstance(error, NotYetError | BusyError | HeadsMovedError):
        wait = error.retry_after if isinstance(error, NotYetError) else _BUSY_AGAIN
        return web.Response(status=503, headers={hdrs.RETRY_AFTER: str(wait)})
    for kind, status, body in _FACES:
        if isinstance(error, kind):
            return web.Response(status=status, body=body, content_type=JSON)
    return None


class _Routes:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange, gate: Gate, limits: Limits) -> None:
        self._exchange = exchange
        self._gate = gate
        self._limits = limits

    async def post_message(self, request: web.Request) -> web.Response:
        """Answers the receipt, a `rejected` one too."""
        async with self._gate.post(request, self._limits.messages) as post:
            arrival = Arrival(data=post.body, http_org=post.org, idempotency_key=post.idempotency_key)
            receipt = await inbound.accept(arrival, self._exchange)
            return web.Response(body=receipt, content_type=MEDIA_TYPE)

    async def post_receipt(self, request: web.Request) -> web.Response:
        async with self._gate.post(request, self._limits.receipts) as post:
            await repeats.check_receipt(post.body, post.idempotency_key, post.org, self._exchange)
            await receipts.take(post.body, post.org, self._exchange)
            return web.Response(status=204)

    async def post_event(self, request: web.Request) -> web.Response:
        async with self._gate.post(request, self._limits.documents) as post:
            await repeats.check_event(post.body, post.idempotency_key, self._exchange)
            await partner_keys.keep_event(post.body, from_org=post.org, exchange=self._exchange)
            return web.Response(status=204)

    async def post_statement(self, request: web.Request) -> web.Response:
        async with self._gate.post(request, self._limits.documents) as post:
            await statements.take(post.body, post.idempotency_key, post.org, self._exchange)
            return web.Response(status=204)

    async def post_bundle(self, request: web.Request) -> web.Response:
        """From anybody: a bundle is signed by its organisation's roots, whoever brings it."""
        if request.headers.getall(hdrs.CONTENT_TYPE, []) != [MEDIA_TYPE]:
            raise PostRejectedError("the content type is exactly the one of JWS")
        async with self._gate.unsigned(request, self._limits.documents) as body:
            claimed = _claimed_bundle(body)
            partner = await self._exchange.partners.get(claimed.content.org)
            if partner is None:
                raise PostRejectedError("a bundle of an organisation that is no partner")
            if all(bundle.jws != body for bundle in partner.bundles):
                await self._keep_bundle(body, claimed, partner)
            return web.Response(status=204)

    async def _keep_bundle(self, body: bytes, claimed: ClaimedBundle, partner: Partner) -> None:
        try:
            await partner_keys.keep_bundles(partner, (body,), self._exchange.clock(), self._exchange)
        except NotYetError as error:
            if any(bundle.seq == claimed.content.seq for bundle in partner.bundles):
                raise ConflictError("this bundle's seq was used for other bytes") from None
            raise PostRejectedError(error.cause) from None

    async def list_bundles(self, request: web.Request) -> web.Response:
        """Our own, to anybody who asks, a partner not yet verified included."""
        after = _count(_query(request, "after")["after"])
        bundles = await self._exchange.partners.own_bundles()
        return self._array(bundle.jws for bundle in bundles if bundle.seq > after)

    async def list_events(self, request: web.Request) -> web.Response:
        """One party's events on an agreement, forks included, in the order of their n; to the two parties only."""
        async with self._gate.get(request) as asked:
            query = _query(request, "agreement", "org", "after")
            digest, after = f"sha256:{query['agreement']}", _count(query["after"])
            if not is_digest(digest) or not is_organisation(query["org"]):
                raise PostRejectedError("agreement and org are a digest and an organisation")
            record = await self._shared(digest, asked.org)
            rows = [row for row in record.events if row.org == query["org"] and row.n > after]
            return self._array(row.jws for row in sorted(rows, key=lambda row: (row.n, row.hash)))

    async def show_agreement(self, request: web.Request) -> web.Response:
        """The canonical bytes, whose digest the partner recomputes; to the two parties only."""
        async with self._gate.get(request) as asked:
            record = await self._shared(f"sha256:{request.match_info['hash']}", asked.org)
            return web.Response(body=record.file.canonical, content_type=JSON)

    async def _shared(self, digest: str, org: str) -> AgreementRecord:
        """An agreement that `org` is a party to; that there is another is nothing to it: 404."""
        record = await self._exchange.agreements.get(digest)
        if record is None:
            raise web.HTTPNotFound
        agreement, _ = governing.compiled_from(record.file.canonical, self._exchange.vocabulary)
        if org not in {party.id for party in agreement.parties.values()}:
            raise web.HTTPNotFound
        return record

    def _array(self, documents: Iterable[bytes]) -> web.Response:
        """A JSON array of documents in their published bytes, as many as a partner reads at once; it asks again after the last."""
        listed: list[bytes] = []
        size = 2
        for document in documents:
            size += len(document) + 1
            if size > self._limits.lists:
                break
            listed.append(document)
        return web.Response(body=b"[" + b",".join(listed) + b"]", content_type=JSON)


def _claimed_bundle(body: bytes) -> ClaimedBundle:
    """Whose bundle this says it is; nothing is verified."""
    try:
        return read_payload(read_statement(body, limit=len(body)).payload)
    except (StatementError, BundleError) as error:
        raise PostRejectedError(error.rule) from None


def _query(request: web.Request, *names: str) -> dict[str, str]:
    """Return the members of the query: exactly these, once each."""
    try:
        pairs = parse_qsl(request.rel_url.raw_query_string, strict_parsing=True, max_num_fields=len(names))
    except ValueError:
        pairs = []
    if sorted(name for name, _ in pairs) != sorted(names):
        raise PostRejectedError("the query has exactly its members")
    return dict(pairs)


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise PostRejectedError("after is a whole number")
    return int(text)
