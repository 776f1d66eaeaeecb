"""Around every handler: what leaves when something goes wrong, and what of it is told to the operator.

One of the two places where `except Exception` stands. A refusal has no body but the one its listener chose for it, a bug
has none at all; the local log gets type, code and the route's template, never a path, a query or a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.core.errors import SafehandError
from gateway.watch import logger

Face = Callable[[SafehandError], web.Response | None]
"""What the other side of a listener sees of an error that was raised on purpose; None: it is a fault of ours."""

PARTNER: Final = web.RequestKey("partner", str)
"""The organisation whose signature on the request was verified."""

_KEPT = (hdrs.RETRY_AFTER, hdrs.ALLOW)

_log = logger("safehand.web")


def guard(face: Face) -> Middleware:
    """Return the outermost middleware of a listener whose errors look like `face`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            return _bare(refusal)
        except SafehandError as error:
            answer = face(error)
            if answer is None:
                return _fault(request, error)
            _tell_refusal(request, error, answer.status)
            return answer
        except Exception as error:  # noqa: BLE001 - the outermost place: nothing of a bug reaches the other side
            return _fault(request, error)

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


def _tell_refusal(request: web.Request, error: SafehandError, status: int) -> None:
    details = {name: getattr(error, name) for name in ("step", "cause") if hasattr(error, name)}
    _log.warning(
        "request-refused",
        route=template(request),
        partner=request.get(PARTNER),
        code=error.code,
        status=status,
        **details,
    )


def _fault(request: web.Request, error: Exception) -> web.Response:
    _log.error("request-failed", route=template(request), partner=request.get(PARTNER), exc_info=error)
    return web.Response(status=500)
