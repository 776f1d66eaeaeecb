"""Acts that need two people: the second, different name that states the same act makes it take effect.

Until accounts exist a name is what an operator types; who it was goes into the log as a commitment.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from contracts.document import write_wire
from gateway import entries
from gateway.core import commands
from gateway.core.errors import SubmissionRefusedError
from gateway.core.halves import half
from gateway.ports import Exchange

VALID_FOR = timedelta(days=7)  # a half act older than this does not count
_LONGEST_NAME = 70


async def confirm(
    act: tuple[str, ...], by: str, exchange: Exchange, *, now: datetime, through: str | None = None
) -> tuple[str, ...]:
    """Record that `by` states `act`, and log it; return everyone who has, sorted. Two names differ in more than case and
    space. `act` begins with a code, which is what the log says of it.

    `through` is the token that it came through, None at the command line: two names through one token are one person.
    """
    name = " ".join(by.split()).casefold()
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise SubmissionRefusedError("by.malformed", "by", f"a name of 1 to {_LONGEST_NAME} characters")
    what = entries.Circumstance(outcome=act[0], by=name)
    return await exchange.store.write(
        commands.Intend(
            act=hashlib.sha256(write_wire(list(act))).digest(),
            by=half(name, through),
            now=int(now.timestamp()),
            not_before=int((now - VALID_FOR).timestamp()),
            entry=entries.about_own(exchange.journal, "approval", now, what),
        )
    )
