"""Partners' messages: the commands T4 and T5 of log B3, and the answers of the `Inbox` port."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, or_, select, update

from gateway.core.commands import Acknowledge, Receive, Received, Reception, Release
from gateway.core.errors import IllegalTransitionError
from gateway.core.lifecycle import InboundEvent, InboundState, ReceiptEvent, after_inbound
from gateway.ports import InboundMessage
from gateway.store import owed, protection, service
from gateway.store.contents import open_parts
from gateway.store.readers import Reader, Rows
from gateway.store.schema import content, content_key, handoff, inbox, message, outgoing
from gateway.store.times import micros
from gateway.store.transaction import Transaction
from gateway.store.vault import INNER

_ACTS: Final[Mapping[ReceiptEvent, InboundEvent]] = {
    ReceiptEvent.TAKEN: InboundEvent.HAND_OVER,
    ReceiptEvent.COLLECTED: InboundEvent.OPEN,
}
_ACKNOWLEDGED: Final = tuple(_ACTS)


# --- commands


def receive(tx: Transaction, receive: Receive) -> Received:
    """T4. (sender, id) is unique for ever: the same bytes get the stored receipt, other bytes change nothing."""
    row = receive.message
    known = tx.read_touched(
        select(inbox.c.envelope_digest, inbox.c.receipt).where(
            inbox.c.sender == row.sender, or_(inbox.c.message_id == row.id, inbox.c.envelope_digest == row.env)
        )
    )
    if known:
        if all(seen.envelope_digest == row.env for seen in known):
            return Received(reception=Reception.DUPLICATE, receipt=known[0].receipt or b"")
        return Received(reception=Reception.CONFLICT, receipt=b"")
    if receive.heads is not None:
        tx.check_heads(receive.heads)
    tx.insert(
        inbox,
        sender=row.sender,
        message_id=row.id,
        envelope_digest=row.env,
        receipt=receive.receipt,
        receipt_digest=f"sha256:{hashlib.sha256(receive.receipt).hexdigest()}",
        received_at=row.received_at,
    )
    body_ref = None
    if receive.inner is not None:
        sealed = tx.vault.seal(row.id, {INNER: receive.inner})
        body_ref = sealed.id
        tx.insert(content_key, **sealed.key_row)
        for part in sealed.rows:
            tx.insert(content, **part)
        tx.insert(handoff, id=tx.next_id(handoff), sender=row.sender, message_id=row.id, state="waiting")
    tx.insert(
        message,
        sender=row.sender,
        id=row.id,
        direction="in",
        partner=row.sender,
        type=row.type,
        agreement=row.agreement,
        env=row.env,
        jws=row.jws,
        thread=row.thread,
        urgency=row.urgency,
        body_ref=body_ref,
        created_at=row.created_at,
        expires_at=row.expires_at,
        received_at=row.received_at,
        state=InboundState.REFUSED if receive.inner is None else InboundState.RECEIVED,
        held_for=None,
    )
    tx.append(receive.entry)
    listed = protection.add(tx, receive.protect, frozenset({protection.LOCATION}), row.received_at)
    if listed and receive.protect_entry is not None:
        tx.append(receive.protect_entry)
    service.apply(tx, receive.effects)
    return Received(reception=Reception.NEW, receipt=receive.receipt)


def acknowledge(tx: Transaction, acknowledge: Acknowledge) -> bytes:
    """T5. The receipt is made once: a repeat answers the stored one. Every opening is logged, whoever opened before."""
    act, sender, message_id = _ACTS.get(acknowledge.event), acknowledge.sender, acknowledge.message_id
    same = (message.c.sender == sender) & (message.c.id == message_id)
    rows = tx.read_touched(select(message.c.state).where(same, message.c.direction == "in"))
    if act is None or not rows:
        raise IllegalTransitionError("inbound message: no such message, or no act of its receiver")
    ref = owed.receipt_ref(message_id, acknowledge.event)
    given = tx.read_touched(
        select(outgoing.c.bytes).where(
            outgoing.c.partner == sender, outgoing.c.kind == owed.RECEIPT, outgoing.c.ref == ref
        )
    )
    before = InboundState(rows[0].state)
    if given:
        if act is InboundEvent.OPEN:
            after_inbound(before, act)  # what was destroyed since is not opened again
            tx.append(acknowledge.entry)
        return bytes(given[0].bytes)
    tx.change_touched(update(message).where(same, message.c.state == before).values(state=after_inbound(before, act)))
    if act is InboundEvent.HAND_OVER:
        mine = (handoff.c.sender == sender) & (handoff.c.message_id == message_id)
        tx.change_touched(update(handoff).where(mine).values(state="done"))
    tx.append(acknowledge.entry)
    owed.owe(tx, sender, owed.RECEIPT, ref, acknowledge.receipt, micros(acknowledge.now))
    return acknowledge.receipt


def release(tx: Transaction, release: Release) -> None:
    """The entry, where there still is something to give: a withdrawal of the same message never shares the batch."""
    kept = tx.read_touched(
        select(content_key.c.id)
        .join_from(message, content_key, content_key.c.id == message.c.body_ref)
        .where(message.c.sender == release.sender, message.c.id == release.message_id, message.c.direction == "in")
    )
    if not kept:
        raise IllegalTransitionError("inbound message: its content is not here")
    tx.append(release.entry)


# --- the port


class StoredInbox:
    """`ports.Inbox` on the tables."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def stored_receipt(self, sender: str, env: str) -> bytes | None:
        statement = select(inbox.c.receipt).where(inbox.c.sender == sender, inbox.c.envelope_digest == env)
        rows = await self._reader.rows(statement)
        return rows[0]["receipt"] if rows else None

    async def env_of(self, sender: str, message_id: str) -> str | None:
        statement = select(inbox.c.envelope_digest).where(inbox.c.sender == sender, inbox.c.message_id == message_id)
        rows = await self._reader.rows(statement)
        return rows[0]["envelope_digest"] if rows else None

    async def message(self, message_id: str, sender: str | None = None) -> InboundMessage | None:
        statement = _MESSAGE.where(message.c.id == message_id)
        if sender is not None:
            statement = statement.where(message.c.sender == sender)

        def question(rows: Rows) -> InboundMessage | None:
            found = rows(statement)
            if len(found) != 1:
                return None
            parts = open_parts(rows, self._reader.vault, message_id, found[0]["body_ref"])
            return inbound_message(found[0], rows(receipts_of(found)), parts)

        return await self._reader.ask(question)


_MESSAGE: Final = (
    select(message, inbox.c.receipt)
    .join_from(message, inbox, (inbox.c.sender == message.c.sender) & (inbox.c.message_id == message.c.id))
    .where(message.c.direction == "in")
)


def latest(limit: int) -> Select[Any]:
    """The newest messages of partners."""
    return _MESSAGE.order_by(message.c.created_at.desc(), message.c.id.desc()).limit(limit)


def receipts_of(found: Sequence[Mapping[str, Any]]) -> Select[Any]:
    """The receipts of later acts (taken, collected) on these messages; the first lies in the inbox. The partners are named
    so that an index leads to each, however many were ever given; (sender, id) is compared by whoever reads the rows."""
    refs = [owed.receipt_ref(row["id"], event) for row in found for event in _ACKNOWLEDGED]
    return (
        select(outgoing.c.partner, outgoing.c.ref, outgoing.c.bytes)
        .where(
            outgoing.c.partner.in_(sorted({row["sender"] for row in found})),
            outgoing.c.kind == owed.RECEIPT,
            outgoing.c.ref.in_(refs),
        )
        .order_by(outgoing.c.id)
    )


def inbound_message(
    row: Mapping[str, Any], receipts: Iterable[Mapping[str, Any]], parts: Mapping[str, bytes]
) -> InboundMessage:
    """The port's type of a row; `inner` is None where it was refused, destroyed, or is not for this reader."""
    state = InboundState(row["state"])
    first = ReceiptEvent.REJECTED if state is InboundState.REFUSED else ReceiptEvent.CHECKED
    given = [(str(first), row["receipt"])] if row["receipt"] else []
    refs = {owed.receipt_ref(row["id"], event): str(event) for event in _ACKNOWLEDGED}
    given += [
        (refs[receipt["ref"]], receipt["bytes"])
        for receipt in receipts
        if receipt["partner"] == row["sender"] and receipt["ref"] in refs
    ]
    return InboundMessage(
        sender=row["sender"],
        id=row["id"],
        type=row["type"],
        agreement=row["agreement"],
        state=state,
        env=row["env"],
        jws=row["jws"],
        thread=row["thread"],
        urgency=row["urgency"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        received_at=row["received_at"],
        receipts=tuple(given),
        inner=parts.get(INNER),
    )
