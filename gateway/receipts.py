"""Receipts for own messages: verified by every condition of envelope section 4, then state and log follow.

Shared by the lines of the story: a receipt comes as the answer to a hand-over, or later by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import to_builtins

from gateway import circumstances, entries, governing, partner_keys
from gateway.core import commands, receipt
from gateway.core.envelope import digest
from gateway.core.errors import NotYetError, ReceiptRejectedError
from gateway.core.lifecycle import ReceiptEvent, State, after_receipt
from gateway.core.payload import Payload
from gateway.governing import HeldAgreement
from gateway.ports import Exchange, OutboundMessage, Partner
from gateway.tlog import entry as tlog_entry
from gateway.tlog.errors import TlogError


async def take(data: bytes, http_org: str, exchange: Exchange) -> None:
    """Receipt -> verified against what was sent -> state and log; repeats change nothing. Raises ReceiptRejectedError."""
    now = exchange.clock()
    claimed = receipt.read_receipt(data)
    message = await exchange.outbox.message(claimed.payload.msg)
    partner = await exchange.partners.get(http_org)
    if message is None or partner is None or message.partner != http_org:
        raise ReceiptRejectedError("for no message of ours to this organisation")
    payload = circumstances.payload_of(message.inner)
    verdict = await verify(claimed, message, payload, partner, exchange)
    held = await governing.load(exchange, payload.agreement.digest, now)
    command = commands.TakeReceipt(
        receipt=as_received(message.id, claimed),
        entries=entries_for(message, payload, held, verdict, claimed, now, exchange, message.state),
        now=now,
    )
    await exchange.store.write(command)
    exchange.wake()


async def verify(
    claimed: receipt.ClaimedReceipt, message: OutboundMessage, sent: Payload, partner: Partner, exchange: Exchange
) -> receipt.Verdict:
    """Return what a receipt proves about our message and the payload that it `sent`; raises ReceiptRejectedError naming the condition that fails.

    That its leaf was in no earlier receipt is the store's to refuse, in the transaction that keeps it.
    """
    now = exchange.clock()
    payload = claimed.payload
    if sent.to[0].org != partner.org:
        raise ReceiptRejectedError("for no message of ours to this organisation")
    if partner.newest.message_sign_pair_for(payload.sig) is None:
        partner = await _with_newer_keys(partner, now, exchange)
    listed = partner.newest.message_sign_pair_for(payload.sig)
    if listed is None or not partner.newest.trusts(listed, payload.at):
        raise ReceiptRejectedError("its signing keys are not the recipient's, or revoked, or outside their time")
    origin = payload.log.origin if isinstance(payload.log, receipt.LogBinding) else ""
    if not any(bundle.has_log(origin) for bundle in partner.bundles):
        raise ReceiptRejectedError("bound to no log of the recipient")
    try:
        entry: Mapping[str, Any] = to_builtins(tlog_entry.parse(claimed.entry))
    except TlogError:
        raise ReceiptRejectedError("its log entry is not in canonical form") from None
    about = receipt.ReceiptFor(
        msg=message.id,
        env=message.env,
        jws=message.jws,
        agreement=sent.agreement,
        sender=exchange.own.id,
        recipient=partner.org,
    )
    return await exchange.in_thread(
        lambda: receipt.accept(claimed, about, listed.public, entry=entry, now=int(now.timestamp()))
    )


async def _with_newer_keys(partner: Partner, now: datetime, exchange: Exchange) -> Partner:
    """Keys that are not listed here may stand in a bundle whose push was lost: ask, at most once a minute."""
    try:
        return await partner_keys.refresh(partner, now, exchange)
    except NotYetError:
        return partner


def entries_for(
    message: OutboundMessage,
    sent: Payload,
    held: HeldAgreement | None,
    verdict: receipt.Verdict,
    claimed: receipt.ClaimedReceipt,
    now: datetime,
    exchange: Exchange,
    state: State,
) -> dict[State, commands.LogEntry]:
    """One entry for each state that this receipt can lead to from `state`; the store writes those it enters."""
    about, hash_ = circumstances.about(message, sent, held), digest(claimed.data)
    made = {}
    for entered in after_receipt(state, verdict.event):
        found = verdict.breaches if entered is State.REJECTED else ()
        told = entries.refs_told(((breach.code, breach.path) for breach in found), exchange.vocabulary)
        what = entries.Circumstance(receipt=hash_, breaches=told, outcome=verdict.code or verdict.event.value)
        made[entered] = entries.about_message(exchange.journal, entered.value, now, about, what)
    return made


def as_received(message_id: str, claimed: receipt.ClaimedReceipt) -> commands.ReceiptIn:
    """What is stored of a verified receipt: its exact bytes, and the leaf of the partner's entry in it."""
    return commands.ReceiptIn(
        message_id=message_id,
        event=ReceiptEvent(claimed.payload.event),
        data=claimed.data,
        leaf=tlog_entry.leaf_hash(claimed.entry),
    )
