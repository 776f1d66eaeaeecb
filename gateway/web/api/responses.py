"""How handlers of the API answer: JSON, and a thing done once for one key."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from gateway.core.once import Asked
from gateway.web.api.door import Call

JSON = "application/json"


def say(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer of JSON."""
    return web.Response(status=status, body=orjson.dumps(value), content_type=JSON, headers=headers)


def asked(call: Call) -> Asked:
    """Return what makes the call the same as one before."""
    return Asked(client=call.token.id, key=call.key, digest=call.digest)


def said(data: bytes, status: int = 200) -> web.Response:
    """Return an answer of JSON that is bytes already."""
    return web.Response(status=status, body=data, content_type=JSON)
