"""Aim: as administrator of the database, let a message or a breach be lost so that nobody ever notices.

Held off by the daily comparison, which is `log verify`: each entry has its rows, and what was accepted will be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from contracts import service as bodies
from gateway import auditing, inbound, integrity
from gateway.core.daily import Difference, NoteDifference
from gateway.core.errors import StoreChangedError
from gateway.entries import About, Circumstance, about_message
from tests.support.councils import council, live_problems
from tests.support.exchange import Town
from tests.support.messages import A, B, submission
from tests.support.rewritten import faults, in_force, kinds, path, place, refused, say
from tests.support.store import tamper


async def accepted(town: Town, **changes: str) -> str:
    return str((await submission(town.a.exchange, key="accepted", **changes))["id"])


async def arrived(town: Town) -> str:
    message = await accepted(town)
    await town.a.run()
    return message


async def test_without_an_attack_a_whole_story_has_no_fault(tmp_path: Path) -> None:
    async with in_force(tmp_path) as town:
        message = await arrived(town)
        await inbound.open_by(message, "duty", town.b.exchange)
        await say(town.a, B, bodies.WITHDRAWAL, {"message": message, "reason": "wrong-child"}, message)
        await town.b.run()
        waiting = (await submission(town.a.exchange, key="waiting"))["id"]
        assert kinds(town.a, waiting) == ["submitted"]
        assert (faults(town.a), faults(town.b)) == ([], [])


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        (("UPDATE message SET state = 'delivered' WHERE id = '{id}'",), "message.state"),
        (("UPDATE message SET state = 'collected' WHERE id = '{id}'",), "message.state"),
        (("UPDATE delivery SET state = 'done' WHERE message_id = '{id}'",), "delivery.state"),
        (("UPDATE delivery SET run_at = NULL WHERE message_id = '{id}'",), "delivery.run_at"),
        (("UPDATE delivery SET run_at = 9000000000000000 WHERE message_id = '{id}'",), "delivery.run_at"),
        (("UPDATE lane SET run_at = NULL, state = 'idle'",), "lane.head_delivery"),
        (
            ("DELETE FROM content", "DELETE FROM content_key"),
            "content_key.id",
        ),
        (("DELETE FROM delivery", "DELETE FROM message WHERE id = '{id}'"), "message.id"),
    ],
    ids=["delivered", "collected", "done", "never", "much later", "no lane", "no content", "no row"],
)
async def test_accepted_message_that_will_never_be_sent_is_named(
    tmp_path: Path, changes: Sequence[str], column: str
) -> None:
    async with in_force(tmp_path) as town:
        message = await accepted(town)
        assert faults(town.a) == []
        tamper(path(town.a), *(change.format(id=message) for change in changes))
        assert column in {found for _, found in faults(town.a)}


async def test_what_the_daily_comparison_finds_is_logged(tmp_path: Path) -> None:
    async with in_force(tmp_path) as town:
        message = await accepted(town)
        tamper(path(town.a), f"UPDATE message SET state = 'delivered' WHERE id = '{message}'")  # noqa: S608
        report = auditing.LogReport(entries=0, problems=tuple(live_problems(town.a.own, path(town.a))))
        await integrity.record(auditing.altered(report), town.a.exchange)
        assert await refused(town.a) == ["message"]


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        (("DELETE FROM handoff",), "handoff.message_id"),
        (("DELETE FROM handoff", "UPDATE message SET state = 'collected'"), "message.state"),
        (("DELETE FROM handoff", "DELETE FROM inbox", "DELETE FROM message"), "message.id"),
        (("UPDATE message SET direction = 'out'",), "message.id"),
        (("UPDATE handoff SET id = 0",), "handoff.id"),
        (("DELETE FROM content", "DELETE FROM content_key"), "content_key.id"),
        (("UPDATE message SET state = 'destroyed'",), "message.state"),
    ],
    ids=["no place", "opened by nobody", "no row", "turned round", "an old place", "no content", "destroyed by nobody"],
)
async def test_received_message_that_nobody_will_see_is_named(
    tmp_path: Path, changes: Sequence[str], column: str
) -> None:
    async with in_force(tmp_path) as town:
        message = await arrived(town)
        assert faults(town.b) == []
        tamper(path(town.b), *changes)
        found = faults(town.b)
        assert (place(town.b, "received", message), column) in found
        told = await town.b.exchange.events.after(-1, 100)
        assert [event.message_id for event in told] == [message]  # what happened is told all the same


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ("UPDATE breach SET state = 'not-reportable'", "breach.state"),
        ("DELETE FROM breach", "breach.about_id"),
        ("UPDATE duty SET state = 'done'", "duty.state"),
        ("DELETE FROM duty", "duty.message_id"),
    ],
)
async def test_breach_or_duty_that_no_person_settled_is_named(tmp_path: Path, change: str, column: str) -> None:
    async with in_force(tmp_path) as town:
        message = await arrived(town)
        await inbound.open_by(message, "duty", town.b.exchange)
        await say(town.a, B, bodies.WITHDRAWAL, {"message": message, "reason": "wrong-child"}, message)
        assert faults(town.b) == []
        tamper(path(town.b), *(["DELETE FROM mention"] if "FROM duty" in change else []), change)
        assert column in {found for _, found in faults(town.b)}


async def test_difference_that_was_planted_as_told_is_told(tmp_path: Path) -> None:
    async with in_force(tmp_path) as town:
        message = await arrived(town)
        planted = f"INSERT INTO statement_difference VALUES ('{A}', 'claimed-sent', '{message}', 1)"  # noqa: S608
        tamper(path(town.b), planted)
        assert "statement_difference.subject" in {found for _, found in faults(town.b)}
        about = About(
            dir="in", msg=message, partner=A, type=None, agreement=None, env=None, jws=None, thread=None, urgency=None
        )
        entry = about_message(
            town.b.exchange.journal, "statement-differs", town.clock(), about, Circumstance(outcome="claimed-sent")
        )
        note = NoteDifference(partner=A, difference=Difference.CLAIMED_SENT, subject=message, entry=entry)
        with pytest.raises(StoreChangedError):  # the next round states it again
            await council(town.b).exchange.store.write(note)
        assert await council(town.b).exchange.store.write(note)
        assert not await council(town.b).exchange.store.write(note)
        assert faults(town.b) == []
