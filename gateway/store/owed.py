"""What is owed to a partner and is no first delivery: receipts, agreement events, key bundles.

Written by the transaction that causes it, attempted by the same worker as messages, kept after it arrived: an own receipt
is found here again when the same act is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, assert_never

from sqlalchemy import Column, ColumnElement, bindparam, func, select, update

from gateway.core.commands import ClaimOutgoing, SettleOutgoing
from gateway.core.retry import DeadLetter, Expire, HoldLane, RetryAt
from gateway.ports import OutgoingItem
from gateway.store.schema import outgoing
from gateway.store.times import instant, micros
from gateway.store.transaction import Transaction

RECEIPT: Final = "receipt"
EVENT: Final = "event"
BUNDLE: Final = "bundle"


def receipt_ref(message_id: str, event: str) -> str:
    """The `ref` of an own receipt; of an event or a bundle it is the digest of its bytes."""
    return f"{message_id}/{event}"


def owe(tx: Transaction, partner: str, kind: str, ref: str, data: bytes, now: int) -> None:
    """Queue one item for a partner; `now` in microseconds."""
    tx.insert(
        outgoing,
        id=tx.next_id(outgoing),
        partner=partner,
        kind=kind,
        ref=ref,
        bytes=data,
        state="ready",
        attempts=0,
        first_attempt_at=None,
        run_at=now,
        lease_token=None,
        lease_until=None,
    )


def claim_outgoing(tx: Transaction, claim: ClaimOutgoing) -> bool:
    """Lease the item, where its time has come and no lease on it is in force."""
    now, until = micros(claim.now), micros(claim.until)
    rows = tx.read_touched(
        select(outgoing.c.attempts, outgoing.c.first_attempt_at).where(
            outgoing.c.id == claim.id, outgoing.c.state.in_(("ready", "leased")), outgoing.c.run_at <= now
        )
    )
    if not rows:
        return False
    tx.change_touched(
        update(outgoing)
        .where(outgoing.c.id == claim.id)
        .values(
            state="leased",
            attempts=rows[0].attempts + 1,
            first_attempt_at=rows[0].first_attempt_at or now,
            lease_token=claim.token,
            lease_until=until,
            run_at=until,  # due again by itself when the lease ends
        )
    )
    return True


def settle_outgoing(tx: Transaction, settle: SettleOutgoing) -> bool:
    """End the lease; nothing changes where it is another's by now."""
    match settle.next:
        case None:
            state, run_at = "done", None
        case RetryAt(at=at):
            state, run_at = "ready", micros(at)
        case HoldLane() | DeadLetter() | Expire():  # kept, and counted: nothing tries it again
            state, run_at = "dead", None
        case _:
            assert_never(settle.next)
    changed = tx.change_touched(
        update(outgoing)
        .where(outgoing.c.id == settle.id, outgoing.c.lease_token == settle.token)
        .values(state=state, run_at=run_at, lease_token=None, lease_until=None)
    )
    if changed == 1 and settle.entry is not None:
        tx.append(settle.entry)
    return changed == 1


def held_by(token: Column[Any], tokens: frozenset[bytes] | None) -> ColumnElement[bool]:
    """The condition of being leased under one of these tokens; None: under any."""
    return token.is_not(None) if tokens is None else token.in_(tokens)


def release(tx: Transaction, tokens: frozenset[bytes] | None, now: int) -> int:
    """Make items under these leases due again; return how many there were."""
    under = outgoing.c.run_at.is_not(None) & held_by(
        outgoing.c.lease_token, tokens
    )  # run_at: the condition of the index
    ready = {"state": "ready", "run_at": now, "lease_token": None, "lease_until": None}
    return tx.change(update(outgoing).where(under).values(ready))


# The partners to whom something is due at `now`, whoever waited longest first.
PARTNERS_DUE: Final = (
    select(outgoing.c.partner)
    .where(outgoing.c.run_at <= bindparam("now"))
    .group_by(outgoing.c.partner)
    .order_by(func.min(outgoing.c.run_at))
)
# The first `most` items of partner `to` whose time has come at `now`, oldest first.
ITEMS_DUE: Final = (
    select(outgoing)
    .where(outgoing.c.partner == bindparam("to"), outgoing.c.run_at <= bindparam("now"))
    .order_by(outgoing.c.run_at, outgoing.c.id)
    .limit(bindparam("most"))
)


def item(row: Mapping[str, Any]) -> OutgoingItem:
    """The port's type of a row."""
    first = row["first_attempt_at"]
    return OutgoingItem(
        id=row["id"],
        partner=row["partner"],
        kind=row["kind"],
        ref=row["ref"],
        data=row["bytes"],
        attempts=row["attempts"],
        first_attempt_at=None if first is None else instant(first),
    )
