"""Agreements and their events on plain lists: the fake of `ports.Agreements`, and the heads that commands are checked against."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contracts.names import ZERO_DIGEST
from gateway.core import commands, deciding
from gateway.core.commands import Command
from gateway.core.errors import ConflictError, HeadsMovedError
from gateway.ports import AgreementRecord
from tests.support.rows import check_stated

if TYPE_CHECKING:
    from tests.support.memory import Memory


def check_heads(memory: Memory, heads: commands.Heads) -> None:
    """Refuse what was decided against other events than those held; a forked chain has no head."""
    file = memory.files.get(heads.agreement)
    if file is None:
        raise HeadsMovedError(heads.agreement)
    a, b = parties_of(file)
    tips = {a: str(ZERO_DIGEST), b: str(ZERO_DIGEST)}
    events = sorted((event for event in memory.events if event.digest == file.digest), key=lambda event: event.n)
    tips |= {event.org: event.hash for event in events}
    forked = len({(event.org, event.n) for event in events}) < len(events)
    if forked or (heads.a, heads.b) != (tips[a], tips[b]):
        raise HeadsMovedError(heads.agreement)


def record_event(memory: Memory, command: commands.RecordEvent) -> bool:
    file = command.file or memory.files.get(command.event.digest)
    if file is None:
        raise ConflictError("an event on an agreement that is not held")
    if any(named(held) == named(file) for held in memory.files.values() if held.digest != file.digest):
        raise ConflictError("another agreement has this id and version between the same parties")
    known = place(command.event) in {place(event) for event in memory.events}
    if not known and command.own_head is not None:
        _check_chain(memory, command.event, command.own_head)
    if not known:
        check_stated(deciding.of_event(None if file.digest in memory.files else file, command.event), command.entry)
    memory.files.setdefault(file.digest, file)
    if known:
        return False
    memory.events.append(command.event)
    memory._append(command.entry)
    if command.push_to is not None:
        memory.owe(command.push_to, "event", command.event.hash, command.event.jws, command.now)
    memory.look_again(command.now, lambda row: row.agreement == command.event.digest)
    return True


def _check_chain(memory: Memory, event: commands.EventRow, head: str) -> None:
    """Refuse an event of ours that would fork our chain, or lengthen one that is forked or broken."""
    mine = [held for held in memory.events if (held.digest, held.org) == (event.digest, event.org)]
    chain = sorted(mine, key=lambda held: held.n)
    tip = chain[-1].hash if chain else ZERO_DIGEST
    if tip != head or [held.n for held in chain] != list(range(1, event.n)):
        raise HeadsMovedError(event.digest)


HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
    commands.RecordEvent: record_event,
}


def parties_of(file: commands.AgreementFile) -> tuple[str, str]:
    parties = json.loads(file.canonical)["party"]
    return parties["a"]["id"], parties["b"]["id"]


def named(file: commands.AgreementFile) -> tuple[Any, ...]:
    """What only one agreement may have."""
    return file.id, file.version, *parties_of(file)


def place(event: commands.EventRow) -> tuple[Any, ...]:
    """What only one event may have: a fork has another hash."""
    return event.digest, event.org, event.n, event.hash


@dataclass(frozen=True)
class MemoryAgreements:
    memory: Memory

    async def get(self, digest: str) -> AgreementRecord | None:
        file = self.memory.files.get(digest)
        events = sorted((event for event in self.memory.events if event.digest == digest), key=place)
        return None if file is None else AgreementRecord(file=file, events=tuple(events))

    async def between(self, partner: str) -> tuple[AgreementRecord, ...]:
        return tuple(record for record in await self.all() if partner in parties_of(record.file))

    async def all(self) -> tuple[AgreementRecord, ...]:
        found = [await self.get(file.digest) for file in sorted(self.memory.files.values(), key=named)]
        return tuple(record for record in found if record is not None)
