"""What own clients' ports are on a gateway in memory: tokens, events, arrivals, enquiries. `tests.support.memory` holds the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.core import deciding
from gateway.core.commands import Command
from gateway.core.errors import IdempotencyConflictError
from gateway.core.happened import LED_TO
from gateway.core.lifecycle import InboundState
from gateway.core.once import Done, Once
from gateway.core.tokens import CreateToken, Remember, RevokeToken, Token
from gateway.ports import InboundMessage, MessageEvent, Reach
from tests.support.inbox import MemoryInbox
from tests.support.rows import check_stated

if TYPE_CHECKING:
    from tests.support.memory import Memory


def create(memory: Memory, command: CreateToken) -> None:
    check_stated(deciding.of_token(command.token), command.entry)
    memory.tokens[command.token.digest] = command.token
    memory._append(command.entry)


def revoke(memory: Memory, command: RevokeToken) -> bool:
    held = memory.tokens.get(command.token.digest)
    if (
        held is None
        or held.revoked_at is not None
        or replace(held, revoked_at=command.token.revoked_at) != command.token
    ):
        return False
    check_stated(deciding.of_token(command.token), command.entry)
    memory.tokens[held.digest] = command.token
    memory._append(command.entry)
    return True


def remember(memory: Memory, command: Remember) -> bytes:
    asked = command.idempotency
    seen = memory.answers.setdefault((asked.client, asked.key), (asked.request_digest, asked.response))
    if seen[0] != asked.request_digest:
        raise IdempotencyConflictError("another request had this key")
    return seen[1]


def once(memory: Memory, command: Once, handle: Callable[[Command[Any]], Any]) -> Done:
    asked = command.asked
    seen = memory.answers.get((asked.client, asked.key))
    if seen is not None:
        if seen[0] != asked.digest:
            raise IdempotencyConflictError("another request had this key")
        return Done(value=None, response=seen[1])
    value = handle(command.act)
    response = command.answer(value)
    if response is not None:
        memory.answers[asked.client, asked.key] = (asked.digest, response)
    return Done(value=value, response=response)


@dataclass(frozen=True)
class MemoryTokens:
    memory: Memory

    async def of(self, digest: bytes) -> Token | None:
        return self.memory.tokens.get(digest)

    async def all(self) -> tuple[Token, ...]:
        return tuple(sorted(self.memory.tokens.values(), key=lambda token: (token.created_at, token.id)))


@dataclass(frozen=True)
class MemoryEvents:
    memory: Memory

    async def after(self, index: int, limit: int) -> tuple[MessageEvent, ...]:
        found = []
        for idx, entry in enumerate(self.memory.log):
            if idx <= index or entry.kind not in LED_TO.get(entry.dir or "", {}) or entry.message_id is None:
                continue
            if entry.dir == "out":
                sent = self.memory.sent.get(entry.message_id)
                thread = sent.row.thread if sent else None
            else:
                held = self.memory.arrived.get((entry.partner or "", entry.message_id))
                thread = held.row.thread if held else None
            if thread is None:
                continue
            found.append(
                MessageEvent(
                    index=idx,
                    at_us=entry.at_us,
                    kind=entry.kind,
                    dir="out" if entry.dir == "out" else "in",
                    message_id=entry.message_id,
                    partner=entry.partner or "",
                    thread=thread,
                    state=LED_TO[entry.dir or ""][entry.kind],
                )
            )
        return tuple(found[:limit])

    async def reach(self) -> Reach:
        restored = [entry.leaf for entry in self.memory.log if entry.kind == "restored"]
        return Reach(
            entries=len(self.memory.log),
            arrivals=len(_kept(self.memory)),
            restored=restored[-1] if restored else None,
        )


@dataclass(frozen=True)
class MemoryArrivals:
    memory: Memory

    async def after(self, place: int, limit: int) -> tuple[tuple[int, InboundMessage], ...]:
        found = []
        for number, (sender, message_id) in enumerate(_kept(self.memory), start=1):
            message = await MemoryInbox(self.memory).message(message_id, sender)
            if number > place and message is not None:
                found.append((number, replace(message, inner=None)))
        return tuple(found[:limit])


def _kept(memory: Memory) -> list[tuple[str, str]]:
    return [key for key, held in memory.arrived.items() if held.state is not InboundState.REFUSED]


@dataclass(frozen=True)
class MemoryEnquiries:
    memory: Memory

    async def asked(self, tags: Iterable[bytes], since: datetime) -> frozenset[str]:
        wanted, earliest = set(tags), int(since.timestamp() * 1_000_000)
        return frozenset(
            entry.partner
            for entry in self.memory.log
            if (entry.kind, entry.type) == ("submitted", "cme.enquiry")
            and entry.partner is not None
            and entry.at_us >= earliest
            and entry.tags & wanted
        )
