"""What every listener has in common below its routes: what is no HTTP gets a status, and not a word.

The library answers a malformed request with the piece that it could not read, so that a stranger's bytes come back, and
with them whatever a confused client put there. Here the answer is empty.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from gateway.core.errors import SafehandError


class BareHandler(web.RequestHandler):
    """One connection whose faults of form are answered by their status alone."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Close the connection after the status; the library logs the fault, by its type."""
        del message
        told = super().handle_error(request, status, exc, None)
        bare = web.Response(status=told.status)
        bare.force_close()
        return bare


class Runner(web.AppRunner):
    """Runs an application without an access log; `protocol` makes each of its connections."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float, **options: Any) -> None:
        self._options: dict[str, Any] = {"access_log": None, **options}
        super().__init__(app, shutdown_timeout=shutdown_timeout, **self._options)

    def protocol(self) -> BareHandler:
        """Return the protocol of one connection; after `setup`."""
        if self.server is None:
            raise SafehandError("the listener was not set up")
        return BareHandler(self.server, loop=asyncio.get_running_loop(), **self._options)
