"""What the API answers a case system on each of its routes, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.events import Action
from gateway import duties, message_proof, quorum, returning, witnessed
from gateway.config import ApiSettings
from gateway.core import receipt
from gateway.core.errors import BusyError, LogInconsistentError
from gateway.tlog.checkpoint import NoteKey, parse_note, verify_checkpoint
from gateway.tlog.cosignature import verify_cosignatures
from gateway.tlog.proof import verify_inclusion
from gateway.tlog.proof_text import ClaimedProof, verify_entry
from gateway.web.api.app import PREFIX, api_app
from gateway.web.api.cursors import Kind, to_text
from gateway.web.api.description import operations
from keys.base64url import decode
from tests.support.api import ALL, Answer, CaseSystem, api_served, make_token, raw
from tests.support.exchange import Town, make_town, make_town_in_force
from tests.support.messages import A, B, make_body
from tests.support.messages import submission as send
from tests.support.store import good_signature
from tests.support.witnessing_town import give_witness_keys, grow

PAGE = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text()
CANARY = "Zebulonia"
ROUTINE = {"urgency": "routine"}
CHUNK = b"10000\r\n" + b" " * 65_536 + b"\r\n"
NO_SUCH = "01890a5d-ac96-774b-bcce-b302099a8057"


def check_proof(proof: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of docs/api.md that check a proof, as they stand there."""
    code = re.search(r"```python\n(def check_proof.*?)```", PAGE, re.DOTALL)
    assert code is not None
    namespace: dict[str, Any] = {"base64": base64, "hashlib": hashlib, "json": json}
    exec(code[1], namespace)  # noqa: S102 - our own page
    entries: list[dict[str, Any]] = namespace["check_proof"](proof)
    return entries


def submission(**changes: Any) -> dict[str, Any]:
    return {"partner": B, "type": "cme.transfer", "facts": ROUTINE, "body": make_body(), **changes}


@dataclass(frozen=True, slots=True)
class House:
    """la-207 and la-850 with an agreement in force, each with a case system that may do everything."""

    town: Town
    ours: CaseSystem
    theirs: CaseSystem

    async def sent(self, **changes: Any) -> str:
        """The id of a message that la-207 accepted and handed over."""
        answer = await self.ours.post("/messages", submission(**changes))
        assert answer.status == 202, answer.body
        await self.town.a.run(2)
        return str(answer.said["id"])


@pytest.fixture
async def house() -> AsyncIterator[House]:
    town = await make_town_in_force()
    async with api_served(town.a.exchange) as a, api_served(town.b.exchange) as b:
        ours, theirs = await make_token(town.a.exchange), await make_token(town.b.exchange)
        yield House(town, CaseSystem(port=a, token=ours.text), CaseSystem(port=b, token=theirs.text))


# --- the document


def test_every_operation_has_a_route_and_every_route_an_operation() -> None:
    app = api_app(make_town().a.exchange, ApiSettings(listen=("127.0.0.1", 1)))
    routed = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    assert routed == {(one.method, PREFIX + one.path) for one in operations().values()}


async def test_document_is_shown_without_a_token(house: House) -> None:
    answer = await CaseSystem(port=house.ours.port).get("/openapi.json")
    assert (answer.status, answer.said["openapi"]) == (200, "3.1.1")


# --- messages


async def test_message_is_accepted_and_its_state_read_where_the_answer_says(house: House) -> None:
    answer = await house.ours.post("/messages", submission())
    assert (answer.status, answer.said["state"], answer.said["agreement"]["digest"]) == (
        202,
        "queued",
        house.town.digest,
    )
    assert answer.headers["Location"] == f"{PREFIX}/messages/{answer.said['id']}"
    shown = await house.ours.get(f"/messages/{answer.said['id']}")
    assert (shown.status, shown.said["state"], shown.said["partner"]) == (200, "queued", B)


async def test_delivered_message_shows_its_receipt_and_the_bytes_that_prove_it(house: House) -> None:
    own = await house.sent()
    shown = (await house.ours.get(f"/messages/{own}")).said
    assert shown["state"] == "delivered"
    (told,) = shown["receipts"]
    assert told["event"] == "checked"
    assert receipt.read_receipt(decode(told["jws"])).payload.msg == own


async def test_proof_of_a_message_holds_against_the_signed_checkpoint(house: House) -> None:
    own = await house.sent()
    before = (await house.ours.get(f"/messages/{own}")).said["proof"]
    assert [entry["kind"] for entry in before["entries"]] == ["submitted", "delivered"]
    await house.town.a.exchange.sign_log()
    proof = (await house.ours.get(f"/messages/{own}")).said["proof"]
    log = house.town.a.ring.log(int(house.town.clock().timestamp()))
    key = NoteKey(log.origin, log.key.public.raw)
    signed = verify_checkpoint(proof["checkpoint"].encode(), key, good_signature)
    assert (signed.size, signed.origin) == (proof["size"], proof["origin"])
    for entry in proof["entries"]:
        hashes = [bytes.fromhex(value.removeprefix("sha256:")) for value in entry["path"]]
        leaf = bytes.fromhex(entry["leaf"].removeprefix("sha256:"))
        verify_inclusion(leaf, entry["index"], signed.size, hashes, signed.root)
    assert [entry["kind"] for entry in check_proof(proof)] == ["submitted", "delivered"]


async def test_lines_of_the_page_judge_proofs_of_every_shape_and_refuse_what_was_changed(house: House) -> None:
    own = [await house.sent() for _ in range(7)]
    await house.town.a.exchange.sign_log()
    for message in own:
        proof = (await house.ours.get(f"/messages/{message}")).said["proof"]
        assert {entry["msg"] for entry in check_proof(proof)} == {message}
        (one, *_), step = proof["entries"], "sha256:" + "0" * 64
        for changed in (
            {"index": one["index"] + 1},
            {"entry": one["entry"][:-4] + "AAAA"},
            {"leaf": step},
            {"path": one["path"][:-1]},
            {"path": [*one["path"], step]},
            {"path": [step, *one["path"][1:]]},
        ):
            with pytest.raises(ValueError, match=r"leaf|path|root"):
                check_proof({**proof, "entries": [{**one, **changed}]})
        with pytest.raises(ValueError, match="another"):
            check_proof({**proof, "size": proof["size"] - 1})


async def test_proof_of_a_message_leads_to_the_checkpoint_that_a_quorum_cosigned() -> None:
    town = await make_town_in_force()
    give_witness_keys((town.a, town.b))
    exchange = town.a.exchange
    own = (await send(exchange))["id"]
    await town.a.run()
    await exchange.sign_log()
    await witnessed.Rounds(exchange).round()
    standing = await quorum.look(exchange, town.clock())
    await grow(town.a, 1)  # and a newer checkpoint, which nobody has seen
    proven = await message_proof.of_own_message(own, exchange)
    assert proven.checkpoint is not None
    assert proven.checkpoint.size == standing.size == len(town.a.memory.log) - 1
    policy = await quorum.policy(exchange, town.clock())
    for one in proven.entries:
        assert one.hashes is not None
        claimed = ClaimedProof(index=one.logged.index, hashes=one.hashes, note=parse_note(proven.checkpoint.note))
        verify_entry(claimed, one.logged.leaf, [log.key for log in policy.logs], quorum.verify)
    note = parse_note(proven.checkpoint.note)
    good = verify_cosignatures(note, [witness.key for witness in policy.witnesses], quorum.verify)
    assert policy.quorum != "none"
    assert policy.satisfied_by([one.key for one in good])


async def test_refusal_names_every_breach_and_the_agreement_and_no_value(house: House) -> None:
    body = make_body(child__ethnicity=CANARY, child__nationality=CANARY, case__status=CANARY)
    answer = await house.ours.post("/messages", submission(body=body))
    assert (answer.status, answer.code) == (422, "contract.breach")
    found = {(breach["code"], breach["path"]) for breach in answer.said["breaches"]}
    assert found == {
        ("field.not-allowed", "child.ethnicity"),
        ("field.not-allowed", "child.nationality"),
        ("field.value", "case.status"),
    }
    assert answer.said["agreement"]["digest"] == house.town.digest
    assert CANARY not in answer.body.decode()


async def test_refusal_without_an_agreement_names_none(house: House) -> None:
    answer = await house.ours.post("/messages", submission(type="police.referral"))
    assert (answer.status, answer.said["breaches"][0]["code"]) == (422, "message.not-in-agreement")
    assert "agreement" not in answer.said


async def test_cancelled_message_stays_cancelled_and_a_repeat_of_the_request_gets_the_same_answer(house: House) -> None:
    own = (await house.ours.post("/messages", submission())).said["id"]
    first = await house.ours.post(f"/messages/{own}/cancel", key="stop")
    again = await house.ours.post(f"/messages/{own}/cancel", key="stop")
    assert (first.status, first.said) == (200, {"id": own, "state": "cancelled"})
    assert (again.status, again.body) == (first.status, first.body)
    other = await house.ours.post(f"/messages/{own}/cancel", key="stop-it")
    assert (other.status, other.code) == (409, "illegal-transition")
    assert house.town.a.kinds().count("cancelled") == 1


async def test_message_that_is_not_there_is_not_found(house: House) -> None:
    for method, path in [
        ("GET", f"/messages/{NO_SUCH}"),
        ("GET", "/messages/nonsense"),
        ("POST", f"/messages/{NO_SUCH}/cancel"),
        ("POST", f"/messages/{NO_SUCH}/resend"),
        ("GET", f"/inbox/{A}/{NO_SUCH}"),
        ("GET", f"/inbox/{A}/{NO_SUCH}/content"),
        ("POST", f"/inbox/{A}/{NO_SUCH}/taken"),
    ]:
        answer = await house.ours.ask(method, path, key="one" if method == "POST" else None)
        assert (answer.status, answer.code) == (404, "message.unknown"), path


# --- one key, one answer


async def test_repeat_gets_the_identical_answer_and_sends_nothing_twice(house: House) -> None:
    first = await house.ours.post("/messages", submission(), key="case-1")
    await house.town.a.run()
    again = await house.ours.post("/messages", submission(), key="case-1")
    assert (again.status, again.body, again.headers["Location"]) == (202, first.body, first.headers["Location"])
    assert house.town.a.kinds().count("submitted") == 1


async def test_key_of_another_request_is_refused(house: House) -> None:
    own = (await house.ours.post("/messages", submission(), key="one")).said["id"]
    other = await house.ours.post("/messages", submission(facts={"urgency": "priority"}), key="one")
    elsewhere = await house.ours.post(f"/messages/{own}/cancel", key="one")
    assert (other.status, other.code) == (elsewhere.status, elsewhere.code) == (422, "idempotency.conflict")


@pytest.mark.parametrize("key", [None, "", "two words", "k" * 129])
async def test_post_without_a_proper_key_is_refused(house: House, key: str | None) -> None:
    answer = await house.ours.ask("POST", "/messages", submission(), key=key)
    assert (answer.status, answer.code) == (400, "request.idempotency-key")


async def test_key_still_at_work_is_a_conflict(house: House) -> None:
    gate, inside = asyncio.Event(), asyncio.Event()

    class Slow:
        async def response(self, client: str, key: str) -> None:
            inside.set()
            await gate.wait()

    exchange = replace(house.town.a.exchange, outbox=Slow())
    async with api_served(exchange) as port, asyncio.TaskGroup() as tasks:
        ours = CaseSystem(port=port, token=house.ours.token)
        slow = tasks.create_task(ours.post("/protection", CHILD, key="one"))
        async with asyncio.timeout(20):
            await inside.wait()
        second = await ours.post("/protection", CHILD, key="one")
        gate.set()
        assert (second.status, second.code) == (409, "idempotency.running")
        assert (await slow).status == 200


async def test_refused_request_leaves_its_key_free(house: House) -> None:
    refused = await house.ours.post("/messages", submission(body={}), key="one")
    mended = await house.ours.post("/messages", submission(), key="one")
    assert (refused.status, mended.status) == (422, 202)


# --- the inbox


async def test_inbox_is_paged_in_order_of_arrival_and_nothing_comes_twice(house: House) -> None:
    sent = [await house.sent() for _ in range(3)]
    first = (await house.theirs.get("/inbox?limit=2")).said
    late = await house.sent()
    second = (await house.theirs.get(f"/inbox?limit=2&after={first['next']}")).said
    rest = (await house.theirs.get(f"/inbox?after={second['next']}")).said
    assert [item["id"] for item in first["items"] + second["items"]] == [*sent, late]
    assert (first["more"], rest["items"], rest["more"], rest["next"]) == (True, [], False, second["next"])


async def test_content_is_given_and_every_reading_is_an_entry_but_no_state_changes(house: House) -> None:
    own = await house.sent()
    for _ in range(2):
        answer = await house.theirs.get(f"/inbox/{A}/{own}/content")
        assert (answer.status, answer.said["body"], answer.said["facts"]) == (200, make_body(), ROUTINE)
    released = [entry for entry in house.town.b.memory.log if entry.kind == "released"]
    assert [(entry.role, entry.message_id) for entry in released] == [("officer", own)] * 2
    (token,) = await house.town.b.exchange.tokens.all()
    assert [opening.value.decode() for entry in released for opening in entry.openings] == [token.id] * 2
    assert (await house.theirs.get(f"/inbox/{A}/{own}")).said["state"] == "received"


async def test_taken_then_opened_tell_the_sender_and_answer_with_the_receipt(house: House) -> None:
    own = await house.sent()
    taken = await house.theirs.post(f"/inbox/{A}/{own}/taken", {}, key="take")
    opened = await house.theirs.post(f"/inbox/{A}/{own}/opened", {"role": "duty"})
    again = await house.theirs.post(f"/inbox/{A}/{own}/taken", {}, key="take")
    assert (taken.said["event"], opened.said["event"]) == ("taken", "collected")
    assert again.body == taken.body
    await house.town.b.run()
    shown = (await house.ours.get(f"/messages/{own}")).said
    assert (shown["state"], [told["event"] for told in shown["receipts"]]) == (
        "collected",
        ["checked", "taken", "collected"],
    )
    assert [entry.role for entry in house.town.b.memory.log if entry.kind == "collected"] == ["duty"]


async def test_answer_goes_to_the_sender_in_the_message_s_thread(house: House) -> None:
    own = await house.sent()
    body = {"case": {"reference": "HA/26/0042", "answer": "accepted"}}
    answer = await house.theirs.post(
        f"/inbox/{A}/{own}/answers", {"type": "cme.answer", "facts": ROUTINE, "body": body}
    )
    assert (answer.status, answer.said["partner"], answer.said["type"]) == (202, A, "cme.answer")
    await house.town.b.run()
    (item,) = (await house.ours.get("/inbox")).said["items"]
    assert (item["thread"], item["sender"]) == (own, B)


async def test_message_refused_at_the_door_is_not_in_the_inbox(house: House) -> None:
    await house.town.act(house.town.b, Action.SUSPEND, push=False)
    own = await house.sent()
    assert (await house.ours.get(f"/messages/{own}")).said["state"] == "rejected"
    assert (await house.theirs.get("/inbox")).said["items"] == []
    shown = await house.theirs.get(f"/inbox/{A}/{own}")
    assert shown.said["state"] == "refused"
    content = await house.theirs.get(f"/inbox/{A}/{own}/content")
    assert (content.status, content.code) == (409, "message.refused")


@pytest.mark.parametrize("how", ["withdrawn", "destroyed"])
async def test_message_that_is_gone_has_no_content_and_is_neither_taken_nor_opened(house: House, how: str) -> None:
    own = await house.sent()
    if how == "destroyed":
        await house.theirs.get(f"/inbox/{A}/{own}/content")
    about = await duties.find("exchange.withdrawal", own, house.town.a.exchange)
    said = {"message": own, "reason": "in-error"}
    await duties.say("exchange.withdrawal", said, house.town.a.exchange, about=about, client="cli", key=own, by="P")
    await house.town.a.run(2)
    if how == "destroyed":
        assert (await house.theirs.get(f"/inbox/{A}/{own}")).said["state"] == "received"
        await duties.destroy(own, house.town.b.exchange, by="A Person")
    place = f"/inbox/{A}/{own}"
    answers = {
        "getContent": await house.theirs.get(f"{place}/content"),
        "takeMessage": await house.theirs.post(f"{place}/taken", {}),
        "openMessage": await house.theirs.post(f"{place}/opened", {"role": "officer"}),
    }
    assert {(one.status, one.code) for one in answers.values()} == {(410, f"message.{how}")}
    assert all("410" in operations()[name].responses for name in answers)


# --- enquiries


def enquiry(*partners: str) -> dict[str, Any]:
    child = {"name": {"family": "Okafor-Lind", "given": "Zoë"}, "date_of_birth": "2015-03-14"}
    body = {"case": {"reference": "KC/26/0117", "reply_by": "2026-12-11"}, "child": child}
    return {"partners": list(partners), "facts": ROUTINE, "body": body}


async def test_enquiry_tells_what_became_of_each(house: House) -> None:
    answer = await house.ours.post("/enquiries", enquiry(B, "la-999"), key="ask")
    ours, theirs = answer.said["results"]
    assert (answer.status, ours["outcome"], ours["message"]["type"]) == (202, "accepted", "cme.enquiry")
    assert (theirs["outcome"], theirs["problem"]["code"]) == ("refused", "partner.unknown")
    again = await house.ours.post("/enquiries", enquiry(B, "la-999"), key="ask")
    assert again.body == answer.body
    assert house.town.a.kinds().count("submitted") == 1


async def test_sixth_council_needs_an_approver_and_then_nothing_is_sent(house: House) -> None:
    others = [f"la-90{number}" for number in range(5)]
    for org in others:
        house.town.a.know(org)
    six = enquiry(B, *others)
    answer = await house.ours.post("/enquiries", six)
    assert (answer.status, answer.code) == (403, "enquiry.needs-approver")
    assert "submitted" not in house.town.a.kinds()
    senior = await make_token(house.town.a.exchange, "send", role="approver")
    allowed = await CaseSystem(port=house.ours.port, token=senior.text).post("/enquiries", six)
    assert allowed.status == 202


async def test_councils_asked_before_count_for_the_same_child(house: House) -> None:
    first = await house.ours.post("/enquiries", enquiry(B))
    assert first.status == 202
    known = [f"la-90{number}" for number in range(5)]
    for org in known:
        house.town.a.know(org)
    others = enquiry(*known)
    refused = await house.ours.post("/enquiries", others)
    single = {**submission(type="cme.enquiry", body=others["body"])}
    same_again = await house.ours.post("/messages", single)
    assert (refused.code, same_again.status) == ("enquiry.needs-approver", 202)
    another = {
        **others,
        "body": {**others["body"], "child": {**others["body"]["child"], "date_of_birth": "2016-01-01"}},
    }
    assert (await house.ours.post("/enquiries", another)).status == 202


# --- agreements


async def test_agreement_is_listed_with_what_each_side_sends(house: House) -> None:
    (item,) = (await house.ours.get("/agreements")).said["items"]
    assert (item["partner"], item["in_force"], item["digest"]) == (B, True, house.town.digest)
    assert "cme.transfer" in item["sends"]
    detail = (await house.ours.get(f"/agreements/{item['digest']}")).said
    assert [event["action"] for event in detail["events"]] == ["propose", "sign"]
    assert detail["content"]["id"] == item["id"]


async def test_form_tells_need_codes_and_conditions_of_every_path(house: House) -> None:
    form = (await house.ours.get(f"/agreements/{house.town.digest}/fields?type=cme.transfer")).said
    fields = {field["path"]: field for field in form["fields"]}
    assert fields["case.reason"]["need"] == "required"
    assert "whereabouts-unknown" in fields["case.reason"]["codes"]
    assert fields["child.name.former_family"]["label"] == "Child / name / former family"
    summary = fields["safeguarding.summary"]
    assert (summary["need"], summary["grants"][0]["when"], summary["free_text"]) == (
        "optional",
        ["harm_suspected"],
        True,
    )
    (condition,) = [one for one in form["conditions"] if one["name"] == "harm_suspected"]
    assert condition["test"] == {"fact": "urgency", "operator": "=", "value": "immediate_risk"}
    assert form["max_items"]["contacts"] == 4


async def test_form_of_what_is_not_there_is_refused(house: House) -> None:
    other = await house.ours.get(f"/agreements/{house.town.digest}/fields?type=police.request")
    missing = await house.ours.get(f"/agreements/{house.town.digest}/fields")
    nowhere = await house.ours.get(f"/agreements/sha256:{'0' * 64}")
    assert (other.status, other.code) == (422, "message.not-in-agreement")
    assert (missing.status, missing.code) == (400, "request.query")
    assert (nowhere.status, nowhere.code) == (404, "agreement.none")


# --- protection

CHILD = {"child": {"upn": "A123456789012"}, "kind": "location"}


async def test_child_is_listed_and_counted_but_never_told(house: House) -> None:
    first = await house.ours.post("/protection", CHILD)
    again = await house.ours.post("/protection", CHILD)
    assert first.body == again.body == b'{"listed":true}'
    assert (await house.ours.get("/protection")).said == {"location": 1, "identity": 0}


async def test_removal_takes_two_people_and_two_tokens(house: House) -> None:
    await house.ours.post("/protection", CHILD)
    first = await house.ours.post("/protection/removals", {**CHILD, "by": "A Person"})
    alone = await house.ours.post("/protection/removals", {**CHILD, "by": "Another Person"})
    other = await make_token(house.town.a.exchange, "protect", role="approver")
    senior = CaseSystem(port=house.ours.port, token=other.text)
    second = await senior.post("/protection/removals", {**CHILD, "by": "Third Person"})
    assert [(one.status, one.said["removed"]) for one in (first, alone, second)] == [
        (202, False),
        (202, False),
        (200, True),
    ]
    assert (await house.ours.get("/protection")).said == {"location": 0, "identity": 0}


# --- events and status


async def test_events_tell_what_became_of_messages_and_hold_ids_only(house: House) -> None:
    own = await house.sent()
    await house.theirs.get(f"/inbox/{A}/{own}/content")
    ours, theirs = (await house.ours.get("/events")).said, (await house.theirs.get("/events")).said
    assert [(one["kind"], one["state"], one["message"]) for one in ours["items"]] == [
        ("submitted", "queued", own),
        ("delivered", "delivered", own),
    ]
    assert [(one["kind"], one["state"], one["direction"]) for one in theirs["items"]] == [
        ("received", "received", "in")
    ]
    assert {one["thread"] for one in ours["items"] + theirs["items"]} == {own}
    later = (await house.ours.get(f"/events?after={ours['next']}")).said
    assert (later["items"], later["next"]) == ([], ours["next"])


async def test_status_counts_and_names_no_software(house: House) -> None:
    answer = await house.ours.get("/status")
    assert (answer.status, answer.said["organisation"]) == (200, A)
    assert "aiohttp" not in str(answer.headers).lower() + answer.body.decode().lower()


# --- requests that are not as described


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"{", 400, "request.malformed"),
        (b'{"partner":"la-850","partner":"la-850"}', 400, "request.malformed"),
        (b"", 400, "request.malformed"),
        (b"[" * 100_000, 400, "request.malformed"),
        (b'"' + b"a" * 500_000 + b'"', 413, "request.too-large"),
        (b'{"partner":"' + CANARY.encode() + b'","' + CANARY.encode() + b'":1}', 422, "request.invalid"),
    ],
    ids=["no-json", "twice", "empty", "deep", "large", "shape"],
)
async def test_request_that_is_not_as_described_is_refused_by_its_place(
    house: House, data: bytes, status: int, code: str
) -> None:
    answer = await house.ours.post("/messages", data=data)
    assert (answer.status, answer.code) == (status, code)
    assert CANARY not in answer.body.decode()


async def test_every_fault_of_the_shape_is_named_at_once(house: House) -> None:
    body = {"partner": "LA", "facts": {"urgency": "soon", "Zebulonia": 1, "known": 2}, "body": [], "extra": 1}
    answer = await house.ours.post("/messages", body)
    assert {breach["path"] for breach in answer.said["breaches"]} == {
        "", "partner", "type", "facts.urgency", "facts.?", "facts.known", "body",
    }  # fmt: skip


async def test_body_that_trickles_in_is_not_waited_for(house: House) -> None:
    head = f"POST {PREFIX}/messages HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {house.ours.token}\r\n"
    head += (
        "Idempotency-Key: one\r\nContent-Type: application/json\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{"
    )
    async with api_served(house.town.a.exchange, body_within=timedelta(milliseconds=50)) as port:
        told = await raw(port, head.encode())
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request.time-out"' in told


async def test_body_of_unknown_length_ends_where_the_limit_is(house: House) -> None:
    head = f"POST {PREFIX}/messages HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {house.ours.token}\r\n"
    head += "Idempotency-Key: one\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    told = await raw(house.ours.port, head.encode() + CHUNK * 8 + b"0\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request.too-large"' in told


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "text/plain"}, "request.media-type"),
        ({"Content-Type": "application/jose+json"}, "request.media-type"),
        ({"Content-Encoding": "gzip"}, "request.media-type"),
    ],
)
async def test_body_of_another_media_type_is_refused(house: House, headers: dict[str, str], code: str) -> None:
    answer = await house.ours.post("/messages", submission(), headers=headers)
    assert (answer.status, answer.code) == (415, code)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "after=", "after=AAAAAAAAAAAA", "page=2", "%ff=1"]
)
async def test_query_that_is_not_as_described_is_refused(house: House, query: str) -> None:
    answer = await house.ours.get(f"/inbox?{query}")
    assert (answer.status, answer.code) == (400, "request.query")


async def test_cursor_of_another_list_is_refused(house: House) -> None:
    other = (await house.ours.get("/events")).said["next"]
    assert (await house.ours.get(f"/inbox?after={other}")).code == "request.query"


@pytest.mark.parametrize("kind", ["inbox", "events"])
async def test_cursor_beyond_the_newest_place_is_expired(house: House, kind: Kind) -> None:
    """What a restore lost: until the restore is logged, its places are still empty."""
    await house.sent()
    reach = await house.town.b.exchange.events.reach()
    newest = reach.arrivals if kind == "inbox" else reach.entries
    told = await house.theirs.get(f"/{kind}?after={to_text(kind, newest, None)}")
    beyond = await house.theirs.get(f"/{kind}?after={to_text(kind, newest + 1, None)}")
    assert (told.status, told.said["items"]) == (200, [])
    assert (beyond.status, beyond.code) == (409, "cursor.expired")


@pytest.mark.parametrize("kind", ["inbox", "events"])
async def test_cursor_of_before_a_restore_is_expired_though_its_place_is_taken_anew(house: House, kind: Kind) -> None:
    await house.sent()
    old = (await house.theirs.get(f"/{kind}")).said["next"]
    for _ in range(2):
        await returning.say_so(house.town.b.exchange)
        house.town.clock.forward(seconds=1)
        await house.sent()
        refused = await house.theirs.get(f"/{kind}?after={old}")
        assert (refused.status, refused.code) == (409, "cursor.expired")
        old = (await house.theirs.get(f"/{kind}")).said["next"]
        assert (await house.theirs.get(f"/{kind}?after={old}")).status == 200


async def test_unknown_route_and_wrong_method_are_problems_too(house: House) -> None:
    assert (await house.ours.get("/nothing")).code == "route.unknown"
    wrong = await house.ours.ask("DELETE", "/messages")
    assert (wrong.status, wrong.code, wrong.headers["Allow"]) == (405, "method.unknown", "POST")


# --- when something of ours goes wrong


class Failing:
    """Whatever it is asked, it raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def protected(self) -> None:
        raise self.error

    async def counts(self) -> None:
        raise self.error


async def failing(house: House, error: Exception) -> Answer:
    async with api_served(replace(house.town.a.exchange, overview=Failing(error))) as port:
        return await CaseSystem(port=port, token=house.ours.token).get("/protection")


async def test_fault_of_ours_tells_nothing(house: House) -> None:
    for error in (RuntimeError(CANARY), LogInconsistentError(CANARY)):
        answer = await failing(house, error)
        assert (answer.status, answer.code) == (500, "fault")
        assert CANARY not in answer.body.decode()


async def test_too_much_at_once_says_when_to_come_back(house: House) -> None:
    answer = await failing(house, BusyError("full"))
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "busy", "5")


# --- rates


async def test_token_that_asks_too_often_waits_and_others_do_not(house: House) -> None:
    other = await make_token(house.town.a.exchange, *ALL)
    async with api_served(house.town.a.exchange, requests_per_minute=60, burst=3) as port:
        one, two = CaseSystem(port=port, token=house.ours.token), CaseSystem(port=port, token=other.text)
        answers = [await one.get("/status") for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert (answers[3].code, answers[3].headers["Retry-After"]) == ("rate.exceeded", "1")
        assert (await two.get("/status")).status == 200
        house.town.clock.forward(seconds=1)
        assert (await one.get("/status")).status == 200


async def test_requests_at_a_time_are_bounded_for_each_token(house: House) -> None:
    gate, inside = asyncio.Event(), asyncio.Event()

    class Slow:
        async def protected(self) -> dict[str, int]:
            inside.set()
            await gate.wait()
            return {}

    async with (
        api_served(replace(house.town.a.exchange, overview=Slow()), in_flight=1) as port,
        asyncio.TaskGroup() as g,
    ):
        ours = CaseSystem(port=port, token=house.ours.token)
        first = g.create_task(ours.get("/protection"))
        async with asyncio.timeout(20):
            await inside.wait()
        second = await ours.get("/protection")
        gate.set()
        assert (second.status, second.code, (await first).status) == (503, "busy", 200)
