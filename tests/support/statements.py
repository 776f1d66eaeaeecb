"""Daily statements on plain dictionaries: the fake of `ports.Statements`, beside `tests.support.memory`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from gateway.core.daily import (
    A_DAY,
    MOST_A_DAY,
    MOST_ITEMS,
    Difference,
    Head,
    Item,
    KeepStatement,
    KeptStatement,
    NoteDifference,
    Window,
    ascending,
)
from gateway.core.errors import NotYetError

if TYPE_CHECKING:
    from gateway.core.commands import LogEntry
    from tests.support.memory import Memory

LISTS = {
    ("out", "delivered"): "sent",
    ("out", "rejected"): "sent",
    ("in", "received"): "received",
    ("in", "refused-inbound"): "rejected",
}
ANSWER = {"delivered": "received", "rejected": "rejected", "received": "sent", "refused-inbound": "sent"}


@dataclass
class Stated:
    """What was stated by either side, and the differences noted."""

    kept: dict[tuple[str, str, int], list[KeptStatement]] = field(default_factory=dict)  # the newest last
    items: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)  # (partner, list, id) -> envelopes
    heard: list[tuple[str, datetime]] = field(default_factory=list)  # (partner, when) of each of theirs
    noted: set[tuple[str, Difference, str]] = field(default_factory=set)


def keep(memory: Memory, command: KeepStatement) -> bool:
    payload, stated = command.payload, memory.stated
    place = (command.dir, command.partner, payload.n)
    beside = stated.kept.setdefault(place, [])
    if any(one.digest == command.digest for one in beside):
        return False
    if command.dir == "in":
        today = [at for org, at in stated.heard if org == command.partner and at > command.now - A_DAY]
        if len(today) >= MOST_A_DAY:
            raise NotYetError("this partner has stated enough for one day")
        stated.heard.append((command.partner, command.now))
    beside.append(
        KeptStatement(n=payload.n, digest=command.digest, to=payload.to, head=payload.head, data=command.data)
    )
    if command.dir == "out":
        memory.owe(command.partner, "statement", command.digest, command.data, command.now)
    else:
        for name in ("sent", "received", "rejected"):
            for item in getattr(payload, name):
                stated.items.setdefault((command.partner, name, item.id), []).append(item.env)
    memory.log.append(command.entry)
    return True


def note(memory: Memory, command: NoteDifference) -> bool:
    one = (command.partner, command.difference, command.subject)
    if one in memory.stated.noted:
        return False
    memory.stated.noted.add(one)
    memory.log.append(command.entry)
    return True


@dataclass(frozen=True)
class MemoryStatements:
    memory: Memory

    async def last(self, direction: str, partner: str) -> KeptStatement | None:
        of = [kept for (dir_, org, _), kept in self.memory.stated.kept.items() if (dir_, org) == (direction, partner)]
        return max((kept[-1] for kept in of if kept), key=lambda one: one.n, default=None)

    async def numbered(self, direction: str, partner: str, n: int) -> tuple[KeptStatement, ...]:
        return tuple(reversed(self.memory.stated.kept.get((direction, partner, n), [])))

    async def heard_until(self, partner: str) -> int | None:
        of = [kept for (dir_, org, _), kept in self.memory.stated.kept.items() if (dir_, org) == ("in", partner)]
        return max((one.to for kept in of for one in kept), default=None)

    def _exchanged(self, partner: str) -> list[tuple[int, str, LogEntry, str]]:
        """(index, list, entry, envelope digest) of what the log says was exchanged with the partner."""
        found = []
        for index, entry in enumerate(self.memory.log):
            listed = LISTS.get((entry.dir or "", entry.kind))
            if entry.partner != partner or listed is None or entry.message_id is None:
                continue
            if entry.dir == "out":
                row = self.memory.sent.get(entry.message_id)
                env = row.row.env if row else None
            else:
                arrived = self.memory.arrived.get((partner, entry.message_id))
                env = arrived.row.env if arrived else None
            if env is not None:
                found.append((index, listed, entry, env))
        return found

    async def window(self, partner: str, after: int) -> Window | None:
        sizes = sorted(size for size in self.memory.checkpoints if size > after)
        if not sizes:
            return None
        found = [one for one in self._exchanged(partner) if one[0] >= after]
        size = sizes[-1]
        if len(found) > MOST_ITEMS:
            size = max((s for s in sizes if s <= found[MOST_ITEMS][0]), default=sizes[0])
        lists: dict[str, list[Item]] = {"sent": [], "received": [], "rejected": []}
        for index, listed, entry, env in found:
            if index < size:
                lists[listed].append(Item(id=str(entry.message_id), env=env))
        head = self.memory.checkpoints[size]
        return Window(
            sent=ascending(lists["sent"]),
            received=ascending(lists["received"]),
            rejected=ascending(lists["rejected"]),
            head=Head(origin=self.memory.origin, size=size, root=f"sha256:{head.root.hex()}"),
            more=size < sizes[-1],
        )

    async def differences(self, partner: str, before: datetime) -> tuple[tuple[Difference, str], ...]:
        items, found = self.memory.stated.items, []
        for (org, listed, message_id), envs in items.items():
            if org != partner:
                continue
            if listed == "sent":
                arrived = self.memory.arrived.get((partner, message_id))
                if any(arrived is None or arrived.row.env != env for env in envs):
                    found.append((Difference.CLAIMED_SENT, message_id))
            else:
                sent = self.memory.sent.get(message_id)
                if any(sent is None or (sent.row.env, sent.row.partner) != (env, partner) for env in envs):
                    found.append((Difference.CLAIMED_RECEIVED, message_id))
        for _, listed, entry, _ in self._exchanged(partner):
            late = entry.at_us >= before.timestamp() * 1_000_000
            if not late and (partner, ANSWER[entry.kind], entry.message_id) not in items:
                missing = Difference.NOT_RECEIVED if listed == "sent" else Difference.NOT_SENT
                found.append((missing, str(entry.message_id)))
        noted = self.memory.stated.noted
        return tuple(one for one in dict.fromkeys(found) if (partner, *one) not in noted)
