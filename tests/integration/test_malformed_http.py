"""Bytes that are no HTTP: every listener of ours answers them with a bare status, and repeats and names nothing."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from gateway.web.admin import admin_app
from gateway.web.listening import Runner
from tests.support.api import api_served, raw, raw_unix
from tests.support.exchange import make_town
from tests.support.https import contexts, served

CANARY = b"Zebulonia"
ALLOWED = {b"content-length", b"cache-control", b"x-content-type-options", b"connection"}
MALFORMED = {
    "no-http": CANARY + b"\r\n\r\n",
    "other-version": b"GET /" + CANARY + b" HTTP/9.9\r\nHost: a\r\n\r\n",
    "bad-header": b"GET / HTTP/1.1\r\nHost: a\r\n" + CANARY + b" : x\r\n\r\n",
    "bad-length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + CANARY + b"\r\n\r\n",
    "two-lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + CANARY,
    "length-and-chunks": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    + CANARY,
    "long-line": b"GET /" + CANARY * 2_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "long-header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + CANARY * 2_000 + b"\r\n\r\n",
    "control": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00" + CANARY + b"\r\n\r\n",
    "html-wanted": b"GET /\x00 HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n" + CANARY,
}


@asynccontextmanager
async def exchange(data: bytes) -> AsyncIterator[bytes]:
    async with served(make_town().b.exchange) as client:
        yield await raw(URL(client.url).port or 0, data, context=contexts()[1])


@asynccontextmanager
async def api(data: bytes) -> AsyncIterator[bytes]:
    async with api_served(make_town().b.exchange) as port:
        yield await raw(port, data)


@asynccontextmanager
async def admin(data: bytes) -> AsyncIterator[bytes]:
    async def published() -> None: ...

    with tempfile.TemporaryDirectory(prefix="sh-", dir="/tmp") as folder:
        path = Path(folder) / "s"
        runner = Runner(admin_app(make_town().b.exchange, published), shutdown_timeout=1)
        await runner.setup()
        try:
            await web.UnixSite(runner, str(path)).start()
            yield await raw_unix(path, data)
        finally:
            await runner.cleanup()


@pytest.mark.parametrize("listener", [exchange, api, admin], ids=["exchange", "api", "admin"])
@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_http_gets_a_bare_status(listener: object, data: bytes) -> None:
    assert callable(listener)
    async with listener(data) as answer:
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *headers = head.split(b"\r\n")
        assert re.fullmatch(rb"HTTP/1\.1 400 Bad Request", status), status
        assert {header.partition(b":")[0].lower() for header in headers} == ALLOWED
        assert body == b""


@pytest.mark.parametrize("listener", [exchange, api, admin], ids=["exchange", "api", "admin"])
@pytest.mark.parametrize("path", ["/", "/api/v1/messages", "/exchange/v1/messages", "/acts/status"])
async def test_an_expectation_is_refused_without_being_repeated(listener: object, path: str) -> None:
    assert callable(listener)
    name = CANARY.decode()
    data = f"POST {path} HTTP/1.1\r\nHost: x\r\nExpect: {name}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with listener(data.encode()) as answer:
        assert answer.startswith(b"HTTP/1.1 417 ")
        assert CANARY not in answer
        assert b"Server" not in answer
