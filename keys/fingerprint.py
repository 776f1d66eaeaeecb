"""The fingerprint of an organisation's root pair, as people compare it: hex in writing, twelve words on the telephone.

Pure. First trust rests on it alone (envelope section 5): the name of the organisation is inside, so that words heard
from one organisation never vouch for another.
"""

from __future__ import annotations

import hashlib

from mnemonic import Mnemonic

from keys import base64url
from keys.key import VerifyingPair

_LABEL = b"safehand sh1 root"
_SPOKEN = 16  # bytes: 12 words of 11 bits hold 128 bits and a checksum of 4


def fingerprint(org: str, roots: VerifyingPair) -> bytes:
    """Return the 32 bytes for an organisation id and its root pair."""
    thumbprints = b"".join(base64url.decode(kid, 32) for kid in roots.kids)
    return hashlib.sha256(_LABEL + b"\0" + org.encode("ascii") + b"\0" + thumbprints).digest()


def to_hex(value: bytes) -> str:
    """Return all 32 bytes as 64 lower-case digits."""
    return value.hex()


def to_text(value: bytes) -> str:
    """Return the digest form that an agreement's `root` holds."""
    return f"sha256:{value.hex()}"


def to_words(value: bytes) -> tuple[str, ...]:
    """Return the first 16 bytes as 12 BIP-39 English words (the bytes are the entropy, the checksum is added)."""
    return tuple(Mnemonic("english").to_mnemonic(value[:_SPOKEN]).split())


def words_match(typed: str, value: bytes) -> bool:
    """Say whether a person typed the twelve words; only case and spaces are forgiven."""
    return tuple(typed.lower().split()) == to_words(value)
