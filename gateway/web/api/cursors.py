"""Cursors: where a client left off, as one opaque text. Pure.

A number, the kind of list that it belongs to, and which restore the numbers are counted since: a gateway that came back from a
backup gives the numbers of what it lost a second time. It grants nothing, so it is not signed: who makes one up reads another
page of what the token shows anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from keys.base64url import decode, encode
from keys.errors import Base64Error

Kind = Literal["inbox", "events"]

_TAGS: Final[dict[Kind, bytes]] = {"inbox": b"\x01", "events": b"\x02"}
_PLACE: Final = 9  # the tag and the number
_SINCE: Final = 6  # bytes; none before the first restore
_MOST: Final = 2**53  # far beyond any index, and within what a database takes


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list, and the leaf hash (its first bytes) of the restore that it was given after."""

    number: int
    since: bytes


def to_text(kind: Kind, number: int, restored: bytes | None) -> str:
    """Return the cursor of a place in a list; `restored` is the leaf hash of the newest `restored` entry."""
    return encode(_TAGS[kind] + number.to_bytes(_PLACE - 1) + since(restored))


def read(kind: Kind, text: str) -> Cursor | None:
    """Return the place, or None for a text that is no cursor of this list."""
    try:
        data = decode(text)
    except Base64Error:
        return None
    if len(data) not in (_PLACE, _PLACE + _SINCE) or data[:1] != _TAGS[kind]:
        return None
    number = int.from_bytes(data[1:_PLACE])
    return Cursor(number, data[_PLACE:]) if number < _MOST else None


def since(restored: bytes | None) -> bytes:
    """What a cursor says of the restore that it was given after."""
    return b"" if restored is None else restored[:_SINCE]
