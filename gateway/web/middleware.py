"""Around every handler: what leaves when something goes wrong, and what of it is told to the operator.

The outermost place of both listeners; the worker has one around each attempt, and the command line one around each command.
A refusal and a bug have no body but the one their listener chose; the local log gets type, code and the route's template,
never a path, a query or a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.watch import logger

Face = Callable[[Exception], web.Response | None]
"""What the other side of a listener sees of an error that was raised on purpose; None: it is a fault of ours."""

Fault = Callable[[Exception], web.Response]
"""What the other side of a listener sees of a fault of ours."""

Refusal = Callable[[web.HTTPException], web.Response]
"""What the other side of a listener sees where HTTP itself refuses."""

PARTNER: Final = web.RequestKey("partner", str)
"""The organisation whose signature on the request was verified."""

_KEPT = (hdrs.RETRY_AFTER, hdrs.ALLOW)

_log = logger("safehand.web")


def bare_fault(_: Exception) -> web.Response:
    """A partner is told nothing of a fault of ours but that there was one."""
    return web.Response(status=500)


def guard(face: Face, fault: Fault = bare_fault, refusal: Refusal | None = None) -> Middleware:
    """Return the outermost middleware of a listener whose errors look like `face`, and its bugs like `fault`.

    `refusal` is the look of what HTTP itself refuses (an unknown route, a wrong method); by default a bare status.
    """
    refused = refusal or _bare

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            return refused(refusal)
        except Exception as error:  # noqa: BLE001 - the outermost place: nothing of a bug reaches the other side
            answer = face(error)
            if answer is None:
                _log.error("request-failed", route=template(request), partner=request.get(PARTNER), exc_info=error)
                return fault(error)
            _tell_refusal(request, error, answer.status)
            return answer

    return middleware


async def hide_software(_: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: no answer names what it was made with, none is kept by a cache or taken for another type."""
    response.headers.popall(hdrs.SERVER, None)
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"


def template(request: web.Request) -> str:
    """Return the route as it was declared, never the path that was asked for."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unmatched"


def _bare(refusal: web.HTTPException) -> web.Response:
    headers = {name: refusal.headers[name] for name in _KEPT if name in refusal.headers}
    return web.Response(status=refusal.status, headers=headers)


def _tell_refusal(request: web.Request, error: Exception, status: int) -> None:
    details = {name: getattr(error, name) for name in ("code", "step", "cause") if hasattr(error, name)}
    _log.warning(
        "request-refused",
        route=template(request),
        partner=request.get(PARTNER),
        status=status,
        **details,
    )
