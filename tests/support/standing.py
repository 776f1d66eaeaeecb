"""The fake's answer to `Overview.standing`: the same counts, from dictionaries."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from gateway.core.commands import LogEntry
from gateway.core.errors import ReceiptRejectedError
from gateway.core.lifecycle import ReceiptEvent, State
from gateway.core.receipt import read_receipt
from gateway.ports import Noted, Pile, Standing

if TYPE_CHECKING:
    from tests.support.memory import Memory

REVISION = "in memory"


def standing(memory: Memory, now: datetime) -> Standing:
    newest = max(memory.checkpoints.values(), key=lambda put: put.size, default=None)
    since = [o.first_attempt_at for one in memory.outgoing.values() if (o := one.item) and one.run_at is not None]
    return Standing(
        revision=REVISION,
        piles=tuple(_piles(memory, int((now - timedelta(days=7)).timestamp()))),
        held=Counter(code for sent in memory.sent.values() if sent.state is State.HELD for code in sent.held_for),
        owed=Counter(
            "dead" if owed.dead else "leased" if owed.token else "ready"
            for owed in memory.outgoing.values()
            if owed.dead or owed.run_at is not None
        ),
        owed_since=min((int(at.timestamp()) for at in since if at is not None), default=None),
        log_size=len(memory.log),
        log_at=max((entry.at_us for entry in memory.log), default=0) // 1_000_000,
        checkpoint=None if newest is None else (newest.size, newest.root),
        signed_at=None if newest is None else newest.signed_at,
        ahead=_ahead(memory),
        differences=len(memory.stated.noted),
    )


def noted(memory: Memory, start: int, limit: int) -> tuple[Noted, ...]:
    found = enumerate(memory.log)
    return tuple(
        Noted(index=index, kind=entry.kind, dir=entry.dir or "own", codes=_codes(entry))
        for index, entry in found
        if start <= index < start + limit
    )


def _codes(entry: LogEntry) -> tuple[str, ...]:
    if entry.kind not in ("refused", "refused-inbound", "rejected"):
        return ()
    breaches = json.loads(entry.data).get("breaches", [])
    return tuple(sorted({breach["code"] for breach in breaches})) or (entry.outcome or "",)


def _piles(memory: Memory, recent: int) -> Iterator[Pile]:
    rows: list[tuple[tuple[Literal["out", "in"], str, str, bool], int]] = []
    for sent in memory.sent.values():
        row = sent.row
        rows.append((("out", row.partner, str(sent.state), row.urgency == "immediate_risk"), row.created_at))
    for arrived in memory.arrived.values():
        came = arrived.row
        rows.append((("in", came.sender, str(arrived.state), came.urgency == "immediate_risk"), came.received_at))
    for kind in sorted({kind for kind, _ in rows}):
        instants = [at for other, at in rows if other == kind]
        direction, partner, state, urgent = kind
        yield Pile(
            direction=direction,
            partner=partner,
            state=state,
            urgent=urgent,
            count=len(instants),
            recent=sum(at >= recent for at in instants),
            oldest=min(instants),
        )


def _ahead(memory: Memory) -> dict[str, int]:
    closest: dict[str, int] = {}
    for sent in memory.sent.values():
        held = sent.receipts.get(ReceiptEvent.CHECKED) or sent.receipts.get(ReceiptEvent.REJECTED)
        if held is None or not sent.tries:
            continue
        try:
            ahead = read_receipt(held.data).payload.at - int(sent.tries[-1].at.timestamp())
        except ReceiptRejectedError:
            continue
        partner = sent.row.partner
        if partner not in closest or abs(ahead) < abs(closest[partner]):
            closest[partner] = ahead
    return closest
