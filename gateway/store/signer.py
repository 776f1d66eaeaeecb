"""The log's signer: what it has seen of the log it remembers itself, in a file OUTSIDE the database (log A4).

It never trusts the stored head: it reads the entries that are new to it, checks each mac, grows its own tree, and only
then compares. So a database that rewrites an old entry while the tree grows gets no signature. The key is not here:
`advance` answers what is to be signed, after the memory of it is on the disk.
"""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select

from gateway.core.errors import LogInconsistentError
from gateway.store.cells import as_blob, as_number
from gateway.store.log import EntryMac
from gateway.store.schema import checkpoint, log_entry, log_head
from gateway.store.sqlite import opening, reader_engine
from gateway.tlog.checkpoint import Checkpoint
from gateway.tlog.entry import leaf_hash
from gateway.tlog.errors import TreeError
from gateway.tlog.merkle import Frontier
from keys.sources.durable import replace_file

_PAGE: Final = 1_000  # rows held at a time


class LogSigner:
    """One for each log. `memory` is the file of its own; where it is missing, the whole log is read again."""

    def __init__(self, database: Path, memory: Path, *, origin: str, mac: EntryMac) -> None:
        self._engine = reader_engine(database)
        self._memory = memory
        self._origin = origin
        self._mac = mac
        self._seen = self._recall()

    @property
    def seen(self) -> Frontier:
        """The tree as it is remembered."""
        return self._seen.copy()

    def advance(self) -> Checkpoint | None:
        """Return what is to be signed now, or None where the newest checkpoint kept says it already.

        Blocks while it reads; call it in a thread. Raises LogInconsistentError: then nothing may be signed.
        """
        with self._engine.connect() as connection:  # one transaction: head, entries and checkpoints belong together
            head = connection.execute(select(log_head)).one()
            signed = connection.scalar(select(func.max(checkpoint.c.size)))
            tree, size = self._seen.copy(), as_number(head.size)
            if head.origin != self._origin:
                raise LogInconsistentError("the database holds the log of another origin")
            if size < tree.size:
                raise LogInconsistentError(f"the log went back from {tree.size} entries to {size}")
            self._grow(connection, tree, size)
        if tree.to_bytes() != head.frontier:
            raise LogInconsistentError(f"the head is not that of the {tree.size} entries read")
        if tree.size > self._seen.size:
            self._remember(tree)
            self._seen = tree
        if tree.size == (signed or 0):
            return None
        return Checkpoint(origin=self._origin, size=tree.size, root=tree.root())

    def _grow(self, connection: Connection, tree: Frontier, size: int) -> None:
        while tree.size < size:
            rows = connection.execute(
                select(log_entry.c.idx, log_entry.c.entry, log_entry.c.mac)
                .where(log_entry.c.idx >= tree.size, log_entry.c.idx < size)
                .order_by(log_entry.c.idx)
                .limit(_PAGE)
            ).all()
            if not rows:
                raise LogInconsistentError(f"entry {tree.size} is missing")
            for row in rows:
                if row.idx != tree.size:
                    raise LogInconsistentError(f"entry {tree.size} is missing")
                entry = as_blob(row.entry)
                if not hmac.compare_digest(self._mac(row.idx, entry), as_blob(row.mac)):
                    raise LogInconsistentError(f"the mac of entry {row.idx} does not hold")
                tree.append(leaf_hash(entry))

    def _recall(self) -> Frontier:
        return recall(self._memory, self._origin)

    def _remember(self, tree: Frontier) -> None:
        """Replace the memory in one step, on the disk before it counts."""
        text = json.dumps({"origin": self._origin, "size": tree.size, "frontier": tree.to_bytes().hex()})
        replace_file(self._memory, text.encode("ascii"))


def recall(memory: Path, origin: str) -> Frontier:
    """Return what a signer's memory holds: the tree that it has seen; an empty one where there is no such file.

    Raises LogInconsistentError where it is unreadable or of another log: that is no fresh start.
    """
    try:
        stored = json.loads(memory.read_bytes())
    except FileNotFoundError:
        return Frontier()
    except (OSError, ValueError) as error:
        raise LogInconsistentError(f"{memory}: the signer's memory is unreadable") from error
    if not isinstance(stored, dict) or stored.get("origin") != origin:
        raise LogInconsistentError(f"{memory}: the signer's memory is of another log")
    try:
        return Frontier.from_bytes(stored["size"], bytes.fromhex(stored["frontier"]))
    except (KeyError, TypeError, ValueError, TreeError) as error:
        raise LogInconsistentError(f"{memory}: the signer's memory is unreadable") from error


def check_not_behind(database: Path, memory: Path, origin: str) -> None:
    """Refuse a log that went back in time: a database put back without its signer's memory. For whoever is about to
    write: another entry under an index that was signed would fork the log.

    Raises LogInconsistentError. What else may be wrong with the log is found by the signer as it looks.
    """
    seen = recall(memory, origin).size
    with opening(database), reader_engine(database).connect() as connection:
        size = as_number(connection.scalar(select(log_head.c.size).where(log_head.c.origin == origin)) or 0)
    if size < seen:
        raise LogInconsistentError(
            f"the log went back from {seen} entries to {size}: nothing is written or signed; restore a newer backup"
        )
