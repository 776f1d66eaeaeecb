"""What the exchange listener answers on each of its routes, over HTTPS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts.document import read_wire, write_wire
from contracts.events import Action, EventPayload, read_event, write_event
from gateway import governing, outbound, statements
from gateway.core import daily, receipt
from gateway.core.errors import BusyError, ConflictError, EnvelopeRejectedError, LogInconsistentError, NotYetError
from gateway.core.lifecycle import State
from gateway.core.message import Draft, Submission
from gateway.web.gate import Limits
from keys.statement import read_statement, sign_statement
from keys.suite import EVENT_TYPE, RECEIPT_TYPE
from tests.support.exchange import Town, make_town_in_force
from tests.support.https import Answer, Client, served
from tests.support.keys import NOW, make_bundle, make_entries, make_pair
from tests.support.messages import A, B, C, bundle_of, make_body, make_draft, pair_of, ring_of, seal_it

UNREADABLE = (400, b'{"code":"unreadable"}')
CONFLICT = (409, b'{"code":"conflict"}')
DONE = (204, b"")
JOSE = {"Content-Type": "application/jose+json"}
BUNDLES = "/exchange/v1/bundles"


@dataclass(frozen=True, slots=True)
class House:
    """la-850, its listener, and the town it is in."""

    town: Town
    client: Client

    @property
    def agreement(self) -> str:
        return self.town.digest.removeprefix("sha256:")

    def events(self, org: str = A, after: int = 0, agreement: str | None = None) -> str:
        return f"/exchange/v1/events?agreement={agreement or self.agreement}&org={org}&after={after}"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    town = await make_town_in_force()
    async with served(town.b.exchange) as client:
        yield House(town, client)


def said(answer: Answer) -> tuple[int, bytes]:
    return answer.status, answer.body


# --- messages


@dataclass(frozen=True, slots=True)
class Failing:
    """An inbox that raises."""

    error: Exception

    async def stored_receipt(self, sender: str, env: str) -> bytes:
        raise self.error


async def failing(error: Exception) -> Answer:
    """What a partner sees when the flow ends with `error`."""
    town = await make_town_in_force()
    async with served(replace(town.b.exchange, inbox=Failing(error))) as client:
        return await client.post("messages", b"sealed")


async def test_message_is_answered_with_a_receipt_and_its_repeat_with_the_same(house: House) -> None:
    sealed = seal_it(await draft_for(house))
    first = await house.client.post("messages", sealed.envelope, sealed.draft.id)
    assert (first.status, first.headers["Content-Type"]) == (200, "application/jose+json")
    assert receipt.read_receipt(first.body).payload.event == "checked"
    again = await house.client.post("messages", sealed.envelope, sealed.draft.id)
    assert said(again) == said(first)


async def draft_for(house: House) -> Draft:
    held = await governing.load(house.town.a.exchange, house.town.digest, house.town.clock())
    assert held is not None
    return make_draft(agreement=held.ref)


@pytest.mark.parametrize("step", ["1", "4", "7", "9", "11", "12"])
async def test_every_fault_of_an_envelope_is_one_answer_and_the_cause_stays_here(step: str) -> None:
    with capture_logs() as told:
        answer = await failing(EnvelopeRejectedError(step, f"cause of step {step}"))
    assert said(answer) == UNREADABLE
    assert answer.headers["Content-Type"].startswith("application/json")
    assert (told[0]["code"], told[0]["step"], told[0]["cause"]) == ("unreadable", step, f"cause of step {step}")
    assert (told[0]["partner"], told[0]["route"]) == (A, "/exchange/v1/messages")


async def test_answers_to_two_faults_differ_in_nothing() -> None:
    one, other = (
        await failing(EnvelopeRejectedError("4", "rh")),
        await failing(EnvelopeRejectedError("11", "signature")),
    )
    assert dict(one.headers) | {"Date": ""} == dict(other.headers) | {"Date": ""}
    assert one.body == other.body


async def test_id_used_for_other_bytes_is_a_conflict() -> None:
    assert said(await failing(ConflictError("other bytes"))) == CONFLICT


async def test_what_cannot_be_answered_yet_names_when_to_come_back() -> None:
    answer = await failing(NotYetError("keys are not known", retry_after=45))
    assert (*said(answer), answer.headers["Retry-After"]) == (503, b"", "45")
    assert (await failing(BusyError("full"))).status == 503


@pytest.mark.parametrize("error", [RuntimeError("Okafor-Lind, Zoë"), TimeoutError("Okafor"), LogInconsistentError("x")])
async def test_fault_of_ours_shows_nothing_and_is_told_by_its_type(error: Exception) -> None:
    with capture_logs() as told:
        answer = await failing(error)
    assert said(answer) == (500, b"")
    assert (told[0]["event"], told[0]["route"]) == ("request-failed", "/exchange/v1/messages")
    assert told[0]["exc_info"] is error  # `watch` tells its type alone


# --- receipts


@dataclass(frozen=True, slots=True)
class Sender:
    """la-207, its listener, a message that it sent to la-850, and the receipt that la-850 made for it."""

    town: Town
    client: Client
    receipt: bytes

    @property
    def id(self) -> str:
        return receipt.read_receipt(self.receipt).payload.id

    @property
    def state(self) -> State:
        return next(iter(self.town.a.memory.sent.values())).state

    async def post(self, data: bytes, key: str | None = None, *, org: str = B) -> tuple[int, bytes]:
        return said(await self.client.post("receipts", data, key or self.id, org=org))


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    town = await make_town_in_force()
    asked = Submission(
        partner=B,
        type="cme.transfer",
        body=write_wire(make_body()),
        facts={"urgency": "routine"},
        client="a case system",
        key="1",
    )
    await outbound.accept(asked, town.a.exchange)
    sent = next(iter(town.a.memory.sent.values()))
    async with served(town.a.exchange) as client:
        yield Sender(town, client, await town.b.accept(sent.envelope, A, sent.row.id))


async def test_receipt_is_taken_and_its_repeat_changes_nothing(sender: Sender) -> None:
    assert await sender.post(sender.receipt) == DONE
    assert sender.state is State.DELIVERED
    assert await sender.post(sender.receipt) == DONE
    assert sender.town.a.kinds().count("delivered") == 1


async def test_receipt_under_another_id_than_its_own_is_refused(sender: Sender) -> None:
    assert await sender.post(sender.receipt, "id-1") == UNREADABLE
    assert sender.state is State.QUEUED


async def test_receipt_with_the_id_of_another_is_a_conflict(sender: Sender) -> None:
    await sender.post(sender.receipt)
    payload = read_statement(sender.receipt, limit=len(sender.receipt)).payload
    other = sign_statement(payload, RECEIPT_TYPE, pair_of(B).signers)  # hedged signatures make other bytes
    assert await sender.post(other) == CONFLICT


async def test_receipt_that_somebody_else_brings_is_refused(sender: Sender) -> None:
    sender.town.a.know(C)
    assert await sender.post(sender.receipt, org=C) == UNREADABLE
    assert sender.state is State.QUEUED


async def test_receipt_that_somebody_else_signed_is_refused(sender: Sender) -> None:
    payload = read_statement(sender.receipt, limit=len(sender.receipt)).payload
    assert await sender.post(sign_statement(payload, RECEIPT_TYPE, pair_of(C).signers)) == UNREADABLE
    assert sender.state is State.QUEUED


# --- events


def resigned(jws: bytes, **changes: Any) -> bytes:
    """The event again with changed members, signed by la-207's agreement keys: hedged signatures make other bytes."""
    payload: EventPayload = read_event(read_statement(jws, limit=len(jws)).payload)
    members = {name: getattr(payload, name) for name in payload.__struct_fields__} | changes
    return sign_statement(write_event(EventPayload(**members)), EVENT_TYPE, ring_of(A).agreement(NOW).pair.signers)


def first_event(house: House) -> tuple[str, bytes]:
    """la-207's proposal: its id and its bytes."""
    row = next(row for row in house.town.a.memory.events if row.org == A)
    return read_event(read_statement(row.jws, limit=len(row.jws)).payload).id, row.jws


async def test_event_is_kept_and_its_repeat_changes_nothing(house: House) -> None:
    await house.town.act(house.town.a, Action.SUSPEND, push=False)
    row = house.town.a.memory.events[-1]
    event = read_event(read_statement(row.jws, limit=len(row.jws)).payload)
    for _ in range(2):
        assert said(await house.client.post("events", row.jws, event.id)) == DONE
    assert [held.hash for held in house.town.b.memory.events].count(row.hash) == 1


async def test_event_under_another_id_than_its_own_is_refused(house: House) -> None:
    _, jws = first_event(house)
    assert said(await house.client.post("events", jws, "id-1")) == UNREADABLE


async def test_event_with_the_id_of_another_is_a_conflict_and_not_kept(house: House) -> None:
    known, jws = first_event(house)
    before = len(house.town.b.memory.events)
    assert said(await house.client.post("events", resigned(jws), known)) == CONFLICT
    assert len(house.town.b.memory.events) == before


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b'{"payload":"","signatures":[]}'])
async def test_what_is_no_event_and_no_receipt_has_one_answer(house: House, body: bytes) -> None:
    for kind in ("events", "receipts", "messages"):
        assert said(await house.client.post(kind, body)) == UNREADABLE
    assert said(await house.client.ask("POST", BUNDLES, body, JOSE)) == UNREADABLE


async def test_event_that_somebody_else_signed_is_refused(house: House) -> None:
    _, jws = first_event(house)
    new = "019bbd3c-8ac0-7abc-8def-0123456789ff"
    payload = read_statement(resigned(jws, id=new), limit=2 * len(jws)).payload
    forged = sign_statement(payload, EVENT_TYPE, make_pair("a stranger").signers)
    assert said(await house.client.post("events", forged, new)) == UNREADABLE
    assert len(house.town.b.memory.events) == 2


async def test_events_of_either_party_are_listed_in_their_published_bytes(house: House) -> None:
    for org in (A, B):
        answer = await house.client.get(house.events(org))
        published = [row.jws for row in house.town.b.memory.events if row.org == org]
        assert (answer.status, answer.body) == (200, b"[" + b",".join(published) + b"]")
        assert answer.headers["Content-Type"].startswith("application/json")
        assert len(published) == 1


async def test_events_after_the_last_are_none(house: House) -> None:
    assert said(await house.client.get(house.events(A, after=1))) == (200, b"[]")
    assert said(await house.client.get(house.events(C))) == (200, b"[]")


async def test_events_and_agreements_are_shown_to_the_two_parties_only(house: House) -> None:
    house.town.b.know(C)
    for path in (house.events(), f"/exchange/v1/agreements/{house.agreement}"):
        assert (await house.client.get(path)).status == 200
        assert said(await house.client.get(path, org=C)) == (404, b"")
        assert said(await house.client.ask("GET", path)) == (401, b"")


async def test_agreement_that_is_not_held_looks_as_one_of_others(house: House) -> None:
    house.town.b.know(C)
    unknown = await house.client.get("/exchange/v1/agreements/" + "ab" * 32, org=C)
    others = await house.client.get(f"/exchange/v1/agreements/{house.agreement}", org=C)
    assert dict(unknown.headers) | {"Date": ""} == dict(others.headers) | {"Date": ""}
    assert said(unknown) == said(others)
    assert (await house.client.get(house.events(agreement="ab" * 32))).status == 404


async def test_agreement_is_answered_in_its_canonical_bytes(house: House) -> None:
    answer = await house.client.get(f"/exchange/v1/agreements/{house.agreement}")
    assert answer.body == house.town.b.memory.files[house.town.digest].canonical
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?agreement={0}&org=la-207",
        "?agreement={0}&org=la-207&after=-1",
        "?agreement={0}&org=la-207&after=01",
        "?agreement={0}&org=la-207&after=0&after=1",
        "?agreement={0}&org=la-207&after=0&more=1",
        "?agreement=AB&org=la-207&after=0",
        "?agreement={0}&org=LA&after=0",
    ],
)
async def test_question_in_another_form_is_refused(house: House, query: str) -> None:
    path = "/exchange/v1/events" + query.format(house.agreement)
    assert said(await house.client.get(path)) == UNREADABLE


# --- bundles


async def listed(house: House, after: int) -> Answer:
    return await house.client.ask("GET", f"{BUNDLES}?after={after}")


async def test_bundles_are_listed_to_anybody_in_their_published_bytes(house: House) -> None:
    own = [bundle_of(B).jws, make_bundle(B, history=(bundle_of(B),)).jws]
    house.town.b.memory.bundles[B] = own
    assert (await listed(house, 0)).body == b"[" + b",".join(own) + b"]"
    assert (await listed(house, 1)).body == b"[" + own[1] + b"]"
    assert said(await listed(house, 2)) == (200, b"[]")
    assert read_wire((await listed(house, 0)).body, limit=1 << 20)


async def test_list_longer_than_a_partner_reads_is_cut_at_a_document() -> None:
    town = await make_town_in_force()
    own = [bundle_of(B).jws, make_bundle(B, history=(bundle_of(B),)).jws]
    town.b.memory.bundles[B] = own
    async with served(town.b.exchange, limits=Limits(lists=len(own[0]) + len(own[1]))) as client:
        assert (await client.ask("GET", f"{BUNDLES}?after=0")).body == b"[" + own[0] + b"]"


@pytest.mark.parametrize("query", ["", "?after=", "?after=x", "?after=1.0", "?after=0&after=0", "?after=0&x=1"])
async def test_bundles_are_asked_for_in_one_form(house: House, query: str) -> None:
    assert said(await house.client.ask("GET", BUNDLES + query)) == UNREADABLE


def new_bundle(label: str = "new") -> bytes:
    return make_bundle(A, history=(bundle_of(A),), name=f"Invented Council, {label}").jws


async def post_bundle(house: House, jws: bytes, **headers: str) -> tuple[int, bytes]:
    return said(await house.client.ask("POST", BUNDLES, jws, JOSE | headers))


async def test_partners_new_bundle_is_kept_without_a_signature_on_the_request(house: House) -> None:
    jws = new_bundle()
    for _ in range(2):
        assert await post_bundle(house, jws) == DONE
    assert house.town.b.memory.bundles[A] == [bundle_of(A).jws, jws]
    assert house.town.b.kinds().count("key-bundle-accepted") == 1


async def test_bundle_held_already_is_done(house: House) -> None:
    before = len(house.town.b.memory.log)
    assert await post_bundle(house, bundle_of(A).jws) == DONE
    assert len(house.town.b.memory.log) == before


async def test_second_bundle_of_one_seq_is_a_conflict(house: House) -> None:
    await post_bundle(house, new_bundle())
    assert await post_bundle(house, new_bundle("other")) == CONFLICT
    assert len(house.town.b.memory.bundles[A]) == 2


async def test_bundle_that_is_refused_is_unreadable_and_not_kept(house: House) -> None:
    stolen = make_bundle(A, history=(bundle_of(A),), keys=(*make_entries(A), make_entries(C)[5])).jws
    house.town.b.know(C)
    assert await post_bundle(house, stolen) == UNREADABLE
    assert house.town.b.memory.bundles[A] == [bundle_of(A).jws]


async def test_bundle_of_somebody_who_is_no_partner_is_unreadable(house: House) -> None:
    assert await post_bundle(house, bundle_of(C).jws) == UNREADABLE
    assert await post_bundle(house, bundle_of(B).jws) == UNREADABLE


async def test_bundle_of_a_partner_not_yet_verified_is_kept(house: House) -> None:
    house.town.b.know(A, verified=False)
    assert await post_bundle(house, new_bundle()) == DONE


async def test_bundle_under_another_media_type_is_unreadable(house: House) -> None:
    answer = await house.client.ask("POST", BUNDLES, new_bundle(), {"Content-Type": "application/json"})
    assert said(answer) == UNREADABLE


# --- everything else


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/exchange/v1/mailbox",
        "/exchange/v1/log/checkpoint",
        "/exchange/v1/attachments/" + "ab" * 32,
        "/exchange/v1/agreements/" + "AB" * 32,
        "/exchange/v1/agreements/ab",
        "/exchange/v1/messages/",
        "/Okafor-Lind",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_there_are_no_other_routes(house: House, method: str, path: str) -> None:
    assert said(await house.client.ask(method, path, b"" if method == "POST" else None)) == (404, b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/exchange/v1/messages"), ("PUT", "/exchange/v1/events"), ("HEAD", "/exchange/v1/bundles?after=0")],
)
async def test_there_are_no_other_methods(house: House, method: str, path: str) -> None:
    assert (await house.client.ask(method, path)).status == 405


@pytest.mark.parametrize("path", ["/exchange/v1/bundles?after=0", "/nowhere", "/exchange/v1/messages"])
async def test_no_answer_names_its_software_or_may_be_kept(house: House, path: str) -> None:
    headers = (await house.client.ask("GET", path)).headers
    assert "Server" not in headers
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


# --- daily statements


async def test_a_daily_statement_is_taken_once_and_repeated_freely(house: House) -> None:
    town = house.town
    await town.a.checkpoint()
    await statements.state_all(town.a.exchange)
    [item] = await town.a.exchange.outbox.owed(town.clock(), 10)
    own = daily.read_daily(item.data).payload.id
    for _ in range(2):
        assert said(await house.client.post("statements", item.data, key=own)) == DONE
    assert town.b.kinds().count("statement-received") == 1
    assert said(await house.client.post("statements", item.data, key="id-1")) == UNREADABLE
    assert said(await house.client.post("statements", b"{}", key=own)) == UNREADABLE
