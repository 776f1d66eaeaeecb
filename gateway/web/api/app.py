"""The listener of the API: which handler answers which operation of `openapi.json`, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from aiohttp import web

from gateway.config import ApiSettings
from gateway.ports import Exchange
from gateway.web.api import faces
from gateway.web.api.description import document, operations
from gateway.web.api.door import BODY_WITHIN, REQUEST_LIMIT, Answering, Door
from gateway.web.api.inbox import Inbox
from gateway.web.api.messages import Messages
from gateway.web.api.standing import Standing
from gateway.web.listening import Runner
from gateway.web.middleware import guard, hide_software

PREFIX: Final = "/api/v1"
_KEEP_ALIVE: Final = 60.0  # seconds
_LINGER: Final = 5.0  # seconds in which the rest of a body that nobody wants is thrown away
_STOP_WITHIN: Final = 25.0  # seconds for requests under way (log.md B3)


def api_app(exchange: Exchange, settings: ApiSettings, *, body_within: timedelta = BODY_WITHIN) -> web.Application:
    """Return the application: every operation of the document behind its door, and the document itself in front of it."""
    door = Door(exchange, settings, body_within=body_within)
    handlers = _handlers(exchange)
    app = web.Application(middlewares=[guard(faces.face, faces.fault, faces.refusal)], client_max_size=REQUEST_LIMIT)
    app.on_response_prepare.append(hide_software)
    for operation in operations().values():
        handler = describe if operation.scope is None else door.to(operation, handlers[operation.id])
        app.router.add_route(operation.method, PREFIX + operation.path, handler)
    return app


def api_runner(app: web.Application) -> Runner:
    """Return the runner of the listener: no access log, bodies as they came, and patience that ends."""
    return Runner(
        app,
        auto_decompress=False,
        keepalive_timeout=_KEEP_ALIVE,
        lingering_time=_LINGER,
        shutdown_timeout=_STOP_WITHIN,
    )


async def describe(_: web.Request) -> web.StreamResponse:
    """The document, to anybody."""
    return web.Response(body=document(), content_type="application/json")


def _handlers(exchange: Exchange) -> Mapping[str, Answering]:
    messages, inbox, standing = Messages(exchange, PREFIX), Inbox(exchange), Standing(exchange)
    return {
        "sendMessage": messages.send,
        "getMessage": messages.show,
        "cancelMessage": messages.cancel,
        "resendMessage": messages.resend,
        "enquire": messages.enquire,
        "answerMessage": messages.answer,
        "listInbox": inbox.list,
        "getInboxMessage": inbox.show,
        "getContent": inbox.content,
        "takeMessage": inbox.take,
        "openMessage": inbox.open,
        "listAgreements": standing.agreements,
        "getAgreement": standing.agreement,
        "getFields": standing.fields,
        "countProtected": standing.protected,
        "protectChild": standing.protect,
        "unprotectChild": standing.unprotect,
        "listEvents": standing.events,
        "getStatus": standing.status,
    }
