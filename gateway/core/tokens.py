"""Tokens: what a case system shows to prove that it may ask; their text, their scopes, and the commands that change them.

Pure. A token stands for one system and one staff role, not for a person. Its text is 32 random bytes behind a prefix that
scanners of leaked secrets can find; kept is the SHA-256 of the text, which needs no salt and no slow hash because nobody
can try 2^256 texts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway.core.commands import Command, Idempotency, LogEntry
from gateway.core.errors import SafehandError
from keys.base64url import encode

PREFIX: Final = "safehand_"
_BYTES: Final = 32
_TEXT: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")


class Scope(StrEnum):
    """What a token allows; a closed list."""

    SEND = "send"  # messages, answers, enquiries; giving them up and sending them again
    READ = "read"  # states, headers, receipts, events
    OPEN = "open"  # the records that came in, and saying that they were taken or opened
    AGREEMENTS = "agreements"
    PROTECT = "protect"  # the protection list


class TokenUnknownError(SafehandError):
    """No token that is in force: none, a wrong one, an expired and a revoked one all look like this."""

    code = "token.unknown"


class TokenScopeError(SafehandError):
    """The token is in force, and does not allow this."""

    code = "token.scope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as kept, without its text. `digest` is what it is found by, `role` the staff role that it stands for; times
    in seconds."""

    id: str
    digest: bytes = field(repr=False)
    name: str
    role: str
    scopes: frozenset[Scope]
    created_at: int
    expires_at: int
    revoked_at: int | None

    def in_force(self, now: int) -> bool:
        """Whether it may be used: made, not expired, not revoked."""
        return self.revoked_at is None and self.created_at <= now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateToken(Command[None]):
    """Keep a new token, and log it."""

    token: Token
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({f"token:{self.token.id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeToken(Command[bool]):
    """Revoke a token for good and log it; `token` is how it stands from now on. False, changing nothing, where it is not
    there, or was revoked before."""

    token: Token
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({f"token:{self.token.id}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember(Command[bytes]):
    """Keep the answer of a request that was carried out; answers the one kept first. Raises IdempotencyConflictError."""

    idempotency: Idempotency

    def touches(self) -> frozenset[str]:
        return frozenset({f"idempotency:{self.idempotency.client}:{self.idempotency.key}"})


def new_text(entropy: Callable[[int], bytes]) -> str:
    """Return the text of a new token: shown once, kept nowhere."""
    return PREFIX + encode(entropy(_BYTES))


def digest_of(text: str) -> bytes | None:
    """Return what a token is found by, or None for a text that is no token's."""
    return hashlib.sha256(text.encode()).digest() if _TEXT.fullmatch(text) else None
