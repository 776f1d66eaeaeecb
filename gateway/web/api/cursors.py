"""Cursors: where a client left off, as one opaque text. Pure.

A number and the kind of list that it belongs to. It grants nothing, so it is not signed: who makes one up reads another page
of what the token shows anyway.
"""

from __future__ import annotations

from typing import Final, Literal

from keys.base64url import decode, encode
from keys.errors import Base64Error

Kind = Literal["inbox", "events"]

_TAGS: Final[dict[Kind, bytes]] = {"inbox": b"\x01", "events": b"\x02"}
_LENGTH: Final = 9
_MOST: Final = 2**53  # far beyond any index, and within what a database takes


def to_text(kind: Kind, number: int) -> str:
    """Return the cursor of a place in a list."""
    return encode(_TAGS[kind] + number.to_bytes(_LENGTH - 1))


def to_number(kind: Kind, text: str) -> int | None:
    """Return the place, or None for a text that is no cursor of this list."""
    try:
        data = decode(text, _LENGTH)
    except Base64Error:
        return None
    number = int.from_bytes(data[1:])
    return number if data[:1] == _TAGS[kind] and number < _MOST else None
