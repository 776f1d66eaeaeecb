"""What is owed to a partner besides messages: receipts, agreement events, key bundles, daily statements.

Item -> leased -> handed over -> settled. 204 is done; anything else is tried again, at the latest every six hours, until a
year has passed: a suspension or a revocation must arrive however long the other side was away.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from adapters.port import DeliveryError, Parcel
from gateway import governing
from gateway.core import commands, receipt, retry
from gateway.core.daily import read_daily
from gateway.core.errors import RowTamperedError
from gateway.core.retry import Setback
from gateway.ports import Exchange, OutgoingItem, Partner

LEASE = timedelta(seconds=60)  # longer than an adapter's total time-out of 30 s
GIVE_UP_AFTER = timedelta(days=365)
_ROUTES: Mapping[str, str] = {"receipt": "receipts", "event": "events", "bundle": "bundles", "statement": "statements"}


async def send(item: OutgoingItem, exchange: Exchange) -> None:
    """Item -> leased -> handed over -> settled; raises RowTamperedError where its partner's row does not hold."""
    now = exchange.clock()
    partner = await exchange.partners.get(item.partner)
    if partner is None:
        raise RowTamperedError("partner")
    token = exchange.entropy(16)
    claim = commands.ClaimOutgoing(id=item.id, token=token, now=now, until=now + LEASE)
    if not await exchange.store.write(claim):
        return
    setback = await _hand_over(item, partner, exchange)
    upcoming = None if setback is None else _next(item, setback, now, exchange)
    if isinstance(upcoming, retry.DeadLetter):
        exchange.alarm("owed-given-up", {"partner": item.partner, "kind": item.kind})
    await exchange.store.write(commands.SettleOutgoing(id=item.id, token=token, next=upcoming))


async def _hand_over(item: OutgoingItem, partner: Partner, exchange: Exchange) -> Setback | None:
    parcel = Parcel(
        kind=_ROUTES[item.kind],
        partner=partner.org,
        url=partner.url,
        idempotency_key=_id_inside(item),
        data=item.data,
    )
    try:
        handover = await exchange.peer.deliver(parcel)
    except DeliveryError as error:
        return Setback.unanswered(error.code)
    return None if handover.status == 204 else Setback.answer(handover.status, handover.retry_after)


def _next(item: OutgoingItem, setback: Setback, now: datetime, exchange: Exchange) -> retry.Next:
    if now - (item.first_attempt_at or now) >= GIVE_UP_AFTER:
        return retry.DeadLetter()
    return retry.RetryAt(at=now + retry.wait(item.attempts + 1, setback.retry_after, exchange.jitter()))


def _id_inside(item: OutgoingItem) -> str:
    """The `id` that a receipt, an event or a statement carries: it is the request's idempotency key (envelope section 10)."""
    match item.kind:
        case "receipt":
            return receipt.read_receipt(item.data).payload.id
        case "event":
            return governing.claimed_event(item.data).id
        case "statement":
            return read_daily(item.data).payload.id
        case _:
            return item.ref
