"""Reading a message's encrypted content back, under the key that is its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import bindparam, select

from gateway.store.readers import Rows
from gateway.store.schema import content, content_key
from gateway.store.vault import Vault

_KEY: Final = select(content_key.c.wrapped).where(content_key.c.id == bindparam("at"))
_PARTS: Final = select(content).where(content.c.id == bindparam("at"))


def open_parts(rows: Rows, vault: Vault, message_id: str, body_ref: str | None) -> Mapping[str, bytes]:
    """Return the parts of a message's content by name; none where it has none, or its key was destroyed.

    Raises VaultError where what is stored does not open.
    """
    if body_ref is None:
        return {}
    keys = rows(_KEY, at=body_ref)
    if not keys:
        return {}
    parts = rows(_PARTS, at=body_ref)
    return {row["part"]: vault.open(message_id, keys[0]["wrapped"], row) for row in parts}
