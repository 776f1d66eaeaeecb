"""What a partner posts by itself is named by its id, for ever: the same id with other bytes is a conflict.

Shared by the lines of the story, and asked before a receipt or an event is verified; messages have the same rule as
their reading step 13. A repeat of the same bytes is no error: the flows answer it by changing nothing.
"""

from __future__ import annotations

from gateway import governing
from gateway.core.errors import ConflictError, ReceiptRejectedError
from gateway.core.receipt import read_receipt
from gateway.governing import EventRejectedError
from gateway.ports import Exchange


async def check_receipt(data: bytes, idempotency_key: str, http_org: str, exchange: Exchange) -> None:
    """Raise ReceiptRejectedError where the receipt is not the one named, ConflictError where its id had other bytes."""
    claimed = read_receipt(data)
    if claimed.payload.id != idempotency_key:
        raise ReceiptRejectedError("named by another id than it has")
    message = await exchange.outbox.message(claimed.payload.msg)
    held = message.receipts if message is not None and message.partner == http_org else ()
    if any(read_receipt(other).payload.id == idempotency_key and other != data for _, other in held):
        raise ConflictError("this receipt's id was used for other bytes")


async def check_event(data: bytes, idempotency_key: str, exchange: Exchange) -> None:
    """Raise EventRejectedError where the event is not the one named, ConflictError where its id had other bytes."""
    claimed = governing.claimed_event(data)
    if claimed.id != idempotency_key:
        raise EventRejectedError("named by another id than it has")
    record = await exchange.agreements.get(claimed.agreement.digest)
    for row in record.events if record is not None else ():
        if row.org == claimed.org and row.jws != data and governing.claimed_event(row.jws).id == claimed.id:
            raise ConflictError("this event's id was used for other bytes")
