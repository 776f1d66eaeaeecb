"""Daily statements: what was stated by either side, and the comparison with the own log in SQL.

The own log is the source of what we state: entries `delivered` and `rejected` (what we sent, with a receipt), `received`
and `refused-inbound`. Differences are judged over everything stated so far, never over one day alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select

from gateway.core.daily import (
    A_DAY,
    MOST_A_DAY,
    MOST_ITEMS,
    Difference,
    Head,
    Item,
    KeepStatement,
    KeptStatement,
    NoteDifference,
    StatementPayload,
    Window,
    ascending,
)
from gateway.core.errors import NotYetError
from gateway.store import owed
from gateway.store.readers import Reader, Rows
from gateway.store.schema import (
    checkpoint,
    inbox,
    log_entry,
    log_head,
    message,
    statement,
    statement_difference,
    statement_item,
)
from gateway.store.times import micros, seconds
from gateway.store.transaction import Transaction

STATEMENT: Final = "statement"
AT_MOST: Final = 100  # differences of one kind answered at a time
_LIST_OF: Final[Mapping[tuple[str, str], str]] = {
    ("out", "delivered"): "sent",
    ("out", "rejected"): "sent",
    ("in", "received"): "received",
    ("in", "refused-inbound"): "rejected",
}


_NEWEST_FIRST: Final = (statement.c.n.desc(), statement.c.kept_at.desc(), statement.c.to_at.desc())


# --- commands


def keep(tx: Transaction, keep: KeepStatement) -> bool:
    """One's own is queued for the partner, a partner's is laid open for comparison; each is logged."""
    payload = keep.payload
    same = and_(statement.c.dir == keep.dir, statement.c.partner == keep.partner, statement.c.n == payload.n)
    if tx.read_touched(select(statement.c.n).where(same, statement.c.digest == keep.digest)):
        return False
    if keep.dir == "in":
        _check_room(tx, keep)
    tx.insert(
        statement,
        dir=keep.dir,
        partner=keep.partner,
        n=payload.n,
        digest=keep.digest,
        to_at=payload.to,
        origin=payload.head.origin,
        size=payload.head.size,
        root=payload.head.root,
        bytes=keep.data,
        kept_at=seconds(keep.now),
    )
    if keep.dir == "out":
        owed.owe(tx, keep.partner, STATEMENT, keep.digest, keep.data, micros(keep.now))
    else:
        _lay_open(tx, keep.partner, payload)
    tx.append(keep.entry)
    return True


def _check_room(tx: Transaction, keep: KeepStatement) -> None:
    """What a partner signs it can sign without end: a day has room for some of it, and the rest comes later."""
    today = and_(
        statement.c.dir == "in",
        statement.c.partner == keep.partner,
        statement.c.kept_at > seconds(keep.now - A_DAY),
    )
    if tx.read_touched(select(func.count().label("n")).select_from(statement).where(today))[0].n >= MOST_A_DAY:
        raise NotYetError("this partner has stated enough for one day")


def _lay_open(tx: Transaction, partner: str, payload: StatementPayload) -> None:
    """Its lists, as rows; what another statement of this number said already stands there."""
    said = tx.read_touched(
        select(statement_item.c.list, statement_item.c.message_id, statement_item.c.env).where(
            statement_item.c.partner == partner, statement_item.c.n == payload.n
        )
    )
    known = {tuple(row) for row in said}
    lists = {"sent": payload.sent, "received": payload.received, "rejected": payload.rejected}
    for name, items in lists.items():
        for item in items:
            if (name, item.id, item.env) not in known:
                tx.insert(statement_item, partner=partner, list=name, n=payload.n, message_id=item.id, env=item.env)


def note_difference(tx: Transaction, note: NoteDifference) -> bool:
    """Logged once: of a message the log says whether it was, whatever row lies there."""
    row = {"partner": note.partner, "difference": note.difference.value, "subject": note.subject}
    same = and_(*(statement_difference.c[name] == value for name, value in row.items()))
    known = tx.read_touched(select(statement_difference.c.found_at).where(same))
    if known and (note.entry.message_id is None or _was_told(tx, note)):
        return False
    if not known:
        tx.insert(statement_difference, **row, found_at=note.entry.at_us // 1_000_000)
    tx.append(note.entry)
    return True


def _was_told(tx: Transaction, note: NoteDifference) -> bool:
    told = select(log_entry.c.idx).where(
        log_entry.c.message_id == note.entry.message_id,
        log_entry.c.kind == note.entry.kind,
        log_entry.c.partner == note.partner,
        log_entry.c.outcome == note.difference.value,
    )
    return bool(tx.read_touched(told))


# --- the port


class StoredStatements:
    """`ports.Statements` on the tables."""

    def __init__(self, reader: Reader, own: str) -> None:
        self._reader = reader
        self._own = own

    async def last(self, direction: str, partner: str) -> KeptStatement | None:
        rows = await self._reader.rows(
            _of(direction, partner).order_by(*_NEWEST_FIRST).limit(1),
        )
        return _kept(rows[0]) if rows else None

    async def numbered(self, direction: str, partner: str, n: int) -> tuple[KeptStatement, ...]:
        rows = await self._reader.rows(_of(direction, partner).where(statement.c.n == n).order_by(*_NEWEST_FIRST))
        return tuple(_kept(row) for row in rows)

    async def heard_until(self, partner: str) -> int | None:
        latest = select(func.max(statement.c.to_at).label("to_at")).where(
            statement.c.dir == "in", statement.c.partner == partner
        )
        until: int | None = (await self._reader.rows(latest))[0]["to_at"]
        return until

    async def window(self, partner: str, after: int) -> Window | None:
        def question(rows: Rows) -> Window | None:
            found = rows(self._items(partner, after))
            sizes = select(checkpoint.c.size, checkpoint.c.root).where(checkpoint.c.size > after)
            ends = newest = rows(sizes.order_by(checkpoint.c.size.desc()).limit(1))
            if len(found) > MOST_ITEMS:  # up to the last checkpoint before there are too many, or the next one after
                full = found[MOST_ITEMS]["idx"]
                fitting = rows(sizes.where(checkpoint.c.size <= full).order_by(checkpoint.c.size.desc()).limit(1))
                ends = fitting or rows(sizes.order_by(checkpoint.c.size).limit(1))
            if not ends:
                return None
            size, root = ends[0]["size"], ends[0]["root"]
            if len(found) > MOST_ITEMS and found[-1]["idx"] < size:
                found = rows(self._items(partner, after, limit=None))
            lists: dict[str, list[Item]] = {"sent": [], "received": [], "rejected": []}
            for row in found:
                if row["idx"] < size:
                    lists[_LIST_OF[row["dir"], row["kind"]]].append(Item(id=row["message_id"], env=row["env"]))
            origin = rows(select(log_head.c.origin))[0]["origin"]
            return Window(
                sent=ascending(lists["sent"]),
                received=ascending(lists["received"]),
                rejected=ascending(lists["rejected"]),
                head=Head(origin=origin, size=size, root=f"sha256:{root.hex()}"),
                more=size < newest[0]["size"],
            )

        return await self._reader.ask(question)

    async def differences(self, partner: str, before: datetime) -> tuple[tuple[Difference, str], ...]:
        at = micros(before)
        questions = {
            Difference.CLAIMED_RECEIVED: (self._claimed_received(partner), statement_item.c.message_id),
            Difference.CLAIMED_SENT: (_claimed_sent(partner), statement_item.c.message_id),
            Difference.NOT_RECEIVED: (
                _unstated(partner, "out", {"delivered": "received", "rejected": "rejected"}, at),
                log_entry.c.message_id,
            ),
            Difference.NOT_SENT: (
                _unstated(partner, "in", {"received": "sent", "refused-inbound": "sent"}, at),
                log_entry.c.message_id,
            ),
        }

        def question(rows: Rows) -> tuple[tuple[Difference, str], ...]:
            return tuple(
                (difference, row["message_id"])
                for difference, (asked, subject) in questions.items()
                for row in rows(asked.where(~_noted(partner, difference, subject)).limit(AT_MOST))
            )

        return await self._reader.ask(question)

    def _items(self, partner: str, after: int, limit: int | None = MOST_ITEMS + 1) -> Select[Any]:
        """What the log says was exchanged with the partner, from an index on."""
        kinds = [and_(log_entry.c.dir == dir_, log_entry.c.kind == kind) for dir_, kind in _LIST_OF]
        sender = {"out": self._own, "in": partner}
        joined = or_(
            *(
                and_(log_entry.c.dir == dir_, message.c.sender == org, message.c.id == log_entry.c.message_id)
                for dir_, org in sender.items()
            )
        )
        return (
            select(log_entry.c.idx, log_entry.c.dir, log_entry.c.kind, log_entry.c.message_id, message.c.env)
            .join_from(log_entry, message, joined)
            .where(log_entry.c.partner == partner, log_entry.c.idx >= after, or_(*kinds))
            .order_by(log_entry.c.idx)
            .limit(limit)
        )

    def _claimed_received(self, partner: str) -> Select[Any]:
        ours = and_(
            message.c.sender == self._own,
            message.c.id == statement_item.c.message_id,
            message.c.partner == partner,
            message.c.env == statement_item.c.env,
        )
        return _stated(partner, ("received", "rejected")).where(~exists().where(ours))


def _claimed_sent(partner: str) -> Select[Any]:
    held = and_(
        inbox.c.sender == partner,
        inbox.c.message_id == statement_item.c.message_id,
        inbox.c.envelope_digest == statement_item.c.env,
    )
    return _stated(partner, ("sent",)).where(~exists().where(held))


def _stated(partner: str, lists: tuple[str, ...]) -> Select[Any]:
    return (
        select(statement_item.c.message_id)
        .where(statement_item.c.partner == partner, statement_item.c.list.in_(lists))
        .distinct()
        .order_by(statement_item.c.message_id)
    )


def _noted(partner: str, difference: Difference, subject: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether the log tells the difference already: a row of it that somebody planted hides nothing."""
    told = log_entry.alias()
    return exists().where(
        told.c.message_id == subject,
        told.c.kind == "statement-differs",
        told.c.partner == partner,
        told.c.outcome == difference.value,
    )


def _unstated(partner: str, dir_: str, lists: Mapping[str, str], before: int) -> Select[Any]:
    """Messages that our log settled before an instant and that the partner states in no list of that name."""
    stated = or_(
        *(
            and_(
                log_entry.c.kind == kind,
                statement_item.c.partner == partner,
                statement_item.c.list == listed,
                statement_item.c.message_id == log_entry.c.message_id,
            )
            for kind, listed in lists.items()
        )
    )
    return (
        select(log_entry.c.message_id)
        .where(
            log_entry.c.partner == partner,
            log_entry.c.dir == dir_,
            log_entry.c.kind.in_(lists),
            log_entry.c.at_us < before,
            log_entry.c.message_id.is_not(None),
            ~exists().where(stated),
        )
        .order_by(log_entry.c.idx)
    )


def _of(direction: str, partner: str) -> Select[Any]:
    return select(statement).where(statement.c.dir == direction, statement.c.partner == partner)


def _kept(row: Mapping[str, Any]) -> KeptStatement:
    return KeptStatement(
        n=row["n"],
        digest=row["digest"],
        to=row["to_at"],
        head=Head(origin=row["origin"], size=row["size"], root=row["root"]),
        data=row["bytes"],
    )
