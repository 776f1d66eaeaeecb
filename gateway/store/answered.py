"""The answers kept for idempotency keys: of submissions, of acts carried out with their answer, of what was put together."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import bindparam, or_, select

from contracts.document import write_wire
from gateway.core.commands import Command, Idempotency
from gateway.core.errors import IdempotencyConflictError
from gateway.core.once import Done, Once
from gateway.core.tokens import Remember
from gateway.store.schema import command
from gateway.store.transaction import Transaction

_AS: Final = "idempotency:"  # before the mac: what it is made for, and how a row shows that it holds one

# Digest and answer of the request that had this key: of `named`.
ANSWERED: Final = select(command.c.request_digest, command.c.response).where(
    command.c.client == bindparam("client"),
    or_(command.c.idempotency_key == bindparam("hidden"), command.c.idempotency_key == bindparam("key")),
)


def named(store_key: bytes, client: str, key: str) -> dict[str, str]:
    """The values of `ANSWERED`.

    A client writes into its keys what it likes, a name or a case number too, and rows stay: kept is a mac under the store
    key. Rows of before hold the key itself, and are found as well.
    """
    return {"client": client, "hidden": _hidden(store_key, client, key), "key": key}


def _hidden(store_key: bytes, client: str, key: str) -> str:
    return _AS + hmac.digest(store_key, write_wire([_AS, client, key]), "sha256").hex()


def seen(tx: Transaction, client: str, key: str, request_digest: bytes) -> bytes | None:
    """Return the answer that was kept, None where there is none; raises IdempotencyConflictError. The command that asks
    MUST touch the key."""
    rows = tx.read_touched(ANSWERED, **named(tx.seal.key, client, key))
    if not rows:
        return None
    if rows[0].request_digest != request_digest:
        raise IdempotencyConflictError("another request had this key")
    return bytes(rows[0].response)


def keep(tx: Transaction, answered: Idempotency) -> None:
    """Keep an answer where there is none."""
    tx.insert(
        command,
        client=answered.client,
        idempotency_key=_hidden(tx.seal.key, answered.client, answered.key),
        request_digest=answered.request_digest,
        response=answered.response,
    )


def remember(tx: Transaction, remember: Remember) -> bytes:
    """Keep an answer; a request that was answered meanwhile keeps its first."""
    request = remember.idempotency
    first = seen(tx, request.client, request.key, request.request_digest)
    if first is not None:
        return first
    keep(tx, request)
    return request.response


def once(tx: Transaction, once: Once, handle: Callable[[Transaction, Command[Any]], Any]) -> Done:
    """The act, and the answer to who asked for it."""
    asked = once.asked
    first = seen(tx, asked.client, asked.key, asked.digest)
    if first is not None:
        return Done(value=None, response=first)
    value = handle(tx, once.act)
    response = once.answer(value)
    if response is not None:
        keep(
            tx,
            Idempotency(client=asked.client, key=asked.key, request_digest=asked.digest, response=response),
        )
    return Done(value=value, response=response)
