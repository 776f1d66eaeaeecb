"""Three-valued conditions: compiled once, evaluated for a set of facts.

Pure. Kleene logic without `not`: an unknown fact makes a comparison unknown, and only TRUE ever grants anything
(agreements section 2). Conditions come in an order in which every part precedes what uses it, so that evaluation is a
loop and a long chain in a hostile file costs no stack.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from contracts.facts import FACTS, FactValue
from contracts.terms import Comparison, Condition

Truth: TypeAlias = bool | None
"""None is unknown."""

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, choices: value in choices,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCondition:
    """A condition whose names and values have been checked. Exactly one of `test`, `all_of`, `any_of` is not None."""

    name: str
    says: str
    test: Comparison | None
    all_of: tuple[str, ...] | None
    any_of: tuple[str, ...] | None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the conditions it is made of."""
        return self.all_of or self.any_of or ()


def truth_text(truth: Truth) -> str:
    """Return the word for a truth value, as the log writes it."""
    return "unknown" if truth is None else "true" if truth else "false"


def evaluate(conditions: Iterable[CompiledCondition], facts: Mapping[str, FactValue]) -> dict[str, Truth]:
    """Return the truth of each condition; they MUST come parts first, facts MUST be of their types."""
    truths: dict[str, Truth] = {}
    for condition in conditions:
        if condition.test is not None:
            truths[condition.name] = _compare(condition.test, facts.get(condition.test.fact))
        elif condition.all_of is not None:
            truths[condition.name] = _all([truths[part] for part in condition.all_of])
        else:
            truths[condition.name] = _any([truths[part] for part in condition.any_of or ()])
    return truths


def _compare(test: Comparison, value: FactValue | None) -> Truth:
    return None if value is None else _COMPARE[test.operator](value, test.value)


def _all(parts: list[Truth]) -> Truth:
    if False in parts:
        return False
    return None if None in parts else True


def _any(parts: list[Truth]) -> Truth:
    if True in parts:
        return True
    return None if None in parts else False


def condition_faults(conditions: Mapping[str, Condition]) -> dict[str, list[str]]:
    """Return what is wrong with each condition, by name: rules C1 to C6 of agreements section 5."""
    faults = {name: _own_faults(condition, conditions) for name, condition in conditions.items()}
    ordered = set(parts_first(conditions))
    for name in conditions:
        if name not in ordered and name in reachable(conditions, parts_of(conditions[name])):
            faults[name].append("refers to itself")
    return {name: found for name, found in faults.items() if found}


def parts_of(condition: Condition) -> tuple[str, ...]:
    """Return the names of the conditions that one refers to."""
    return (condition.all_of or ()) + (condition.any_of or ())


def reachable(conditions: Mapping[str, Condition], names: Iterable[str]) -> frozenset[str]:
    """Return the given conditions and all they refer to, directly or not."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and name in conditions:
            found.add(name)
            waiting.extend(parts_of(conditions[name]))
    return frozenset(found)


def parts_first(conditions: Mapping[str, Condition]) -> tuple[str, ...]:
    """Return the names in an order in which parts precede what uses them; those on or above a cycle are left out."""
    waiting = {
        name: {part for part in parts_of(condition) if part in conditions} for name, condition in conditions.items()
    }
    ordered: dict[str, None] = {}
    while ready := [name for name, parts in waiting.items() if parts <= ordered.keys()]:
        for name in ready:
            ordered[name] = None
            del waiting[name]
    return tuple(ordered)


def _own_faults(condition: Condition, conditions: Mapping[str, Condition]) -> list[str]:
    given = [part for part in (condition.test, condition.all_of, condition.any_of) if part is not None]
    if len(given) != 1:
        return ["needs exactly one of test, all, any"]
    if condition.test is not None:
        return _test_faults(condition.test)
    return ["refers to an unknown condition"] if any(p not in conditions for p in parts_of(condition)) else []


def _test_faults(test: Comparison) -> list[str]:
    fact = FACTS.get(test.fact)
    if fact is None:
        return ["unknown fact"]
    if test.operator not in fact.operators:
        return ["unknown operator for this fact"]
    if (test.operator == "in") != isinstance(test.value, tuple):
        return ["a list of values goes with 'in', and with nothing else"]
    values = test.value if isinstance(test.value, tuple) else (test.value,)
    return [] if all(map(fact.accepts, values)) else ["a value outside the fact's type or code list"]
