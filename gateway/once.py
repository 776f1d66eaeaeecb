"""An own client's request that is carried out once: a repeat with the same key gets the answer of the first.

Shared by what the API does besides submitting, which keeps its answer in its own transaction. An act that writes one thing
keeps its answer together with it (`carry_out`); one of several parts (an enquiry, each part of which is a submission with an
answer of its own) keeps the whole after the last (`answer`), and a repeat in between finds every part done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

from gateway.core.commands import Command, Idempotency
from gateway.core.errors import IdempotencyConflictError, LogInconsistentError
from gateway.core.once import Asked, Once
from gateway.core.tokens import Remember
from gateway.ports import Exchange, Store

R = TypeVar("R")

Act: TypeAlias = Callable[[], Awaitable[bytes]]
Faces: TypeAlias = Mapping[type[Command[Any]], Callable[[Any, Any], bytes | None]]
"""For each command that decides what is answered, the answer to make of it and its value; None where it is only a half."""


async def carry_out(
    asked: Asked, act: Callable[[Exchange], Awaitable[object]], faces: Faces, exchange: Exchange
) -> bytes:
    """Seen before -> the kept answer; else act, whose command of `faces` keeps its answer in its own transaction.

    Raises IdempotencyConflictError where the key was used for another request, and whatever the act raises before it wrote.
    """
    seen = await _seen(asked, exchange)
    if seen is not None:
        return seen
    keeping = _Keeping(exchange.store, asked, faces)
    await act(replace(exchange, store=keeping))
    if keeping.response is None:
        raise LogInconsistentError("an act of a client that wrote nothing to answer with")
    return keeping.response


async def answer(asked: Asked, act: Act, exchange: Exchange) -> bytes:
    """Seen before -> the kept answer; else act, and keep its answer. A refusal is not kept: the key may be used again."""
    seen = await _seen(asked, exchange)
    if seen is not None:
        return seen
    response = await act()
    kept = Idempotency(client=asked.client, key=asked.key, request_digest=asked.digest, response=response)
    return await exchange.store.write(Remember(idempotency=kept))


async def _seen(asked: Asked, exchange: Exchange) -> bytes | None:
    seen = await exchange.outbox.response(asked.client, asked.key)
    if seen is None:
        return None
    if seen[0] != asked.digest:
        raise IdempotencyConflictError("the idempotency key was used for another request")
    return seen[1]


@dataclass(slots=True)
class _Keeping:
    """`ports.Store` for one act of one request: what decides the answer is written together with it."""

    store: Store
    asked: Asked
    faces: Faces
    response: bytes | None = None

    async def write(self, command: Command[R]) -> R:
        face = self.faces.get(type(command))
        if face is None:
            return await self.store.write(command)
        done = await self.store.write(Once(act=command, asked=self.asked, answer=partial(face, command)))
        self.response = done.response
        return cast(R, done.value)
