"""Tokens of case systems: made, listed, revoked, and asked for at the door of the API.

Made and revoked by an operator alone (command line, admin socket), each time with an entry in the exchange log; a gateway
that was restored from a backup revokes them all. A token row that fails its mac counts as absent: whoever can write to the database cannot plant one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from gateway import entries
from gateway.core import deciding
from gateway.core.errors import SubmissionRefusedError
from gateway.core.message import DAY
from gateway.core.roles import check_role
from gateway.core.tokens import (
    CreateToken,
    RevokeToken,
    Scope,
    Token,
    TokenScopeError,
    TokenUnknownError,
    digest_of,
    new_text,
)
from gateway.ports import Exchange

MOST_DAYS: Final = 400
_ID_BYTES: Final = 8
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token just made: the only place where its text ever is."""

    token: Token
    text: str = field(repr=False)


async def create(
    name: str, role: str, scopes: Iterable[str], days: int, exchange: Exchange, *, by: str | None
) -> NewToken:
    """Name, role, scopes and days checked -> text drawn -> its digest kept and logged; the text is returned, once."""
    if not _NAME.fullmatch(name):
        raise SubmissionRefusedError(
            "token.name", "name", "letters, digits and inner spaces, dots, hyphens and underscores, 64 at most"
        )
    check_role(role)
    if not 1 <= days <= MOST_DAYS:
        raise SubmissionRefusedError("token.lifetime", "expires_days", f"1 to {MOST_DAYS} days")
    allowed = frozenset(map(_scope, scopes))
    if not allowed:
        raise SubmissionRefusedError("token.scopes", "scope", "at least one is needed")
    now = exchange.clock()
    at, text = int(now.timestamp()), new_text(exchange.entropy)
    digest = digest_of(text)
    assert digest is not None  # noqa: S101 - `new_text` makes texts of the one form
    token = Token(
        id=exchange.entropy(_ID_BYTES).hex(),
        digest=digest,
        name=name,
        role=role,
        scopes=allowed,
        created_at=at,
        expires_at=at + days * DAY,
        revoked_at=None,
    )
    what = entries.Circumstance(outcome="created", role=role, by=by, rows=deciding.of_token(token))
    entry = entries.about_own(exchange.journal, "token-created", now, what)
    await exchange.store.write(CreateToken(token=token, entry=entry))
    return NewToken(token=token, text=text)


async def revoke(token_id: str, exchange: Exchange, *, by: str | None) -> None:
    """End a token at once and for good, and log it; raises SubmissionRefusedError where there is none in force."""
    held = next((token for token in await exchange.tokens.all() if token.id == token_id), None)
    if held is None or not await _end(held, exchange, outcome="revoked", by=by):
        raise SubmissionRefusedError("token.none", "id", "no such token, or it was revoked before")


async def revoke_all(exchange: Exchange, *, outcome: str) -> None:
    """End every token that is in force, or would ever be; `outcome` is the reason, a code. Nobody in particular did it."""
    now = int(exchange.clock().timestamp())
    for held in await exchange.tokens.all():
        if held.revoked_at is None and now < held.expires_at:
            await _end(held, exchange, outcome=outcome, by=None)


async def _end(held: Token, exchange: Exchange, *, outcome: str, by: str | None) -> bool:
    now = exchange.clock()
    ended = replace(held, revoked_at=int(now.timestamp()))
    what = entries.Circumstance(outcome=outcome, role=held.role, by=by, rows=deciding.of_token(ended))
    entry = entries.about_own(exchange.journal, "token-revoked", now, what)
    return await exchange.store.write(RevokeToken(token=ended, entry=entry))


async def authorise(text: str, exchange: Exchange) -> Token:
    """Text -> digest -> row whose mac holds -> in force. Raises TokenUnknownError, the same for every cause.

    One indexed lookup by the digest of what was shown: nothing compares a part of a secret, so no time tells of one.
    """
    digest = digest_of(text)
    token = None if digest is None else await exchange.tokens.of(digest)
    if token is None or not token.in_force(int(exchange.clock().timestamp())):
        raise TokenUnknownError("no token that is in force")
    return token


def require(token: Token, scope: Scope) -> None:
    """Raise TokenScopeError where the token does not allow this."""
    if scope not in token.scopes:
        raise TokenScopeError(f"the token has not the scope {scope}")


def _scope(name: str) -> Scope:
    try:
        return Scope(name)
    except ValueError:
        raise SubmissionRefusedError("token.scopes", "scope", f"one of {', '.join(Scope)}") from None
