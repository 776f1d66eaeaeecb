"""Tokens of own clients, as rows that decide (log A6)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import select

from gateway.core.tokens import CreateToken, RevokeToken, Scope, Token
from gateway.store.cells import as_blob
from gateway.store.readers import Reader
from gateway.store.schema import token as table
from gateway.store.transaction import Transaction

_SCOPES: Final = frozenset(scope.value for scope in Scope)


def create(tx: Transaction, create: CreateToken) -> None:
    """Put the row in, with its mac, and log it."""
    tx.insert_sealed(table, **_row(create.token))
    tx.append(create.entry)


def revoke(tx: Transaction, revoke: RevokeToken) -> bool:
    """Write the row again with the time of its end; one that is not ours stays refused as it is."""
    rows = tx.read_sealed(table, table.c.id == revoke.token.id)
    if not rows or replace(_token(rows[0]), revoked_at=revoke.token.revoked_at) != revoke.token:
        return False
    if rows[0]["revoked_at"] is not None:
        return False
    tx.put_sealed(table, **_row(revoke.token))
    tx.append(revoke.entry)
    return True


class StoredTokens:
    """`ports.Tokens` on the table."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def of(self, digest: bytes) -> Token | None:
        rows = await self._reader.rows(select(table).where(table.c.hash == digest))
        found = [row for row in rows if hmac.compare_digest(as_blob(row["hash"]), digest)]
        good = self._reader.seal.checked(table, found)
        return _token(good[0]) if good else None

    async def all(self) -> tuple[Token, ...]:
        rows = await self._reader.rows(select(table).order_by(table.c.created_at, table.c.id))
        return tuple(map(_token, self._reader.seal.checked(table, rows)))


def _row(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "scopes": " ".join(sorted(token.scopes)),
        "hash": token.digest,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }


def _token(row: Mapping[str, Any]) -> Token:
    return Token(
        id=row["id"],
        digest=row["hash"],
        name=row["name"],
        role=row["role"],
        scopes=frozenset(Scope(name) for name in row["scopes"].split() if name in _SCOPES),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
