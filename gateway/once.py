"""An own client's request that is carried out once: a repeat with the same key gets the answer of the first.

Shared by what the API does besides submitting, which keeps its answer in its own transaction. Here the answer is kept after
the act: what is interrupted between the two is carried out again, so every act given here changes nothing when repeated,
or refuses with its state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from gateway.core.commands import Idempotency
from gateway.core.errors import IdempotencyConflictError
from gateway.core.tokens import Remember
from gateway.ports import Exchange

Act: TypeAlias = Callable[[], Awaitable[bytes]]


async def answer(client: str, key: str, request_digest: bytes, act: Act, exchange: Exchange) -> bytes:
    """Seen before -> the kept answer; else act, and keep its answer. A refusal is not kept: the key may be used again.

    Raises IdempotencyConflictError where the key was used for another request, and whatever the act raises.
    """
    seen = await exchange.outbox.response(client, key)
    if seen is not None:
        if seen[0] != request_digest:
            raise IdempotencyConflictError("the idempotency key was used for another request")
        return seen[1]
    response = await act()
    kept = Idempotency(client=client, key=key, request_digest=request_digest, response=response)
    return await exchange.store.write(Remember(idempotency=kept))
