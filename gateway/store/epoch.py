"""The next epoch of the log, in one transaction: the old name ends, the first entry under the new one is appended (log A4).

What is left of the entries stays where it is. For a database that nobody else has open.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import insert, select, update

from gateway.core.alarms import Alarm
from gateway.core.commands import LogEntry
from gateway.core.errors import LogInconsistentError
from gateway.store import log
from gateway.store.logged import MessageLog
from gateway.store.opening import StoreKeys
from gateway.store.rows import RowSeal
from gateway.store.schema import intention, log_epoch, log_head
from gateway.store.sqlite import reader_engine, writer_engine
from gateway.store.transaction import Transaction
from gateway.store.vault import Vault
from gateway.tlog.epochs import Epochs


def epochs_in(path: Path) -> Epochs:
    """The names that the log in a database has and had, whatever the configuration says."""
    with reader_engine(path).connect() as connection:
        return log.read_epochs(connection, connection.execute(select(log_head.c.origin)).scalar_one())


def open_epoch(
    path: Path,
    *,
    own: str,
    keys: StoreKeys,
    before: str,
    after: str,
    note: bytes,
    entry: LogEntry,
    halves: frozenset[str],
    alarm: Alarm,
) -> int:
    """End the epoch `before`, begin `after` with `entry`; return its index. `note` is the checkpoint it commits to, `halves`
    are those that it states gone.

    Raises LogInconsistentError where the database holds the log of another origin.
    """
    engine = writer_engine(path)
    try:
        with engine.begin() as connection:
            head = connection.execute(select(log_head)).one()
            if head.origin != before:
                raise LogInconsistentError("the database holds the log of another origin")
            connection.execute(insert(log_epoch).values(size=head.size, origin=before, note=note))
            connection.execute(update(log_head).where(log_head.c.id == 1).values(origin=after))
            mac = log.entry_mac(keys.append, log.read_epochs(connection, after))
            seal, vault = RowSeal(key=keys.store, alarm=alarm), Vault(keys.kek)
            tx = Transaction(connection, own=own, seal=seal, vault=vault, told=MessageLog(mac=mac))
            tx.delete_sealed(intention, intention.c.id.in_(halves))
            slot = tx.append(entry)
            tx.check_stated()
            log.append_entries(tx, mac)
            return slot.index
    finally:
        engine.dispose()
