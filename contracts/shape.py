"""Whether a value has the shape of the vocabulary at all, whatever an agreement grants. Pure.

For what is typed in by people and never sent: a date in another form, or a member with another name, must not be taken for
one that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contracts.breach import Breach, BreachCode
from contracts.names import is_safe_key
from contracts.vocabulary import Field, ListOf, Node


def misshapen(node: Node, value: Any, at: str) -> Iterator[Breach]:
    """Yield a breach for every member that the vocabulary does not have below `node`, and every value not of its type."""
    if isinstance(node, Field):
        if not node.type.accepts(value):
            yield Breach(BreachCode.FIELD_VALUE, at, f"not a valid {node.type.label}")
    elif isinstance(node, ListOf):
        if type(value) is not list:
            yield Breach(BreachCode.FIELD_TYPE, at, "a list of objects was expected here")
            return
        for index, item in enumerate(value):
            yield from misshapen(node.item, item, f"{at}[{index}]")
    elif type(value) is not dict:
        yield Breach(BreachCode.FIELD_TYPE, at, "an object was expected here")
    else:
        for position, (name, member) in enumerate(value.items(), start=1):
            known = node.members.get(name)
            if known is None:
                shown = name if is_safe_key(name) else f"?{position}"
                yield Breach(BreachCode.FIELD_UNKNOWN, f"{at}.{shown}", "not in the vocabulary")
            else:
                yield from misshapen(known, member, f"{at}.{name}")
