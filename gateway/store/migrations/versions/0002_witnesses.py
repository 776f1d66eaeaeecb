"""Witnesses: cosignatures of our checkpoints, what we witness for others, proofs of receipts."""

from __future__ import annotations

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    pass
