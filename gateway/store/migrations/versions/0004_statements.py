"""Daily statements between partners."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "statement",
        sa.Column("dir", sa.Text(), nullable=False),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("to_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.Column("kept_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("dir in ('in', 'out')", name=op.f("ck_statement_dir")),
        sa.PrimaryKeyConstraint("dir", "partner", "n", "digest", name=op.f("pk_statement")),
    )
    op.create_table(
        "statement_item",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("list", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("env", sa.Text(), nullable=False),
        sa.CheckConstraint("list in ('sent', 'received', 'rejected')", name=op.f("ck_statement_item_list")),
        sa.PrimaryKeyConstraint("partner", "list", "message_id", "n", "env", name=op.f("pk_statement_item")),
    )
    op.create_table(
        "statement_difference",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("difference", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "difference", "subject", name=op.f("pk_statement_difference")),
    )
