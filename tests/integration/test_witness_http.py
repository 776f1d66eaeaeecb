"""The witness and log routes over HTTPS, asked by a client that shares no code with them, and by the peer adapter."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.peer import PeerAdapter
from adapters.port import DeliveryRefusedError
from gateway.core.receipt import read_receipt
from gateway.web.gate import Limits
from tests.support.exchange import Town, make_town_in_force
from tests.support.https import Answer, Client, authority, contexts, served
from tests.support.independent_log import IndependentLog, cosigned_at, root_from, tree_hash
from tests.support.keys import NOW, make_origin, seed
from tests.support.messages import A, B, submission
from tests.support.tls import LOOPBACK
from tests.support.witnessing_town import give_witness_keys, grow, witness_key

ADD = "/witness/v1/add-checkpoint"
LAST = f"/witness/v1/{hashlib.sha256(make_origin(A).encode()).hexdigest()}/checkpoint"
SIZE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class House:
    """la-850's listener, and the log of la-207 as somebody else would write it."""

    town: Town
    client: Client
    log: IndependentLog

    async def add(self, body: bytes, headers: Mapping[str, str] = {}) -> Answer:
        return await self.client.ask("POST", ADD, body, {"Content-Length": str(len(body)), **headers})

    def grow(self, count: int, what: str = "entry") -> None:
        self.log.entries += [f"{what} {len(self.log.entries) + number}".encode() for number in range(count)]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    town = await make_town_in_force()
    give_witness_keys((town.a, town.b))
    async with served(town.b.exchange) as client:
        yield House(town, client, IndependentLog(make_origin(A), seed(f"{A} log ed25519")))


async def test_another_implementation_is_cosigned_as_it_grows(house: House) -> None:
    old = 0
    for step in (1, 2, 5, 1, 8):
        house.grow(step)
        answer = await house.add(house.log.request(old))
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain")
        key = witness_key(B)
        assert cosigned_at(house.log.text(), answer.body.decode(), key.name, key.public) == NOW
        old = len(house.log.entries)


async def test_who_asks_with_a_wrong_size_learns_the_right_one(house: House) -> None:
    house.grow(5)
    await house.add(house.log.request(0))
    house.grow(3)
    answer = await house.add(house.log.request(0))
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (409, b"5\n", SIZE)
    assert (await house.add(house.log.request(int(answer.body)))).status == 200


async def test_two_histories_get_one_cosignature(house: House) -> None:
    house.grow(5)
    await house.add(house.log.request(0))
    house.log.entries = [b"rewritten", *house.log.entries[1:]]
    answer = await house.add(house.log.request(5))
    assert (answer.status, answer.body) == (409, b"")
    house.grow(2)
    assert (await house.add(house.log.request(5))).status == 422
    assert house.town.b.alarms == ["split-view", "log-not-extended"]


async def test_the_last_note_is_anybodys_to_read(house: House) -> None:
    assert (await house.client.ask("GET", LAST)).status == 404
    house.grow(5)
    line = (await house.add(house.log.request(0))).body
    answer = await house.client.ask("GET", LAST)
    assert answer.status == 200
    assert answer.body == house.log.note() + line
    assert (await house.client.ask("GET", LAST.replace("/witness", "/witness/v1", 1))).status == 404


@pytest.mark.parametrize("body", [b"", b"old 0\n", b"old 0\n\n", b"\xff" * 100, b"x" * 300_000])
async def test_what_is_no_request_is_refused(house: House, body: bytes) -> None:
    assert (await house.add(body)).status == 400


async def test_a_body_of_unknown_length_is_refused(house: House) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"old 0\n"

    assert (await house.client.ask("POST", ADD, body())).status == 411


async def test_an_unknown_log_and_a_forged_one_are_told_apart(house: House) -> None:
    stranger = IndependentLog("stranger.example/log", seed("a stranger"), [b"an entry"])
    assert (await house.add(stranger.request(0))).status == 404
    forged = IndependentLog(make_origin(A), seed("a stranger"), [b"an entry"])
    assert (await house.add(forged.request(0))).status == 403


async def test_one_address_cannot_take_all_of_the_witness_routes() -> None:
    town = await make_town_in_force()
    give_witness_keys((town.a, town.b))
    async with served(town.b.exchange, limits=Limits(strangers=1)) as client:
        reader, writer = await asyncio.open_connection(LOOPBACK, int(client.url.rpartition(":")[2]), ssl=contexts()[1])
        head = "Host: x\r\nContent-Length: 9\r\nExpect: 100-continue"
        writer.write(f"POST {ADD} HTTP/1.1\r\n{head}\r\n\r\n".encode())
        assert b"100 Continue" in await reader.readline()  # its handler is next
        async with asyncio.timeout(10):
            while (await client.ask("POST", ADD, b"x", {"Content-Length": "1"})).status != 503:
                pass
            assert (await client.ask("GET", LAST)).status == 503
            writer.close()
            await writer.wait_closed()
            while (await client.ask("GET", LAST)).status == 503:
                pass


# --- our own log, for partners


async def test_the_newest_checkpoint_is_for_partners_alone(house: House) -> None:
    await house.town.b.exchange.sign_log()
    path = "/exchange/v1/log/checkpoint"
    answer = await house.client.get(path)
    assert answer.status == 200
    assert answer.body.decode().split("\n")[:2] == [make_origin(B), str(len(house.town.b.memory.log))]
    assert (await house.client.ask("GET", path)).status == 401


async def test_a_receipts_entry_is_proven_to_another_implementation(house: House) -> None:
    await submission(house.town.a.exchange)
    await house.town.a.run()
    (sent,) = house.town.a.memory.sent.values()
    (taken,) = sent.receipts.values()
    path = f"/exchange/v1/log/proof?leaf={taken.leaf.hex()}"
    assert (await house.client.get(path)).status == 503  # signed a moment later
    await house.town.b.exchange.sign_log()
    answer = await house.client.get(path)
    assert answer.status == 200
    head, _, note = answer.body.decode().partition("\n\n")
    first, index, *hashes = head.split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    _, size, root, *_ = note.split("\n")
    entry = read_receipt(taken.data).entry
    found = root_from(entry, int(index.removeprefix("index ")), int(size), [base64.b64decode(text) for text in hashes])
    assert base64.b64encode(found).decode() == root
    assert found == tree_hash([logged.data for logged in house.town.b.memory.log])


async def test_a_partner_is_told_nothing_of_other_entries(house: House) -> None:
    await grow(house.town.b)
    own = house.town.b.memory.log[-1]
    for leaf in (own.leaf.hex(), "00" * 32):
        assert (await house.client.get(f"/exchange/v1/log/proof?leaf={leaf}")).status == 404
    assert (await house.client.ask("GET", f"/exchange/v1/log/proof?leaf={own.leaf.hex()}")).status == 401


@pytest.mark.parametrize(
    "query", ["", "?leaf=", "?leaf=00", "?leaf=" + "AB" * 32, "?leaf=" + "00" * 32 + "&leaf=1", "?x=1"]
)
async def test_a_question_in_another_form_is_refused(house: House, query: str) -> None:
    assert (await house.client.get(f"/exchange/v1/log/proof{query}")).status == 400


# --- the adapter's side


@pytest.fixture
async def adapter(tmp_path: Path) -> AsyncIterator[PeerAdapter]:
    peer = PeerAdapter(
        sign=lambda *_: {}, ca_file=authority().write(tmp_path), allowed_private=(ipaddress.ip_network(LOOPBACK),)
    )
    yield peer
    await peer.close()


async def test_the_adapter_brings_a_checkpoint_and_the_answer_back(house: House, adapter: PeerAdapter) -> None:
    prefix = f"{house.client.url}/witness/v1"
    house.grow(3)
    reply = await adapter.add_checkpoint(prefix, house.log.request(0))
    assert (reply.status, reply.media) == (200, "text/plain")
    house.grow(1)
    reply = await adapter.add_checkpoint(prefix, house.log.request(0))
    assert (reply.status, reply.body, reply.media) == (409, b"3\n", SIZE)
    reply = await adapter.last_checkpoint(prefix, LAST.split("/")[3])
    assert reply.status == 200
    assert reply.body.startswith(house.log.note(3))


@pytest.mark.parametrize(
    "prefix",
    [
        "http://127.0.0.1/witness",
        "https://127.0.0.1/witness/",
        "https://127.0.0.1/../admin",
        "https://user@127.0.0.1/witness",
        "https://127.0.0.1/w?x=1",
        "https://127.0.0.1/w#x",
        "https://127.0.0.1//w",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/witness",
    ],
)
async def test_a_witness_is_asked_nowhere_else_than_partners_are(adapter: PeerAdapter, prefix: str) -> None:
    with pytest.raises(DeliveryRefusedError):
        await adapter.add_checkpoint(prefix, b"a request")
