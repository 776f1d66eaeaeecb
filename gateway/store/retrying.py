"""What waits for a partner's gateway, made due at once."""

from __future__ import annotations

from sqlalchemy import select, update

from gateway.core.lifecycle import State
from gateway.core.retrying import TryNow
from gateway.store.lanes import JOINED
from gateway.store.schema import delivery, lane, message, outgoing
from gateway.store.times import micros
from gateway.store.transaction import Transaction


def try_now(tx: Transaction, command: TryNow) -> int:
    """Bring forward the heads of the partner's lanes, their deliveries, and the items owed."""
    now = micros(command.now)
    waiting = (
        select(delivery.c.id)
        .join_from(delivery, message, JOINED)
        .where(
            message.c.direction == "out",
            message.c.state.in_((State.QUEUED, State.HELD)),
            message.c.sender == tx.own,
            delivery.c.partner == command.partner,
            delivery.c.run_at > now,
        )
    )
    heads = (lane.c.partner == command.partner, lane.c.state.in_(("ready", "held")), lane.c.run_at > now)
    tx.change(update(lane).where(*heads).values(run_at=now))
    brought = tx.change(update(delivery).where(delivery.c.id.in_(waiting)).values(run_at=now))
    owed = (outgoing.c.partner == command.partner, outgoing.c.state == "ready", outgoing.c.run_at > now)
    return brought + tx.change(update(outgoing).where(*owed).values(run_at=now))
