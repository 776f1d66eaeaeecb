"""The admin socket: commands beside a running server speak HTTP over `run/admin.sock` (0600) to it.

`POST /acts/<name>` with a JSON object of arguments; the answer of the act, or RFC 9457 problem details. Whoever may write to
the socket is the operator: the file's mode is the access control.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from contracts.document import read_loose
from contracts.errors import DocumentError
from gateway import acts
from gateway.core.errors import SubmissionRefusedError
from gateway.ports import Exchange
from gateway.web.middleware import guard
from gateway.web.problems import Problem, fault_of, problem_of

_REQUEST_LIMIT = 4 * 1024 * 1024
_CHANGES_KEYS = "keys.publish"


def admin_app(exchange: Exchange, published: Callable[[], Awaitable[None]]) -> web.Application:
    """Return the application; `published` is awaited after the own bundle changed."""

    async def act(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        arguments = _arguments(await request.read())
        answer = await acts.perform(name, arguments, exchange)
        if name == _CHANGES_KEYS:
            await published()
        return web.Response(body=answer, content_type="application/json")

    app = web.Application(middlewares=[guard(_face, _fault)], client_max_size=_REQUEST_LIMIT)
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


def _face(error: Exception) -> web.Response | None:
    problem = problem_of(error)
    return None if problem is None else _answer(problem)


def _fault(error: Exception) -> web.Response:
    return _answer(fault_of(error))


def _answer(problem: Problem) -> web.Response:
    return web.json_response(problem.members(), status=problem.status, content_type="application/problem+json")
