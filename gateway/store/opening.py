"""Opening the store: what `app` calls, and all that it needs to know of this package.

`open_store` takes the one writing connection (whoever holds `data/lock` may); `open_readonly` reads beside it. Neither
migrates: a database that is not at the newest revision is refused.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from gateway.core.alarms import Alarm
from gateway.core.errors import SafehandError
from gateway.store import log
from gateway.store.agreements import StoredAgreements
from gateway.store.comparison import RowComparison
from gateway.store.feed import StoredArrivals, StoredEnquiries, StoredEvents
from gateway.store.halves import StoredHalves
from gateway.store.handlers import handle
from gateway.store.inbox import StoredInbox
from gateway.store.logged import MessageLog
from gateway.store.migrations import at_head
from gateway.store.outbox import StoredOutbox
from gateway.store.overview import StoredOverview
from gateway.store.partners import StoredPartners, encrypt_names
from gateway.store.proofs import StoredLog
from gateway.store.protection import StoredProtection
from gateway.store.readers import CONNECTIONS, Reader
from gateway.store.rows import Refusals, RowSeal
from gateway.store.seeds import StoredDestructions
from gateway.store.service import StoredService
from gateway.store.sqlite import opening, reader_engine, writer_engine
from gateway.store.statements import StoredStatements
from gateway.store.tokens import StoredTokens
from gateway.store.transaction import Transaction
from gateway.store.triggers import TriggerCheck
from gateway.store.vault import Vault
from gateway.store.webhooks import StoredCursors
from gateway.store.witnessing import StoredWitnesses
from gateway.store.writer import LOOK_EVERY, Fatal, Room, Writer

FLOOR: Final = 64 * 1024 * 1024  # bytes: room for a checkpoint of the write-ahead log and some hours of entries


class SchemaError(SafehandError):
    """The database is not at the revision that this code works with."""

    code = "store.schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreKeys:
    """The three keys of the store, 32 bytes each, from the gateway keystore."""

    append: bytes = field(repr=False)  # macs of log entries
    store: bytes = field(repr=False)  # macs of rows that decide
    kek: bytes = field(repr=False)  # wraps content keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """The reading ports."""

    partners: StoredPartners
    agreements: StoredAgreements
    outbox: StoredOutbox
    inbox: StoredInbox
    protection: StoredProtection
    overview: StoredOverview
    destructions: StoredDestructions
    statements: StoredStatements
    log: StoredLog
    witnesses: StoredWitnesses
    service: StoredService
    events: StoredEvents
    webhooks: StoredCursors
    arrivals: StoredArrivals
    enquiries: StoredEnquiries
    tokens: StoredTokens
    halves: StoredHalves


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStore:
    """The one writer (`ports.Store`), the reading ports, and what finds and remembers rows that are refused."""

    store: Writer
    read: Readers
    comparison: RowComparison
    triggers: TriggerCheck
    refusals: Refusals


@asynccontextmanager
async def open_store(
    path: Path,
    *,
    own: str,
    origin: str,
    keys: StoreKeys,
    alarm: Alarm,
    fatal: Fatal,
    floor: int = FLOOR,
    free: Callable[[], int] | None = None,
    look_every: float = LOOK_EVERY,
) -> AsyncIterator[OpenStore]:
    """Open for writing; on leaving, what is waiting is carried out and the connections are closed.

    `look_every` is in seconds. `own` is the organisation whose messages are outbound, `origin` the name of its log. `alarm` and `fatal` are called
    in the writer's thread too. Raises SchemaError, SqliteVersionError, StoreUnavailableError, LogInconsistentError
    (another log's database).
    """
    seal, vault = RowSeal(key=keys.store, alarm=alarm), Vault(keys.kek)

    def begin(connection: Connection) -> Transaction:
        return Transaction(connection, own=own, seal=seal, vault=vault, told=told)

    def finish(tx: Transaction) -> None:
        tx.flush()
        log.append_entries(tx, mac)

    _check_schema(path)
    mac = log.entry_mac(keys.append, log.epochs_of(path, origin))
    told = MessageLog(mac=mac)
    async with AsyncExitStack() as stack:
        engine = writer_engine(path)
        stack.callback(engine.dispose)
        with opening(path), engine.begin() as connection:
            log.begin_log(connection, origin)
            encrypt_names(connection, seal)
        reader = Reader(reader_engine(path, connections=CONNECTIONS), seal=seal, vault=vault, told=told)
        stack.push_async_callback(asyncio.to_thread, reader.close)
        room = Room(free=free or (lambda: shutil.disk_usage(path.parent).free), floor=floor)
        comparison = RowComparison(path, mac=mac, seal=seal, vault=vault)

        def foreign() -> None:
            seal.tell_foreign()
            comparison.run()

        writer = Writer(
            engine,
            begin=begin,
            handle=handle,
            finish=finish,
            room=room,
            foreign=foreign,
            fatal=fatal,
            look_every=look_every,
        )
        stack.push_async_callback(asyncio.to_thread, writer.close)
        yield OpenStore(
            store=writer,
            read=_readers(reader, own),
            comparison=comparison,
            triggers=TriggerCheck(path, seal),
            refusals=seal.refusals,
        )


@asynccontextmanager
async def open_readonly(path: Path, *, own: str, origin: str, keys: StoreKeys, alarm: Alarm) -> AsyncIterator[Readers]:
    """Open for reading only, beside a running server or alone. Raises SchemaError, SqliteVersionError,
    StoreUnavailableError."""
    _check_schema(path)
    seal, told = (
        RowSeal(key=keys.store, alarm=alarm),
        MessageLog(mac=log.entry_mac(keys.append, log.epochs_of(path, origin))),
    )
    reader = Reader(reader_engine(path, connections=CONNECTIONS), seal=seal, vault=Vault(keys.kek), told=told)
    try:
        yield _readers(reader, own)
    finally:
        await asyncio.to_thread(reader.close)


def _readers(reader: Reader, own: str) -> Readers:
    return Readers(
        partners=StoredPartners(reader, own),
        agreements=StoredAgreements(reader),
        outbox=StoredOutbox(reader, own),
        inbox=StoredInbox(reader),
        protection=StoredProtection(reader),
        overview=StoredOverview(reader, own),
        destructions=StoredDestructions(reader),
        statements=StoredStatements(reader, own),
        log=StoredLog(reader),
        witnesses=StoredWitnesses(reader),
        service=StoredService(reader, own),
        webhooks=StoredCursors(reader),
        events=StoredEvents(reader, own),
        arrivals=StoredArrivals(reader),
        enquiries=StoredEnquiries(reader),
        tokens=StoredTokens(reader),
        halves=StoredHalves(reader),
    )


def _check_schema(path: Path) -> None:
    with opening(path):
        found = path.is_file()
    if not found:
        raise SchemaError("there is no database: run `safehand db upgrade`")
    with opening(path), reader_engine(path).connect() as connection:
        if not at_head(connection):
            raise SchemaError("the database is at another revision than this program: run `safehand db upgrade`")
