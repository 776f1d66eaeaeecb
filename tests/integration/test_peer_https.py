"""The peer adapter against listeners that are not what they should be, and signing for ours."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from adapters.peer import PeerAdapter, Sign
from adapters.port import DeliveryError, DeliveryRefusedError, Parcel
from gateway.web.tls import server_context
from keys.http import sign_request
from keys.key import Ed25519Secret
from keys.suite import MEDIA_TYPE
from tests.integration.test_exchange_gate import RECEIPT, make_house
from tests.support.https import authority, http_key, served
from tests.support.keys import NOW
from tests.support.messages import A
from tests.support.tls import LOOPBACK, Authority, make_ca, make_cert, open_port, serving, url_of

ALLOWED = (ipaddress.ip_network(LOOPBACK), ipaddress.ip_network("::1"))
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Ca:
    """An authority and the file of its certificate."""

    authority: Authority
    folder: Path
    file: Path

    def server(self, host: str = LOOPBACK) -> ssl.SSLContext:
        return server_context(*make_cert(self.authority, self.folder, host))


@pytest.fixture
def ca(tmp_path: Path) -> Ca:
    authority = make_ca()
    return Ca(authority, tmp_path, authority.write(tmp_path))


def no_signature(*_: object) -> Mapping[str, str]:
    return {}


@asynccontextmanager
async def adapter_of(ca: Ca, *, sign: Sign = no_signature, **changes: Any) -> AsyncIterator[PeerAdapter]:
    members: dict[str, Any] = {"ca_file": ca.file, "allowed_private": ALLOWED, **changes}
    adapter = PeerAdapter(sign=sign, **members)
    try:
        yield adapter
    finally:
        await adapter.close()


@asynccontextmanager
async def listener(context: ssl.SSLContext, handler: Handler) -> AsyncIterator[str]:
    """Serve `handler` on every path; yields the URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    bound = open_port()
    async with serving(web.AppRunner(app, access_log=None, shutdown_timeout=1), bound, context):
        yield url_of(bound)


async def ok(_: web.Request) -> web.Response:
    return web.Response(body=b"ok")


def parcel(url: str, **changes: Any) -> Parcel:
    return replace(
        Parcel(kind="messages", partner="la-850", url=url, idempotency_key="id-1", data=b"sealed"), **changes
    )


async def code_of(work: Awaitable[object]) -> str:
    with pytest.raises(DeliveryError) as caught:
        await work
    assert caught.value.args == (caught.value.code,)  # no address, no words of the other side
    assert caught.value.__cause__ is None
    assert isinstance(caught.value, DeliveryRefusedError) is (caught.value.code == "address-not-allowed")
    return caught.value.code


# --- TLS


async def test_certificate_of_an_unknown_authority_is_refused(ca: Ca, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Ca(make_ca(), tmp_path / "other", make_ca().write(tmp_path / "other"))
    async with listener(other.server(), ok) as url, adapter_of(ca) as adapter:
        assert await code_of(adapter.deliver(parcel(url))) == "tls"


async def test_authority_of_the_operator_is_trusted_only_where_it_is_given(ca: Ca) -> None:
    async with listener(ca.server(), ok) as url:
        async with adapter_of(ca) as adapter:
            assert (await adapter.deliver(parcel(url))).body == b"ok"
        async with adapter_of(ca, ca_file=None) as adapter:
            assert await code_of(adapter.deliver(parcel(url))) == "tls"


async def test_certificate_for_another_host_is_refused(ca: Ca) -> None:
    async with listener(ca.server("hants.example"), ok) as url, adapter_of(ca) as adapter:
        assert await code_of(adapter.deliver(parcel(url))) == "tls"


async def test_listener_with_older_tls_is_refused(ca: Ca) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*make_cert(ca.authority, ca.folder))
    async with listener(context, ok) as url, adapter_of(ca) as adapter:
        assert await code_of(adapter.deliver(parcel(url))) in ("tls", "no-connection")  # some end without a TLS alert


# --- where to


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "127.1", "0x7f.1"])
async def test_loopback_by_any_name_is_refused_unless_listed(ca: Ca, host: str) -> None:
    async with listener(ca.server(), ok) as url, adapter_of(ca, allowed_private=()) as adapter:
        there = url.replace(LOOPBACK, host)
        assert await code_of(adapter.deliver(parcel(there))) == "address-not-allowed"
        assert await code_of(adapter.fetch("la-850", there, "/x", signed=False)) == "address-not-allowed"


async def test_name_that_answers_otherwise_the_second_time_does_not_lead_inside(
    ca: Ca, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was looked up before, the address of the socket decides (DNS rebinding)."""
    reached: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        reached.append(request)
        return web.Response()

    async with listener(ca.server("rebinding.example"), handler) as url, adapter_of(ca, allowed_private=()) as adapter:
        port = int(url.rpartition(":")[2])

        async def inside(*_: object, **__: object) -> list[tuple[Any, ...]]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOOPBACK, port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", inside)
        monkeypatch.setattr(asyncio.get_running_loop(), "getnameinfo", inside)
        there = f"https://rebinding.example:{port}"
        assert await code_of(adapter.deliver(parcel(there))) == "address-not-allowed"
    assert reached == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1",
        "https://127.0.0.1:1/",
        "https://127.0.0.1:1/path",
        "https://user:pass@127.0.0.1:1",
        "https://127.0.0.1:1?x",
        "https://127.0.0.1:1#x",
        "https://127.0.0.1:0",
        "https://127.0.0.1:99999",
        "https://",
        "ftp://127.0.0.1",
        "https://a\r\nHost: b",
        "",
    ],
)
async def test_what_is_no_exchange_url_is_refused(ca: Ca, url: str) -> None:
    async with adapter_of(ca) as adapter:
        assert await code_of(adapter.deliver(parcel(url))) == "address-not-allowed"


@pytest.mark.parametrize("path", ["", "bundles", "/a b", "/\r\n", "/é"])
async def test_what_is_no_path_is_refused(ca: Ca, path: str) -> None:
    async with adapter_of(ca) as adapter:
        assert (
            await code_of(adapter.fetch("la-850", "https://127.0.0.1:1", path, signed=False)) == "address-not-allowed"
        )


# --- answers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_and_never_followed(ca: Ca, status: int) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with listener(ca.server(), handler) as url, adapter_of(ca) as adapter:
        assert (await adapter.deliver(parcel(url))).status == status
        assert (await adapter.fetch("la-850", url, "/here", signed=False)).status == status
    assert asked == ["/exchange/v1/messages", "/here"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("9" * 10, None),
    ],
)
async def test_retry_after_is_read_in_whole_seconds_only(ca: Ca, value: str, seconds: int | None) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": value})

    async with listener(ca.server(), handler) as url, adapter_of(ca) as adapter:
        assert (await adapter.deliver(parcel(url))).retry_after == seconds


async def test_compressed_answer_is_handed_on_as_it_came(ca: Ca) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        assert "User-Agent" not in request.headers
        return web.Response(body=b"not gzip", headers={"Content-Encoding": "gzip"})

    async with listener(ca.server(), handler) as url, adapter_of(ca) as adapter:
        assert (await adapter.deliver(parcel(url))).body == b"not gzip"


async def test_answer_of_unannounced_length_is_cut_off(ca: Ca) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(200):
            await answer.write(bytes(65_536))
        return answer

    async with listener(ca.server(), handler) as url, adapter_of(ca) as adapter:
        assert await code_of(adapter.deliver(parcel(url))) == "answer-too-large"


async def test_cookie_of_a_partner_is_not_sent_back(ca: Ca) -> None:
    cookies: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"})

    async with listener(ca.server(), handler) as url, adapter_of(ca) as adapter:
        await adapter.deliver(parcel(url))
        await adapter.deliver(parcel(url))
    assert cookies == [None, None]


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"])
async def test_broken_answer_is_no_answer(ca: Ca, answer: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"sealed")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, LOOPBACK, 0, ssl=ca.server())
    async with server, adapter_of(ca) as adapter:
        url = f"https://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        assert await code_of(adapter.deliver(parcel(url))) == "no-connection"


# --- signing


@dataclass
class Signer:
    """Signs as la-207's gateway does, and keeps what it was asked to sign."""

    secret: Ed25519Secret
    asked: list[tuple[str, str, bytes | None, str | None]]

    def __call__(self, method: str, target: str, body: bytes | None, key: str | None) -> Mapping[str, str]:
        self.asked.append((method, target, body, key))
        return sign_request(
            method=method,
            target_uri=target,
            body=body,
            idempotency_key=key,
            content_type=None if body is None else MEDIA_TYPE,
            created=NOW,
            nonce=len(self.asked).to_bytes(16),
            org=A,
            secret=self.secret,
        )


async def test_listener_of_ours_lets_in_what_the_adapter_signs(tmp_path: Path) -> None:
    signer, trusted = Signer(http_key(A), []), authority()
    ca = Ca(trusted, tmp_path, trusted.write(tmp_path))
    async with served(make_house()[1]) as client, adapter_of(ca, sign=signer) as adapter:
        for _ in range(2):  # each attempt is signed anew
            assert (await adapter.deliver(parcel(client.url))).body == RECEIPT
        reply = await adapter.fetch("la-850", client.url, "/exchange/v1/agreements/" + "ab" * 32, signed=True)
        assert reply.status == 404
        assert (await adapter.fetch("la-850", client.url, "/exchange/v1/bundles?after=0", signed=False)).status == 200
    messages = ("POST", f"{client.url}/exchange/v1/messages", b"sealed", "id-1")
    assert signer.asked == [messages, messages, ("GET", f"{client.url}/exchange/v1/agreements/{'ab' * 32}", None, None)]
