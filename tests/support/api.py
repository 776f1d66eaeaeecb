"""The API's listener on loopback, and a case system that asks it with a client of another make (`http.client`).

Whatever comes back is held to `openapi.json` at once: the status is one that the operation lists, the body fits its schema,
and the headers are those that every answer has.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway import tokens
from gateway.config import ApiSettings
from gateway.ports import Exchange
from gateway.web.api.app import PREFIX, api_app, api_runner
from gateway.web.api.description import Operation, document, operations, validator
from gateway.web.api.door import BODY_WITHIN
from tests.support.tls import LOOPBACK, open_port

WAIT = 20.0  # seconds for any answer
ALL = ("send", "read", "open", "agreements", "protect")

_keys = count()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.said["code"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSystem:
    """A client of one listener, with one token."""

    port: int
    token: str | None = field(repr=False, default=None)
    context: ssl.SSLContext | None = None

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] = {},
        data: bytes | None = None,
    ) -> Answer:
        """Send a request as a case system would; `data` where the body is to be other bytes than JSON of `body`."""
        if data is None and body is not None:
            data = json.dumps(body, ensure_ascii=False).encode()
        sent = {} if data is None else {"Content-Type": "application/json"}
        sent |= {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        sent |= {} if key is None else {"Idempotency-Key": key}
        answer = await asyncio.to_thread(_asked, self, method, PREFIX + path, data, {**sent, **headers})
        hold_to_the_document(method, path, answer)
        return answer

    async def get(self, path: str, **how: Any) -> Answer:
        return await self.ask("GET", path, **how)

    async def post(self, path: str, body: Any = None, **how: Any) -> Answer:
        return await self.ask("POST", path, body, **{"key": f"key-{next(_keys)}", **how})


@asynccontextmanager
async def api_served(exchange: Exchange, *, body_within: timedelta = BODY_WITHIN, **limits: int) -> AsyncIterator[int]:
    """Serve the API of a gateway on loopback; the port."""
    bound = open_port()
    settings = ApiSettings(listen=bound.getsockname(), **limits)
    runner = api_runner(api_app(exchange, settings, body_within=body_within))
    await runner.setup()
    try:
        await web.SockSite(runner, bound).start()
        yield bound.getsockname()[1]
    finally:
        await runner.cleanup()
        bound.close()


async def make_token(exchange: Exchange, *scopes: str, role: str = "officer", days: int = 30) -> tokens.NewToken:
    return await tokens.create("Case system", role, scopes or ALL, days, exchange, by="an operator")


async def raw(port: int, data: bytes, *, context: ssl.SSLContext | None = None) -> bytes:
    """Everything that comes back for these bytes, until the other side ends."""
    return await asyncio.to_thread(_raw, port, data, context)


async def raw_unix(path: Path, data: bytes) -> bytes:
    """As `raw`, of a listener on a Unix socket."""
    return await asyncio.to_thread(_raw_unix, path, data)


def _raw(port: int, data: bytes, context: ssl.SSLContext | None) -> bytes:
    with socket.create_connection((LOOPBACK, port), timeout=WAIT) as plain:
        if context is None:
            return _told(plain, data)
        with context.wrap_socket(plain, server_hostname=LOOPBACK) as connection:
            return _told(connection, data)


def _raw_unix(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(WAIT)
        connection.connect(str(path))
        return _told(connection, data)


def _told(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def _asked(who: CaseSystem, method: str, target: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
    if who.context is None:
        connection = http.client.HTTPConnection(LOOPBACK, who.port, timeout=WAIT)
    else:
        connection = http.client.HTTPSConnection(LOOPBACK, who.port, timeout=WAIT, context=who.context)
    try:
        connection.request(method, target, body=data, headers=dict(headers))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def hold_to_the_document(method: str, path: str, answer: Answer) -> None:
    """Fail where an answer is not one that the document promises."""
    assert "Server" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    described = json.loads(document())
    operation = operation_of(method, path)
    if operation is None:
        content: Mapping[str, Any] = described["components"]["responses"]["NotFound"]["content"]
        assert answer.status in (404, 405)
    else:
        listed = operation.responses.get(str(answer.status))
        assert listed is not None, f"{operation.id} does not list {answer.status}"
        if "$ref" in listed:
            listed = described["components"]["responses"][listed["$ref"].rpartition("/")[2]]
        content = listed["content"]
        for name, header in listed.get("headers", {}).items():
            assert name in answer.headers or not header.get("required", True), name
    (kind,) = content
    assert answer.headers["Content-Type"].partition(";")[0] == kind
    errors = list(validator(content[kind]["schema"], described["components"]).iter_errors(answer.said))
    assert not errors, [(error.instance_path, str(error.kind)) for error in errors]


def operation_of(method: str, path: str) -> Operation | None:
    plain = path.partition("?")[0]
    for operation in operations().values():
        pattern = re.sub(r"\{[a-z]+\}", "[^/]+", operation.path)
        if operation.method == method and re.fullmatch(pattern, plain):
            return operation
    return None
