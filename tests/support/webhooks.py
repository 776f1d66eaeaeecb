"""The cursors of webhooks in the memory of one gateway."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.memory import Memory


@dataclass(frozen=True)
class MemoryCursors:
    memory: Memory

    async def position(self, name: str) -> int | None:
        return self.memory.cursors.get(name)
