"""Partners' messages, as far as the tables alone show it: handoffs (I2), one batch, what is not kept.

What the ports show is in `tests.conformance`.
"""

from __future__ import annotations

from gateway.core.commands import Reception
from gateway.core.lifecycle import ReceiptEvent
from tests.support.store import Lab, make_acknowledge, make_receive, message_id, rows

COUNTS = "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM message), (SELECT count(*) FROM handoff)"


async def test_a_message_has_one_handoff_however_often_it_comes(lab: Lab) -> None:  # I2, I7
    own = message_id()
    for data in (b"sealed bytes", b"sealed bytes", b"other bytes"):
        await lab.open.store.write(make_receive(id=own, data=data))
    assert rows(lab.path, COUNTS) == [(1, 1, 1)]


async def test_the_same_bytes_twice_at_once_are_one_message(lab: Lab) -> None:  # I2
    own = message_id()
    futures = [lab.open.store.submit(make_receive(id=own)) for _ in range(10)]
    answers = [future.result(10) for future in futures]
    assert [answer.reception for answer in answers] == [Reception.NEW] + [Reception.DUPLICATE] * 9
    assert len({answer.receipt for answer in answers}) == 1
    assert rows(lab.path, COUNTS) == [(1, 1, 1)]


async def test_a_rejected_message_has_no_handoff_and_no_content(lab: Lab) -> None:
    await lab.open.store.write(make_receive(refused=True))
    assert rows(lab.path, COUNTS) == [(1, 1, 0)]
    assert rows(lab.path, "SELECT count(*) FROM content") == [(0,)]


async def test_a_handoff_is_done_when_the_case_system_took_the_message_and_not_when_it_was_opened(lab: Lab) -> None:
    receive = make_receive()
    await lab.open.store.write(receive)
    for event, handoff in ((ReceiptEvent.COLLECTED, "waiting"), (ReceiptEvent.TAKEN, "done")):
        await lab.open.store.write(make_acknowledge(receive.message.id, event))
        assert rows(lab.path, "SELECT state FROM handoff") == [(handoff,)]
