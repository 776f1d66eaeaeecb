"""What stands in the tables, counted in one read transaction: for metrics, readiness and `safehand doctor`. Reads only.

Every label that leaves here is a state, a code or a partner's id. The messages are counted in one pass over their table,
final states included; whoever asks often bounds how often (`gateway.sight`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, case, column, func, select, table

from gateway.core.errors import ReceiptRejectedError
from gateway.core.receipt import read_receipt
from gateway.ports import Noted, Pile, Standing
from gateway.store.cells import as_blob
from gateway.store.readers import Rows
from gateway.store.schema import (
    attempt,
    checkpoint,
    delivery,
    log_entry,
    log_head,
    message,
    outgoing,
    receipt_in,
    statement_difference,
)
from gateway.tlog.entry import parse_shape
from gateway.tlog.errors import EntryError

REFUSALS: Final = ("refused", "refused-inbound", "rejected")
RECENT: Final = timedelta(days=7)
_RECEIPTS: Final = 50  # the newest ones that tell the time
_SECOND: Final = 1_000_000
_URGENT: Final = "immediate_risk"


def read(rows: Rows, now: datetime) -> Standing:
    """Count everything as it is now."""
    owed = rows(_owed())
    head = rows(select(log_head.c.size, log_head.c.updated_at))
    newest = rows(select(checkpoint).order_by(checkpoint.c.size.desc()).limit(1))
    return Standing(
        revision=rows(select(column("version_num")).select_from(table("alembic_version")))[0]["version_num"],
        piles=tuple(_pile(row) for row in rows(_piles(int((now - RECENT).timestamp())))),
        held=_held(rows),
        owed={row["state"]: row["n"] for row in owed},
        owed_since=_earliest(row["since"] for row in owed if row["state"] in ("ready", "leased")),
        log_size=head[0]["size"] if head else 0,
        log_at=head[0]["updated_at"] // _SECOND if head else 0,
        checkpoint=(newest[0]["size"], newest[0]["root"]) if newest else None,
        signed_at=newest[0]["signed_at"] if newest else None,
        ahead=_ahead(rows),
        differences=rows(select(func.count().label("n")).select_from(statement_difference))[0]["n"],
    )


def noted(rows: Rows, start: int, limit: int) -> tuple[Noted, ...]:
    """The entries from index `start` on, in order; the bytes of a refusal alone are read."""
    refusal = log_entry.c.kind.in_(REFUSALS)
    statement = (
        select(
            log_entry.c.idx,
            log_entry.c.kind,
            log_entry.c.dir,
            log_entry.c.outcome,
            case((refusal, log_entry.c.entry), else_=None).label("entry"),
        )
        .where(log_entry.c.idx >= start)
        .order_by(log_entry.c.idx)
        .limit(limit)
    )
    return tuple(
        Noted(index=row["idx"], kind=row["kind"], dir=row["dir"] or "own", codes=_codes(row)) for row in rows(statement)
    )


def _codes(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The codes of a refusal's breaches; of one that names none, its outcome."""
    if row["entry"] is None:
        return ()
    try:
        breaches = parse_shape(as_blob(row["entry"])).breaches or ()
    except EntryError:
        return ()  # an entry that was tampered with: `log verify` names it
    return tuple(sorted({breach.code for breach in breaches})) or (row["outcome"] or "",)


def _piles(recent: int) -> Select[Any]:
    since = func.coalesce(message.c.received_at, message.c.created_at)
    urgent = message.c.urgency == _URGENT
    return select(
        message.c.direction,
        message.c.partner,
        message.c.state,
        urgent.label("urgent"),
        func.count().label("n"),
        func.sum(case((since >= recent, 1), else_=0)).label("recent"),
        func.min(since).label("oldest"),
    ).group_by(message.c.direction, message.c.partner, message.c.state, urgent)


def _pile(row: Mapping[str, Any]) -> Pile:
    return Pile(
        direction=row["direction"],
        partner=row["partner"],
        state=row["state"],
        urgent=bool(row["urgent"]),
        count=row["n"],
        recent=row["recent"],
        oldest=row["oldest"],
    )


def _held(rows: Rows) -> Mapping[str, int]:
    """A message that is held for two codes counts under both."""
    found: Counter[str] = Counter()
    statement = select(message.c.held_for, func.count().label("n")).where(
        message.c.direction == "out", message.c.state == "held"
    )
    for row in rows(statement.group_by(message.c.held_for)):
        for code in (row["held_for"] or "").split():
            found[code] += row["n"]
    return found


def _owed() -> Select[Any]:
    since = func.min(outgoing.c.first_attempt_at) / _SECOND
    return (
        select(outgoing.c.state, func.count().label("n"), since.label("since"))
        .where(outgoing.c.state != "done")
        .group_by(outgoing.c.state)
    )


def _earliest(instants: Any) -> int | None:
    return min((int(at) for at in instants if at is not None), default=None)


def _ahead(rows: Rows) -> Mapping[str, int]:
    """A receipt is made between our attempt and its answer: of a partner's newest ones the closest tells best, for one
    that was repeated is older than the attempt that fetched it."""
    statement = (
        select(receipt_in.c.bytes, delivery.c.partner, attempt.c.at)
        .join(
            delivery,
            (delivery.c.sender == receipt_in.c.sender) & (delivery.c.message_id == receipt_in.c.message_id),
        )
        .join(attempt, (attempt.c.delivery_id == delivery.c.id) & (attempt.c.n == delivery.c.attempts))
        .where(receipt_in.c.event.in_(("checked", "rejected")))
        .order_by(receipt_in.c.id.desc())
        .limit(_RECEIPTS)
    )
    closest: dict[str, int] = {}
    for row in rows(statement):
        try:
            ahead = read_receipt(row["bytes"]).payload.at - row["at"] // _SECOND
        except ReceiptRejectedError:
            continue
        if row["partner"] not in closest or abs(ahead) < abs(closest[row["partner"]]):
            closest[row["partner"]] = ahead
    return closest
