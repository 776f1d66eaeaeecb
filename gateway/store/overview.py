"""Lists for people: headers, states and receipts; no body is decrypted here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select

from gateway.ports import InboundMessage, Noted, OutboundMessage, Standing
from gateway.store import inbox, outbox, standing
from gateway.store.readers import Reader, Rows
from gateway.store.schema import log_head, message, outgoing, protection, statement_difference


class StoredOverview:
    """`ports.Overview` on the tables."""

    def __init__(self, reader: Reader, own: str) -> None:
        self._reader = reader
        self._own = own

    async def inbox(self, limit: int) -> tuple[InboundMessage, ...]:
        def question(rows: Rows) -> tuple[InboundMessage, ...]:
            found = rows(inbox.latest(limit))
            receipts = rows(inbox.receipts_of(found))
            return tuple(inbox.inbound_message(row, receipts, {}) for row in found)

        return await self._reader.ask(question)

    async def outbox(self, limit: int) -> tuple[OutboundMessage, ...]:
        def question(rows: Rows) -> tuple[OutboundMessage, ...]:
            found = rows(outbox.latest(limit))
            receipts = rows(outbox.receipts_of(self._own, [row["id"] for row in found]))
            return tuple(outbox.outbound_message(row, receipts, {}) for row in found)

        return await self._reader.ask(question)

    async def counts(self) -> Mapping[str, int]:
        by_state = select(message.c.direction, message.c.state, func.count().label("n")).group_by(
            message.c.direction, message.c.state
        )
        waiting = select(func.count().label("n")).where(outgoing.c.run_at.is_not(None))
        given_up = select(func.count().label("n")).where(outgoing.c.state == "dead")
        differ = select(func.count().label("n")).select_from(statement_difference)
        states, owed, dead, differing, size = await self._reader.ask(
            lambda rows: (rows(by_state), rows(waiting), rows(given_up), rows(differ), rows(select(log_head.c.size)))
        )
        return {
            **{f"{row['direction']}bound.{row['state']}": row["n"] for row in states},
            "owed": owed[0]["n"],
            "owed.dead": dead[0]["n"],
            "statements.different": differing[0]["n"],
            "log.size": size[0]["size"] if size else 0,
        }

    async def standing(self, now: datetime) -> Standing:
        return await self._reader.ask(lambda rows: standing.read(rows, now))

    async def noted(self, start: int, limit: int) -> tuple[Noted, ...]:
        return await self._reader.ask(lambda rows: standing.noted(rows, start, limit))

    async def protected(self) -> Mapping[str, int]:
        kinds = await self._reader.rows(
            select(protection.c.kind, func.count().label("n")).group_by(protection.c.kind).order_by(protection.c.kind)
        )
        return {row["kind"]: row["n"] for row in kinds}
