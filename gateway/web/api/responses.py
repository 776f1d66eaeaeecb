"""How handlers of the API answer: JSON, and a thing done once for one key."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from gateway import once
from gateway.ports import Exchange
from gateway.web.api.door import Call

JSON = "application/json"


def say(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer of JSON."""
    return web.Response(status=status, body=orjson.dumps(value), content_type=JSON, headers=headers)


async def carry_out(call: Call, act: once.Act, exchange: Exchange) -> bytes:
    """Return the JSON of an act that is no submission, kept for a repeat of the call."""
    return await once.answer(call.token.id, call.key, call.digest, act, exchange)


def said(data: bytes, status: int = 200) -> web.Response:
    """Return an answer of JSON that is bytes already."""
    return web.Response(status=status, body=data, content_type=JSON)
