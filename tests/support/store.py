"""A store for tests: opened on a scratch file, and commands built so that a test shows only what matters to it.

Times are counted from one fixed instant; entries are real entries, so that a log made by a test can be verified.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from gateway.core import deciding
from gateway.core.commands import (
    Acknowledge,
    AgreementFile,
    Claim,
    Complete,
    EventRow,
    Fail,
    Heads,
    Idempotency,
    InboundRow,
    Lease,
    LogEntry,
    Opening,
    OutboundRow,
    PutCheckpoint,
    ReceiptIn,
    Receive,
    RecordEvent,
    Release,
    ReleaseLeases,
    Submit,
)
from gateway.core.erasure import ERASED
from gateway.core.lifecycle import ReceiptEvent, State
from gateway.core.retry import Next, RetryAt
from gateway.core.tags import SUBJECTS, text_of
from gateway.ports import Candidate
from gateway.store.migrations.append_only import restore, triggers_of
from gateway.store.opening import OpenStore, StoreKeys, open_store
from gateway.store.signer import LogSigner
from gateway.store.sqlite import reader_engine, writer_engine
from gateway.store.states import TABLES
from gateway.store.vault import Vault
from gateway.store.verify import LogRules, verify_live
from gateway.store.writer import Writer
from gateway.tlog.checkpoint import Checkpoint, NoteKey, sign_checkpoint
from gateway.tlog.entry import AgreementRef, Entry, commitment, encode, leaf_hash, nonce_text, row_mac
from keys.errors import SignatureError
from keys.key import Ed25519Public
from tests.support.keys import ed25519

OWN = "la-901"
PARTNER = "la-902"
ORIGIN = "safehand.a.example/exchange-log/1"
START = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
ZEROS = "sha256:" + "0" * 64
KEYS = StoreKeys(append=b"a" * 32, store=b"s" * 32, kek=b"k" * 32)
DIGEST = "sha256:" + "ab" * 32
APPEND_ONLY = (
    "log_entry",
    "log_node",
    "checkpoint",
    "cosignature",
    "log_epoch",
    "witness_conflict",
)  # triggers refuse UPDATE and DELETE (log A2)


def at(seconds: float = 0) -> datetime:
    return START + timedelta(seconds=seconds)


def seconds(instant: datetime = START) -> int:
    return int(instant.timestamp())


def message_id() -> str:
    """A UUIDv7 of no particular time."""
    value = secrets.randbits(128) & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def make_entry(
    kind: str = "search",
    *,
    when: datetime = START,
    by: str | None = None,
    rows: tuple[deciding.Change, ...] = (),
    erased: str | None = None,
    tags: frozenset[bytes] | None = None,
    **members: Any,
) -> LogEntry:
    """An entry with what a test says of it: `by`, the deciding `rows`, what was `erased` and the `tags` become commitments
    with their openings. Without `tags` it has one, and does not commit to it: as entries were before they did."""
    salt = secrets.token_bytes(32)
    said = ({} if by is None else {"by": by}) | ({deciding.ROWS: deciding.to_text(rows)} if rows else {})
    said |= {} if erased is None else {ERASED: erased}
    said |= {SUBJECTS: text_of(tags)} if tags else {}
    openings = tuple(Opening(field=name, salt=salt, value=text.encode()) for name, text in said.items())
    if said:
        members["commit"] = {name: commitment(salt, name, text) for name, text in said.items()}
    entry = Entry(
        v=1,
        kind=kind,
        at=int(when.timestamp()) * 1_000_000 + when.microsecond,
        nonce=nonce_text(secrets.token_bytes(16)),
        origin=ORIGIN,
        **members,
    )
    data = encode(entry)
    return LogEntry(
        kind=kind,
        at_us=entry.at,
        data=data,
        leaf=leaf_hash(data),
        message_id=members.get("msg"),
        partner=members.get("partner"),
        dir=members.get("dir"),
        type=members.get("type"),
        agreement=members["agreement"].id if "agreement" in members else None,
        outcome=members.get("outcome"),
        role=members.get("role"),
        paths=members.get("paths", ()),
        tags=frozenset({hashlib.sha256(b"tag").digest()}) if tags is None else tags,
        openings=openings,
    )


FIRST_EVENT = b"event 1 of la-901"  # held in every lab: the heads that commands are checked against by default


def make_heads(a: str = digest(FIRST_EVENT), b: str = ZEROS) -> Heads:
    return Heads(agreement=DIGEST, a=a, b=b)


def make_submit(
    *,
    id: str | None = None,  # noqa: A002 - the field's name
    lane: bytes = b"lane",
    partner: str = PARTNER,
    key: str | None = None,
    request: bytes = b"request",
    heads: Heads | None = None,
    when: datetime = START,
    expires: datetime = START + timedelta(days=7),
    inner: bytes = b"inner",
) -> Submit:
    own = id or message_id()
    return Submit(
        message=OutboundRow(
            id=own,
            partner=partner,
            type="cme.transfer",
            agreement=DIGEST,
            env=digest(own.encode()),
            jws=digest(inner),
            thread=own,
            urgency="routine",
            created_at=seconds(when),
            expires_at=seconds(expires),
            lane_key=lane,
        ),
        envelope=b"envelope of " + own.encode(),
        inner=inner,
        idempotency=Idempotency(
            client="cli", key=key or own, request_digest=request, response=json.dumps({"id": own}).encode()
        ),
        heads=heads or make_heads(),
        entry=make_entry(
            "submitted",
            when=when,
            msg=own,
            dir="out",
            partner=partner,
            type="cme.transfer",
            agreement=AgreementRef(digest=DIGEST, id="lab-agreement", version=1),
            paths=("child.date_of_birth", "child.name.family"),
            by="officer.one",
        ),
    )


def make_claim(candidate: Candidate, *, now: datetime = START, lease: float = 60, heads: Heads | None = None) -> Claim:
    return Claim(
        delivery=candidate.delivery,
        message_id=candidate.message_id,
        heads=heads or make_heads(),
        token=secrets.token_bytes(16),
        now=now,
        until=now + timedelta(seconds=lease),
    )


def make_receipt_in(own: str, event: ReceiptEvent = ReceiptEvent.CHECKED, *, leaf: bytes | None = None) -> ReceiptIn:
    data = f"receipt {event} for {own}".encode()
    return ReceiptIn(message_id=own, event=event, data=data, leaf=leaf or hashlib.sha256(data).digest())


def entries_for(own: str, when: datetime = START) -> Mapping[State, LogEntry]:
    """An entry for each state that a receipt can lead to."""
    kinds = {
        State.DELIVERED: "delivered",
        State.TAKEN: "taken",
        State.COLLECTED: "collected",
        State.REJECTED: "rejected",
    }
    return {state: make_entry(kind, when=when, msg=own, dir="out") for state, kind in kinds.items()}


def make_complete(
    lease: Lease, own: str, event: ReceiptEvent = ReceiptEvent.CHECKED, *, now: datetime = START
) -> Complete:
    return Complete(
        lease=lease,
        message_id=own,
        receipt=make_receipt_in(own, event),
        entries=entries_for(own, now),
        now=now,
        ms=12,
    )


def make_fail(
    lease: Lease,
    own: str,
    what: Next | None = None,
    *,
    status: int | None = 503,
    now: datetime = START,
    entry: LogEntry | None = None,
) -> Fail:
    return Fail(
        lease=lease,
        message_id=own,
        outcome="http.503",
        http_status=status,
        next=what or RetryAt(at=now + timedelta(seconds=30)),
        entry=entry,
        now=now,
        ms=5,
    )


def make_receive(
    *,
    id: str | None = None,  # noqa: A002 - the field's name
    sender: str = PARTNER,
    data: bytes = b"sealed bytes",
    receipt: bytes | None = None,
    refused: bool = False,
    heads: Heads | None = None,
    protect: frozenset[bytes] = frozenset(),
    when: datetime = START,
) -> Receive:
    own = id or message_id()
    members: dict[str, Any] = {"msg": own, "dir": "in", "partner": sender, "type": "cme.transfer"}
    return Receive(
        message=InboundRow(
            sender=sender,
            id=own,
            type="cme.transfer",
            agreement=DIGEST,
            env=digest(data + own.encode()),
            jws=digest(data),
            thread=own,
            urgency="routine",
            created_at=seconds(when),
            expires_at=seconds(when) + 86_400,
            received_at=seconds(when),
        ),
        inner=None if refused else b"inner " + data,
        receipt=receipt or b"receipt made for " + own.encode() + secrets.token_bytes(4),
        entry=make_entry("refused-inbound" if refused else "received", when=when, **members),
        heads=None if refused else heads or make_heads(),
        protect=protect,
        protect_entry=make_entry(
            "protection-added", when=when, rows=deciding.of_protection(protect, {"location"}, add=True)
        )
        if protect
        else None,
    )


def make_acknowledge(
    own: str, event: ReceiptEvent = ReceiptEvent.TAKEN, *, sender: str = PARTNER, receipt: bytes | None = None
) -> Acknowledge:
    kind = "handed-over" if event is ReceiptEvent.TAKEN else "collected"
    return Acknowledge(
        sender=sender,
        message_id=own,
        event=event,
        receipt=receipt or f"{event} receipt ".encode() + secrets.token_bytes(4),
        entry=make_entry(kind, msg=own, dir="in", partner=sender),
        now=START,
    )


def make_release(own: str, *, sender: str = PARTNER) -> Release:
    entry = make_entry(
        "released", msg=own, dir="in", partner=sender, role="officer", outcome="case-system", by="token-1"
    )
    return Release(sender=sender, message_id=own, entry=entry)


def make_file(a: str = OWN, b: str = PARTNER, *, digest_: str = DIGEST, version: int = 1) -> AgreementFile:
    canonical = json.dumps({"id": "lab-agreement", "party": {"a": {"id": a}, "b": {"id": b}}, "version": version})
    return AgreementFile(digest=digest_, id="lab-agreement", version=version, toml=None, canonical=canonical.encode())


def make_event(
    n: int = 1,
    *,
    org: str = OWN,
    data: bytes | None = None,
    file: AgreementFile | None = None,
    push_to: str | None = None,
    now: datetime = START,
) -> RecordEvent:
    """An event as its organisation wrote it; ours after event n - 1 as this function makes it."""
    jws = data or f"event {n} of {org}".encode()
    before = ZEROS if n == 1 else digest(f"event {n - 1} of {org}".encode())
    held = file or make_file()
    event = EventRow(digest=held.digest, org=org, n=n, hash=digest(jws), jws=jws, received_at=seconds(now))
    return RecordEvent(
        file=held,
        event=event,
        own_head=before if org == OWN else None,
        entry=make_entry("agreement-event", when=now, dir="own", rows=deciding.of_event(held, event)),
        push_to=push_to,
        now=now,
    )


@dataclass(slots=True)
class Alarms:
    """The alarms raised, in order."""

    raised: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def __call__(self, code: str, details: Mapping[str, str]) -> None:
        self.raised.append((code, details))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """An open store with the agreement of the tests in it, and its alarms and fatal errors."""

    path: Path
    open: OpenStore
    alarms: Alarms
    fatal: list[BaseException]


SELDOM: Final = 3600.0  # seconds: what a test tampers with is found at the next write, whatever the machine's speed


@asynccontextmanager
async def open_lab(path: Path, *, agreement: bool = True, floor: int = 0) -> AsyncIterator[Lab]:
    """Open a store on the migrated database at `path`."""
    alarms, fatal = Alarms(), list[BaseException]()
    async with open_store(
        path,
        own=OWN,
        origin=ORIGIN,
        keys=KEYS,
        alarm=alarms,
        fatal=fatal.append,
        floor=floor,
        look_every=SELDOM,
    ) as opened:
        if agreement:
            await opened.store.write(make_event())
        yield Lab(path=path, open=opened, alarms=alarms, fatal=fatal)


def tamper(path: Path, *statements: str) -> None:
    """Change the database as its administrator could: behind the store, the triggers out of the way for it."""
    engine = writer_engine(path)
    try:
        with engine.begin() as connection:
            connection.execute(text("PRAGMA defer_foreign_keys = ON"))
            triggers = triggers_of(connection)
            restore(connection, {})
            for statement in statements:
                assert connection.execute(text(statement)).rowcount > 0, statement
            restore(connection, triggers)
    finally:
        engine.dispose()


def by_hand(path: Path, statement: str) -> None:
    """Change the database as SQLite's own shell does: every trigger stands, no reference is looked at."""
    engine = writer_engine(path)
    try:
        with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA foreign_keys = OFF")
            cursor.execute(statement)
            connection.commit()
    finally:
        engine.dispose()


async def noticed(store: Writer) -> None:
    """Have the writer notice now that somebody else wrote, with a command that changes nothing and decides nothing."""
    await store.write(ReleaseLeases(tokens=frozenset(), now=at(0)))


def rows(path: Path, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    """Ask the tables themselves."""
    with reader_engine(path).connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


LOG_KEY = NoteKey(ORIGIN, ed25519("la-901 log").public.raw)


def entry_mac(index: int, data: bytes) -> bytes:
    return row_mac(KEYS.append, ORIGIN, index, data)


def good_signature(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519Public.from_raw(public).verify(signature, message)
    except SignatureError:
        return False
    return True


def make_rules(**changes: Any) -> LogRules:
    rules = LogRules(
        own=OWN,
        origin=ORIGIN,
        mac=entry_mac,
        log_keys=lambda _: [LOG_KEY],
        verify=good_signature,
        vault=Vault(KEYS.kek),
    )
    return replace(rules, **changes)


def problems(path: Path, **changes: Any) -> list[tuple[int, str]]:
    """What `log verify` finds: index and column of each fault, but for rows of messages. The entries of these tests tell no
    message's state; `tests.support.rewritten` is for those."""
    found = [(problem.index, problem.column) for problem in verify_live(path, make_rules(**changes))]
    return [(index, column) for index, column in found if not _of_a_message(column)]


def _of_a_message(column: str) -> bool:
    return column == "inbox.envelope_digest" or column.partition(".")[0] in TABLES - {"inbox"}


async def sign_log(lab: Lab, memory: Path) -> Checkpoint | None:
    """One look of the signer; what it lets through is signed and kept."""
    signer = LogSigner(lab.path, memory, origin=ORIGIN, mac=entry_mac)
    grown = signer.advance()
    if grown is not None:
        note = sign_checkpoint(grown, LOG_KEY, ed25519("la-901 log").sign)
        put = PutCheckpoint(size=grown.size, root=grown.root, note=note.decode(), signed_at=seconds())
        await lab.open.store.write(put)
    return grown
