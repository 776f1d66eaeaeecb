"""What waits for a partner's gateway, made due at once, on plain dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway.core.commands import Command
from gateway.core.lifecycle import State
from gateway.core.retrying import TryNow

if TYPE_CHECKING:
    from tests.support.memory import Memory


def try_now(memory: Memory, command: TryNow) -> int:
    sent = [
        one for one in memory.sent.values() if one.row.partner == command.partner and one.state is not State.SENDING
    ]
    owed = [one for one in memory.outgoing.values() if one.item.partner == command.partner and one.token is None]
    waiting = [one for one in (*sent, *owed) if one.run_at is not None and one.run_at > command.now]
    for one in waiting:
        one.run_at = command.now
    return len(waiting)


HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {TryNow: try_now}
