"""What every adapter owes its callers; run over HTTPS on loopback and over memory."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from adapters.memory import Asked, MemoryAdapter
from adapters.peer import PeerAdapter
from adapters.port import Adapter, DeliveryError, DeliveryRefusedError, Handover, Parcel
from gateway.web.tls import server_context
from tests.support.tls import LOOPBACK, make_ca, make_cert, open_port, serving, url_of

SHORT = timedelta(milliseconds=300)
KB = 1024


@dataclass(slots=True)
class Partner:
    """A partner that answers as told, or never, and keeps what reached it."""

    answer: Handover = Handover(status=200, body=b"an answer")  # noqa: RUF009 - frozen
    silent: bool = False
    reached: list[Asked] = field(default_factory=list)

    async def __call__(self, asked: Asked) -> Handover:
        self.reached.append(asked)
        if self.silent:
            await asyncio.Event().wait()
        return self.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    adapter: Adapter
    hasty: Adapter
    partner: Partner
    url: str
    nobody: str

    def parcel(self, **changes: str | bytes) -> Parcel:
        parcel = Parcel(kind="messages", partner="la-850", url=self.url, idempotency_key="id-1", data=b"sealed")
        return replace(parcel, **changes)


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[Lab]:
    del folder
    partner = Partner()
    url = "https://hants.example"
    hasty = MemoryAdapter({url: partner}, total_time=SHORT)
    yield Lab(
        adapter=MemoryAdapter({url: partner}), hasty=hasty, partner=partner, url=url, nobody="https://nobody.example"
    )


def make_peer(ca_file: Path, **changes: timedelta) -> PeerAdapter:
    return PeerAdapter(
        sign=lambda method, uri, body, key: {"Signature": "stub", **({"Idempotency-Key": key} if key else {})},
        ca_file=ca_file,
        allowed_private=(ipaddress.ip_network(LOOPBACK),),
        **changes,
    )


@asynccontextmanager
async def peer(folder: Path) -> AsyncIterator[Lab]:
    partner, authority = Partner(), make_ca()

    async def handle(request: web.Request) -> web.Response:
        asked = Asked(
            method=request.method,
            path=request.raw_path,
            signed=request.headers.get("Signature") == "stub",
            idempotency_key=request.headers.get("Idempotency-Key", ""),
            data=await request.read(),
        )
        answer = await partner(asked)
        headers = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    bound, silent = open_port(), open_port()
    nobody = url_of(silent)
    silent.close()
    ca_file = authority.write(folder)
    adapter, hasty = make_peer(ca_file), make_peer(ca_file, total_time=SHORT)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    async with serving(runner, bound, server_context(*make_cert(authority, folder))):
        yield Lab(adapter=adapter, hasty=hasty, partner=partner, url=url_of(bound), nobody=nobody)
        await adapter.close()
        await hasty.close()


@pytest.fixture(params=[memory, peer], ids=["memory", "peer"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    async with request.param(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["messages", "receipts", "events"])
async def test_parcel_reaches_its_route_signed_and_unchanged(lab: Lab, kind: str) -> None:
    await lab.adapter.deliver(lab.parcel(kind=kind, data=b"\x00bytes"))
    assert lab.partner.reached == [
        Asked(method="POST", path=f"/exchange/v1/{kind}", signed=True, idempotency_key="id-1", data=b"\x00bytes")
    ]


async def test_bundle_travels_unsigned(lab: Lab) -> None:
    await lab.adapter.deliver(lab.parcel(kind="bundles"))
    assert not lab.partner.reached[0].signed


@pytest.mark.parametrize("signed", [True, False])
async def test_question_reaches_its_path_and_query_as_written(lab: Lab, signed: bool) -> None:
    path = "/exchange/v1/events?agreement=ab&org=la-850&after=0"
    await lab.adapter.fetch("la-850", lab.url, path, signed=signed)
    assert lab.partner.reached == [Asked(method="GET", path=path, signed=signed)]


@pytest.mark.parametrize("status", [200, 202, 204, 302, 400, 401, 404, 409, 500, 503])
async def test_any_answer_is_handed_on_as_it_came(lab: Lab, status: int) -> None:
    body = b"" if status == 204 else b"\x00 whatever"
    lab.partner.answer = Handover(status=status, body=body)
    assert await lab.adapter.deliver(lab.parcel()) == Handover(status=status, body=body)
    assert await lab.adapter.fetch("la-850", lab.url, "/exchange/v1/bundles?after=0", signed=False) == Handover(
        status=status, body=body
    )


async def test_retry_after_is_handed_on_in_seconds(lab: Lab) -> None:
    lab.partner.answer = Handover(status=503, body=b"", retry_after=120)
    assert (await lab.adapter.deliver(lab.parcel())).retry_after == 120


async def test_same_parcel_twice_brings_the_same_bytes_twice(lab: Lab) -> None:
    await lab.adapter.deliver(lab.parcel())
    await lab.adapter.deliver(lab.parcel())
    assert lab.partner.reached[0] == lab.partner.reached[1]


async def test_partner_that_is_not_there_may_be_tried_again(lab: Lab) -> None:
    with pytest.raises(DeliveryError) as caught:
        await lab.adapter.deliver(lab.parcel(url=lab.nobody))
    assert caught.value.code == "no-connection"
    assert not isinstance(caught.value, DeliveryRefusedError)


async def test_partner_that_never_answers_may_be_tried_again(lab: Lab) -> None:
    lab.partner.silent = True
    with pytest.raises(DeliveryError) as caught:
        await lab.hasty.deliver(lab.parcel())
    assert caught.value.code == "time-out"


async def test_plain_http_is_refused_for_ever(lab: Lab) -> None:
    with pytest.raises(DeliveryRefusedError) as caught:
        await lab.adapter.deliver(lab.parcel(url=lab.url.replace("https:", "http:")))
    assert caught.value.code == "address-not-allowed"
    assert lab.partner.reached == []


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/exchange/v1/agreements/ab", 640 * KB),
        ("/exchange/v1/bundles?after=0", 4096 * KB),
        ("/exchange/v1/events?agreement=ab&org=la-850&after=0", 4096 * KB),
    ],
)
async def test_answer_is_cut_off_at_its_cap(lab: Lab, path: str, limit: int) -> None:
    lab.partner.answer = Handover(status=200, body=bytes(limit))
    assert len((await lab.adapter.fetch("la-850", lab.url, path, signed=False)).body) == limit
    lab.partner.answer = Handover(status=200, body=bytes(limit + 1))
    with pytest.raises(DeliveryError) as caught:
        await lab.adapter.fetch("la-850", lab.url, path, signed=False)
    assert caught.value.code == "answer-too-large"


async def test_receipt_above_640_kb_is_too_large(lab: Lab) -> None:
    lab.partner.answer = Handover(status=200, body=bytes(640 * KB + 1))
    with pytest.raises(DeliveryError) as caught:
        await lab.adapter.deliver(lab.parcel())
    assert caught.value.code == "answer-too-large"


async def test_adapter_goes_on_after_a_failure(lab: Lab) -> None:
    lab.partner.answer = Handover(status=200, body=bytes(640 * KB + 1))
    with pytest.raises(DeliveryError):
        await lab.adapter.deliver(lab.parcel())
    lab.partner.answer = Handover(status=200, body=b"good")
    assert (await lab.adapter.deliver(lab.parcel())).body == b"good"
