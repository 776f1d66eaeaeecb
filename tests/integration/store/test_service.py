"""Service messages, as far as the tables alone show it: what is destroyed is gone from the file, and every proof stays.

What the ports show is in `tests.conformance.test_service_store`.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.core.lifecycle import ReceiptEvent
from gateway.core.service import Destroy, Withdraw
from tests.support.store import (
    PARTNER,
    Lab,
    make_acknowledge,
    make_entry,
    make_receive,
    make_release,
    problems,
    rows,
    seconds,
)

CONTENT = "SELECT (SELECT count(*) FROM content), (SELECT count(*) FROM content_key)"


def make_withdraw(own: str) -> Withdraw:
    return Withdraw(
        sender=PARTNER, message_id=own, erased=make_entry("withdrawn", msg=own, dir="in", partner=PARTNER), at=seconds()
    )


def make_destroy(own: str) -> Destroy:
    return Destroy(
        sender=PARTNER,
        message_id=own,
        how="keys-destroyed",
        entry=make_entry("destroyed", msg=own, dir="in", partner=PARTNER, by="Officer One"),
        at=seconds(),
    )


async def test_keys_and_ciphertext_of_a_destroyed_message_are_gone_and_the_log_still_verifies(lab: Lab) -> None:
    kept, gone = make_receive(data=b"kept"), make_receive(data=b"gone")
    for receive in (kept, gone):
        await lab.open.store.write(receive)
    await lab.open.store.write(make_acknowledge(gone.message.id, ReceiptEvent.COLLECTED))
    before = rows(lab.path, "SELECT leaf_hash FROM log_entry ORDER BY idx")
    (wrapped,) = rows(
        lab.path,
        "SELECT k.wrapped, c.ciphertext FROM content_key k JOIN content c ON c.id = k.id JOIN message m ON m.body_ref = k.id"
        " WHERE m.id = :id",
        id=gone.message.id,
    )
    await lab.open.store.write(make_destroy(gone.message.id))
    assert rows(lab.path, CONTENT) == [(1, 1)]
    assert rows(lab.path, "SELECT leaf_hash FROM log_entry ORDER BY idx")[: len(before)] == before
    assert [column for _, column in problems(lab.path) if not column.startswith(("inbox.", "outgoing."))] == []
    files = b"".join(path.read_bytes() for path in lab.path.parent.iterdir())
    assert not any(bytes(value) in files for value in wrapped)


async def test_withdrawn_message_has_no_handoff_any_more(lab: Lab) -> None:
    receive = make_receive()
    await lab.open.store.write(receive)
    await lab.open.store.write(replace(make_receive(data=b"withdrawal"), effects=(make_withdraw(receive.message.id),)))
    states = "SELECT h.state FROM handoff h WHERE h.message_id = :id"
    assert rows(lab.path, states, id=receive.message.id) == [("done",)]


async def test_opening_and_withdrawing_at_once_end_in_one_of_the_two(lab: Lab) -> None:
    """Whichever comes first counts; they never share a batch."""
    for first in ("open", "withdraw"):
        receive = make_receive(data=first.encode())
        await lab.open.store.write(receive)
        own = receive.message.id
        opening = make_acknowledge(own, ReceiptEvent.COLLECTED)
        withdrawal = replace(make_receive(data=b"withdrawal of " + first.encode()), effects=(make_withdraw(own),))
        assert not opening.touches().isdisjoint(withdrawal.touches())
        pair = (opening, withdrawal) if first == "open" else (withdrawal, opening)
        futures = [lab.open.store.submit(one) for one in pair]
        failed = [future.exception(10) is not None for future in futures]
        (state,) = rows(lab.path, "SELECT state FROM message WHERE id = :id", id=own)
        assert (failed, state) == (
            ([False, False], ("collected",)) if first == "open" else ([False, True], ("withdrawn",))
        )


async def test_giving_to_a_system_and_withdrawing_at_once_end_in_one_of_the_two(lab: Lab) -> None:
    """What was given stays for a person to destroy; what was withdrawn is given to nobody. They never share a batch."""
    for first in ("give", "withdraw"):
        receive = make_receive(data=first.encode())
        await lab.open.store.write(receive)
        own = receive.message.id
        giving = make_release(own)
        withdrawal = replace(make_receive(data=b"withdrawal of " + first.encode()), effects=(make_withdraw(own),))
        assert not giving.touches().isdisjoint(withdrawal.touches())
        pair = (giving, withdrawal) if first == "give" else (withdrawal, giving)
        futures = [lab.open.store.submit(one) for one in pair]
        failed = [future.exception(10) is not None for future in futures]
        (state,) = rows(lab.path, "SELECT state FROM message WHERE id = :id", id=own)
        assert (failed, state) == (
            ([False, False], ("received",)) if first == "give" else ([False, True], ("withdrawn",))
        )
