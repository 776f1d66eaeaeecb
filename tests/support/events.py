"""Events and the cursors of webhooks on the memory of one gateway: what `gateway.store` answers from its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from gateway.core.commands import LogEntry
from gateway.core.events import TABLE, Direction, MessageEvent
from tests.support.memory import Memory


@dataclass(frozen=True)
class MemoryEvents:
    memory: Memory

    async def after(self, index: int, limit: int) -> tuple[MessageEvent, ...]:
        found = [self._event(at, entry) for at, entry in enumerate(self.memory.log) if at > index]
        return tuple([event for event in found if event is not None][:limit])

    def _event(self, index: int, entry: LogEntry) -> MessageEvent | None:
        kind = TABLE.get((cast(Direction, entry.dir), entry.kind))
        if kind is None or entry.message_id is None:
            return None
        if entry.dir == "out":
            row = self.memory.sent[entry.message_id].row
            partner, thread = row.partner, row.thread
        else:
            partner = cast(str, entry.partner)
            thread = self.memory.arrived[partner, entry.message_id].row.thread
        return MessageEvent(
            index=index,
            at_us=entry.at_us,
            direction=cast(Direction, entry.dir),
            kind=kind,
            message=entry.message_id,
            partner=partner,
            thread=thread,
        )


@dataclass(frozen=True)
class MemoryCursors:
    memory: Memory

    async def position(self, name: str) -> int | None:
        return self.memory.cursors.get(name)
