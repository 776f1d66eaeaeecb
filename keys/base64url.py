"""base64url without padding, in its one canonical form (RFC 4648 section 5, RFC 7515 section 2). Pure."""

from __future__ import annotations

import binascii

from keys.errors import Base64Error

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = str.maketrans("-_", "+/")


def encode(data: bytes) -> str:
    """Return the text form: no padding, no line breaks."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def decode(text: str, length: int | None = None) -> bytes:
    """Return the bytes of canonical text; `length` is the number of bytes that they must be.

    Raises Base64Error for padding, foreign characters, and left-over bits that are not zero.
    """
    if not isinstance(text, str):
        raise Base64Error("not a string")
    try:
        data = binascii.a2b_base64(text.translate(_FROM_URL) + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        raise Base64Error("not base64url") from None
    if encode(data) != text:  # no malleability: one text for one value
        raise Base64Error("not canonical base64url")
    if length is not None and len(data) != length:
        raise Base64Error(f"not {length} bytes")
    return data
