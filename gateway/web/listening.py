"""What every listener has in common below its routes: what is no HTTP gets a status, and not a word.

aiohttp answers a request that its parser refuses by itself, before any of our code: a page that names the library and
repeats bytes of the request. Here such a request gets a status line and nothing more, and the connection ends.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.core.errors import SafehandError
from gateway.watch import logger

_HEADERS = (
    b"Content-Length: 0\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
)

_log = logger("safehand.web")


class BareHandler(web.RequestHandler):
    """One connection whose faults of form are answered by their status alone."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what no handler of ours ever saw; of the fault its type is told."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        _log.info("request-malformed", status=status, exc_info=exc)
        return _Bare(status)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """An expectation that nobody has is refused by the library before any route, in words that repeat it."""
        if resp.status == HTTPStatus.EXPECTATION_FAILED:
            resp = _Bare(resp.status)
        return await super().finish_response(request, resp, start_time)


class Runner(web.AppRunner):
    """Runs an application without an access log; every listener of ours runs on one."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float, **options: Any) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout, **options)

    def protocol(self) -> web.RequestHandler:
        """Return the protocol of one connection; after `setup`."""
        if self.server is None:
            raise SafehandError("the listener was not set up")
        return self.server()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return BareHandler(self, loop=self._loop, **self._kwargs)


class _Bare(web.StreamResponse):
    """A status line, the headers that every answer has, no body, and the end of the connection."""

    def __init__(self, status: int) -> None:
        super().__init__(status=status)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write all of it at once: the library would add its own name."""
        if request.transport is not None:
            head = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            request.transport.write(head.encode() + _HEADERS)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """There is no body."""
