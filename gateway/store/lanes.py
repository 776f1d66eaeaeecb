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

from sqlalchemy import ColumnElement, and_, bindparam, func, select, text, update

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


_CURRENT: Final = (
    select(
        message.c.state,
        message.c.held_for,
        delivery.c.id.label("delivery"),
        delivery.c.lane_id.label("lane"),
        delivery.c.attempts,
        delivery.c.round_from,
        delivery.c.run_at,
        delivery.c.lease_token,
        delivery.c.lease_until,
    )
    .join_from(message, delivery, JOINED)
    .where(message.c.sender == bindparam("own"), message.c.id == bindparam("at"))
)
_ENTER: Final = update(message).where(
    message.c.sender == bindparam("own"), message.c.id == bindparam("at"), message.c.state == bindparam("before")
)
_FOLLOW: Final = update(delivery).where(delivery.c.id == bindparam("at"))
_FIRST: Final = (
    select(delivery.c.id, delivery.c.run_at, delivery.c.lease_until, message.c.state)
    .join_from(delivery, message, JOINED)
    .where(delivery.c.lane_id == bindparam("at"))
    .order_by(delivery.c.lane_seq)
    .limit(1)
)
_FIRST_OPEN: Final = _FIRST.where(_OPEN)
_HEAD: Final = select(lane.c.head_delivery, lane.c.run_at).where(lane.c.id == bindparam("at"))
_BY_KEY: Final = select(lane.c.id, lane.c.next_seq, lane.c.state).where(
    lane.c.partner == bindparam("to"), lane.c.lane_key == bindparam("key")
)
_LANE: Final = update(lane).where(lane.c.id == bindparam("at"))


def current(tx: Transaction, message_id: str) -> Current | None:
    """Return an own message that the command touches."""
    rows = tx.read_touched(_CURRENT, own=tx.own, at=message_id)
    if not rows:
        return None
    row = dict(rows[0]._mapping)
    return Current(message_id=message_id, state=State(row.pop("state")), **row)


def enter(tx: Transaction, now: Current, state: State, *, held_for: str | None = None, **columns: Any) -> None:
    """Bring message, delivery and lane to `state`, which the state table has allowed.

    `columns` are those of the delivery; run_at and the lease are cleared unless given.
    """
    changed = tx.change_touched(_ENTER, own=tx.own, at=now.message_id, before=now.state, state=state, held_for=held_for)
    if changed != 1:
        raise IllegalTransitionError(f"own message: no longer in state {now.state}")
    values = {"run_at": None, "lease_token": None, "lease_until": None, **columns, "state": DELIVERY_STATE[state]}
    tx.change_touched(_FOLLOW, at=now.delivery, **values)
    refresh(tx, now.lane)


def refresh(tx: Transaction, lane_id: int) -> None:
    """Write the lane's row anew from its first open delivery."""
    heads = tx.read(_FIRST_OPEN, at=lane_id)
    tx.change(_LANE, at=lane_id, **_lane_of(heads[0] if heads else None))


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
    rows = tx.read_touched(_HEAD, at=now.lane)
    return rows[0].head_delivery == now.delivery and rows[0].run_at is not None and rows[0].run_at <= instant


def join(tx: Transaction, partner: str, lane_key: bytes, delivery_id: int, run_at: int) -> tuple[int, int]:
    """Put a new delivery at the end of its lane, which is made where there is none; return lane and place in it."""
    rows = tx.read_touched(_BY_KEY, to=partner, key=lane_key)
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
    tx.change_touched(_LANE, at=row.id, **values)
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


# The partners for whom something is due at `now`, whoever waited longest first.
PARTNERS_DUE: Final = (
    select(lane.c.partner)
    .where(lane.c.run_at <= bindparam("now"))
    .group_by(lane.c.partner)
    .order_by(func.min(lane.c.run_at))
)
# The first `most` heads due of partner `to`, oldest first; a lease that ended comes back as one of them.
HEADS_DUE: Final = (
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
    .where(lane.c.partner == bindparam("to"), lane.c.run_at <= bindparam("now"))
    .order_by(lane.c.run_at)
    .limit(bindparam("most"))
)


def in_turn(queues: Iterable[Sequence[T]], limit: int) -> list[T]:
    """Take from the queues in turn, so that no long one keeps a short one waiting."""
    rounds = zip_longest(*([(item,) for item in queue] for queue in queues), fillvalue=())
    return list(chain.from_iterable(chain.from_iterable(rounds)))[:limit]
