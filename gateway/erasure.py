"""Erasure in the exchange log: a person's act, by entry or by message, itself an entry.

Named entry -> its openings and tags gone -> 'erased'. Content and keys of messages are not touched here.
"""

from __future__ import annotations

from gateway import entries
from gateway.core.erasure import REASONS, AtEntry, Erase, OfMessage
from gateway.core.errors import SubmissionRefusedError
from gateway.ports import Exchange


async def erase(what: AtEntry | OfMessage, reason: str, exchange: Exchange, *, by: str) -> int:
    """Erase who and which case of the entries named; return how many lost something. Raises SubmissionRefusedError."""
    if reason not in REASONS:
        raise SubmissionRefusedError("argument.malformed", "reason", f"one of {', '.join(REASONS)}")
    about = entries.Circumstance(outcome=reason, by=by, erased=what.text())
    msg = what.message_id if isinstance(what, OfMessage) else None
    entry = entries.about_own(exchange.journal, "erased", exchange.clock(), about, msg=msg)
    return await exchange.store.write(Erase(what=what, entry=entry))
