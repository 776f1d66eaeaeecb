"""Bodies at rest: a random key for each message, wrapped by the organisation's key-encryption key (architecture section 5).

Destroying the one wrapped key destroys the content, and leaves every proof valid. Openings of the log's commitments are
encrypted too; erasing those is deleting their rows. No SQL here.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from gateway.core.errors import SafehandError
from gateway.store.rows import encode

ENVELOPE: Final = "envelope"
INNER: Final = "inner"
_KEY: Final = 32
_NONCE: Final = 12


class VaultError(SafehandError):
    """Content at rest that cannot be opened: another key-encryption key, or bytes that are not the ones stored."""

    code = "vault.unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The rows that one message's content becomes, and the id that the message's row refers to."""

    id: str
    key_row: Mapping[str, Any] = field(repr=False)
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)


class Vault:
    """Seals and opens with one key-encryption key (32 bytes)."""

    def __init__(self, kek: bytes) -> None:
        if len(kek) != _KEY:
            raise ValueError("a key-encryption key is 32 bytes")
        self._kek = kek
        derived = HKDF(algorithm=SHA256(), length=_KEY, salt=None, info=b"safehand store log_detail").derive(kek)
        self._details = AESGCM(derived)

    def seal(self, message_id: str, parts: Mapping[str, bytes]) -> Sealed:
        """Encrypt the parts of one message under a fresh key."""
        content_id, key = secrets.token_hex(16), AESGCM.generate_key(256)
        cipher = AESGCM(key)
        rows = []
        for part, data in parts.items():
            nonce = secrets.token_bytes(_NONCE)
            ciphertext = cipher.encrypt(nonce, data, _content_aad(content_id, part, message_id))
            rows.append({"id": content_id, "part": part, "nonce": nonce, "ciphertext": ciphertext})
        wrapped = {"id": content_id, "wrapped": aes_key_wrap(self._kek, key), "destroy_on": None}
        return Sealed(id=content_id, key_row=wrapped, rows=tuple(rows))

    def open(self, message_id: str, wrapped: bytes, row: Mapping[str, Any]) -> bytes:
        """Decrypt one part (`row`: id, part, nonce, ciphertext). Raises VaultError."""
        try:
            key = aes_key_unwrap(self._kek, wrapped)
            aad = _content_aad(row["id"], row["part"], message_id)
            return AESGCM(key).decrypt(row["nonce"], row["ciphertext"], aad)
        except (InvalidUnwrap, InvalidTag, ValueError) as error:
            raise VaultError("content at rest does not open") from error

    def seal_detail(self, index: int, name: str, column: str, data: bytes) -> bytes:
        """Encrypt one column of an opening of entry `index`."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._details.encrypt(nonce, data, _detail_aad(index, name, column))

    def open_detail(self, index: int, name: str, column: str, data: bytes) -> bytes:
        """Decrypt what `seal_detail` made. Raises VaultError."""
        try:
            return self._details.decrypt(data[:_NONCE], data[_NONCE:], _detail_aad(index, name, column))
        except (InvalidTag, ValueError) as error:
            raise VaultError("an opening at rest does not open") from error


def _content_aad(content_id: str, part: str, message_id: str) -> bytes:
    return encode(["content", content_id, part, message_id])


def _detail_aad(index: int, name: str, column: str) -> bytes:
    return encode(["log_detail", index, name, column])
