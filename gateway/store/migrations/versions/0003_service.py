"""Service messages: what they have asked for and what is owed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("ix_message_thread", "message", ["partner", "thread"], unique=False)
    op.create_table(
        "duty",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("thread", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("answered_by", sa.Text(), nullable=True),
        sa.Column("answer_code", sa.Text(), nullable=True),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state in ('open', 'done', 'declined')", name=op.f("ck_duty_state")),
        sa.ForeignKeyConstraint(
            ["sender", "message_id"], ["message.sender", "message.id"], name=op.f("fk_duty_sender_message_id")
        ),
        sa.PrimaryKeyConstraint("sender", "message_id", name=op.f("pk_duty")),
    )
    op.create_index("ix_duty_state_due", "duty", ["state", "due"], unique=False)
    op.create_table(
        "mention",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("about_sender", sa.Text(), nullable=False),
        sa.Column("about_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sender", "message_id"], ["duty.sender", "duty.message_id"], name=op.f("fk_mention_sender_message_id")
        ),
        sa.PrimaryKeyConstraint("sender", "message_id", "n", name=op.f("pk_mention")),
    )
    op.create_index("ix_mention_about", "mention", ["about_sender", "about_id"], unique=False)
    op.create_table(
        "erasure",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sender", "message_id"], ["message.sender", "message.id"], name=op.f("fk_erasure_sender_message_id")
        ),
        sa.PrimaryKeyConstraint("sender", "message_id", name=op.f("pk_erasure")),
    )
    op.create_table(
        "closure",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("thread", sa.Text(), nullable=False),
        sa.Column("on", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("said_by", sa.Text(), nullable=False),
        sa.Column("said_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "thread", name=op.f("pk_closure")),
    )
    op.create_table(
        "breach",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("about_sender", sa.Text(), nullable=False),
        sa.Column("about_id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("decide_by", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state in ('open', 'reported', 'not-reportable')", name=op.f("ck_breach_state")),
        sa.ForeignKeyConstraint(
            ["sender", "message_id"], ["message.sender", "message.id"], name=op.f("fk_breach_sender_message_id")
        ),
        sa.PrimaryKeyConstraint("sender", "message_id", name=op.f("pk_breach")),
    )
