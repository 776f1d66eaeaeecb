"""Around a whole listener: every request is counted, and told to the log in one line, by its route as it was declared.

Never a path, a query, a header or a body: what is told are a listener of ours, a known method, a template, a status and how
long it took, and the partner whose signature was verified.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.meters import METHODS, OTHER, Meters
from gateway.watch import logger
from gateway.web.middleware import PARTNER, template

_log = logger("safehand.requests")


def observed(app: web.Application, listener: str, meters: Meters, *, told: bool = True) -> web.Application:
    """Return the application, with all of its answers counted and, where `told`, logged; before it is set up."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        began, route, status = loop.time(), template(request), 0
        try:
            answer = await handler(request)
            status = answer.status
        finally:  # 0: whoever asked has gone
            method = request.method if request.method in METHODS else OTHER
            meters.answered(listener, method, route, status)
            if told:
                _log.info(
                    "request",
                    listener=listener,
                    method=method,
                    route=route,
                    status=status,
                    ms=round((loop.time() - began) * 1000),
                    partner=request.get(PARTNER),
                )
        return answer

    app.middlewares.insert(0, middleware)
    return app
