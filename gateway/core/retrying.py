"""The command that ends a wait: what waits for a partner's gateway is tried now, because a person knows that it is back.

A pure value, as those in `core.commands`. It changes no state, only when the worker looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway.core.commands import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class TryNow(Command[int]):
    """Make due what waits for its time and is for one partner: queued and held messages, and what is owed besides. What
    waits for a person goes on waiting, and what is being sent is let be. Answers how many there were."""

    partner: str
    now: datetime
