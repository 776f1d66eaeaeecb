"""The explaining walk: every breach of a body against a plan, with its place and rule.

Pure. Slower than `Plan.passes` and with the same verdict. It recurses along the vocabulary, never deeper, so that the
body cannot choose the depth. Containers that are granted may be absent or empty; what is not granted may not be present
at all, not even as null or {} (agreements section 2, "Exact meaning").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from contracts.breach import Breach, BreachCode
from contracts.names import is_safe_key
from contracts.plan import Branch, Granted, Items, Leaf, Plan
from contracts.vocabulary import Field, Group, ListOf, Node, iter_segments

ReasonOf: TypeAlias = Callable[[str], str]
"""Generic path -> the rule to tell for a path that is not granted."""


def walk(plan: Plan, body: dict[str, Any], reason_of: ReasonOf) -> list[Breach]:
    """Return every breach inside the body, in its own order: what stands there and may not, or is wrong."""
    walker = _Walk(reason_of)
    walker.granted(plan.root, body, "")
    return walker.breaches


def missing(plan: Plan, body: dict[str, Any]) -> list[Breach]:
    """Return one breach for each required path that is not present everywhere it must be.

    A container of the wrong JSON type holds nothing: what is required below it is missing as well.
    """
    return [
        Breach(BreachCode.FIELD_MISSING, path, "required")
        for path in plan.required
        if not _is_everywhere(body, tuple(iter_segments(path)))
    ]


def _is_everywhere(value: Any, segments: tuple[tuple[str, bool], ...]) -> bool:
    if not segments:
        return True
    (name, is_list), below = segments[0], segments[1:]
    if type(value) is not dict or name not in value:
        return False
    member = value[name]
    if not is_list:
        return _is_everywhere(member, below)
    return type(member) is list and bool(member) and all(_is_everywhere(item, below) for item in member)


class _Walk:
    def __init__(self, reason_of: ReasonOf) -> None:
        self.breaches: list[Breach] = []
        self._reason_of = reason_of

    def _add(self, code: BreachCode, path: str, rule: str) -> None:
        self.breaches.append(Breach(code, path, rule))

    def object(self, branch: Branch, value: dict[str, Any], at: str) -> None:
        for position, (name, member) in enumerate(value.items(), start=1):
            known = branch.known.members.get(name)
            if known is None:
                shown = name if is_safe_key(name) else f"?{position}"
                self._add(BreachCode.FIELD_UNKNOWN, _join(at, shown), "not in the vocabulary")
                continue
            granted, place = branch.members.get(name), _join(at, name)
            if granted is None:
                self._ungranted(known, member, place)
            else:
                self.granted(granted, member, place)

    def granted(self, granted: Granted, value: Any, at: str) -> None:
        if isinstance(granted, Leaf):
            self._leaf(granted, value, at)
        elif isinstance(granted, Items):
            self._items(granted, value, at)
        elif type(value) is dict:
            self.object(granted, value, at)
        else:
            self._add(BreachCode.FIELD_TYPE, at, "an object was expected here")

    def _items(self, items: Items, value: Any, at: str) -> None:
        if type(value) is not list:
            self._add(BreachCode.FIELD_TYPE, at, "a list of objects was expected here")
            return
        if len(value) > items.most:
            self._add(BreachCode.FIELD_TOO_MANY, at, f"at most {items.most}")
        for index, item in enumerate(value):
            self.granted(items.item, item, f"{at}[{index}]")

    def _leaf(self, leaf: Leaf, value: Any, at: str) -> None:
        kind = leaf.field.type
        if not kind.accepts(value):
            self._add(BreachCode.FIELD_VALUE, at, f"not a valid {kind.label}")
        elif leaf.only is not None and not kind.narrowed(leaf.only)(value):
            self._add(BreachCode.FIELD_VALUE_NOT_ALLOWED, at, "valid, but not one of the values that may be sent")

    def _ungranted(self, known: Node, value: Any, at: str) -> None:
        """Name each vocabulary leaf present below a member that is not granted; else the place itself."""
        if isinstance(known, Group) and type(value) is dict and value:
            self._ungranted_object(known, value, at)
        elif isinstance(known, ListOf) and type(value) is list and value:
            for index, item in enumerate(value):
                self._ungranted(known.item, item, f"{at}[{index}]")
        else:
            path = known.path if isinstance(known, Field) else ""
            self._add(BreachCode.FIELD_NOT_ALLOWED, at, self._reason_of(path))

    def _ungranted_object(self, known: Group, value: dict[str, Any], at: str) -> None:
        for name, member in value.items():
            inner = known.members.get(name)
            if inner is not None:
                self._ungranted(inner, member, _join(at, name))
            else:
                shown = name if is_safe_key(name) else "?"
                self._add(BreachCode.FIELD_NOT_ALLOWED, _join(at, shown), self._reason_of(""))


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name
