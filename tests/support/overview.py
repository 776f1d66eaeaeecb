"""Lists and counts for people, from plain dictionaries: the fake of `ports.Overview`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from gateway.ports import InboundMessage, Noted, OutboundMessage, Standing
from tests.support.inbox import MemoryInbox
from tests.support.outbox import MemoryOutbox
from tests.support.standing import noted, standing

if TYPE_CHECKING:
    from tests.support.memory import Memory

M = TypeVar("M", InboundMessage, OutboundMessage)


@dataclass(frozen=True)
class MemoryOverview:
    memory: Memory

    async def inbox(self, limit: int) -> tuple[InboundMessage, ...]:
        inbox = MemoryInbox(self.memory)
        found = [await inbox.message(row_id, sender) for sender, row_id in self.memory.arrived]
        return tuple(dataclasses.replace(one, inner=None) for one in _newest(found)[:limit])

    async def outbox(self, limit: int) -> tuple[OutboundMessage, ...]:
        outbox = MemoryOutbox(self.memory)
        found = [await outbox.message(message_id) for message_id in self.memory.sent]
        return tuple(dataclasses.replace(one, envelope=b"", inner=b"") for one in _newest(found)[:limit])

    async def standing(self, now: datetime) -> Standing:
        return standing(self.memory, now)

    async def noted(self, start: int, limit: int) -> tuple[Noted, ...]:
        return noted(self.memory, start, limit)

    async def protected(self) -> Mapping[str, int]:
        return Counter(kind for _, kind in self.memory.protected)

    async def counts(self) -> Mapping[str, int]:
        return {
            **Counter(f"outbound.{sent.state}" for sent in self.memory.sent.values()),
            **Counter(f"inbound.{arrived.state}" for arrived in self.memory.arrived.values()),
            "owed": sum(owed.run_at is not None for owed in self.memory.outgoing.values()),
            "owed.dead": sum(owed.dead for owed in self.memory.outgoing.values()),
            "log.size": len(self.memory.log),
            "statements.different": len(self.memory.stated.noted),
        }


def _newest(found: Iterable[M | None]) -> list[M]:
    return sorted((one for one in found if one is not None), key=lambda one: (one.created_at, one.id), reverse=True)
