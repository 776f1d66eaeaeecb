"""Own messages, as far as the tables alone show it: rows of T1 to T3, one batch, what lies at rest.

What the ports show is in `tests.conformance`.
"""

from __future__ import annotations

from gateway.core.commands import ClaimOutgoing, Lease, Move, ReleaseLeases, SettleOutgoing, Submit
from gateway.core.lifecycle import Event
from gateway.core.retry import DeadLetter, Expire, RetryAt
from gateway.ports import Candidate
from tests.support.store import (
    PARTNER,
    Lab,
    at,
    make_claim,
    make_complete,
    make_event,
    make_fail,
    make_submit,
    rows,
)


async def due(lab: Lab, now: float = 0) -> tuple[Candidate, ...]:
    return await lab.open.read.outbox.due(at(now), 20)


async def lease(lab: Lab, submit: Submit, now: float = 0) -> Lease:
    """Claim the message, whose turn it must be."""
    candidate = next(one for one in await due(lab, now) if one.message_id == submit.message.id)
    leased = await lab.open.store.write(make_claim(candidate, now=at(now)))
    assert leased is not None
    return leased


async def submitted(lab: Lab) -> Submit:
    submit = make_submit()
    await lab.open.store.write(submit)
    return submit


async def test_a_repeated_request_makes_no_second_delivery(lab: Lab) -> None:  # I1
    for _ in range(2):
        await lab.open.store.write(make_submit(key="same"))
    assert rows(lab.path, "SELECT count(*) FROM delivery") == [(1,)]


async def test_no_plain_text_of_a_message_is_in_the_database(lab: Lab) -> None:
    await lab.open.store.write(make_submit(inner=b"a canary name"))
    for file in lab.path.parent.iterdir():
        assert b"a canary name" not in file.read_bytes()
        assert b"officer.one" not in file.read_bytes()


async def test_a_claim_writes_its_attempt_first(lab: Lab) -> None:
    await lease(lab, await submitted(lab))
    assert rows(lab.path, "SELECT n, outcome FROM attempt") == [(1, None)]


async def test_a_failed_attempt_says_how_it_ended(lab: Lab) -> None:
    submit = await submitted(lab)
    await lab.open.store.write(make_fail(await lease(lab, submit), submit.message.id, RetryAt(at=at(300)), status=503))
    assert rows(lab.path, "SELECT outcome, http_status, ms FROM attempt") == [("http.503", 503, 5)]


async def test_attempts_are_numbered_on_when_a_dead_message_is_sent_again(lab: Lab) -> None:
    submit = await submitted(lab)
    await lab.open.store.write(make_fail(await lease(lab, submit), submit.message.id, DeadLetter()))
    await lab.open.store.write(Move(message_id=submit.message.id, event=Event.RESEND, entry=None, now=at(500)))
    await lease(lab, submit, now=500)
    assert rows(lab.path, "SELECT n FROM attempt ORDER BY n") == [(1,), (2,)]


async def test_a_delivery_that_is_done_leaves_its_lane_idle(lab: Lab) -> None:  # I3
    submit = await submitted(lab)
    assert await lab.open.store.write(make_complete(await lease(lab, submit), submit.message.id)) is True
    assert rows(lab.path, "SELECT state FROM delivery") == [("done",)]
    assert rows(lab.path, "SELECT state, head_delivery FROM lane") == [("idle", None)]
    assert rows(lab.path, "SELECT outcome, http_status FROM attempt") == [("checked", 200)]


async def test_an_item_given_up_stays_in_its_row(lab: Lab) -> None:
    await lab.open.store.write(make_event(2, push_to=PARTNER))
    (item,) = await lab.open.read.outbox.owed(at(0), 10)
    await lab.open.store.write(ClaimOutgoing(id=item.id, token=b"token", now=at(0), until=at(60)))
    await lab.open.store.write(SettleOutgoing(id=item.id, token=b"token", next=DeadLetter()))
    assert rows(lab.path, "SELECT state, run_at, bytes FROM outgoing") == [("dead", None, item.data)]


async def test_released_leases_leave_no_token_behind(lab: Lab) -> None:
    submit = await submitted(lab)
    leased = await lease(lab, submit)
    await lab.open.store.write(make_event(2, push_to=PARTNER))
    await lab.open.store.write(ClaimOutgoing(id=1, token=b"token", now=at(0), until=at(60)))
    assert await lab.open.store.write(ReleaseLeases(tokens=frozenset({leased.token, b"token"}), now=at(5))) == 2
    for table in ("delivery", "outgoing"):
        assert rows(lab.path, f"SELECT state, lease_token, lease_until FROM {table}") == [("ready", None, None)]  # noqa: S608 - a name
    assert rows(lab.path, "SELECT state, head_delivery FROM lane") == [("ready", 1)]


async def test_a_message_submitted_while_its_lane_ends_is_not_forgotten(lab: Lab) -> None:
    """Both share a batch: the end of the first must see the message that joined the lane just before it."""
    first, behind = await submitted(lab), make_submit()
    leased = await lease(lab, first)
    gate = lab.open.store.submit(make_submit(lane=b"other"))
    joining = lab.open.store.submit(behind)
    ending = lab.open.store.submit(make_fail(leased, first.message.id, Expire()))
    assert not gate.result(10).repeated
    assert not joining.result(10).repeated
    assert ending.result(10)
    assert behind.message.id in {one.message_id for one in await due(lab)}
