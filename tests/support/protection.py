"""The protection list, and acts that need two people, on plain sets: the fake of `ports.Protection`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from contracts.check import ProtectedKind
from gateway.core import commands, deciding
from gateway.core.commands import Command
from gateway.core.halves import independent
from tests.support.rows import check_stated

if TYPE_CHECKING:
    from tests.support.memory import Memory


def protect(memory: Memory, command: commands.Protect) -> int:
    rows = {(tag, kind) for tag in command.tags for kind in command.kinds}
    changed = rows - memory.protected if command.add else rows & memory.protected
    change = deciding.put if command.add else deciding.gone
    check_stated((change("protection", tag=tag, kind=kind) for tag, kind in changed), command.entry)
    memory.protected = memory.protected | rows if command.add else memory.protected - rows
    memory._append(command.entry)
    if not command.add:
        memory.look_again(command.now, lambda _: True)
    return len(changed)


def intend(memory: Memory, command: commands.Intend) -> tuple[str, ...]:
    """Two halves are used up by being answered, so that the next such act needs two again."""
    said = memory.intentions.setdefault(command.act, {})
    valid = {by: at for by, at in said.items() if at >= command.not_before}
    others = {by for by in valid if independent(by, command.by)}
    memory.intentions[command.act] = {} if others else {**valid, command.by: command.now}
    memory._append(command.entry)
    return tuple(sorted({*others, command.by}))


HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
    commands.Protect: protect,
    commands.Intend: intend,
}


@dataclass(frozen=True)
class MemoryProtection:
    memory: Memory

    async def kinds(self, tags: Iterable[bytes]) -> frozenset[ProtectedKind]:
        wanted = set(tags)
        return frozenset(cast(ProtectedKind, kind) for tag, kind in self.memory.protected if tag in wanted)
