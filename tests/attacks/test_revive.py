"""Aim: as administrator of the database, have a message sent that must not go: cancelled, or held with its agreement.

Held off by the message's own entries, which are asked before every attempt, and by its sealed bytes, which name its
agreement. The columns of its row, its delivery and its lane are his.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.events import Action
from gateway import delivery
from gateway.core.errors import StoreChangedError
from gateway.core.lifecycle import State
from gateway.store.rows import NOT_AS_LOGGED
from tests.support.messages import A, submission, transfer
from tests.support.rewritten import faults, in_force, kinds, path, refused, second_agreement
from tests.support.store import rows, tamper

QUEUED = (
    "UPDATE message SET state = 'queued', held_for = NULL WHERE id = '{id}'",
    "UPDATE delivery SET state = 'ready', run_at = 0 WHERE message_id = '{id}'",
    "UPDATE lane SET state = 'ready', run_at = 0, head_delivery = (SELECT id FROM delivery WHERE message_id = '{id}') "
    "WHERE id = (SELECT lane_id FROM delivery WHERE message_id = '{id}')",
)


async def test_cancelled_message_set_back_to_queued_stays_cancelled_and_is_told(tmp_path: Path) -> None:
    async with in_force(tmp_path) as town:
        message = (await submission(town.a.exchange, key="wrong child"))["id"]
        await delivery.cancel(message, town.a.exchange, by="A Person")
        tamper(path(town.a), *(statement.format(id=message) for statement in QUEUED))
        assert {column for _, column in faults(town.a)} == {"message.state"}
        await town.a.run(2)
        assert await town.b.exchange.inbox.message(message, A) is None
        assert kinds(town.a, message) == ["submitted", "cancelled"]
        assert NOT_AS_LOGGED in town.a.alarms
        assert await refused(town.a) == ["message"]
        assert kinds(town.a, message) == ["submitted", "cancelled", "row-refused"]
        mended = await town.a.exchange.outbox.message(message)
        assert mended is not None
        assert mended.state is State.CANCELLED
        assert faults(town.a) == []


async def test_message_that_no_entry_submitted_waits_for_a_person(tmp_path: Path) -> None:
    """He takes the entries themselves away; that, `log verify` finds besides."""
    async with in_force(tmp_path) as town:
        message = (await submission(town.a.exchange, key="unknown"))["id"]
        tamper(path(town.a), f"UPDATE log_entry SET message_id = NULL WHERE message_id = '{message}'")  # noqa: S608
        await town.a.run(2)
        held = await town.a.exchange.outbox.message(message)
        assert held is not None
        assert (held.state, held.held_for) == (State.HELD, ("row.untold",))
        assert await town.b.exchange.inbox.message(message, A) is None


async def test_message_under_a_suspended_agreement_does_not_leave_under_another(tmp_path: Path) -> None:
    async with in_force(tmp_path) as town:
        second = await second_agreement(town)
        message = (await submission(town.a.exchange, key="suspended", agreement=transfer()[0].id))["id"]
        await town.act(town.a, Action.SUSPEND, push=False)
        tamper(path(town.a), f"UPDATE message SET agreement = '{second}' WHERE id = '{message}'")  # noqa: S608
        assert {column for _, column in faults(town.a)} == {"message.agreement"}
        with pytest.raises(StoreChangedError):  # the worker comes again
            await town.a.run()
        await town.a.run(2)
        held = await town.a.exchange.outbox.message(message)
        assert held is not None
        assert held.state is State.HELD
        assert "row-tampered" in town.a.alarms
        assert await town.b.exchange.inbox.message(message, A) is None
        named = rows(path(town.a), "SELECT DISTINCT agreement FROM log_entry WHERE message_id = :id", id=message)
        assert ("second-transfer",) not in named


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM content WHERE id = (SELECT body_ref FROM message WHERE id = '{id}')",
        "DELETE FROM content_key WHERE id = (SELECT body_ref FROM message WHERE id = '{id}')",
    ],
)
async def test_message_whose_content_is_gone_waits_for_a_person_who_can_end_it(tmp_path: Path, change: str) -> None:
    async with in_force(tmp_path) as town:
        message = (await submission(town.a.exchange, key="gone"))["id"]
        tamper(path(town.a), change.format(id=message))
        with pytest.raises(StoreChangedError):  # the worker comes again
            await town.a.run()
        await town.a.run(2)
        held = await town.a.exchange.outbox.message(message)
        assert held is not None
        assert (held.state, held.held_for) == (State.HELD, ("row.tampered",))
        assert await delivery.cancel(message, town.a.exchange, by="A Person") is State.CANCELLED
        assert await town.b.exchange.inbox.message(message, A) is None
