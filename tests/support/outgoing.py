"""What is owed to partners besides messages, on a plain dictionary, and the leases that a graceful stop gives back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.core import commands
from gateway.core.commands import Command
from gateway.core.lifecycle import Event, after
from gateway.core.retry import RetryAt
from gateway.ports import OutgoingItem

if TYPE_CHECKING:
    from tests.support.memory import Memory


@dataclass
class Owed:
    """An item of `outgoing`."""

    item: OutgoingItem
    run_at: datetime | None
    token: bytes | None = None
    dead: bool = False

    def due(self, now: datetime) -> bool:
        return self.run_at is not None and self.run_at <= now


def claim_outgoing(memory: Memory, command: commands.ClaimOutgoing) -> bool:
    owed = memory.outgoing.get(command.id)
    if owed is None or not owed.due(command.now):
        return False
    owed.token, owed.run_at = command.token, command.until  # due again by itself when the lease ends
    owed.item = dataclasses.replace(
        owed.item,
        attempts=owed.item.attempts + 1,
        first_attempt_at=owed.item.first_attempt_at or command.now,
    )
    return True


def settle_outgoing(memory: Memory, command: commands.SettleOutgoing) -> bool:
    owed = memory.outgoing.get(command.id)
    if owed is None or owed.token != command.token:
        return False
    owed.token, owed.run_at = None, command.next.at if isinstance(command.next, RetryAt) else None
    owed.dead = command.next is not None and owed.run_at is None
    memory._append(command.entry)
    return True


def release_leases(memory: Memory, command: commands.ReleaseLeases) -> int:
    def is_held(token: bytes | None) -> bool:
        return token is not None and (command.tokens is None or token in command.tokens)

    leased = [sent for sent in memory.sent.values() if is_held(sent.token)]
    owed = [owed for owed in memory.outgoing.values() if is_held(owed.token)]
    for sent in leased:
        sent.enter(after(sent.state, Event.LEASE_ENDED), run_at=command.now)
    for item in owed:
        item.token, item.run_at = None, command.now
    return len(leased) + len(owed)


HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
    commands.ClaimOutgoing: claim_outgoing,
    commands.SettleOutgoing: settle_outgoing,
    commands.ReleaseLeases: release_leases,
}
