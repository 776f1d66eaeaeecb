"""Which thread an own client may name: one that this gateway exchanged with that partner; and which types must name one."""

from __future__ import annotations

import dataclasses
import tomllib
from typing import Any

import pytest

from contracts.library import template_bytes, template_names
from contracts.names import ANSWERING_TYPES
from gateway.core.errors import SubmissionRefusedError
from tests.support.exchange import Town, make_town_in_force
from tests.support.messages import submission

STRANGER = "01890a5d-ac96-774b-bcce-b302099a8057"
ANSWER = b'{"case":{"reference":"KC/2027/0042","answer":"accepted"}}'


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


async def refused(town: Town, **said: Any) -> SubmissionRefusedError:
    before = len(town.b.memory.sent)
    with pytest.raises(SubmissionRefusedError) as refusal:
        await submission(town.b.exchange, partner="la-207", **said)
    assert len(town.b.memory.sent) == before
    return refusal.value


async def test_answer_names_the_thread_of_what_it_answers(town: Town) -> None:
    own = (await submission(town.a.exchange))["id"]
    await town.a.run()
    await submission(town.b.exchange, partner="la-207", type="cme.answer", body=ANSWER, thread=own)
    assert [sent.row.thread for sent in town.b.memory.sent.values()] == [own]


async def test_answer_without_a_thread_is_refused(town: Town) -> None:
    refusal = await refused(town, type="cme.answer", body=ANSWER)
    assert (refusal.code, refusal.place) == ("message.thread", "thread")


async def test_thread_that_was_never_seen_is_refused_and_logged(town: Town) -> None:
    refusal = await refused(town, type="cme.answer", body=ANSWER, thread=STRANGER)
    assert (refusal.code, refusal.place) == ("message.thread", "thread")
    assert (town.b.kinds()[-1], b"message.thread" in town.b.memory.log[-1].data) == ("refused", True)


async def test_thread_with_another_partner_is_refused(town: Town) -> None:
    own = (await submission(town.a.exchange))["id"]
    await town.a.run()
    held = town.b.memory.arrived.pop(("la-207", own))
    held.row = dataclasses.replace(held.row, sender="la-919")
    town.b.memory.arrived["la-919", own] = held
    assert (await refused(town, type="cme.answer", body=ANSWER, thread=own)).code == "message.thread"


async def test_thread_is_named_by_its_first_message_alone(town: Town) -> None:
    own = (await submission(town.a.exchange))["id"]
    await town.a.run()
    answer = await submission(town.b.exchange, partner="la-207", type="cme.answer", body=ANSWER, thread=own)
    assert (await refused(town, thread=answer["id"], key="another")).code == "message.thread"


async def test_further_message_of_a_conversation_may_name_its_thread(town: Town) -> None:
    own = (await submission(town.a.exchange))["id"]
    further = (await submission(town.a.exchange, thread=own, key="another"))["id"]
    assert town.a.memory.sent[further].row.thread == own


def test_types_that_must_name_a_thread_are_types_of_the_worked_agreements() -> None:
    files = [tomllib.loads(template_bytes(name).decode()) for name in template_names()]
    assert {message["type"] for file in files for message in file["message"]} >= ANSWERING_TYPES
