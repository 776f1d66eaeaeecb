"""Aim: as administrator of the database, have a child's record read under another name: another sender, type or thread, or
another child's content in its place.

Held off by the entry of its arrival and by its sealed bytes; the columns are copies of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway import inbound
from gateway.core.errors import RowTamperedError
from gateway.core.lifecycle import InboundState
from tests.support.exchange import make_message
from tests.support.messages import A, submission
from tests.support.rewritten import faults, in_force, kinds, path, refused
from tests.support.store import tamper

OTHER = "019bbd3c-8ac0-7abc-8def-0123456789ff"
SENDER = (
    "UPDATE message SET sender = 'police-99', partner = 'police-99' WHERE id = '{id}'",
    "UPDATE inbox SET sender = 'police-99' WHERE message_id = '{id}'",
    "UPDATE handoff SET sender = 'police-99' WHERE message_id = '{id}'",
)


@pytest.mark.parametrize(
    ("changes", "sender", "column"),
    [
        (SENDER, "police-99", "message.id"),
        (("UPDATE message SET type = 'cme.enquiry' WHERE id = '{id}'",), A, "message.type"),
        ((f"UPDATE message SET thread = '{OTHER}' WHERE id = '{{id}}'",), A, "message.thread"),  # noqa: S608
        (("UPDATE message SET urgency = 'immediate_risk' WHERE id = '{id}'",), A, "message.urgency"),
        (("UPDATE message SET jws = env WHERE id = '{id}'",), A, "message.jws"),
    ],
    ids=["sender", "type", "thread", "urgency", "bytes"],
)
async def test_message_under_another_name_is_not_served(
    tmp_path: Path, changes: Sequence[str], sender: str, column: str
) -> None:
    async with in_force(tmp_path) as town:
        message = (await submission(town.a.exchange, key="a transfer"))["id"]
        await town.a.run()
        tamper(path(town.b), *(change.format(id=message) for change in changes))
        with pytest.raises(RowTamperedError):
            await inbound.release(message, sender, "case-system", town.b.exchange, by="A Token")
        with pytest.raises(RowTamperedError):
            await inbound.open_by(message, "duty", town.b.exchange, sender=sender)
        assert kinds(town.b, message) == ["received"]
        assert await refused(town.b) == ["message"]
        assert column in {found for _, found in faults(town.b)}


@pytest.mark.parametrize("state", ["taken", "collected", "refused"])
async def test_message_that_nobody_opened_is_not_shown_as_opened(tmp_path: Path, state: str) -> None:
    async with in_force(tmp_path) as town:
        message = (await submission(town.a.exchange, key="a transfer"))["id"]
        await town.a.run()
        tamper(path(town.b), f"UPDATE message SET state = '{state}' WHERE id = '{message}'")  # noqa: S608
        shown = await town.b.exchange.inbox.message(message, A)
        assert shown is not None
        assert shown.state is InboundState.RECEIVED
        assert await refused(town.b) == ["message"]
        assert "message.state" in {found for _, found in faults(town.b)}


@pytest.mark.parametrize("column", ["created_at", "expires_at"])
async def test_message_of_another_time_is_not_served(tmp_path: Path, column: str) -> None:
    """No entry names these: the sealed bytes do."""
    async with in_force(tmp_path) as town:
        message = (await submission(town.a.exchange, key="a transfer"))["id"]
        await town.a.run()
        tamper(path(town.b), f"UPDATE message SET {column} = {column} + 1 WHERE id = '{message}'")  # noqa: S608
        with pytest.raises(RowTamperedError):
            await inbound.release(message, A, "case-system", town.b.exchange, by="A Token")
        assert "row-tampered" in town.b.alarms


async def test_content_of_our_own_record_is_not_served_as_the_partners(tmp_path: Path) -> None:
    """A partner may choose an id that we used: what lies at rest is bound to the id alone, so the digest decides."""
    async with in_force(tmp_path) as town:
        answered = (await submission(town.a.exchange, key="a transfer"))["id"]
        await town.a.run()
        body = {"case": {"reference": "KC/2027/0042", "answer": "accepted"}}
        answer = await submission(town.b.exchange, partner=A, type="cme.answer", body=body, thread=answered)
        message = answer["id"]
        await town.b.accept(await make_message(town, id=message), A, message)
        _, payload = await inbound.release(message, A, "case-system", town.b.exchange, by="A Token")
        assert payload.typ == "cme.transfer"
        ours = f"SELECT body_ref FROM message WHERE id = '{message}' AND direction = 'out'"  # noqa: S608
        tamper(path(town.b), f"UPDATE message SET body_ref = ({ours}) WHERE id = '{message}' AND direction = 'in'")  # noqa: S608
        with pytest.raises(RowTamperedError):
            await inbound.release(message, A, "case-system", town.b.exchange, by="A Token")
        assert "row-tampered" in town.b.alarms
