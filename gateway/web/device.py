"""The witness of a device over HTTP: the two routes of C2SP tlog-witness, for anybody. Translates, decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

from gateway.device import Device
from gateway.tlog.witness import REQUEST_LIMIT
from gateway.web.gate import Limits, Slots, TooLargeError, check_length
from gateway.web.middleware import guard, hide_software

TEXT: Final = "text/plain"


def device_app(device: Device, clock: Callable[[], int], limits: Limits | None = None) -> web.Application:
    """Return the application; `clock` answers seconds since 1970. One request at a time is decided: there is one loop, and
    nothing is awaited between reading what was seen and writing it."""
    routes = _Routes(device, clock, limits or Limits())
    app = web.Application(middlewares=[guard(_face)], client_max_size=REQUEST_LIMIT)
    app.on_response_prepare.append(hide_software)
    app.router.add_post("/witness/v1/add-checkpoint", routes.add_checkpoint)
    app.router.add_get("/witness/v1/{origin:[0-9a-f]{64}}/checkpoint", routes.last_note, allow_head=False)
    return app


def _face(error: Exception) -> web.Response | None:
    return web.Response(status=400) if isinstance(error, TooLargeError) else None


class _Routes:
    def __init__(self, device: Device, clock: Callable[[], int], limits: Limits) -> None:
        self._device = device
        self._clock = clock
        self._limits = limits
        self._strangers = Slots(limits.strangers)

    async def add_checkpoint(self, request: web.Request) -> web.Response:
        check_length(request, REQUEST_LIMIT)
        with self._strangers.taken(request.remote or ""):
            try:
                async with asyncio.timeout(self._limits.body_time.total_seconds()):
                    body = await request.read()
            except TimeoutError:
                raise web.HTTPRequestTimeout from None
            reply = self._device.add_checkpoint(body, self._clock())
            return web.Response(status=reply.status, body=reply.body, content_type=reply.media)

    async def last_note(self, request: web.Request) -> web.Response:
        note = self._device.last_note(request.match_info["origin"])
        if note is None:
            raise web.HTTPNotFound
        return web.Response(body=note, content_type=TEXT)
