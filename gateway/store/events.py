"""What own clients are told, read from the exchange log by index: entries about messages, ids and states only.

Indices are given inside the transaction that commits them, so a reader that has seen an index has seen all before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import and_, or_, select, tuple_

from gateway.core.events import TABLE, Direction, MessageEvent
from gateway.store.readers import Reader
from gateway.store.schema import log_entry, message

# Ids are unique for each sender only: an entry about what came in names its sender as the partner.
_SAME = and_(
    message.c.id == log_entry.c.message_id,
    message.c.direction == log_entry.c.dir,
    or_(message.c.direction == "out", message.c.partner == log_entry.c.partner),
)
_TOLD = select(
    log_entry.c.idx,
    log_entry.c.at_us,
    log_entry.c.kind,
    log_entry.c.dir,
    message.c.id,
    message.c.partner,
    message.c.thread,
).join_from(log_entry, message, _SAME)


class StoredEvents:
    """`ports.Events` on the tables."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def after(self, index: int, limit: int) -> tuple[MessageEvent, ...]:
        statement = (
            _TOLD.where(log_entry.c.idx > index, tuple_(log_entry.c.dir, log_entry.c.kind).in_(list(TABLE)))
            .order_by(log_entry.c.idx)
            .limit(limit)
        )
        return tuple(map(_event, await self._reader.rows(statement)))


def _event(row: Mapping[str, Any]) -> MessageEvent:
    direction = cast(Direction, row["dir"])
    return MessageEvent(
        index=row["idx"],
        at_us=row["at_us"],
        direction=direction,
        kind=TABLE[direction, row["kind"]],
        message=row["id"],
        partner=row["partner"],
        thread=row["thread"],
    )
