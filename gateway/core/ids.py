"""Message ids: UUIDv7 (RFC 9562 section 5.7) from a time and random bytes that are handed in. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime


def new_message_id(now: datetime, entropy: Callable[[int], bytes]) -> str:
    """Return a lower-case UUIDv7: 48 bits of milliseconds, 74 random bits."""
    milliseconds = int(now.timestamp()) * 1000 + now.microsecond // 1000
    value = milliseconds << 80 | int.from_bytes(entropy(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
