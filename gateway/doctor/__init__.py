"""What is wrong with a gateway, in words, and how to mend it: findings over facts that others gathered. Pure.

Nothing is looked up here: `gateway.examining` gathers the facts, beside a running server or alone. The modules are by
subject; `kinds` is the whole list of what can be found.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.condition import Condition
from gateway.doctor import log, machine, trust, waiting
from gateway.doctor.facts import Facts, Keystore, Listener, ListenerState, Memory, Start, Tls, Watched
from gateway.doctor.kinds import KINDS, Finding, Kind

__all__ = [
    "KINDS",
    "Facts",
    "Finding",
    "Keystore",
    "Kind",
    "Listener",
    "ListenerState",
    "Memory",
    "Start",
    "Tls",
    "Watched",
    "examine",
]


def examine(facts: Facts) -> tuple[Finding, ...]:
    """Return everything found, in the order in which it is best mended."""
    return (
        *machine.program(facts),
        *machine.home(facts),
        *machine.config(facts),
        *machine.tls(facts),
        *machine.listening(facts),
        *machine.store(facts),
        *machine.space(facts),
        *log.start(facts),
        *(_of_condition(facts, facts.condition) if facts.condition else ()),
    )


def _of_condition(facts: Facts, condition: Condition) -> Iterator[Finding]:
    yield from trust.keys(condition)
    yield from trust.partners(condition)
    yield from trust.agreements(condition, facts.today)
    yield from log.log(facts, condition)
    yield from waiting.waiting(condition)
    yield from log.clock(condition)
    yield from log.witnesses(condition)
    yield from waiting.overdue(condition)
