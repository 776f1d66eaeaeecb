"""The listener of whoever watches: `/livez`, `/readyz`, `/metrics`. Plain HTTP, loopback unless another address is stated.

Reads only, and tells nothing that names a person, a case or a message: states, codes, roles and organisations. There is no
sign-in, so what stands here must harm nobody who can reach it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from aiohttp import web

from gateway.condition import Condition
from gateway.meters import Meters
from gateway.readiness import Check, Process, checks, is_ready
from gateway.web.middleware import guard, hide_software

_PAGE: Final = "text/plain; version=0.0.4; charset=utf-8"

Look = Callable[[], Awaitable[Condition | None]]


def metrics_app(meters: Meters, look: Look, process: Callable[[], Process], at: Callable[[], int]) -> web.Application:
    """Return the application; `look` and `process` answer how things are now, `at` the clock in seconds."""

    async def found() -> tuple[Condition | None, Process, tuple[Check, ...]]:
        condition, now = await look(), process()
        return condition, now, checks(condition, now, at())

    async def live(_: web.Request) -> web.Response:
        return _json(200, {"status": "alive"})

    async def ready(_: web.Request) -> web.Response:
        looked = (await found())[2]
        ready = is_ready(looked)
        return _json(
            200 if ready else 503,
            {
                "status": "ready" if ready else "not-ready",
                "checks": {
                    check.name: {"level": check.level, "code": check.code, "words": check.words} for check in looked
                },
                "alarms": dict(sorted(meters.alarms.items())),
            },
        )

    async def metrics(_: web.Request) -> web.Response:
        condition, now, looked = await found()
        page = meters.show(condition, now, looked, at())
        return web.Response(body=page, headers={"Content-Type": _PAGE})

    app = web.Application(middlewares=[guard(lambda _: None)], client_max_size=1)
    app.on_response_prepare.append(hide_software)
    app.router.add_get("/livez", live, allow_head=False)
    app.router.add_get("/readyz", ready, allow_head=False)
    app.router.add_get("/metrics", metrics, allow_head=False)
    return app


def _json(status: int, value: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
