"""The port of key sources: where an organisation's secret keys rest. A source knows nothing of bundles or of time."""

from __future__ import annotations

from typing import Protocol

from keys.keyset import KeySet


class KeySource(Protocol):
    """A place that holds one `KeySet`. Every method may take a second (argon2id): call it in a thread.

    After `create` or `replace` returned, the whole new set MUST survive a crash; after either failed or was cut off,
    the place MUST hold the whole old set, or nothing as before. Errors MUST NOT repeat a secret.
    """

    def create(self, keys: KeySet) -> None:
        """Begin with `keys`. Raises KeystoreError `keystore.exists` and MUST NOT touch a set that is already there."""

    def load(self) -> KeySet:
        """Return the set. Raises KeystoreError `keystore.absent` where there is none."""

    def replace(self, keys: KeySet) -> None:
        """Put `keys` in the place of the set that is there. Raises KeystoreError `keystore.absent`."""
