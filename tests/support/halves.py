"""Halves of acts that need two people, in memory: the command and the port, for the fake of `tests.support.memory`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.core import deciding
from gateway.core.commands import Command
from gateway.core.halves import HalvesMovedError, KeepHalves, Waiting
from tests.support.rows import check_stated

if TYPE_CHECKING:
    from tests.support.memory import Memory


def keep(memory: Memory, command: KeepHalves) -> None:
    """Keep and take out, where the same halves wait that this was decided by; nothing is ever lost here."""
    if command.seen.ids != memory.halves.keys() or command.seen.lost:
        raise HalvesMovedError("other halves wait")
    there = memory.halves.keys() & command.gone
    check_stated(deciding.of_halves(command.kept, there), command.entry)
    for one in there:
        del memory.halves[one]
    if command.kept is not None:
        memory.halves[command.kept.id] = command.kept
    memory._append(command.entry)


HANDLERS: Mapping[type[Command[Any]], Callable[[Any, Any], Any]] = {KeepHalves: keep}


@dataclass(frozen=True)
class MemoryHalves:
    memory: Memory

    async def waiting(self) -> Waiting:
        return Waiting(halves=tuple(self.memory.halves.values()), lost=frozenset())
