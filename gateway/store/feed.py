"""What own clients read as it grows: events from the exchange log, partners' messages in order of arrival, enquiries made.

Columns of the log are copies for search (log A2): nothing is decided by them, and `log verify` compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, and_, case, func, or_, select

from gateway.core.happened import LED_TO
from gateway.ports import InboundMessage, MessageEvent, Reach
from gateway.store.inbox import inbound_message, receipts_of
from gateway.store.readers import Reader, Rows
from gateway.store.schema import handoff, inbox, log_entry, log_head, log_subject, message
from gateway.store.times import micros

ENQUIRY: Final = "cme.enquiry"

_HAPPENED: Final = or_(
    *(and_(log_entry.c.dir == direction, log_entry.c.kind.in_(list(kinds))) for direction, kinds in LED_TO.items())
)


class StoredEvents:
    """`ports.Events` on the log."""

    def __init__(self, reader: Reader, own: str) -> None:
        self._reader = reader
        self._sender = case((log_entry.c.dir == "out", own), else_=log_entry.c.partner)
        self._read: tuple[int, bytes | None] = (
            0,
            None,
        )  # entries looked at for a restore, and the newest one's leaf hash

    async def after(self, index: int, limit: int) -> tuple[MessageEvent, ...]:
        entry = log_entry.c
        statement = (
            select(entry.idx, entry.at_us, entry.kind, entry.dir, entry.message_id, entry.partner, message.c.thread)
            .join_from(log_entry, message, and_(message.c.id == entry.message_id, message.c.sender == self._sender))
            .where(entry.idx > index, _HAPPENED)
            .order_by(entry.idx)
            .limit(limit)
        )
        return tuple(map(_event, await self._reader.rows(statement)))

    async def reach(self) -> Reach:
        """No index leads to a kind: the log is looked through once, then only what came since."""

        def question(rows: Rows) -> Reach:
            read, restored = self._read
            size = sum(row["size"] for row in rows(select(log_head.c.size)))
            if size > read:
                restored = next((row["leaf_hash"] for row in rows(_restored(read, size))), restored)
                self._read = size, restored
            return Reach(entries=size, arrivals=rows(_LAST_PLACE)[0]["place"] or 0, restored=restored)

        return await self._reader.ask(question)


class StoredArrivals:
    """`ports.Arrivals`: a handoff's number is given in the transaction that keeps the message, by the one writer."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def after(self, place: int, limit: int) -> tuple[tuple[int, InboundMessage], ...]:
        def question(rows: Rows) -> tuple[tuple[int, InboundMessage], ...]:
            found = rows(_arrived(place, limit))
            receipts = rows(receipts_of(found))
            return tuple((row["place"], inbound_message(row, receipts, {})) for row in found)

        return await self._reader.ask(question)


class StoredEnquiries:
    """`ports.Enquiries` on the log's erasable search index."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def asked(self, tags: Iterable[bytes], since: datetime) -> frozenset[str]:
        statement = (
            select(log_entry.c.partner)
            .join_from(log_subject, log_entry, log_entry.c.idx == log_subject.c.entry_idx)
            .where(
                log_subject.c.tag.in_(list(tags)),
                log_entry.c.kind == "submitted",
                log_entry.c.type == ENQUIRY,
                log_entry.c.at_us >= micros(since),
            )
            .distinct()
        )
        return frozenset(row["partner"] for row in await self._reader.rows(statement))


_LAST_PLACE: Final = select(func.max(handoff.c.id).label("place"))


def _restored(start: int, end: int) -> Select[Any]:
    """The newest entry of [start, end) that says so."""
    entry = log_entry.c
    return (
        select(entry.leaf_hash)
        .where(entry.idx >= start, entry.idx < end, entry.kind == "restored")
        .order_by(entry.idx.desc())
        .limit(1)
    )


def _arrived(place: int, limit: int) -> Select[Any]:
    same = and_(message.c.sender == handoff.c.sender, message.c.id == handoff.c.message_id)
    known = and_(inbox.c.sender == message.c.sender, inbox.c.message_id == message.c.id)
    return (
        select(message, inbox.c.receipt, handoff.c.id.label("place"))
        .join_from(handoff, message, same)
        .join(inbox, known)
        .where(handoff.c.id > place)
        .order_by(handoff.c.id)
        .limit(limit)
    )


def _event(row: Mapping[str, Any]) -> MessageEvent:
    return MessageEvent(
        index=row["idx"],
        at_us=row["at_us"],
        kind=row["kind"],
        dir=row["dir"],
        message_id=row["message_id"],
        partner=row["partner"],
        thread=row["thread"],
        state=LED_TO[row["dir"]][row["kind"]],
    )
