"""How far each webhook's receiver is in the exchange log. No queue of events: the log is where they wait."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from gateway.core.webhook import PutWebhookCursor
from gateway.store.readers import Reader
from gateway.store.schema import webhook_cursor as table
from gateway.store.transaction import Transaction


def put_cursor(tx: Transaction, put: PutWebhookCursor) -> None:
    """Move a receiver on; a position behind the one held changes nothing."""
    held = tx.read(select(table.c.position).where(table.c.name == put.name))
    if not held:
        tx.change(insert(table).values(name=put.name, position=put.position))
    elif held[0].position < put.position:
        tx.change(update(table).where(table.c.name == put.name).values(position=put.position))


class StoredCursors:
    """`ports.WebhookCursors` on the table."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def position(self, name: str) -> int | None:
        rows = await self._reader.rows(select(table.c.position).where(table.c.name == name))
        return rows[0]["position"] if rows else None
