"""What an organisation holds in secret: the keys it signs and opens with, each with its role, and symmetric secrets.

Pure values; reading and writing them is the job of `keys.sources`. Which key is in force when is the bundle's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from keys.errors import KeyFormatError
from keys.key import Kid, SecretKey

SYMMETRIC_SIZE = 32  # bytes of every symmetric secret (append, store, kek, index)
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A secret key and the one job it is for (`message-sign`, `http`, `root`, ..)."""

    role: str
    secret: SecretKey

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.role):
            raise KeyFormatError("a role is lower-case letters, digits and hyphens")

    @property
    def kid(self) -> Kid:
        """The id that the bundle knows the key by."""
        return self.secret.public.kid


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """Everything that one keystore holds. Changing it makes a new value: nothing changes at rest until it is written."""

    keys: tuple[StoredKey, ...]
    secrets: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if len({key.kid for key in self.keys}) != len(self.keys):
            raise KeyFormatError("a key is stored once")
        for name, value in self.secrets.items():
            if not _NAME.fullmatch(name) or len(value) != SYMMETRIC_SIZE:
                raise KeyFormatError("a symmetric secret has a lower-case name and 32 bytes")
        object.__setattr__(self, "secrets", MappingProxyType(dict(self.secrets)))

    def find(self, kid: Kid) -> StoredKey | None:
        """Return the key of this id, if it is held."""
        return next((key for key in self.keys if key.kid == kid), None)

    def add(self, *keys: StoredKey) -> KeySet:
        """Return the set with `keys` after those held. Raises KeyFormatError for a key already held."""
        return replace(self, keys=self.keys + keys)

    def remove(self, kid: Kid) -> KeySet:
        """Return the set without one key, for one that moves elsewhere. Raises KeyFormatError if it is not held."""
        if self.find(kid) is None:
            raise KeyFormatError("only a key that is held can be taken out")
        return replace(self, keys=tuple(key for key in self.keys if key.kid != kid))

    def destroy(self, *kids: Kid) -> KeySet:
        """Return the set without these keys, held or not: once it is written, what they could open is lost."""
        return replace(self, keys=tuple(key for key in self.keys if key.kid not in kids))
