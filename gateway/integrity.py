"""Rows that were refused, told to the exchange log: a reader that finds one cannot write, so it leaves it to be told here.

Refused row -> entry. Finding them is the store's (`store.rows`, `store.comparison`); nothing here decides what is refused.
"""

from __future__ import annotations

import re

from contracts.names import is_organisation
from gateway import entries
from gateway.core import commands
from gateway.core.deciding import RefusedRow
from gateway.core.errors import SafehandError
from gateway.core.payload import UUID7
from gateway.ports import Exchange, Refusals


async def record(refusals: Refusals, exchange: Exchange) -> int:
    """Every refused row that waits -> one 'row-refused' entry each; return how many there were."""
    written = 0
    while (row := refusals.take()) is not None:
        try:
            await exchange.store.write(commands.Record(entry=_entry(row, exchange)))
        except SafehandError:
            refusals.add(row)  # told later
            raise
        written += 1
    return written


def _entry(row: RefusedRow, exchange: Exchange) -> commands.LogEntry:
    """The table and the cause; a partner's name only where the planted row holds one, a message's id only where it has the
    form of one."""
    known = row.org is not None and row.org != exchange.own.id and is_organisation(row.org)
    what = entries.Circumstance(outcome=row.table, breaches=entries.codes([row.cause]))
    partner = row.org if known else None
    msg = row.message if row.message is not None and re.match(UUID7, row.message) else None
    return entries.about_own(exchange.journal, "row-refused", exchange.clock(), what, partner=partner, msg=msg)
