"""One thing done for one idempotency key: an act, and the answer to the request that asked for it, in one transaction.

Pure. Whoever is killed after the commit finds the answer when the request is repeated, whoever is killed before finds that
nothing was done. A submission keeps its answer by itself (`Submit`); this is for every other act of an own client.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.core.commands import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request of an own client: the key that it may be repeated with, and what makes two requests the same."""

    client: str
    key: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of an act: what the store answers to it (None where it was done before), and the answer that is kept for
    the request; None where the act was only a half of what was asked, so that nothing is kept yet."""

    value: Any = field(repr=False)
    response: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Once(Command[Done]):
    """Carry out `act`, and keep what `answer` makes of its value for the request. Where the request was answered before,
    that answer, and nothing is done. Raises IdempotencyConflictError where the key was another request's, before `act`
    changes anything, and what `act` raises; then nothing is kept, and the key is free."""

    act: Command[Any]
    asked: Asked
    answer: Callable[[Any], bytes | None]

    def touches(self) -> frozenset[str]:
        return self.act.touches() | {f"idempotency:{self.asked.client}:{self.asked.key}"}
