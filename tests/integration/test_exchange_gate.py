"""Who gets through the gate of the exchange listener, and what it costs those who do not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519 as library_ed25519
from http_message_signatures import HTTPMessageSigner, algorithms
from structlog.testing import capture_logs

from adapters.memory import Asked, MemoryAdapter
from adapters.port import Handover
from gateway.core.errors import BusyError
from gateway.web.gate import Limits
from keys import base64url
from keys.listed import Role
from tests.support.exchange import Town, make_town
from tests.support.https import Answer, Client, contexts, http_key, served
from tests.support.keys import (
    NOW,
    ed25519,
    make_bundle,
    make_endpoints,
    make_entries,
    make_entry,
    make_revocation,
)
from tests.support.messages import A, B, C, bundle_of

RECEIPT = b'{"a":"receipt"}'
MESSAGES = "/exchange/v1/messages"
AGREEMENT = "/exchange/v1/agreements/" + "ab" * 32  # let in: 404
KB = 1024


@dataclass(slots=True)
class Answering:
    """An inbox that has a receipt for everything, or raises, or waits until it is released."""

    error: Exception | None = None
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event | None = None

    async def stored_receipt(self, sender: str, env: str) -> bytes:
        self.waiting.set()
        if self.release is not None:
            await self.release.wait()
        if self.error is not None:
            raise self.error
        return RECEIPT


def make_house(inbox: Answering | None = None, **ports: Any) -> tuple[Town, Any]:
    """la-850 with a receipt for everything, and the town it is in."""
    town = make_town()
    return town, replace(town.b.exchange, inbox=inbox or Answering(), **ports)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with served(make_house()[1]) as opened:
        yield opened


def refused(answer: Answer) -> None:
    assert (answer.status, answer.body) == (401, b"")


# --- who is let in


async def test_signed_message_of_a_verified_partner_is_let_in(client: Client) -> None:
    answer = await client.post("messages", b"sealed")
    assert (answer.status, answer.body) == (200, RECEIPT)
    assert answer.headers["Content-Type"] == "application/jose+json"


class Request:
    """What the library wants of a request."""

    def __init__(self, method: str, url: str, headers: dict[str, str]) -> None:
        self.method, self.url, self.headers = method, url, headers


class Resolver:
    def resolve_private_key(self, key_id: str) -> library_ed25519.Ed25519PrivateKey:
        del key_id
        return library_ed25519.Ed25519PrivateKey.from_private_bytes(http_key(A).seed)


class OrderedSigner(HTTPMessageSigner):
    """The library's signer, with the parameters in the order of the fixed form."""

    def _build_signature_base(self, message: Any, *, signature_params: Any, **others: Any) -> Any:
        ordered = {name: signature_params[name] for name in ("created", "nonce", "keyid", "alg", "tag")}
        return super()._build_signature_base(message, signature_params=ordered, **others)


def library_sign(request: Request, components: tuple[str, ...]) -> dict[str, str]:
    OrderedSigner(signature_algorithm=algorithms.ED25519, key_resolver=Resolver()).sign(  # type: ignore[arg-type]
        request,
        key_id=f"{A}#{http_key(A).public.kid}",
        created=datetime.fromtimestamp(NOW, tz=UTC),
        nonce=base64url.encode(bytes(16)),
        label="safehand",
        tag="safehand-1",
        covered_component_ids=components,
        use_existing_digest="content-digest" in components,
    )
    return request.headers


async def test_post_signed_by_the_library_is_let_in(client: Client) -> None:
    unsigned = {name: value for name, value in client.sign("POST", MESSAGES, b"x").items() if "Signature" not in name}
    components = ("@method", "@target-uri", "content-type", "content-digest", "idempotency-key")
    headers = library_sign(Request("POST", client.url + MESSAGES, unsigned), components)
    assert (await client.ask("POST", MESSAGES, b"x", headers)).status == 200


async def test_get_signed_by_the_library_is_let_in(client: Client) -> None:
    headers = library_sign(Request("GET", client.url + AGREEMENT, {}), ("@method", "@target-uri"))
    assert (await client.ask("GET", AGREEMENT, None, headers)).status == 404


async def test_request_without_a_signature_is_refused_without_a_word(client: Client) -> None:
    refused(await client.ask("POST", MESSAGES, b"sealed", {"Content-Type": "application/jose+json"}))
    refused(await client.ask("GET", AGREEMENT))


async def test_other_body_than_the_signed_one_is_refused(client: Client) -> None:
    refused(await client.ask("POST", MESSAGES, b"sealeD", client.sign("POST", MESSAGES, b"sealed")))


async def test_other_id_than_the_signed_one_is_refused(client: Client) -> None:
    headers = client.sign("POST", MESSAGES, b"sealed") | {"Idempotency-Key": "id-2"}
    refused(await client.ask("POST", MESSAGES, b"sealed", headers))


async def test_request_signed_for_another_route_is_refused(client: Client) -> None:
    refused(await client.ask("POST", "/exchange/v1/receipts", b"x", client.sign("POST", MESSAGES, b"x")))
    refused(await client.ask("GET", AGREEMENT + "?x=1", None, client.sign("GET", AGREEMENT)))


async def test_request_signed_by_another_key_is_refused(client: Client) -> None:
    headers = client.sign("POST", MESSAGES, b"x", secret=ed25519("a stranger"))
    named = headers["Signature-Input"].replace(ed25519("a stranger").public.kid, http_key(A).public.kid)
    refused(await client.ask("POST", MESSAGES, b"x", headers))
    refused(await client.ask("POST", MESSAGES, b"x", headers | {"Signature-Input": named}))


async def test_key_of_another_role_is_refused(client: Client) -> None:
    refused(await client.post("messages", b"x", secret=ed25519(f"{A} log")))


async def test_partners_key_under_another_partners_name_is_refused() -> None:
    town, exchange = make_house()
    town.b.know(C)
    async with served(exchange) as client:
        assert (await client.post("messages", b"x", org=C)).status == 200
        refused(await client.post("messages", b"x", org=C, secret=http_key(A)))


async def test_organisation_that_is_no_partner_is_refused(client: Client) -> None:
    refused(await client.post("messages", b"x", org=C))
    refused(await client.post("messages", b"x", org=B))


async def test_partner_whose_fingerprint_nobody_compared_is_refused() -> None:
    town, exchange = make_house()
    town.b.know(A, verified=False)
    async with served(exchange) as client:
        refused(await client.post("messages", b"x"))


async def test_target_is_the_configured_url_and_never_the_host_of_the_request() -> None:
    _, exchange = make_house()
    async with served(exchange, public_url="https://hants.example") as client:
        refused(await client.post("messages", b"x"))  # signed for the address, which Host names too
        target = "https://hants.example/exchange/v1/messages"
        headers = client.sign("POST", MESSAGES, b"x", target_uri=target)
        assert (await client.ask("POST", MESSAGES, b"x", headers)).status == 200
        headers = client.sign("POST", MESSAGES, b"x") | {"Host": "hants.example", "X-Forwarded-Host": "hants.example"}
        refused(await client.ask("POST", MESSAGES, b"x", headers))


# --- when


@pytest.mark.parametrize(("shift", "status"), [(-301, 401), (-300, 200), (300, 200), (301, 401)])
async def test_signature_is_good_for_300_seconds_either_way(client: Client, shift: int, status: int) -> None:
    assert (await client.post("messages", b"x", created=NOW + shift)).status == status


async def test_request_is_good_once(client: Client) -> None:
    headers = client.sign("POST", MESSAGES, b"x")
    assert (await client.ask("POST", MESSAGES, b"x", headers)).status == 200
    refused(await client.ask("POST", MESSAGES, b"x", headers))
    question = client.sign("GET", AGREEMENT)
    assert (await client.ask("GET", AGREEMENT, None, question)).status == 404
    refused(await client.ask("GET", AGREEMENT, None, question))


async def test_nonce_of_a_request_that_failed_is_not_used_up(client: Client) -> None:
    headers = client.sign("POST", MESSAGES, b"x")
    refused(await client.ask("POST", MESSAGES, b"y", headers))
    assert (await client.ask("POST", MESSAGES, b"x", headers)).status == 200


async def test_same_nonce_of_two_partners_is_two_nonces() -> None:
    town, exchange = make_house()
    town.b.know(C)
    async with served(exchange) as client:
        for org in (A, C):
            assert (await client.post("messages", b"x", org=org, nonce=bytes(16))).status == 200


# --- keys in force


class Publisher:
    """la-207's listener: answers its bundles, and counts how often it is asked."""

    def __init__(self, *bundles: bytes) -> None:
        self.bundles = bundles
        self.asked: list[Asked] = []

    async def __call__(self, asked: Asked) -> Handover:
        self.asked.append(asked)
        return Handover(status=200, body=b"[" + b",".join(self.bundles) + b"]")

    @property
    def adapter(self) -> MemoryAdapter:
        return MemoryAdapter({make_endpoints(A).exchange: self})


NEW_KEY = ed25519("a new http key")


def next_bundle(**changes: Any) -> bytes:
    """la-207's second bundle: another HTTP key besides the old one."""
    entries = [*make_entries(A), make_entry(Role.HTTP, NEW_KEY)]
    members = {"keys": tuple(entries), **changes}
    return make_bundle(A, history=(bundle_of(A),), **members).jws


async def test_key_that_is_not_held_is_looked_for_in_the_partners_newer_bundle() -> None:
    publisher = Publisher(next_bundle())
    town, exchange = make_house(peer=publisher.adapter)
    town.clock.forward(minutes=5)
    async with served(exchange) as client:
        answer = await client.post("messages", b"x", secret=NEW_KEY, created=NOW + 300)
        assert answer.status == 200
        assert publisher.asked == [Asked(method="GET", path="/exchange/v1/bundles?after=1", signed=False)]
        await client.post("messages", b"x", secret=NEW_KEY, created=NOW + 300)
    assert len(publisher.asked) == 1
    assert len(town.b.memory.bundles[A]) == 2


async def test_partner_is_asked_for_its_bundles_at_most_once_a_minute() -> None:
    publisher = Publisher()  # nothing new, whoever asks
    town, exchange = make_house(peer=publisher.adapter)
    town.clock.forward(minutes=5)
    async with served(exchange) as client:
        for _ in range(3):
            refused(await client.post("messages", b"x", secret=NEW_KEY, created=NOW + 300))
        assert len(publisher.asked) == 1
        town.clock.forward(seconds=60)
        refused(await client.post("messages", b"x", secret=NEW_KEY, created=NOW + 360))
        assert len(publisher.asked) == 2


async def test_stranger_cannot_make_us_ask_anybody() -> None:
    publisher = Publisher()
    town, exchange = make_house(peer=publisher.adapter)
    town.clock.forward(minutes=5)
    async with served(exchange) as client:
        refused(await client.post("messages", b"x", org=C, created=NOW + 300))
    assert publisher.asked == []


async def test_key_stays_unknown_where_the_partner_cannot_be_asked() -> None:
    town, exchange = make_house(peer=MemoryAdapter({}))
    town.clock.forward(minutes=5)
    async with served(exchange) as client:
        refused(await client.post("messages", b"x", secret=NEW_KEY, created=NOW + 300))
        assert (await client.post("messages", b"x", created=NOW + 300)).status == 200


async def test_revoked_key_is_refused_though_it_signed_before() -> None:
    revoking = next_bundle(revoked=(make_revocation(http_key(A).public.kid),))
    town, exchange = make_house()
    town.b.memory.bundles[A].append(revoking)
    async with served(exchange) as client:
        refused(await client.post("messages", b"x"))
        assert (await client.post("messages", b"x", secret=NEW_KEY)).status == 200


async def test_key_of_an_expired_bundle_is_refused() -> None:
    town, exchange = make_house(peer=MemoryAdapter({}))
    at = bundle_of(A).exp
    town.clock.now = datetime.fromtimestamp(at - 1, tz=UTC)
    async with served(exchange) as client:
        assert (await client.post("messages", b"x", created=at)).status == 200
        town.clock.forward(seconds=1)
        refused(await client.post("messages", b"x", created=at))


# --- what a request may cost


async def test_body_of_unknown_length_is_refused_before_anything_else(client: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"

    answer = await client.ask("POST", MESSAGES, chunks(), client.sign("POST", MESSAGES, b"x"))
    assert (answer.status, answer.body) == (411, b"")
    assert (
        await client.ask("POST", "/exchange/v1/bundles", chunks(), {"Content-Type": "application/jose+json"})
    ).status == 411


@pytest.mark.parametrize(
    ("kind", "limit"), [("messages", 640 * KB), ("receipts", 64 * KB), ("events", 640 * KB), ("bundles", 640 * KB)]
)
async def test_body_above_its_cap_is_refused_by_its_announced_length(client: Client, kind: str, limit: int) -> None:
    path = f"/exchange/v1/{kind}"
    signed = client.sign("POST", path, b"x")
    assert await client.raw(path, signed | {"Content-Length": str(limit + 1)}) == 400
    assert (await client.post(kind, bytes(limit))).status != 413


async def test_signature_is_refused_before_a_byte_of_the_body_has_come(client: Client) -> None:
    signed = client.sign("POST", MESSAGES, b"x", secret=ed25519("a stranger"))
    forged = signed | {"Signature": client.sign("POST", MESSAGES, b"y")["Signature"]}
    late = client.sign("POST", MESSAGES, b"x", created=NOW - 301)
    for headers in (signed, forged):
        assert await client.raw(MESSAGES, headers | {"Content-Length": "600000"}) == 401
    assert await client.raw(MESSAGES, late | {"Content-Length": "1"}, b"x") == 401


async def test_body_that_does_not_come_ends_at_its_time() -> None:
    async with served(make_house()[1], limits=Limits(body_time=timedelta(milliseconds=20))) as client:
        headers = client.sign("POST", MESSAGES, b"sealed") | {"Content-Length": "6"}
        assert await client.raw(MESSAGES, headers, b"sea") == 408


async def test_question_with_a_body_is_refused(client: Client) -> None:
    assert (await client.ask("GET", AGREEMENT, b"x", client.sign("GET", AGREEMENT))).status == 400


async def test_partner_with_too_much_under_way_is_told_to_come_back_and_others_are_served() -> None:
    inbox = Answering(release=asyncio.Event())
    town, exchange = make_house(inbox)
    town.b.know(C)
    async with served(exchange, limits=Limits(in_flight=1)) as client, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(client.post("messages", b"x"))
        async with asyncio.timeout(10):
            await inbox.waiting.wait()
        second = await client.post("messages", b"x")
        assert (second.status, second.body, second.headers["Retry-After"]) == (503, b"", "1")
        assert (await client.get(AGREEMENT, org=C)).status == 404
        assert inbox.release is not None
        inbox.release.set()
        assert (await first).status == 200
        assert (await client.post("messages", b"x")).status == 200


async def test_share_is_given_back_after_an_error() -> None:
    _, exchange = make_house(Answering(error=BusyError("full")))
    async with served(exchange, limits=Limits(in_flight=1)) as client:
        for _ in range(3):
            assert (await client.post("messages", b"x")).headers["Retry-After"] == "5"


async def test_one_address_cannot_take_all_of_the_unsigned_routes() -> None:
    limits = Limits(strangers=1)
    async with served(make_house()[1], limits=limits) as client:
        path = "/exchange/v1/bundles"
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(client.url.rpartition(":")[2]), ssl=contexts()[1]
        )
        headers = "Host: x\r\nContent-Type: application/jose+json\r\nContent-Length: 9\r\nExpect: 100-continue"
        writer.write(f"POST {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        assert b"100 Continue" in await reader.readline()  # its handler is next
        held = {"Content-Type": "application/jose+json"}
        async with asyncio.timeout(10):
            while (await client.ask("POST", path, b"x", held)).status != 503:
                pass
            writer.close()
            await writer.wait_closed()
            while (await client.ask("POST", path, b"x", held)).status == 503:
                pass


async def test_older_tls_is_refused(client: Client) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.open_connection("127.0.0.1", int(client.url.rpartition(":")[2]), ssl=context)


async def test_refusal_is_told_to_the_operator_without_what_the_request_says_of_itself(client: Client) -> None:
    with capture_logs() as told:
        refused(await client.post("messages", b"x", org="okafor-lind"))
    assert told == [
        {
            "event": "signature-refused",
            "log_level": "warning",
            "source": "safehand.gate",
            "route": MESSAGES,
            "code": "http.partner",
            "rule": "only verified partners are let in",
        }
    ]
