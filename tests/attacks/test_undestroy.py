"""Aim: as administrator of the database, read again what was withdrawn, or have a destruction vouched for that never was.

He has kept copies of the rows from before. Held off by the log's entry of the withdrawal, which outlasts any row, and by a
receipt that is given for that entry alone. With the keys of the home he can read what he kept: docs/log.md section 15.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts import service as bodies
from gateway import duties, inbound
from gateway.core.errors import SubmissionRefusedError
from gateway.core.lifecycle import InboundState
from gateway.store.rows import NOT_AS_LOGGED
from tests.support.exchange import Town
from tests.support.messages import A, B, submission
from tests.support.rewritten import faults, in_force, kinds, path, place, refused, row_of, say
from tests.support.store import rows, tamper


async def sent(town: Town) -> str:
    """A transfer that la-850 holds."""
    message = str((await submission(town.a.exchange, key="a transfer"))["id"])
    await town.a.run()
    return message


def content_of(town: Town, message: str) -> list[str]:
    """Statements that put the message's content and its key back."""
    ((body,),) = rows(path(town.b), "SELECT body_ref FROM message WHERE id = :id", id=message)
    return [one for table in ("content_key", "content") for one in row_of(town.b, table, f"id = '{body}'")]


async def withdraw(town: Town, message: str) -> None:
    await say(town.a, B, bodies.WITHDRAWAL, {"message": message, "reason": "wrong-child"}, message)


@pytest.mark.parametrize("state", ["withdrawn", "received"])
async def test_withdrawn_content_put_back_is_not_read(tmp_path: Path, state: str) -> None:
    async with in_force(tmp_path) as town:
        message = await sent(town)
        kept = content_of(town, message)
        await withdraw(town, message)
        assert faults(town.b) == []
        tamper(path(town.b), *kept, f"UPDATE message SET state = '{state}' WHERE id = '{message}'")  # noqa: S608
        at = place(town.b, "withdrawn", message)
        assert (at, "content_key.id") in faults(town.b)
        for step in (
            inbound.release(message, A, "case-system", town.b.exchange, by="A Token"),
            inbound.take(message, town.b.exchange),
            inbound.open_by(message, "duty", town.b.exchange),
        ):
            with pytest.raises(SubmissionRefusedError):
                await step
        found = await town.b.exchange.inbox.message(message, A)
        assert found is not None
        assert (found.state, found.inner) == (InboundState.WITHDRAWN, None)
        assert kinds(town.b, message)[-1] in ("withdrawn", "breach-opened")
        if state == "received":
            assert NOT_AS_LOGGED in town.b.alarms
            assert await refused(town.b) == ["message"]


async def test_destruction_that_only_rows_tell_of_is_not_vouched_for(tmp_path: Path) -> None:
    async with in_force(tmp_path) as town:
        message = await sent(town)
        await inbound.open_by(message, "duty", town.b.exchange)
        await withdraw(town, message)  # too late: a person must destroy it
        tamper(
            path(town.b),
            f"UPDATE message SET state = 'destroyed' WHERE id = '{message}'",  # noqa: S608
            f"INSERT INTO erasure VALUES ('{A}', '{message}', 1, 'keys-destroyed')",  # noqa: S608
        )
        await duties.send_receipts(town.b.exchange)
        assert rows(path(town.b), "SELECT id FROM message WHERE direction = 'out'") == []
        assert await town.b.exchange.service.erasure(A, message) is None
        assert {"message.state", "erasure.message_id"} <= {column for _, column in faults(town.b)}


async def test_destruction_is_not_vouched_for_while_the_key_is_there(tmp_path: Path) -> None:
    async with in_force(tmp_path) as town:
        message = await sent(town)
        kept = content_of(town, message)
        await withdraw(town, message)
        tamper(path(town.b), *kept)
        await duties.send_receipts(town.b.exchange)
        assert rows(path(town.b), "SELECT id FROM message WHERE direction = 'out'") == []


@pytest.mark.parametrize("trace", ["with its mention", "without its mention"])
async def test_correction_of_what_was_withdrawn_put_back_is_not_read(tmp_path: Path, trace: str) -> None:
    """It repeats what its original said, and went with it; no entry of its own says so."""
    async with in_force(tmp_path) as town:
        message = await sent(town)
        values = {"child": {"name": {"given": "Rowan"}}}
        body = {"message": message, "paths": ["child.name.given"], "values": values}
        correction = await say(town.a, B, bodies.CORRECTION, body, message)
        kept = content_of(town, correction)
        await withdraw(town, message)
        assert faults(town.b) == []
        state = f"UPDATE message SET state = 'received' WHERE id = '{correction}'"  # noqa: S608
        forget = [] if trace == "with its mention" else [f"DELETE FROM mention WHERE message_id = '{correction}'"]  # noqa: S608
        tamper(path(town.b), *kept, state, *forget)
        for step in (
            inbound.release(correction, A, "case-system", town.b.exchange, by="A Token"),
            inbound.open_by(correction, "duty", town.b.exchange),
        ):
            with pytest.raises(SubmissionRefusedError):
                await step
        assert "collected" not in kinds(town.b, correction)
