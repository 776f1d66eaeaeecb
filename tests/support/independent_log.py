"""A second log and witness client, written from RFC 6962 and the C2SP pages alone: it imports nothing of the project.

Recursive where the project iterates, and `cryptography` where the project has libsodium: a fault in one is not a fault in both.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def tree_hash(entries: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + tree_hash(entries[:k]) + tree_hash(entries[k:])).digest()


def consistency(old: int, entries: list[bytes]) -> list[bytes]:
    """PROOF of RFC 6962 section 2.1.2."""

    def subproof(m: int, part: list[bytes], whole: bool) -> list[bytes]:
        if m == len(part):
            return [] if whole else [tree_hash(part)]
        k = 1
        while k * 2 < len(part):
            k *= 2
        if m <= k:
            return [*subproof(m, part[:k], whole), tree_hash(part[k:])]
        return [*subproof(m - k, part[k:], False), tree_hash(part[:k])]

    return subproof(old, entries, True) if 0 < old < len(entries) else []


def key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


@dataclass
class IndependentLog:
    """A log of raw entries that signs whatever it is told to."""

    origin: str
    seed: bytes
    entries: list[bytes] = field(default_factory=list)

    @property
    def secret(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def text(self, size: int | None = None) -> str:
        entries = self.entries[: len(self.entries) if size is None else size]
        return f"{self.origin}\n{len(entries)}\n{b64(tree_hash(entries))}\n"

    def note(self, size: int | None = None) -> bytes:
        text = self.text(size)
        public = self.secret.public_key().public_bytes_raw()
        signature = key_id(self.origin, 1, public) + self.secret.sign(text.encode())
        return f"{text}\n\u2014 {self.origin} {b64(signature)}\n".encode()

    def request(self, old: int, size: int | None = None, proof: list[bytes] | None = None) -> bytes:
        entries = self.entries[: len(self.entries) if size is None else size]
        hashes = consistency(old, entries) if proof is None else proof
        return f"old {old}\n{''.join(b64(value) + chr(10) for value in hashes)}\n".encode() + self.note(size)


def cosigned_at(text: str, line: str, name: str, public: bytes) -> int | None:
    """The time in a witness's line under a checkpoint's text; None where the line is not that witness's, or not good."""
    dash, who, encoded = line.removesuffix("\n").split(" ")
    data = base64.b64decode(encoded, validate=True)
    if (dash, who, data[:4], len(data)) != ("\u2014", name, key_id(name, 4, public), 76):
        return None
    at = int.from_bytes(data[4:12], "big")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(data[12:], f"cosignature/v1\ntime {at}\n{text}".encode())
    except InvalidSignature:
        return None
    return at


def root_from(leaf_entry: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that an audit path leads to (RFC 6962 section 2.1.1), recursively."""
    if size == 1:
        assert not path
        return hashlib.sha256(b"\x00" + leaf_entry).digest()
    k = 1
    while k * 2 < size:
        k *= 2
    *below, last = path
    if index < k:
        return hashlib.sha256(b"\x01" + root_from(leaf_entry, index, k, below) + last).digest()
    return hashlib.sha256(b"\x01" + last + root_from(leaf_entry, index - k, size - k, below)).digest()
