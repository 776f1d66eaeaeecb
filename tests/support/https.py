"""A gateway's exchange listener on loopback, and partners that ask it: honest ones, and what only an attacker sends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from yarl import URL

from adapters.peer import client_context
from gateway.ports import Exchange
from gateway.web.exchange import exchange_app, exchange_runner
from gateway.web.gate import Limits
from gateway.web.tls import server_context
from keys.http import sign_request
from keys.key import Ed25519Secret
from keys.suite import MEDIA_TYPE
from tests.support.keys import NOW, ed25519
from tests.support.messages import A
from tests.support.tls import Authority, make_ca, make_cert, open_port, serving, url_of

_numbers = count()


@cache
def authority() -> Authority:
    """The authority of all listeners that `served` starts."""
    return make_ca()


@cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A listener's context on loopback, and one that trusts it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        return server_context(*make_cert(authority(), folder)), client_context(authority().write(folder))


def http_key(org: str) -> Ed25519Secret:
    """The HTTP key that an organisation's bundle lists."""
    return ed25519(f"{org} http")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Client:
    """Asks one listener."""

    url: str
    session: aiohttp.ClientSession

    def sign(
        self, method: str, path: str, body: bytes | None = None, key: str = "id-1", **changes: Any
    ) -> dict[str, str]:
        """Headers as la-207 signs them now; `org`, `secret`, `created`, `nonce`, `target_uri` may be others."""
        has_body = method in ("POST", "PUT")
        org = changes.get("org", A)
        arguments: dict[str, Any] = {
            "method": method,
            "target_uri": self.url + path,
            "body": (body or b"") if has_body else None,
            "idempotency_key": key if has_body else None,
            "content_type": MEDIA_TYPE if has_body else None,
            "created": NOW,
            "nonce": next(_numbers).to_bytes(16),
            "org": org,
            "secret": http_key(org),
        }
        return sign_request(**{**arguments, **changes})

    async def ask(
        self, method: str, path: str, body: bytes | AsyncIterator[bytes] | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """Send exactly this."""
        target = URL(self.url + path, encoded=True)
        async with self.session.request(
            method, target, data=body, headers=headers, allow_redirects=False, skip_auto_headers=("Content-Type",)
        ) as answer:
            return Answer(answer.status, await answer.read(), answer.headers)

    async def post(self, kind: str, body: bytes, key: str = "id-1", **changes: Any) -> Answer:
        """Sign and send a document."""
        path = f"/exchange/v1/{kind}"
        return await self.ask("POST", path, body, self.sign("POST", path, body, key, **changes))

    async def get(self, path: str, **changes: Any) -> Answer:
        """Sign and send a question."""
        return await self.ask("GET", path, None, self.sign("GET", path, **changes))

    async def raw(self, path: str, headers: Mapping[str, str], part: bytes = b"") -> int:
        """Send the head of a POST and `part` of its body, no more; return the status of what comes back."""
        port = URL(self.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=contexts()[1])
        head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
        try:
            writer.write("\r\n".join([*head, "", ""]).encode() + part)
            return int((await reader.readline()).split()[1])
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def served(
    exchange: Exchange, *, limits: Limits | None = None, public_url: str | None = None
) -> AsyncIterator[Client]:
    """Serve a gateway on loopback; `public_url` where partners know it under another name than its address."""
    bound = open_port()
    url = url_of(bound)
    runner = exchange_runner(exchange_app(exchange, public_url=public_url or url, limits=limits))
    listening, trusting = contexts()
    async with serving(runner, bound, listening):
        connector = aiohttp.TCPConnector(ssl=trusting)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Client(url, session)
