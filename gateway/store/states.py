"""The rows of messages in a live database, held against the entries of the log: what an administrator changed beside it.

Each message that the log knows has its rows, as its entries say they stand: its state, its names, whether its content is
here, and that what was accepted will be sent. Breaches, duties and differences that people were told of likewise. Nothing
is mended here. Entries are read in the order of their messages, so in constant memory, but for the rows of service messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import Connection, and_, select

from contracts.service import ACK, CORRECTION, DESTROYED
from gateway.core.lifecycle import InboundState, State
from gateway.core.service import ANSWER_WITHIN, BreachState, DutyState
from gateway.store import logged
from gateway.store.beside import stream
from gateway.store.cells import as_blob, as_number
from gateway.store.lanes import DELIVERY_STATE, JOINED
from gateway.store.schema import (
    breach,
    content_key,
    delivery,
    duty,
    erasure,
    handoff,
    inbox,
    lane,
    log_entry,
    message,
    statement_difference,
)
from gateway.tlog.entry import Entry, parse_shape
from gateway.tlog.errors import EntryError
from gateway.tlog.fsck import Problem

TABLES: Final = frozenset(
    {
        "message",
        "delivery",
        "lane",
        "inbox",
        "handoff",
        "content_key",
        "erasure",
        "breach",
        "duty",
        "statement_difference",
    }
)
"""Of what the columns of these faults are."""

_COLUMNS: Final[Mapping[State, tuple[State, ...]]] = {
    State.QUEUED: (State.QUEUED, State.SENDING, State.HELD, State.AVAILABLE),  # leases and releases have no entry
    State.HELD: (State.QUEUED, State.SENDING, State.HELD, State.AVAILABLE),
}
_WAITING: Final = (State.QUEUED, State.SENDING, State.HELD, State.AVAILABLE, State.DEAD)
_LATEST: Final = 7 * 86_400 * 1_000_000  # beyond its end nothing is tried: by so much at most a clock was wrong
_STATED: Final = "statement-differs"
_ANSWERS: Final = (ACK, DESTROYED)


def check(connection: Connection, own: str) -> Iterator[Problem]:
    """Every row that is not as the entries say, at the index of the entry that it belongs to; -1 where it belongs to none."""
    yield from _check_messages(connection, own)
    yield from _check_lanes(connection)
    yield from _check_places(connection)
    yield from _check_contents(connection)
    yield from _check_duties(connection)
    yield from _check_differences(connection)


# --- messages


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """The entries of one message id, with their places."""

    entries: tuple[tuple[int, Entry], ...]

    def of(self, direction: str, partner: str | None = None) -> list[tuple[int, Entry]]:
        return [
            (at, entry)
            for at, entry in self.entries
            if entry.dir == direction and (partner is None or entry.partner == partner)
        ]


def _check_messages(connection: Connection, own: str) -> Iterator[Problem]:
    ended = _ended_threads(connection)
    breaches: dict[str, list[Any]] = {}
    for row in stream(connection, select(breach)):
        breaches.setdefault(row.about_id, []).append(row)
    ids = log_entry.c.message_id
    told = _grouped(
        connection, select(log_entry.c.idx, log_entry.c.entry, ids).where(ids.is_not(None)).order_by(ids, "idx")
    )
    rows = _grouped(connection, _ROWS)
    for message_id, entries, held in _merged(told, rows):
        known = _Told(entries=tuple(_read(entries)))
        yield from _check_sent(message_id, known, [row for row in held if row.direction == "out"], own)
        yield from _check_received(message_id, known, [row for row in held if row.direction == "in"], own, ended)
        yield from _check_breaches(message_id, known, breaches.pop(message_id, []))
    for message_id, left in breaches.items():
        yield from _check_breaches(message_id, _Told(entries=()), left)


_ROWS: Final = (
    select(
        message,
        delivery.c.state.label("delivery_state"),
        delivery.c.partner.label("delivery_partner"),
        delivery.c.run_at,
        delivery.c.lease_until,
        inbox.c.envelope_digest,
        handoff.c.id.label("place"),
        content_key.c.id.label("key"),
        erasure.c.at.label("erased_at"),
        message.c.id.label("message_id"),
    )
    .outerjoin_from(message, delivery, JOINED)
    .outerjoin(inbox, and_(inbox.c.sender == message.c.sender, inbox.c.message_id == message.c.id))
    .outerjoin(handoff, and_(handoff.c.sender == message.c.sender, handoff.c.message_id == message.c.id))
    .outerjoin(erasure, and_(erasure.c.sender == message.c.sender, erasure.c.message_id == message.c.id))
    .outerjoin(content_key, content_key.c.id == message.c.body_ref)
    .order_by(message.c.id)
)


def _grouped(connection: Connection, statement: Any) -> Iterator[tuple[str, list[Any]]]:
    for message_id, rows in groupby(stream(connection, statement), key=lambda row: row.message_id):
        yield message_id, list(rows)


def _merged(
    told: Iterator[tuple[str, list[Any]]], rows: Iterator[tuple[str, list[Any]]]
) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """Both by message, where either has something; SQLite orders texts as Python does."""
    one, other = next(told, None), next(rows, None)
    while one is not None or other is not None:
        if other is None or (one is not None and _order(one[0]) < _order(other[0])):
            assert one is not None  # noqa: S101 - one of them is there
            yield one[0], one[1], []
            one = next(told, None)
        elif one is None or _order(other[0]) < _order(one[0]):
            yield other[0], [], other[1]
            other = next(rows, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(told, None), next(rows, None)


def _order(value: object) -> tuple[int, Any]:
    """As SQLite orders what a cell may hold: nothing, texts, then bytes."""
    return (2, value) if isinstance(value, bytes) else (0, "") if value is None else (1, str(value))


def _read(rows: Sequence[Any]) -> Iterator[tuple[int, Entry]]:
    """What is no entry is named where entries are checked."""
    for row in rows:
        try:
            yield as_number(row.idx), parse_shape(as_blob(row.entry))
        except EntryError:
            continue


def _fault(index: int, column: str, message_id: str, rule: str) -> Problem:
    return Problem(index=index, column=column, rule=f"message {message_id}: {rule}")


def _check_sent(message_id: str, told: _Told, rows: list[Any], own: str) -> Iterator[Problem]:
    mine = told.of("out")
    state = logged.outbound_state(entry for _, entry in mine)
    index = mine[-1][0] if mine else -1
    held = [row for row in rows if row.sender == own]
    if state is None or not held or len(held) < len(rows):
        if (state is None) != (not held) or len(held) < len(rows):
            yield _fault(index, "message.id", message_id, "a row without entry" if state is None else "its row is gone")
        return
    row = held[0]
    first, submitted = next((at, entry) for at, entry in mine if entry.kind == "submitted")
    for column in logged.differing(row._mapping, submitted):
        yield _fault(first, f"message.{column}", message_id, "not what its entry says")
    if row.state not in _COLUMNS.get(state, (state,)):
        yield _fault(index, "message.state", message_id, f"{row.state}, and the log says {state}")
    elif row.delivery_state != DELIVERY_STATE[State(row.state)] or row.delivery_partner != row.partner:
        yield _fault(index, "delivery.state", message_id, "not that of its message")
    elif row.state in _WAITING:
        yield from _check_waits(index, row)


def _check_waits(index: int, row: Any) -> Iterator[Problem]:
    """What was accepted and has not arrived will be looked at again, or waits for a person who was told."""
    at = row.lease_until if row.state == State.SENDING else row.run_at
    waits = row.state == State.DEAD or (row.state == State.HELD and at is None)
    if row.key is None:
        yield _fault(index, "content_key.id", row.id, "its content is gone: it will never be sent")
    latest = as_number(row.expires_at) * 1_000_000 + _LATEST
    if not waits and not 0 <= as_number(at) <= latest:
        yield _fault(index, "delivery.run_at", row.id, "it will never be sent")


def _check_received(
    message_id: str, told: _Told, rows: list[Any], own: str, ended: Mapping[tuple[str, str], int]
) -> Iterator[Problem]:
    senders = {entry.partner for _, entry in told.of("in") if entry.partner is not UNSET}
    for sender in sorted({*(str(one) for one in senders), *(row.sender for row in rows)}, key=str):
        mine = told.of("in", sender)
        state = logged.inbound_state((entry for _, entry in mine), sender)
        held = [row for row in rows if row.sender == sender]
        if state is None:
            if held or sender == own:
                yield _fault(-1, "message.id", message_id, "a row without entry")
            continue
        index, came = next((at, entry) for at, entry in mine if entry.kind in logged.ARRIVED)
        if not held:
            yield _fault(index, "message.id", message_id, "its row is gone")
            continue
        yield from _check_arrived(index, came, mine[-1][0], held[0], state, ended)


def _check_arrived(
    index: int, came: Entry, last: int, row: Any, state: InboundState, ended: Mapping[tuple[str, str], int]
) -> Iterator[Problem]:
    for column in logged.differing(row._mapping, came):
        yield _fault(index, f"message.{column}", row.id, "not what its entry says")
    if row.envelope_digest is None or (came.env is not UNSET and row.envelope_digest != came.env):
        yield _fault(index, "inbox.envelope_digest", row.id, "gone, or not what its entry says")
    if row.place is None and state is not InboundState.REFUSED:
        yield _fault(index, "handoff.message_id", row.id, "it is not in the inbox that case systems read")
    with_original = came.type == CORRECTION and ended.get((row.sender, row.thread), -1) > index
    if with_original and row.state == InboundState.DESTROYED:
        state = InboundState.DESTROYED
    gone = state in logged.GONE
    if row.state != state:
        yield _fault(last, "message.state", row.id, f"{row.state}, and the log says {state}")
    if (row.key is None) != (gone or state is InboundState.REFUSED):
        yield _fault(last, "content_key.id", row.id, "its content is here again" if gone else "its content is gone")
    if (row.erased_at is None) == gone:
        yield _fault(last, "erasure.message_id", row.id, "gone" if gone else "the log knows of no destruction")


def _ended_threads(connection: Connection) -> Mapping[tuple[str, str], int]:
    """Where in the log content of a thread went last: corrections went with it."""
    found: dict[tuple[str, str], int] = {}
    ended = select(log_entry.c.idx, log_entry.c.entry).where(log_entry.c.kind.in_(logged.ENDED)).order_by("idx")
    for at, entry in _read(list(stream(connection, ended))):
        if entry.partner is not UNSET and entry.msg is not UNSET:
            found[entry.partner, entry.msg if entry.thread is UNSET else entry.thread] = at
    return found


def _check_breaches(message_id: str, told: _Told, rows: list[Any]) -> Iterator[Problem]:
    opened = [(at, entry) for at, entry in told.entries if entry.kind == "breach-opened"]
    decided = Counter(str(entry.outcome) for _, entry in told.entries if entry.kind == "breach-decided")
    index = opened[-1][0] if opened else -1
    if Counter((entry.partner, entry.outcome) for _, entry in opened) != Counter(
        (row.partner, row.code) for row in rows
    ):
        yield _fault(index, "breach.about_id", message_id, "not the breaches that were opened about it")
    if decided != Counter(row.state for row in rows if row.state != BreachState.OPEN):
        yield _fault(index, "breach.state", message_id, "not what a person decided")


# --- beside messages


def _check_lanes(connection: Connection) -> Iterator[Problem]:
    """A lane is found by the time of its head, the first delivery that is open."""
    waiting = (
        select(
            delivery.c.lane_id, delivery.c.id, delivery.c.message_id, delivery.c.run_at, delivery.c.lease_until,
            lane.c.head_delivery, lane.c.run_at.label("lane_at"), lane.c.partner.label("lane_partner"),
            delivery.c.partner, delivery.c.state,
        )
        .outerjoin_from(delivery, lane, lane.c.id == delivery.c.lane_id)
        .where(delivery.c.state.in_(("ready", "leased", "dead")))
        .order_by(delivery.c.lane_id, delivery.c.lane_seq)
    )  # fmt: skip
    for _, rows in groupby(stream(connection, waiting), key=lambda row: row.lane_id):
        head = next(rows)
        at = head.lease_until if head.state == "leased" else head.run_at
        if (head.head_delivery, head.lane_at, head.lane_partner) != (head.id, at, head.partner):
            yield _fault(-1, "lane.head_delivery", head.message_id, "its lane does not lead to it")


def _check_places(connection: Connection) -> Iterator[Problem]:
    """Case systems read on from a place: a message that came later has a later one."""
    arrived = (
        select(log_entry.c.idx, handoff.c.id, handoff.c.message_id)
        .join_from(
            log_entry,
            handoff,
            and_(handoff.c.sender == log_entry.c.partner, handoff.c.message_id == log_entry.c.message_id),
        )
        .where(log_entry.c.kind == "received", log_entry.c.dir == "in")
        .order_by(log_entry.c.idx)
    )
    before = 0
    for row in stream(connection, arrived):
        if as_number(row.id) <= before:
            yield _fault(row.idx, "handoff.id", row.message_id, "not its place in the inbox that case systems read")
        before = max(before, as_number(row.id))


def _check_contents(connection: Connection) -> Iterator[Problem]:
    """A key that no message refers to opens content that is nobody's: it was to be destroyed, or was put there."""
    strays = select(content_key.c.id).outerjoin(message, message.c.body_ref == content_key.c.id)
    if connection.execute(strays.where(message.c.id.is_(None)).limit(1)).first() is not None:
        yield Problem(index=-1, column="content_key.id", rule="a key that belongs to no message")


def _check_duties(connection: Connection) -> Iterator[Problem]:
    """Each service message that is owed an answer has its duty; one that is settled names the answer."""
    asked = and_(duty.c.message_id == log_entry.c.message_id, duty.c.partner == log_entry.c.partner)
    settled = log_entry.c.kind.in_(("received", "submitted"))
    owed = select(log_entry.c.idx, log_entry.c.message_id).outerjoin(duty, asked)
    owed = owed.where(settled, log_entry.c.type.in_(sorted(ANSWER_WITHIN)), duty.c.message_id.is_(None))
    for row in stream(connection, owed.order_by(log_entry.c.idx)):
        yield _fault(row.idx, "duty.message_id", row.message_id, "what it asks is not kept")
    answer = and_(
        log_entry.c.message_id == duty.c.answered_by,
        log_entry.c.partner == duty.c.partner,
        settled,
        log_entry.c.type.in_(_ANSWERS),
    )
    unanswered = select(duty.c.message_id).outerjoin(log_entry, answer)
    for row in stream(connection, unanswered.where(duty.c.state != DutyState.OPEN, log_entry.c.idx.is_(None))):
        yield _fault(-1, "duty.state", row.message_id, "settled by no answer that the log knows")


def _check_differences(connection: Connection) -> Iterator[Problem]:
    """Each difference that is held as told was told, and the other way round; of those about no message only how many."""
    told: Counter[tuple[str, str, str]] = Counter()
    entries = select(log_entry.c.idx, log_entry.c.entry).where(log_entry.c.kind == _STATED).order_by("idx")
    for _, entry in _read(list(stream(connection, entries))):
        told[str(entry.partner), str(entry.outcome), "" if entry.msg is UNSET else entry.msg] += 1
    held: Counter[tuple[str, str, str]] = Counter()
    for row in stream(connection, select(statement_difference)):
        about = row.subject if told[row.partner, row.difference, row.subject] or "-" in row.subject else ""
        held[row.partner, row.difference, about] += 1
    for partner, difference, subject in sorted((told - held) | (held - told), key=str):
        rule = f"{partner} {difference} {subject}".rstrip() + ": told, and not held, or held, and not told"
        yield Problem(index=-1, column="statement_difference.subject", rule=rule)
