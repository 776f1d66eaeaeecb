"""Webhooks as Standard Webhooks has them: the secret, the body, the signature; and what follows an attempt.

    webhook-id: evt_2f6b0c..            the same for every attempt at one event
    webhook-timestamp: 1796115600       of the attempt, in seconds
    webhook-signature: v1,<base64>      HMAC-SHA-256 over id "." timestamp "." body

Pure: the clock is read and the dice are thrown by the caller.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from gateway.core.commands import Command
from gateway.core.happened import PING
from gateway.core.retry import wait

PREFIX: Final = b"whsec_"
MEDIA_TYPE: Final = "application/json"
SECRET_SIZE: Final = 32  # bytes of a new secret
_SHORTEST: Final = 24  # bytes: what Standard Webhooks allows
_LONGEST: Final = 64
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{32,88}={0,2}")
_FORM = f"must hold one line: whsec_ and base64 of {_SHORTEST} to {_LONGEST} bytes"
GIVEN_UP_AFTER: Final = timedelta(days=1)  # since the oldest event that waits: a person is told
GONE: Final = 410  # the receiver wants no more


@dataclass(frozen=True, slots=True, kw_only=True)
class PutWebhookCursor(Command[None]):
    """A receiver has everything before `position`, an index of the log; `position` only ever grows."""

    name: str
    position: int

    def touches(self) -> frozenset[str]:
        return frozenset({f"webhook:{self.name}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One event as it is sent: the body's bytes are the same in every attempt."""

    id: str
    body: bytes

    def headers(self, secret: bytes, at: int) -> Mapping[str, str]:
        """The headers of one attempt, `at` in seconds."""
        return {
            "Content-Type": MEDIA_TYPE,
            "webhook-id": self.id,
            "webhook-timestamp": str(at),
            "webhook-signature": f"v1,{signature(secret, self.id, at, self.body)}",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """The receiver has it: go on with the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """Not before `at`; nothing later overtakes it."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """410 Gone: nothing more is sent until the gateway starts again."""


def new_secret(entropy: bytes) -> bytes:
    """Return the text of a secret made of these random bytes."""
    return PREFIX + base64.b64encode(entropy)


def read_secret(text: bytes) -> bytes:
    """Return the key that `whsec_<base64>` stands for. Raises ValueError, whose text is a rule and nothing of what stood there."""
    encoded = text.removeprefix(PREFIX)
    if encoded == text or not _BASE64.fullmatch(encoded):
        raise ValueError(_FORM)
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError(_FORM) from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(_FORM)
    return key


def signature(secret: bytes, post_id: str, at: int, body: bytes) -> str:
    """Return the base64 of the HMAC that Standard Webhooks calls v1."""
    signed = b".".join((post_id.encode(), str(at).encode(), body))
    return base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def make_post(event_type: str, at_us: int, data: Mapping[str, Any], *, told: str) -> Post:
    """Return what is sent of an event; `told` says which it is.

    The id is made of `told`: the same in every attempt at one event, and never that of another.
    """
    return _post(f"evt_{hashlib.sha256(told.encode()).hexdigest()[:32]}", event_type, at_us, data)


def ping_post(nonce: bytes, at_us: int) -> Post:
    """Return a trial that says nothing."""
    return _post(f"ping_{nonce.hex()}", PING, at_us, {})


def after_attempt(
    status: int | None, retry_after: int | None, *, attempts: int, now: datetime, jitter: float
) -> Arrived | TryAgain | Stopped:
    """Decide what follows an attempt; `status` None where nothing was answered, `attempts` at this event, this one included.

    Only 2xx is arrival: a redirect is never followed, and counts as a refusal.
    """
    if status is not None and 200 <= status < 300:
        return Arrived()
    if status == GONE:
        return Stopped()
    asked = None if retry_after is None else timedelta(seconds=retry_after)
    return TryAgain(at=now + wait(attempts, asked, jitter))


def given_up(at_us: int, now: datetime) -> bool:
    """Whether an event of that time has waited so long that a person must know; it is tried again all the same."""
    return now - _instant(at_us) >= GIVEN_UP_AFTER


def _post(post_id: str, event_type: str, at_us: int, data: Mapping[str, Any]) -> Post:
    body = {"type": event_type, "timestamp": timestamp(at_us), "data": data}
    return Post(id=post_id, body=orjson.dumps(body))


def timestamp(at_us: int) -> str:
    """RFC 3339 in UTC, in whole seconds."""
    return _instant(at_us).strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(at_us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
