"""Partners' messages on plain dictionaries: the fake of `ports.Inbox`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.core import commands, deciding
from gateway.core.commands import Command
from gateway.core.errors import IllegalTransitionError
from gateway.core.lifecycle import InboundEvent, InboundState, ReceiptEvent, after_inbound
from gateway.ports import InboundMessage
from tests.support import service
from tests.support.agreement_events import check_heads
from tests.support.rows import check_stated

if TYPE_CHECKING:
    from tests.support.memory import Memory

ACTS = {ReceiptEvent.TAKEN: InboundEvent.HAND_OVER, ReceiptEvent.COLLECTED: InboundEvent.OPEN}


@dataclass
class Arrived:
    """A partner's message, as the store keeps it; every row of these is also a row of the inbox."""

    row: commands.InboundRow
    inner: bytes | None
    receipt: bytes
    state: InboundState
    acknowledged: dict[ReceiptEvent, bytes] = field(default_factory=dict)


def receive(memory: Memory, command: commands.Receive) -> commands.Received:
    row = command.message
    known = [
        held
        for (sender, _), held in memory.arrived.items()
        if sender == row.sender and (held.row.id == row.id or held.row.env == row.env)
    ]
    if known and all(held.row.env == row.env for held in known):
        return commands.Received(reception=commands.Reception.DUPLICATE, receipt=known[0].receipt)
    if known:
        return commands.Received(reception=commands.Reception.CONFLICT, receipt=b"")
    if command.heads is not None:
        check_heads(memory, command.heads)
    memory.arrived[row.sender, row.id] = Arrived(
        row=row,
        inner=command.inner,
        receipt=command.receipt,
        state=InboundState.REFUSED if command.inner is None else InboundState.RECEIVED,
    )
    new = {(tag, "location") for tag in command.protect} - memory.protected
    check_stated((deciding.put("protection", tag=tag, kind=kind) for tag, kind in new), command.protect_entry)
    memory.protected |= new
    memory._append(command.entry, command.protect_entry if new else None)
    service.apply(memory, command.effects)
    return commands.Received(reception=commands.Reception.NEW, receipt=command.receipt)


def release(memory: Memory, command: commands.Release) -> None:
    held = memory.arrived.get((command.sender, command.message_id))
    if held is None or held.inner is None:
        raise IllegalTransitionError("its content is not here")
    memory._append(command.entry)


def acknowledge(memory: Memory, command: commands.Acknowledge) -> bytes:
    held, act = memory.arrived.get((command.sender, command.message_id)), ACTS.get(command.event)
    if held is None or act is None:
        raise IllegalTransitionError("no such message, or no act of its receiver")
    if command.event in held.acknowledged:
        if act is InboundEvent.OPEN:  # who opened it is logged every time, and what is destroyed is opened no more
            after_inbound(held.state, act)
            memory._append(command.entry)
        return held.acknowledged[command.event]
    held.state = after_inbound(held.state, act)
    held.acknowledged[command.event] = command.receipt
    memory._append(command.entry)
    ref = f"{command.message_id}/{command.event}"
    memory.owe(command.sender, "receipt", ref, command.receipt, command.now)
    return command.receipt


HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
    commands.Receive: receive,
    commands.Release: release,
    commands.Acknowledge: acknowledge,
}


@dataclass(frozen=True)
class MemoryInbox:
    memory: Memory

    async def stored_receipt(self, sender: str, env: str) -> bytes | None:
        held = [a for a in self.memory.arrived.values() if (a.row.sender, a.row.env) == (sender, env)]
        return held[0].receipt if held else None

    async def env_of(self, sender: str, message_id: str) -> str | None:
        held = self.memory.arrived.get((sender, message_id))
        return held.row.env if held else None

    async def message(self, message_id: str, sender: str | None = None) -> InboundMessage | None:
        held = [a for a in self.memory.arrived.values() if a.row.id == message_id and sender in (None, a.row.sender)]
        if len(held) != 1:
            return None
        row, state = held[0].row, held[0].state
        first = ReceiptEvent.REJECTED if state is InboundState.REFUSED else ReceiptEvent.CHECKED
        given = [(first, held[0].receipt), *held[0].acknowledged.items()]
        return InboundMessage(
            sender=row.sender,
            id=row.id,
            type=row.type,
            agreement=row.agreement,
            state=state,
            env=row.env,
            jws=row.jws,
            thread=row.thread,
            urgency=row.urgency,
            created_at=row.created_at,
            expires_at=row.expires_at,
            received_at=row.received_at,
            receipts=tuple((str(event), data) for event, data in given),
            inner=held[0].inner,
        )
