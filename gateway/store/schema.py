"""The tables, as SQLAlchemy Core metadata; portable types, no behaviour. Migrations lead to exactly this.

Instants that the wire or a person knows are seconds since 1970 (`created_at`, `expires_at`, `received_at`, `added_at`,
`fetched_at`, `signed_at`, and those of service messages: `since`, `due`, `erasure.at`, `*_at`, `decide_by`); those of scheduling and of the log are microseconds (`run_at`, `lease_until`, `attempt.at`,
`at_us`, `updated_at`). Digests are in text form where they are names, raw where they are arithmetic. `sender` is the own
organisation where a message is outbound.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers only a column that is exactly INTEGER by itself.
_Id: Final = BigInteger().with_variant(Integer(), "sqlite")


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _blob(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


# --- messages, both directions

content_key: Final = Table(
    "content_key",
    metadata,
    Column("id", Text, primary_key=True),
    _blob("wrapped"),
    Column("destroy_on", BigInteger),
)
content: Final = Table(
    "content",
    metadata,
    Column("id", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    _blob("nonce"),
    _blob("ciphertext"),
)
message: Final = Table(
    "message",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    _text("direction"),
    _text("partner"),
    _text("type"),
    _text("agreement"),
    _text("env"),
    _text("jws"),
    _text("thread"),
    _text("urgency"),
    Column("body_ref", Text),
    _number("created_at"),
    _number("expires_at"),
    Column("received_at", BigInteger),
    _text("state"),
    Column("held_for", Text),
    CheckConstraint("direction in ('in', 'out')", name="direction"),
)
Index("ix_message_id", message.c.id)
Index("ix_message_direction_created_at", message.c.direction, message.c.created_at)
Index("ix_message_direction_state_expires_at", message.c.direction, message.c.state, message.c.expires_at)
Index("ix_message_held", message.c.agreement, sqlite_where=message.c.state == text("'held'"))

lane: Final = Table(
    "lane",
    metadata,
    Column("id", _Id, primary_key=True),
    _text("partner"),
    _blob("lane_key"),
    _number("next_seq"),
    _text("state"),
    Column("head_delivery", BigInteger),
    Column("run_at", BigInteger),
    UniqueConstraint("partner", "lane_key"),
    CheckConstraint("state in ('idle', 'ready', 'busy', 'held')", name="state"),
)
Index("ix_lane_due", lane.c.partner, lane.c.run_at, sqlite_where=lane.c.run_at.is_not(None))

delivery: Final = Table(
    "delivery",
    metadata,
    Column("id", _Id, primary_key=True),
    _text("sender"),
    _text("message_id"),
    _text("partner"),
    Column("lane_id", _Id, ForeignKey("lane.id"), nullable=False),
    _number("lane_seq"),
    _text("state"),
    Column("attempts", Integer, nullable=False),
    Column("round_from", Integer, nullable=False),
    Column("run_at", BigInteger),
    Column("lease_token", LargeBinary),
    Column("lease_until", BigInteger),
    Column("last_error", Text),
    UniqueConstraint("sender", "message_id"),
    UniqueConstraint("lane_id", "lane_seq"),
    ForeignKeyConstraint(["sender", "message_id"], ["message.sender", "message.id"]),
    CheckConstraint("state in ('ready', 'leased', 'done', 'dead', 'cancelled')", name="state"),
)
Index(
    "ix_delivery_open",
    delivery.c.lane_id,
    delivery.c.lane_seq,
    sqlite_where=text("state IN ('ready', 'leased', 'dead')"),
)
attempt: Final = Table(
    "attempt",
    metadata,
    Column("delivery_id", _Id, ForeignKey("delivery.id"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    _number("at"),
    Column("outcome", Text),
    Column("http_status", Integer),
    Column("ms", Integer),
)
receipt_in: Final = Table(
    "receipt_in",
    metadata,
    Column("id", _Id, primary_key=True),
    _text("sender"),
    _text("message_id"),
    _text("event"),
    _blob("leaf"),
    _blob("bytes"),
    Column("proof", LargeBinary),
    UniqueConstraint("sender", "message_id", "event"),
    ForeignKeyConstraint(["sender", "message_id"], ["message.sender", "message.id"]),
)
Index("ix_receipt_in_leaf", receipt_in.c.leaf)
Index("ix_receipt_in_unproven", receipt_in.c.id, sqlite_where=receipt_in.c.proof.is_(None))
inbox: Final = Table(
    "inbox",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    _text("envelope_digest"),
    Column("receipt", LargeBinary),
    _text("receipt_digest"),
    _number("received_at"),
    UniqueConstraint("sender", "envelope_digest"),
)
handoff: Final = Table(
    "handoff",
    metadata,
    Column("id", _Id, primary_key=True),
    _text("sender"),
    _text("message_id"),
    _text("state"),
    UniqueConstraint("sender", "message_id"),
    ForeignKeyConstraint(["sender", "message_id"], ["message.sender", "message.id"]),
    CheckConstraint("state in ('waiting', 'done')", name="state"),
)
outgoing: Final = Table(
    "outgoing",
    metadata,
    Column("id", _Id, primary_key=True),
    _text("partner"),
    _text("kind"),
    _text("ref"),
    _blob("bytes"),
    _text("state"),
    Column("attempts", Integer, nullable=False),
    Column("first_attempt_at", BigInteger),
    Column("run_at", BigInteger),
    Column("lease_token", LargeBinary),
    Column("lease_until", BigInteger),
    UniqueConstraint("partner", "kind", "ref"),
    CheckConstraint("state in ('ready', 'leased', 'done', 'dead')", name="state"),
)
Index("ix_outgoing_due", outgoing.c.partner, outgoing.c.run_at, sqlite_where=outgoing.c.run_at.is_not(None))
command: Final = Table(
    "command",
    metadata,
    Column("client", Text, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    _blob("request_digest"),
    _blob("response"),
)

# --- what service messages have asked, and what followed

Index("ix_message_thread", message.c.partner, message.c.thread)
duty: Final = Table(
    "duty",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    _text("partner"),
    _text("type"),
    Column("code", Text),
    _text("thread"),
    _number("since"),
    _number("due"),
    _text("state"),
    Column("answered_by", Text),
    Column("answer_code", Text),
    Column("answered_at", BigInteger),
    Column("told_at", BigInteger),
    ForeignKeyConstraint(["sender", "message_id"], ["message.sender", "message.id"]),
    CheckConstraint("state in ('open', 'done', 'declined')", name="state"),
)
Index("ix_duty_state_due", duty.c.state, duty.c.due)
mention: Final = Table(
    "mention",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    _text("about_sender"),
    _text("about_id"),
    ForeignKeyConstraint(["sender", "message_id"], ["duty.sender", "duty.message_id"]),
)
Index("ix_mention_about", mention.c.about_sender, mention.c.about_id)
erasure: Final = Table(
    "erasure",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    _number("at"),
    _text("how"),
    ForeignKeyConstraint(["sender", "message_id"], ["message.sender", "message.id"]),
)
closure: Final = Table(
    "closure",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("thread", Text, primary_key=True),
    _text("on"),
    _text("status"),
    _text("said_by"),
    _number("said_at"),
)
breach: Final = Table(
    "breach",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    _text("partner"),
    _text("about_sender"),
    _text("about_id"),
    _text("code"),
    _number("opened_at"),
    _number("decide_by"),
    _text("state"),
    Column("told_at", BigInteger),
    ForeignKeyConstraint(["sender", "message_id"], ["message.sender", "message.id"]),
    CheckConstraint("state in ('open', 'reported', 'not-reportable')", name="state"),
)

# --- rows that decide (log A6): each carries a mac

agreement: Final = Table(
    "agreement",
    metadata,
    Column("digest", Text, primary_key=True),
    _text("id"),
    Column("version", Integer, nullable=False),
    _text("party_a"),
    _text("party_b"),
    Column("toml", LargeBinary),
    _blob("canonical"),
    _blob("mac"),
    UniqueConstraint("id", "version", "party_a", "party_b"),
)
agreement_event: Final = Table(
    "agreement_event",
    metadata,
    Column("digest", Text, ForeignKey("agreement.digest"), primary_key=True),
    Column("org", Text, primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("hash", Text, primary_key=True),
    _blob("jws"),
    _number("received_at"),
    _blob("mac"),
)
partner: Final = Table(
    "partner",
    metadata,
    Column("org", Text, primary_key=True),
    _text("name"),
    _text("root"),
    _text("verified_by"),
    _text("route"),
    _text("duty_number"),
    _number("fetched_at"),
    _blob("mac"),
)
bundle: Final = Table(
    "bundle",
    metadata,
    Column("org", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _blob("jws"),
    _blob("mac"),
)
protection: Final = Table(
    "protection",
    metadata,
    Column("tag", LargeBinary, primary_key=True),
    Column("kind", Text, primary_key=True),
    _number("added_at"),
    _blob("mac"),
)
intention: Final = Table(
    "intention",
    metadata,
    Column("id", Text, primary_key=True),
    _blob("act"),
    _text("by"),
    _number("stated_at"),
    _blob("mac"),
)

token: Final = Table(
    "token",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("role"),
    _text("scopes"),
    _blob("hash"),
    _number("created_at"),
    _number("expires_at"),
    Column("revoked_at", BigInteger),
    _blob("mac"),
    UniqueConstraint("hash"),
)

# --- the exchange log (log A2)

log_head: Final = Table(
    "log_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one"), primary_key=True, autoincrement=False),
    _text("origin"),
    _number("size"),
    _blob("frontier"),
    _number("updated_at"),
)
log_entry: Final = Table(
    "log_entry",
    metadata,
    Column("idx", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    _text("kind"),
    _number("at_us"),
    Column("message_id", Text),
    Column("partner", Text),
    Column("dir", Text),
    Column("type", Text),
    Column("agreement", Text),
    Column("outcome", Text),
    Column("role", Text),
    _blob("leaf_hash"),
    _blob("entry"),
    _blob("mac"),
)
Index("uq_log_entry_leaf_hash", log_entry.c.leaf_hash, unique=True)
Index("ix_log_entry_message_id", log_entry.c.message_id)
log_path: Final = Table(
    "log_path",
    metadata,
    Column("path", Text, primary_key=True),
    Column("idx", BigInteger, ForeignKey("log_entry.idx"), primary_key=True, autoincrement=False),
)
Index("ix_log_path_idx", log_path.c.idx, log_path.c.path)
log_node: Final = Table(
    "log_node",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    _blob("hash"),
)
log_detail: Final = Table(
    "log_detail",
    metadata,
    Column("entry_idx", BigInteger, ForeignKey("log_entry.idx"), primary_key=True, autoincrement=False),
    Column("field", Text, primary_key=True),
    _blob("salt"),
    _blob("value"),
)
log_subject: Final = Table(
    "log_subject",
    metadata,
    Column("tag", LargeBinary, primary_key=True),
    Column("entry_idx", BigInteger, ForeignKey("log_entry.idx"), primary_key=True, autoincrement=False),
)
checkpoint: Final = Table(
    "checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    _blob("root"),
    _text("note"),
    _number("signed_at"),
)

# --- webhooks: how far each receiver is in the log

webhook_cursor: Final = Table(
    "webhook_cursor",
    metadata,
    Column("name", Text, primary_key=True),
    _number("position"),
)

# --- daily statements: names and digests only

statement: Final = Table(
    "statement",
    metadata,
    Column("dir", Text, primary_key=True),
    Column("partner", Text, primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, primary_key=True),
    _number("to_at"),
    _text("origin"),
    _number("size"),
    _text("root"),
    _blob("bytes"),
    _number("kept_at"),
    CheckConstraint("dir in ('in', 'out')", name="dir"),
)
statement_item: Final = Table(
    "statement_item",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("list", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("env", Text, primary_key=True),
    CheckConstraint("list in ('sent', 'received', 'rejected')", name="list"),
)
statement_difference: Final = Table(
    "statement_difference",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("difference", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    _number("found_at"),
)

# --- witnesses (log A2, A4): who cosigned our checkpoints, and what we cosigned of others'

log_epoch: Final = (
    Table(  # epochs that ended: how many entries were left, and what the next one's first entry commits to
        "log_epoch",
        metadata,
        Column("size", BigInteger, primary_key=True, autoincrement=False),
        _text("origin"),
        _blob("note"),
    )
)
cosignature: Final = Table(
    "cosignature",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("witness", Text, primary_key=True),
    _number("ts"),
    _text("line"),
)
Index("ix_cosignature_witness", cosignature.c.witness, cosignature.c.size)
witness_state: Final = Table(
    "witness_state",
    metadata,
    Column("origin", Text, primary_key=True),
    _text("partner"),
    _number("size"),
    _blob("root"),
    _blob("note"),
    _number("updated_at"),
    _blob("mac"),
)
witness_conflict: Final = Table(
    "witness_conflict",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, primary_key=True),
    _blob("note"),
    _number("seen_at"),
)
