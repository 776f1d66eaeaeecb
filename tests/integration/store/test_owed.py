"""What is owed to partners besides messages: leases, retries, and that it is owed once."""

from __future__ import annotations

import pytest

from gateway.core.commands import ClaimOutgoing, SettleOutgoing
from gateway.core.retry import DeadLetter, Next, RetryAt
from tests.support.store import Lab, at, make_event


async def owing(lab: Lab) -> int:
    """Owe one event to the partner; return the number of the item."""
    await lab.open.store.write(make_event(2, push_to="la-902"))
    (item,) = await lab.open.read.outbox.owed(at(0), 10)
    return item.id


def claim(item: int, token: bytes = b"token", now: float = 0) -> ClaimOutgoing:
    return ClaimOutgoing(id=item, token=token, now=at(now), until=at(now + 60))


def settle(item: int, what: Next | None, token: bytes = b"token") -> SettleOutgoing:
    return SettleOutgoing(id=item, token=token, next=what)


async def test_an_item_that_arrived_is_owed_no_more(lab: Lab) -> None:
    item = await owing(lab)
    assert await lab.open.store.write(claim(item)) is True
    assert await lab.open.read.outbox.owed(at(0), 10) == ()
    assert await lab.open.store.write(settle(item, None)) is True
    assert await lab.open.read.outbox.owed(at(1_000_000), 10) == ()
    assert await lab.open.store.write(claim(item, now=1_000_000)) is False


async def test_an_item_that_failed_is_owed_again_when_it_was_decided(lab: Lab) -> None:
    item = await owing(lab)
    await lab.open.store.write(claim(item))
    await lab.open.store.write(settle(item, RetryAt(at=at(100))))
    assert await lab.open.read.outbox.owed(at(99), 10) == ()
    (again,) = await lab.open.read.outbox.owed(at(100), 10)
    assert (again.attempts, again.first_attempt_at) == (1, at(0))


async def test_an_item_given_up_is_owed_no_more(lab: Lab) -> None:
    item = await owing(lab)
    await lab.open.store.write(claim(item))
    await lab.open.store.write(settle(item, DeadLetter()))
    assert await lab.open.read.outbox.owed(at(1_000_000), 10) == ()


async def test_an_item_is_leased_to_one_at_a_time(lab: Lab) -> None:
    item = await owing(lab)
    assert await lab.open.store.write(claim(item)) is True
    assert await lab.open.store.write(claim(item, b"other")) is False


@pytest.mark.parametrize("what", [None, RetryAt(at=at(5))])
async def test_a_late_answer_under_an_expired_lease_changes_nothing(lab: Lab, what: Next | None) -> None:
    item = await owing(lab)
    await lab.open.store.write(claim(item, b"late"))
    (again,) = await lab.open.read.outbox.owed(at(60), 10)
    assert again.id == item
    assert await lab.open.store.write(claim(item, b"current", now=60)) is True
    assert await lab.open.store.write(settle(item, what, b"late")) is False
    assert await lab.open.read.outbox.owed(at(119), 10) == ()
