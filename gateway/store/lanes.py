"""Lanes: the order of own messages within one thread and partner, kept in one small table (log B2).

A lane's row is a function of its first open delivery, its head: that alone may be claimed, a dead or held head holds
its lane and no other. So whatever changes a delivery ends in `refresh`, and what is due is found from the lanes alone,
however many messages wait behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, select, text, update

from gateway.core.errors import IllegalTransitionError
from gateway.core.lifecycle import State
from gateway.store.schema import delivery, lane, message
from gateway.store.transaction import Transaction

T = TypeVar("T")

# message.state decides; delivery.state follows in the same transaction (log B2).
DELIVERY_STATE: Final = {
    State.QUEUED: "ready",
    State.HELD: "ready",
    State.AVAILABLE: "ready",
    State.SENDING: "leased",
    State.DELIVERED: "done",
    State.TAKEN: "done",
    State.COLLECTED: "done",
    State.REJECTED: "done",
    State.DEAD: "dead",
    State.EXPIRED: "cancelled",
    State.CANCELLED: "cancelled",
}
_OPEN: Final = text("delivery.state IN ('ready', 'leased', 'dead')")  # literally the condition of ix_delivery_open
JOINED: Final = and_(message.c.sender == delivery.c.sender, message.c.id == delivery.c.message_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """An own message and its delivery as they stand in this transaction; instants in microseconds."""

    message_id: str
    state: State
    held_for: str | None
    delivery: int
    lane: int
    attempts: int
    round_from: int
    run_at: int | None
    lease_token: bytes | None
    lease_until: int | None

    def lease_ended(self, now: int) -> bool:
        """Whether the message is leased to somebody whose time is over."""
        return self.state is State.SENDING and self.lease_until is not None and self.lease_until <= now


_CURRENT: Final = select(
    message.c.state,
    message.c.held_for,
    delivery.c.id.label("delivery"),
    delivery.c.lane_id.label("lane"),
    delivery.c.attempts,
    delivery.c.round_from,
    delivery.c.run_at,
    delivery.c.lease_token,
    delivery.c.lease_until,
).join_from(message, delivery, JOINED)


def current(tx: Transaction, message_id: str) -> Current | None:
    """Return an own message that the command touches."""
    rows = tx.read_touched(_CURRENT.where(message.c.sender == tx.own, message.c.id == message_id))
    if not rows:
        return None
    row = dict(rows[0]._mapping)
    return Current(message_id=message_id, state=State(row.pop("state")), **row)


def enter(tx: Transaction, now: Current, state: State, *, held_for: str | None = None, **columns: Any) -> None:
    """Bring message, delivery and lane to `state`, which the state table has allowed.

    `columns` are those of the delivery; run_at and the lease are cleared unless given.
    """
    changed = tx.change_touched(
        update(message)
        .where(message.c.sender == tx.own, message.c.id == now.message_id, message.c.state == now.state)
        .values(state=state, held_for=held_for)
    )
    if changed != 1:
        raise IllegalTransitionError(f"own message: no longer in state {now.state}")
    values = {"run_at": None, "lease_token": None, "lease_until": None, **columns, "state": DELIVERY_STATE[state]}
    tx.change_touched(update(delivery).where(delivery.c.id == now.delivery).values(values))
    refresh(tx, now.lane)


def refresh(tx: Transaction, lane_id: int) -> None:
    """Write the lane's row anew from its first open delivery."""
    heads = tx.read(
        select(delivery.c.id, delivery.c.run_at, delivery.c.lease_until, message.c.state)
        .join_from(delivery, message, JOINED)
        .where(delivery.c.lane_id == lane_id, _OPEN)
        .order_by(delivery.c.lane_seq)
        .limit(1)
    )
    tx.change(update(lane).where(lane.c.id == lane_id).values(_lane_of(heads[0] if heads else None)))


def _lane_of(head: Any) -> dict[str, Any]:
    if head is None:
        return {"state": "idle", "head_delivery": None, "run_at": None}
    match State(head.state):
        case State.SENDING:
            return {"state": "busy", "head_delivery": head.id, "run_at": head.lease_until}
        case State.QUEUED:
            return {"state": "ready", "head_delivery": head.id, "run_at": head.run_at}
        case _:
            return {"state": "held", "head_delivery": head.id, "run_at": head.run_at}


def at_head(tx: Transaction, now: Current, instant: int) -> bool:
    """Whether it is this delivery's turn: the head of its lane, its time come, and nobody's lease in force."""
    rows = tx.read_touched(select(lane.c.head_delivery, lane.c.run_at).where(lane.c.id == now.lane))
    return rows[0].head_delivery == now.delivery and rows[0].run_at is not None and rows[0].run_at <= instant


def join(tx: Transaction, partner: str, lane_key: bytes, delivery_id: int, run_at: int) -> tuple[int, int]:
    """Put a new delivery at the end of its lane, which is made where there is none; return lane and place in it."""
    rows = tx.read_touched(
        select(lane.c.id, lane.c.next_seq, lane.c.state).where(lane.c.partner == partner, lane.c.lane_key == lane_key)
    )
    if not rows:
        lane_id = tx.next_id(lane)
        tx.insert(
            lane,
            id=lane_id,
            partner=partner,
            lane_key=lane_key,
            next_seq=2,
            state="ready",
            head_delivery=delivery_id,
            run_at=run_at,
        )
        return lane_id, 1
    row = rows[0]
    values: dict[str, Any] = {"next_seq": row.next_seq + 1}
    if row.state == "idle":
        values |= {"state": "ready", "head_delivery": delivery_id, "run_at": run_at}
    tx.change_touched(update(lane).where(lane.c.id == row.id).values(values))
    return row.id, row.next_seq


def look_again(tx: Transaction, now: int, *which: ColumnElement[bool]) -> None:
    """Let the held messages that meet the conditions be looked at now; one that waits for a person goes on waiting."""
    held = (
        select(delivery.c.id)
        .join_from(delivery, message, JOINED)
        .where(
            message.c.direction == "out",
            message.c.state == State.HELD,
            message.c.sender == tx.own,
            *which,
            delivery.c.run_at.is_not(None),
        )
    )
    tx.change(update(delivery).where(delivery.c.id.in_(held)).values(run_at=now))
    tx.change(
        update(lane)
        .where(lane.c.state == "held", lane.c.run_at.is_not(None), lane.c.head_delivery.in_(held))
        .values(run_at=now)
    )


# --- what is due


def partners_due(now: int) -> Select[Any]:
    """The partners for whom something is due, whoever waited longest first."""
    return select(lane.c.partner).where(lane.c.run_at <= now).group_by(lane.c.partner).order_by(func.min(lane.c.run_at))


def heads_due(partner: str, now: int, limit: int) -> Select[Any]:
    """The first heads due of one partner, oldest first; a lease that ended comes back as one of them."""
    return (
        select(
            delivery.c.id,
            delivery.c.message_id,
            delivery.c.partner,
            delivery.c.attempts,
            delivery.c.round_from,
            message.c.state,
        )
        .join_from(lane, delivery, lane.c.head_delivery == delivery.c.id)
        .join(message, JOINED)
        .where(lane.c.partner == partner, lane.c.run_at <= now)
        .order_by(lane.c.run_at)
        .limit(limit)
    )


def in_turn(queues: Iterable[Sequence[T]], limit: int) -> list[T]:
    """Take from the queues in turn, so that no long one keeps a short one waiting."""
    rounds = zip_longest(*([(item,) for item in queue] for queue in queues), fillvalue=())
    return list(chain.from_iterable(chain.from_iterable(rounds)))[:limit]
