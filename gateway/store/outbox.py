"""Own messages: the commands T1 to T3 of log B3, and the answers of the `Outbox` port.

Every change of state goes through `core.lifecycle`; order within a lane is `lanes`'. What is owed to partners besides
messages is in `owed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, assert_never

from sqlalchemy import Select, bindparam, or_, select, update

from gateway.core.commands import (
    Accepted,
    Claim,
    Complete,
    Fail,
    Hold,
    Lease,
    LogEntry,
    Move,
    ReceiptIn,
    ReleaseLeases,
    Submit,
    TakeReceipt,
)
from gateway.core.errors import (
    IllegalTransitionError,
    ReceiptRejectedError,
    RowTamperedError,
)
from gateway.core.lifecycle import TRANSITIONS, Event, State, after, after_receipt
from gateway.core.retry import DeadLetter, Expire, HoldLane, RetryAt
from gateway.ports import Candidate, OutboundMessage, OutgoingItem
from gateway.store import answered, lanes, logged, owed, service
from gateway.store.contents import open_parts
from gateway.store.lanes import JOINED
from gateway.store.readers import Reader, Rows
from gateway.store.rows import OTHER
from gateway.store.schema import attempt, content, content_key, delivery, message, receipt_in
from gateway.store.times import instant, micros, seconds
from gateway.store.transaction import AtIndex, Transaction
from gateway.store.vault import ENVELOPE, INNER

LANE_HELD: Final = "lane.held"  # held_for of a message whose partner keeps refusing it: a person releases it
UNTOLD: Final = "row.untold"  # held_for of one whose entries do not say that it may go: a person cancels it
_MOVES: Final = frozenset({Event.RELEASE, Event.EXPIRE, Event.CANCEL, Event.RESEND})
_STATUSES: Final = 10  # answers of the latest attempts, more than any decision needs
_CAN_EXPIRE: Final = tuple(state for state, events in TRANSITIONS.items() if Event.EXPIRE in events)
_SAME_EVENT: Final = select(receipt_in.c.id).where(
    receipt_in.c.sender == bindparam("own"),
    receipt_in.c.message_id == bindparam("at"),
    receipt_in.c.event == bindparam("event"),
)
_SAME_LEAF: Final = select(receipt_in.c.id).where(receipt_in.c.leaf == bindparam("leaf"))
_ATTEMPT: Final = update(attempt).where(attempt.c.delivery_id == bindparam("to"), attempt.c.n == bindparam("nth"))


# --- commands


def submit(tx: Transaction, submit: Submit) -> Accepted | AtIndex[Accepted]:
    """T1. A repeat of the request gets the first answer; the agreement's heads are those it was checked against."""
    request = submit.idempotency
    seen = answered.seen(tx, request.client, request.key, request.request_digest)
    if seen is not None:
        return Accepted(response=seen, repeated=True, index=None)
    if submit.heads is not None:
        tx.check_heads(submit.heads)
    row = submit.message
    sealed = tx.vault.seal(row.id, {ENVELOPE: submit.envelope, INNER: submit.inner})
    run_at = submit.entry.at_us
    delivery_id = tx.next_id(delivery)
    lane_id, seq = lanes.join(tx, row.partner, row.lane_key, delivery_id, run_at)
    tx.insert(content_key, **sealed.key_row)
    for part in sealed.rows:
        tx.insert(content, **part)
    tx.insert(
        message,
        sender=tx.own,
        id=row.id,
        direction="out",
        partner=row.partner,
        type=row.type,
        agreement=row.agreement,
        env=row.env,
        jws=row.jws,
        thread=row.thread,
        urgency=row.urgency,
        body_ref=sealed.id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        received_at=None,
        state=State.QUEUED,
        held_for=None,
    )
    tx.insert(
        delivery,
        id=delivery_id,
        sender=tx.own,
        message_id=row.id,
        partner=row.partner,
        lane_id=lane_id,
        lane_seq=seq,
        state=lanes.DELIVERY_STATE[State.QUEUED],
        attempts=0,
        round_from=0,
        run_at=run_at,
        lease_token=None,
        lease_until=None,
        last_error=None,
    )
    answered.keep(tx, request)
    slot = tx.append(submit.entry)
    service.apply(tx, submit.effects)
    return AtIndex(slot, lambda index: Accepted(response=request.response, repeated=False, index=index))


def claim(tx: Transaction, claim: Claim) -> Lease | None:
    """T2. The attempt's row is written with the lease, before anything is tried. Whether the message may go at all is
    decided by its entries: a row that says otherwise is told, and stands again as the log says."""
    now, until = micros(claim.now), micros(claim.until)
    own = lanes.current(tx, claim.message_id)
    if own is None or own.delivery != claim.delivery or not lanes.at_head(tx, own, now):
        return None
    told = _told(tx, own.message_id)
    if told not in logged.MAY_GO:
        tx.seal.refuse(message, (tx.own, own.message_id), OTHER, message=own.message_id)
        lanes.enter(tx, own, told or State.HELD, held_for=None if told else UNTOLD)
        return None
    if claim.heads is not None:
        tx.check_heads(claim.heads)
    match own.state:
        case State.SENDING:
            steps: tuple[Event, ...] = (Event.LEASE_ENDED, Event.CLAIM)
        case State.HELD:
            steps = (Event.RELEASE, Event.CLAIM)
        case _:
            steps = (Event.CLAIM,)
    n = own.attempts + 1
    lanes.enter(
        tx,
        own,
        _walk(own.state, *steps),
        attempts=n,
        lease_token=claim.token,
        lease_until=until,
        run_at=own.run_at,
    )
    tx.insert(attempt, delivery_id=own.delivery, n=n, at=now, outcome=None, http_status=None, ms=None)
    return Lease(delivery=own.delivery, token=claim.token, attempt=n - own.round_from, until=claim.until)


def complete(tx: Transaction, complete: Complete) -> bool:
    """T3. A late completion, under a lease that is another's by now, changes nothing (I8)."""
    own = _leased(tx, complete.message_id, complete.lease)
    if own is None:
        return False
    _apply_receipt(tx, own, complete.receipt, complete.entries)
    _end_attempt(tx, own, complete.receipt.event, 200, complete.ms)
    return True


def fail(tx: Transaction, fail: Fail) -> bool:
    """T3'. What follows was decided by `core.retry`."""
    own = _leased(tx, fail.message_id, fail.lease)
    if own is None:
        return False
    held_for, run_at = None, None
    match fail.next:
        case RetryAt(at=at):
            state, run_at = after(own.state, Event.ATTEMPT_FAILED), micros(at)
        case HoldLane():
            state, held_for = after(own.state, Event.HOLD), LANE_HELD
        case DeadLetter():
            state = after(own.state, Event.GIVE_UP)
        case Expire():
            state = _walk(own.state, Event.ATTEMPT_FAILED, Event.EXPIRE)
        case _:
            assert_never(fail.next)
    _end_attempt(tx, own, fail.outcome, fail.http_status, fail.ms)
    lanes.enter(tx, own, state, held_for=held_for, run_at=run_at, last_error=fail.outcome)
    if fail.entry is not None:
        tx.append(fail.entry)
    return True


def hold(tx: Transaction, hold: Hold) -> bool:
    """Held, or held for something else now: an entry. Held for the same as before: looked at later, no entry.

    A message under a lease in force is its holder's: what he brings back, a receipt perhaps, must still count.
    """
    own = lanes.current(tx, hold.message_id)
    codes, at = " ".join(hold.codes), micros(hold.look_again)
    if own is None or (own.state is not State.HELD and Event.HOLD not in TRANSITIONS[own.state]):
        return False
    if own.state is State.SENDING and not own.lease_ended(hold.entry.at_us):
        return False
    state = State.HELD if own.state is State.HELD else after(own.state, Event.HOLD)
    lanes.enter(tx, own, state, held_for=codes, run_at=at)
    if own.held_for == codes:
        return False
    tx.append(hold.entry)
    return True


def move(tx: Transaction, move: Move) -> State:
    """A person's act, or the clock's; one that sends again begins a new round of attempts."""
    own = lanes.current(tx, move.message_id)
    if own is None or move.event not in _MOVES:
        raise IllegalTransitionError(
            f"own message: no such message, or {move.event} is no act of a person or the clock"
        )
    now = micros(move.now)
    steps = (Event.LEASE_ENDED, move.event) if own.lease_ended(now) else (move.event,)
    state = _walk(own.state, *steps)
    again: dict[str, Any] = {"run_at": now, "round_from": own.attempts} if state is State.QUEUED else {}
    lanes.enter(tx, own, state, **again)
    if move.entry is not None:
        tx.append(move.entry)
    return state


def take_receipt(tx: Transaction, take: TakeReceipt) -> bool:
    """A receipt that came by itself; kept as evidence also where it changes no state any more."""
    own = lanes.current(tx, take.receipt.message_id)
    if own is None:
        raise ReceiptRejectedError("no such message")
    return _apply_receipt(tx, own, take.receipt, take.entries)


def release_leases(tx: Transaction, release: ReleaseLeases) -> int:
    """What a stopping gateway was sending is queued again; whoever still holds such a lease holds it no more (I8)."""
    now = micros(release.now)
    leased = tx.read(
        select(message.c.id)
        .join_from(message, delivery, JOINED)
        .where(
            message.c.direction == "out",
            message.c.state == State.SENDING,
            message.c.sender == tx.own,
            owed.held_by(delivery.c.lease_token, release.tokens),
        )
    )
    for row in leased:
        own = lanes.current(tx, row.id)
        if own is not None:
            lanes.enter(tx, own, after(own.state, Event.LEASE_ENDED), run_at=now)
    return len(leased) + owed.release(tx, release.tokens, now)


def _told(tx: Transaction, message_id: str) -> State | None:
    """The state that the log tells of an own message; None where it tells none, or an entry is not what was written."""
    try:
        return tx.told.outbound(tx.read_touched(logged.of_message(message_id)))
    except RowTamperedError:
        return None


def _apply_receipt(tx: Transaction, own: lanes.Current, receipt: ReceiptIn, entries: Mapping[State, LogEntry]) -> bool:
    """Keep a verified receipt and enter what it proves; False where this one was held already."""
    if tx.read_touched(_SAME_EVENT, own=tx.own, at=own.message_id, event=receipt.event):
        return False
    if tx.read(_SAME_LEAF, leaf=receipt.leaf):
        raise ReceiptRejectedError("its entry stood in an earlier receipt")
    states = after_receipt(own.state, receipt.event)
    for state in states:
        if state not in entries:
            raise IllegalTransitionError(f"own message: no entry for state {state}")
    tx.insert(
        receipt_in,
        id=tx.next_id(receipt_in),
        sender=tx.own,
        message_id=own.message_id,
        event=receipt.event,
        leaf=receipt.leaf,
        bytes=receipt.data,
    )
    if states:
        lanes.enter(tx, own, states[-1])
    for state in states:
        tx.append(entries[state])
    return True


def _leased(tx: Transaction, message_id: str, lease: Lease) -> lanes.Current | None:
    """The message, where this lease is still the current one."""
    own = lanes.current(tx, message_id)
    current = own is not None and own.delivery == lease.delivery and own.lease_token == lease.token
    return own if current else None


def _walk(state: State, *events: Event) -> State:
    for event in events:
        state = after(state, event)
    return state


def _end_attempt(tx: Transaction, own: lanes.Current, outcome: str, status: int | None, ms: int) -> None:
    tx.change_touched(_ATTEMPT, to=own.delivery, nth=own.attempts, outcome=outcome, http_status=status, ms=ms)


# --- the port


class StoredOutbox:
    """`ports.Outbox` on the tables."""

    def __init__(self, reader: Reader, own: str) -> None:
        self._reader = reader
        self._own = own

    async def due(self, now: datetime, limit: int) -> tuple[Candidate, ...]:
        at = micros(now)

        def question(rows: Rows) -> tuple[list[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
            partners = [row["partner"] for row in rows(lanes.PARTNERS_DUE, now=at)]
            heads = lanes.in_turn([rows(lanes.HEADS_DUE, to=to, now=at, most=limit) for to in partners], limit)
            tried = [head["id"] for head in heads if head["attempts"]]
            return heads, rows(_ATTEMPTS, ids=tried) if tried else ()

        heads, tries = await self._reader.ask(question)
        return tuple(
            _candidate(
                head, [row for row in tries if row["delivery_id"] == head["id"] and row["n"] > head["round_from"]]
            )
            for head in heads
        )

    async def message(self, message_id: str) -> OutboundMessage | None:
        def question(rows: Rows) -> OutboundMessage | None:
            found = rows(_ONE_MESSAGE, own=self._own, at=message_id)
            if not found:
                return None
            parts = open_parts(rows, self._reader.vault, message_id, found[0]["body_ref"])
            return outbound_message(found[0], rows(RECEIPTS, own=self._own, ids=[message_id]), parts)

        return await self._reader.ask(question)

    async def expiring(self, now: datetime, limit: int) -> tuple[str, ...]:
        stuck = (message.c.state == State.SENDING) & (delivery.c.lease_until <= micros(now))
        statement = (
            select(message.c.id)
            .join_from(message, delivery, JOINED)
            .where(
                message.c.direction == "out",
                message.c.expires_at <= seconds(now),
                or_(message.c.state.in_(_CAN_EXPIRE), stuck),
            )
            .order_by(message.c.expires_at)
            .limit(limit)
        )
        return tuple(row["id"] for row in await self._reader.rows(statement))

    async def owed(self, now: datetime, limit: int) -> tuple[OutgoingItem, ...]:
        at = micros(now)

        def question(rows: Rows) -> list[Mapping[str, Any]]:
            partners = [row["partner"] for row in rows(owed.PARTNERS_DUE, now=at)]
            return lanes.in_turn([rows(owed.ITEMS_DUE, to=to, now=at, most=limit) for to in partners], limit)

        return tuple(map(owed.item, await self._reader.ask(question)))

    async def response(self, client: str, key: str) -> tuple[bytes, bytes] | None:
        rows = await self._reader.rows(answered.ANSWERED, **answered.named(self._reader.seal.key, client, key))
        return (rows[0]["request_digest"], rows[0]["response"]) if rows else None


_MESSAGE: Final = select(message, delivery.c.attempts, delivery.c.round_from, delivery.c.last_error).join_from(
    message, delivery, JOINED
)
_ONE_MESSAGE: Final = _MESSAGE.where(message.c.sender == bindparam("own"), message.c.id == bindparam("at"))


def latest(limit: int) -> Select[Any]:
    """The newest own messages."""
    return (
        _MESSAGE.where(message.c.direction == "out")
        .order_by(message.c.created_at.desc(), message.c.id.desc())
        .limit(limit)
    )


RECEIPTS: Final = (
    select(receipt_in.c.message_id, receipt_in.c.event, receipt_in.c.bytes)
    .where(receipt_in.c.sender == bindparam("own"), receipt_in.c.message_id.in_(bindparam("ids", expanding=True)))
    .order_by(receipt_in.c.id)
)
_ATTEMPTS: Final = (
    select(attempt)
    .where(attempt.c.delivery_id.in_(bindparam("ids", expanding=True)))
    .order_by(attempt.c.delivery_id, attempt.c.n)
)


def _candidate(head: Mapping[str, Any], tries: list[Mapping[str, Any]]) -> Candidate:
    state = State(head["state"])
    return Candidate(
        delivery=head["id"],
        message_id=head["message_id"],
        partner=head["partner"],
        state=after(state, Event.LEASE_ENDED) if state is State.SENDING else state,
        attempts=head["attempts"] - head["round_from"],
        first_attempt_at=instant(tries[0]["at"]) if tries else None,
        last_statuses=tuple(row["http_status"] for row in tries[-_STATUSES:]),
    )


def outbound_message(
    row: Mapping[str, Any], receipts: Iterable[Mapping[str, Any]], parts: Mapping[str, bytes]
) -> OutboundMessage:
    """The port's type of a row; where the content was destroyed, or is not for this reader, its parts are empty."""
    return OutboundMessage(
        id=row["id"],
        partner=row["partner"],
        type=row["type"],
        agreement=row["agreement"],
        state=State(row["state"]),
        env=row["env"],
        jws=row["jws"],
        thread=row["thread"],
        urgency=row["urgency"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        held_for=tuple((row["held_for"] or "").split()),
        attempts=row["attempts"] - row["round_from"],
        last_error=row["last_error"],
        receipts=tuple(
            (receipt["event"], receipt["bytes"]) for receipt in receipts if receipt["message_id"] == row["id"]
        ),
        envelope=parts.get(ENVELOPE, b""),
        inner=parts.get(INNER, b""),
    )
