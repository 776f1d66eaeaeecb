"""The protection list: children whose whereabouts, or former identity, must not leave (agreements.md section 2).

Any officer adds; two people take off. What is kept are keyed tags of the child's identifiers, never the identifiers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from contracts.check import ProtectedKind
from contracts.shape import misshapen
from gateway import entries, two_people
from gateway.core import commands, deciding
from gateway.core.errors import SubmissionRefusedError
from gateway.ports import Exchange

KINDS: Final[Mapping[str, frozenset[ProtectedKind]]] = {
    "location": frozenset({"location"}),
    "identity": frozenset({"location", "identity"}),  # who the child was leads to where the child is
}


async def add(child: Mapping[str, Any], kinds: frozenset[ProtectedKind], exchange: Exchange, *, by: str) -> int:
    """List a child under `kinds`; return how many tags are new. `child` has the vocabulary's shape (`{"child": {..}}`)."""
    return await _write(_tags(child, exchange), kinds, exchange, add=True, by=by, outcome="added")


async def remove(
    child: Mapping[str, Any],
    kinds: frozenset[ProtectedKind],
    exchange: Exchange,
    *,
    by: str,
    alone: bool,
    through: str | None = None,
) -> tuple[int, tuple[str, ...]]:
    """Take a child off the list once two different people said so; return how many rows went, and who has said so.

    `through` is the token that this half came through, if any.
    """
    tags = _tags(child, exchange)
    act = ("protection-remove", *sorted(kinds), *sorted(tag.hex() for tag in tags))
    people = await two_people.confirm(act, by, exchange, now=exchange.clock(), alone=alone, through=through)
    if len(people) < 2 and not alone:
        return 0, people
    outcome = "removed.single-person" if len(people) < 2 else "removed"
    removed = await _write(tags, kinds, exchange, add=False, by=", ".join(people), outcome=outcome)
    return removed, people


async def _write(
    tags: frozenset[bytes],
    kinds: frozenset[ProtectedKind],
    exchange: Exchange,
    *,
    add: bool,
    by: str,
    outcome: str,
) -> int:
    now = exchange.clock()
    rows = deciding.of_protection(tags, kinds, add=add)
    what = entries.Circumstance(outcome=outcome, by=by, tags=tags, rows=rows)
    entry = entries.about_own(exchange.journal, "protection-added" if add else "protection-removed", now, what)
    changed = await exchange.store.write(
        commands.Protect(tags=tags, kinds=frozenset(kinds), add=add, now=now, entry=entry)
    )
    exchange.wake()
    return changed


def _tags(child: Mapping[str, Any], exchange: Exchange) -> frozenset[bytes]:
    """The tags of a child whose every member is as records have it: another form would be listed and never found again."""
    known = exchange.vocabulary.tree.members["child"]
    for breach in misshapen(known, child.get("child"), "child"):
        raise SubmissionRefusedError("protection.child", breach.path, breach.rule)
    tags = exchange.tags(child)
    if not tags:
        rule = "needs a UPN, an NHS number, or family name, given name and date of birth"
        raise SubmissionRefusedError("protection.child", "child", rule)
    return tags
