"""Acts that need two people: the second, different name that states the same act makes it take effect.

Until accounts exist a name is what an operator types; who it was goes into the log as a commitment. Each half is stated in
the log, and stated gone once it was used: a used one that is put back counts no more than one that nobody stated.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

from contracts.document import write_wire
from gateway import entries
from gateway.core import deciding
from gateway.core.errors import BusyError, StoreChangedError, SubmissionRefusedError
from gateway.core.halves import Half, HalvesMovedError, KeepHalves, half, meet
from gateway.ports import Exchange

VALID_FOR = timedelta(days=7)  # a half act older than this does not count
_LONGEST_NAME = 70
_TRIES: Final = 5  # each time other halves came between
_ID_BYTES: Final = 16


async def confirm(
    act: tuple[str, ...], by: str, exchange: Exchange, *, now: datetime, alone: bool, through: str | None = None
) -> tuple[str, ...]:
    """Record that `by` states `act`, and log it; return the names of everyone who has, sorted. Two names differ in more
    than case and space. `act` begins with a code, which is what the log says of it.

    `alone`: one is enough, whose half then waits for nobody. `through` is the token that it came through, None at the
    command line: two names through one token are one person.
    """
    name = " ".join(by.split()).casefold()
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise SubmissionRefusedError("by.malformed", "by", f"a name of 1 to {_LONGEST_NAME} characters")
    mine = Half(
        id=exchange.entropy(_ID_BYTES).hex(),
        act=hashlib.sha256(write_wire(list(act))).digest(),
        by=half(name, through),
        stated_at=int(now.timestamp()),
    )
    for _ in range(_TRIES):
        waiting = await exchange.halves.waiting()
        met = meet(waiting, mine, not_before=int((now - VALID_FOR).timestamp()), alone=alone)
        what = entries.Circumstance(outcome=act[0], by=name, rows=deciding.of_halves(met.kept, met.gone))
        entry = entries.about_own(exchange.journal, "approval", now, what)
        try:
            await exchange.store.write(KeepHalves(kept=met.kept, gone=met.gone, seen=waiting, entry=entry))
        except (HalvesMovedError, StoreChangedError):
            continue
        return met.names
    raise BusyError("halves of acts keep coming")


async def forget_all(kind: str, outcome: str, exchange: Exchange) -> None:
    """Log an entry of `kind` that states every half gone: whoever stated one states it again."""
    now = exchange.clock()
    for _ in range(_TRIES):
        waiting = await exchange.halves.waiting()
        gone = waiting.ids | waiting.lost
        what = entries.Circumstance(outcome=outcome, rows=deciding.of_halves(None, gone))
        entry = entries.about_own(exchange.journal, kind, now, what)
        try:
            await exchange.store.write(KeepHalves(kept=None, gone=gone, seen=waiting, entry=entry))
        except (HalvesMovedError, StoreChangedError):
            continue
        return
    raise BusyError("halves of acts keep coming")
