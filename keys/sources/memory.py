"""A key source without a file, for tests and for commands that hold keys no longer than they run."""

from __future__ import annotations

from keys.errors import KeystoreError
from keys.keyset import KeySet


class MemorySource:
    """Holds a `KeySet` until the process ends."""

    def __init__(self) -> None:
        self._keys: KeySet | None = None

    def create(self, keys: KeySet) -> None:
        """Begin with `keys`."""
        if self._keys is not None:
            raise KeystoreError("keystore.exists", "there is already a set of keys in memory")
        self._keys = keys

    def load(self) -> KeySet:
        """Return the set held."""
        if self._keys is None:
            raise KeystoreError("keystore.absent", "there is no set of keys in memory")
        return self._keys

    def replace(self, keys: KeySet) -> None:
        """Hold `keys` instead."""
        self.load()
        self._keys = keys
