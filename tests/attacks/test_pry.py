"""Aim: as a case system with a good token, to learn what it is not told, without a trace; or to act after it was revoked.

What holds is that a refusal which tells of a child is logged as a search would be, that councils which cannot be asked tell
nothing, and that a token is asked for again once a body has come. What these tests do not hold off: the numbers of the
protection list, which whoever may list children can watch; each child listed is an entry of the log.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from gateway import tokens
from tests.support.api import CaseSystem, api_served, make_token
from tests.support.exchange import Town, make_town_in_force
from tests.support.messages import B, make_body

ROUTINE = {"urgency": "routine"}
CHILD = {"name": {"family": "Okafor-Lind", "given": "Zoë"}, "date_of_birth": "2015-03-14"}
ENQUIRY = {"case": {"reference": "KC/26/0117", "reply_by": "2026-12-11"}, "child": CHILD}
INVENTED = [f"xx-{number:03}" for number in range(5)]
BOUND = 20  # seconds, of every wait


@dataclass(frozen=True, slots=True)
class House:
    town: Town
    port: int
    ours: CaseSystem

    async def ask(self, *partners: str) -> Any:
        return await self.ours.post("/enquiries", {"partners": partners, "facts": ROUTINE, "body": ENQUIRY})

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(entry.data) for entry in self.town.a.memory.log]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    town = await make_town_in_force()
    async with api_served(town.a.exchange) as port:
        officer = await make_token(town.a.exchange, "send")
        yield House(town, port, CaseSystem(port=port, token=officer.text))


async def test_invented_councils_do_not_tell_whether_a_child_was_asked_about(house: House) -> None:
    before = await house.ask(*INVENTED)
    assert (await house.ask(B)).status == 202
    after = await house.ask(*INVENTED)
    assert (before.status, before.said) == (after.status, after.said)
    assert (await house.ask(B, *INVENTED[1:])).status == 202, "nor that it was this one"


async def test_the_refusal_that_tells_of_a_child_is_logged_with_its_tags(house: House) -> None:
    known = [f"la-90{number}" for number in range(5)]
    for org in known:
        house.town.a.know(org)
    assert (await house.ask(B)).status == 202
    size = len(house.logged())
    refused = await house.ask(*known)
    assert (refused.status, refused.code) == (403, "enquiry.needs-approver")
    [entry] = house.logged()[size:]
    assert (entry["kind"], entry["type"]) == ("refused", "cme.enquiry")
    assert entry["breaches"] == [{"code": "enquiry.needs-approver", "path": ""}]
    assert "by" in entry["commit"]
    assert house.town.a.memory.log[-1].tags == house.town.a.exchange.tags(ENQUIRY)


async def test_status_shows_no_agreement_to_a_token_that_may_not_read_them(house: House) -> None:
    reader = await make_token(house.town.a.exchange, "read")
    ours = CaseSystem(port=house.port, token=reader.text)
    assert (await ours.get("/agreements")).status == 403
    assert (await ours.get("/status")).said["agreements"] == []
    both = await make_token(house.town.a.exchange, "read", "agreements")
    shown = (await CaseSystem(port=house.port, token=both.text).get("/status")).said["agreements"]
    assert len(shown) == 1


async def test_a_token_revoked_while_its_body_comes_acts_no_more(house: House) -> None:
    token = await make_token(house.town.a.exchange, "send")
    said = {"partner": B, "type": "cme.transfer", "facts": ROUTINE, "body": make_body()}
    data = json.dumps(said).encode()
    head = (
        f"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token.text}\r\nIdempotency-Key: slow\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    async with asyncio.timeout(BOUND):
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(head.encode())
        assert b" 100 " in await reader.readline(), "it was let in, and its body is waited for"
        await reader.readline()
        await tokens.revoke(token.token.id, house.town.a.exchange, by="an operator")
        writer.write(data)
        status = await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert b" 401 " in status
    assert house.town.a.memory.sent == {}
