"""What proves a log to others: the witness routes, for anybody, and our own log's checkpoint and proofs, for partners.

Part of the exchange listener. Translates, decides nothing; answers in the text formats of C2SP, unchanged.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from gateway import quorum, receipt_proofs, witnessing
from gateway.ports import Exchange
from gateway.tlog.witness import REQUEST_LIMIT
from gateway.web.gate import Gate

TEXT: Final = "text/plain"
_LEAF: Final = re.compile(r"leaf=([0-9a-f]{64})")


def add_log_routes(app: web.Application, exchange: Exchange, gate: Gate) -> None:
    """Add the routes to the application of the exchange listener."""
    routes = _Routes(exchange, gate)
    app.router.add_post("/witness/v1/add-checkpoint", routes.add_checkpoint)
    app.router.add_get("/witness/v1/{origin:[0-9a-f]{64}}/checkpoint", routes.last_note, allow_head=False)
    app.router.add_get("/exchange/v1/log/checkpoint", routes.show_checkpoint, allow_head=False)
    app.router.add_get("/exchange/v1/log/proof", routes.show_proof, allow_head=False)


class _Routes:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange, gate: Gate) -> None:
        self._exchange = exchange
        self._gate = gate

    async def add_checkpoint(self, request: web.Request) -> web.Response:
        """From anybody: a checkpoint is signed by its log, whoever brings it."""
        async with self._gate.unsigned(request, REQUEST_LIMIT) as body:
            answer = await witnessing.add_checkpoint(body, self._exchange)
            return web.Response(status=answer.status, body=answer.body, content_type=answer.media)

    async def last_note(self, request: web.Request) -> web.Response:
        """To anybody: the note that we cosigned last of a partner's log."""
        with self._gate.strangers(request):
            note = await witnessing.last_note(request.match_info["origin"], self._exchange)
            if note is None:
                raise web.HTTPNotFound
            return web.Response(body=note, content_type=TEXT)

    async def show_checkpoint(self, request: web.Request) -> web.Response:
        """Our newest checkpoint, under our signature and those of its witnesses."""
        async with self._gate.get(request):
            newest = await self._exchange.log.checkpoint()
            if newest is None:
                raise web.HTTPNotFound
            return web.Response(body=await quorum.cosigned_note(newest, self._exchange), content_type=TEXT)

    async def show_proof(self, request: web.Request) -> web.Response:
        """That an entry about the partner who asks is in our log; of any other there is nothing to be told: 404."""
        async with self._gate.get(request) as asked:
            match = _LEAF.fullmatch(request.rel_url.raw_query_string)
            if match is None:
                raise web.HTTPBadRequest
            proof = await receipt_proofs.proof_for(asked.org, bytes.fromhex(match[1]), self._exchange)
            if proof is None:
                raise web.HTTPNotFound
            return web.Response(body=proof, content_type=TEXT)
