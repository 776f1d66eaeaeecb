"""The webhook adapter against receivers that are not what they should be."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from adapters.port import DeliveryError, DeliveryRefusedError, Handover
from adapters.webhook import WebhookAdapter
from tests.integration.test_peer_https import Ca, Handler, listener
from tests.support.tls import LOOPBACK, make_ca, open_port

HEADERS = {"Content-Type": "application/json", "webhook-id": "evt_1"}


@pytest.fixture
def ca(tmp_path: Path) -> Ca:
    authority = make_ca()
    return Ca(authority, tmp_path, authority.write(tmp_path))


@asynccontextmanager
async def plain(handler: Handler) -> AsyncIterator[str]:
    """Serve `handler` on every path over HTTP; yields the URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner, bound = web.AppRunner(app, access_log=None, shutdown_timeout=1), open_port()
    await runner.setup()
    try:
        await web.SockSite(runner, bound).start()
        yield f"http://{LOOPBACK}:{bound.getsockname()[1]}"
    finally:
        await runner.cleanup()
        bound.close()


@asynccontextmanager
async def adapter_of(url: str, **changes: Any) -> AsyncIterator[WebhookAdapter]:
    members: dict[str, Any] = {"ca_file": None, "allowed_private": (), "on_loopback": True, **changes}
    adapter = WebhookAdapter(url, **members)
    try:
        yield adapter
    finally:
        await adapter.close()


async def post(url: str, **changes: Any) -> Handover:
    async with adapter_of(url, **changes) as adapter:
        return await adapter.post(HEADERS, b"{}")


async def code_of(work: Awaitable[object]) -> str:
    with pytest.raises(DeliveryError) as caught:
        await work
    assert caught.value.args == (caught.value.code,)  # no address, no words of the other side
    assert caught.value.__cause__ is None
    assert isinstance(caught.value, DeliveryRefusedError) is (caught.value.code == "address-not-allowed")
    return caught.value.code


async def taken(_: web.Request) -> web.Response:
    return web.Response(status=204)


async def test_headers_and_body_arrive_as_given_and_nothing_is_added_that_tells_who_sends(ca: Ca) -> None:
    seen: list[tuple[str, bytes, dict[str, str]]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, await request.read(), dict(request.headers)))
        return web.Response(status=202, body=b"ignored", headers={"Set-Cookie": "a=b"})

    async with listener(ca.server(), handler) as url, adapter_of(url + "/hook", ca_file=ca.file) as adapter:
        for _ in range(2):
            assert await adapter.post(HEADERS, b'{"a":1}') == Handover(status=202, body=b"")
    assert [(method, body) for method, body, _ in seen] == [("POST", b'{"a":1}')] * 2
    assert {name.lower() for name in seen[1][2]} == {
        "host", "content-type", "webhook-id", "accept", "accept-encoding", "content-length",
    }  # fmt: skip


async def test_certificate_is_checked(ca: Ca) -> None:
    async with listener(ca.server(), taken) as url:
        assert await code_of(post(url + "/")) == "tls"
        assert (await post(url + "/", ca_file=ca.file)).status == 204
        assert await code_of(post(url.replace(LOOPBACK, "localhost") + "/", ca_file=ca.file)) == "tls"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_and_never_followed(status: int) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with plain(handler) as url:
        assert (await post(url + "/here")).status == status
    assert asked == ["/here"]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with plain(taken) as url:
        assert (await post(url + "/")).status == 204


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "127.1", "0x7f.1"])
async def test_an_address_elsewhere_does_not_lead_to_this_machine(ca: Ca, host: str) -> None:
    async with listener(ca.server(), taken) as url:
        there = url.replace(LOOPBACK, host) + "/"
        assert await code_of(post(there, on_loopback=False, ca_file=ca.file)) == "address-not-allowed"
        ten = (ipaddress.ip_network("10.0.0.0/8"),)
        assert await code_of(post(there, on_loopback=False, allowed_private=ten)) == "address-not-allowed"


async def test_a_name_of_this_machine_does_not_lead_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever `localhost` is made to answer, http stays here."""
    loop = asyncio.get_running_loop()

    async def elsewhere(*_: object, **__: object) -> list[tuple[Any, ...]]:
        return [(2, 1, 6, "", ("10.0.0.1", 80))]

    monkeypatch.setattr(loop, "getaddrinfo", elsewhere)
    assert await code_of(post("http://localhost/")) == "address-not-allowed"


async def test_answer_without_end_is_left() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=200)
        await answer.prepare(request)
        try:
            for _ in range(1000):
                await answer.write(bytes(65_536))
        except ConnectionError:
            left.set()
            raise
        return answer

    left = asyncio.Event()
    async with plain(handler) as url:
        assert (await post(url + "/")).status == 200
        async with asyncio.timeout(10):
            await left.wait()


async def test_receiver_that_does_not_answer_is_given_up_in_time() -> None:
    leave = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await leave.wait()
        return web.Response()

    async with plain(handler) as url:
        assert await code_of(post(url + "/", total_time=timedelta(milliseconds=50))) == "time-out"
        leave.set()


async def test_nobody_listens() -> None:
    bound = open_port()
    port = bound.getsockname()[1]
    bound.close()
    assert await code_of(post(f"http://{LOOPBACK}:{port}/")) == "no-connection"


async def test_retry_after_is_read() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": "120"})

    async with plain(handler) as url:
        assert (await post(url + "/")).retry_after == 120
