"""What a case system sees of each error: RFC 9457 problem details, every breach named, and never a value.

Status, code and title are those of `web.problems`, which command line and admin socket share; here is only what HTTP wants
besides: 404, 409 and 410 where a code says that a thing is not there, and when to come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import hdrs, web

from contracts.breach import ContractBreachError
from gateway.core.errors import BusyError, HeadsMovedError, NotYetError, SubmissionRefusedError
from gateway.core.tokens import TokenUnknownError
from gateway.governing import GovernedBreachError
from gateway.web.api.refusals import RequestRefusedError
from gateway.web.problems import problem_of

PROBLEM: Final = "application/problem+json"
AGAIN: Final = 5  # seconds, where nothing better is known

_STATUS: Final[Mapping[str, int]] = {
    "message.unknown": 404,
    "agreement.none": 404,
    "message.refused": 409,
    "message.withdrawn": 410,
    "message.destroyed": 410,
}
_HTTP: Final[Mapping[int, tuple[str, str]]] = {
    400: ("request.malformed", "The request cannot be read"),
    404: ("route.unknown", "There is no such thing"),
    405: ("method.unknown", "Not with this method"),
    408: ("request.time-out", "The body did not come in time"),
    413: ("request.too-large", "More bytes than any request may have"),
    503: ("busy", "Too much at once: try again"),
}


def face(error: Exception) -> web.Response | None:
    """Return the answer to an error that was raised on purpose; None for a fault of ours."""
    members = members_of(error)
    if members is None:
        return None
    headers: dict[str, str] = {}
    wait = _wait(error, members["status"])
    if wait is not None:
        headers[hdrs.RETRY_AFTER] = str(wait)
    if isinstance(error, TokenUnknownError):
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return _answer(members, headers)


def members_of(error: Exception) -> dict[str, Any] | None:
    """Return the problem of an error, None where it is a fault of ours."""
    if isinstance(error, RequestRefusedError):
        breaches = [{"code": error.code, "path": path, "rule": rule} for path, rule in error.places]
        return _problem(error.status, error.code, error.title, breaches=breaches)
    known = problem_of(error)
    if known is None or known.status == 500:
        return None
    if isinstance(error, SubmissionRefusedError):
        breaches = [{"code": error.code, "path": error.place, "rule": error.rule}]
        return _problem(_STATUS.get(error.code, known.status), error.code, known.title, breaches=breaches)
    if isinstance(error, ContractBreachError):
        breaches = [{"code": code, "path": path, "rule": rule} for code, path, rule in known.breaches]
        members = _problem(known.status, known.code, known.title, breaches=breaches)
        if isinstance(error, GovernedBreachError):
            named = error.agreement
            members["agreement"] = {"id": named.id, "version": named.version, "digest": named.digest}
        return members
    return _problem(known.status, known.code, known.title, detail=known.detail)


def fault(_: Exception) -> web.Response:
    """A client is told nothing of a fault of ours but that there was one."""
    return _answer(fault_members(), {})


def fault_members() -> dict[str, Any]:
    """Return the problem of a fault of ours."""
    return _problem(500, "fault", "A fault of ours")


def refusal(error: web.HTTPException) -> web.Response:
    """What HTTP itself refuses: an unknown route, a wrong method, too much at once."""
    code, title = _HTTP.get(error.status, ("request.malformed", "The request cannot be read"))
    kept = {str(name): error.headers[name] for name in (hdrs.RETRY_AFTER, hdrs.ALLOW) if name in error.headers}
    return _answer(_problem(error.status, code, title), kept)


def _problem(
    status: int, code: str, title: str, *, detail: str | None = None, breaches: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    members: dict[str, Any] = {"type": f"urn:safehand:problem:{code}", "title": title, "status": status, "code": code}
    if detail:
        members["detail"] = detail
    if breaches:
        members["breaches"] = breaches
    return members


def _wait(error: Exception, status: int) -> int | None:
    match error:
        case RequestRefusedError():
            return error.wait
        case NotYetError():
            return error.retry_after
        case BusyError() | HeadsMovedError():
            return AGAIN
        case _:
            return AGAIN if status == 503 else None


def _answer(members: Mapping[str, Any], headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=members["status"], body=orjson.dumps(members), content_type=PROBLEM, headers=dict(headers)
    )
