"""The admin socket: commands beside a running server speak HTTP over `run/admin.sock` (0600) to it.

`POST /acts/<name>` with a JSON object of arguments; the answer of the act, or RFC 9457 problem details. Whoever may write to
the socket is the operator: the file's mode is the access control.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from contracts.document import read_loose
from contracts.errors import DocumentError
from gateway import acts
from gateway.core.errors import SubmissionRefusedError
from gateway.ports import Exchange
from gateway.web.problems import problem_of

_REQUEST_LIMIT = 4 * 1024 * 1024
_CHANGES_KEYS = "keys.publish"

log = structlog.get_logger("safehand.admin")


def admin_app(exchange: Exchange, published: Callable[[], Awaitable[None]]) -> web.Application:
    """Return the application; `published` is awaited after the own bundle changed."""

    async def act(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        arguments = _arguments(await request.read())
        answer = await acts.perform(name, arguments, exchange)
        if name == _CHANGES_KEYS:
            await published()
        return web.Response(body=answer, content_type="application/json")

    app = web.Application(middlewares=[_problems], client_max_size=_REQUEST_LIMIT)
    app.router.add_post("/acts/{name}", act)
    return app


def _arguments(data: bytes) -> dict[str, object]:
    try:
        value = read_loose(data, limit=_REQUEST_LIMIT)
    except DocumentError as error:
        raise SubmissionRefusedError("argument.malformed", "request", error.rule) from None
    if not isinstance(value, dict):
        raise SubmissionRefusedError("argument.malformed", "request", "an object was expected")
    return value


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost place; a bug is named by its type alone
        problem = problem_of(error)
        if problem is None:
            log.error("act-failed", error=type(error).__name__)  # noqa: TRY400 - a traceback can hold values
            return web.json_response(
                {
                    "title": "A fault of ours",
                    "status": 500,
                    "code": "fault",
                    "detail": type(error).__name__,
                    "exit": 1,
                    "breaches": [],
                },
                status=500,
            )
        return web.json_response(problem.members(), status=problem.status, content_type="application/problem+json")
