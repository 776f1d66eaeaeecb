"""The exchange log written out for somebody who has nothing else of ours (log A5): files, from one read transaction.

Judges nothing: what lies in the tables is written as it lies there, so that an export of a log that was tampered with is
evidence too; `gateway.evidence` judges. Covers the entries below the newest checkpoint and nothing after it. No keystore is
needed, unless openings are asked for. In constant memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from sqlalchemy import Connection, Select, func, select

from contracts.document import canonical
from gateway.core.errors import LogInconsistentError, ReceiptRejectedError, SafehandError
from gateway.core.receipt import read_receipt
from gateway.store import owed
from gateway.store.cells import as_blob, as_number, as_text
from gateway.store.log import SALT, VALUE
from gateway.store.schema import (
    bundle,
    checkpoint,
    cosignature,
    inbox,
    log_detail,
    log_entry,
    log_epoch,
    outgoing,
    receipt_in,
)
from gateway.store.sqlite import reader_engine
from gateway.store.vault import Vault, VaultError
from gateway.tlog.checkpoint import NoteKey, parse_note
from gateway.tlog.entry import base64url, leaf_hash
from gateway.tlog.errors import NoteError
from gateway.tlog.exported import ENTRIES, LEAVES, note_name
from gateway.tlog.merkle import HASH_LENGTH
from gateway.tlog.policy import Policy, PolicyLog, PolicyWitness
from keys.bundle import replay_history
from keys.errors import BundleError
from keys.listed import Role

VKEY: Final = "log.vkey"
POLICY: Final = "policy"
OPENINGS: Final = "openings.jsonl"

_PAGE: Final = 1_000  # rows held at a time
_GAP: Final = 1_000  # empty lines for entries that are missing in a row: an index can be any number


class ExportError(SafehandError):
    """An export cannot be written there."""

    code = "log.export"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    size: int
    checkpoints: int
    receipts: int
    bundles: int
    openings: int
    unreadable: int  # openings that do not decrypt


def check_folder(out: Path) -> None:
    """Refuse a folder that is not empty, or no folder. Raises ExportError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out.name}: not an empty folder")


def export_log(
    database: Path, out: Path, *, own: str, origin: str, witnesses: Policy, openings: Vault | None
) -> Exported:
    """Write the log of `own` into an empty folder, which is made where there is none; files are for their owner alone.

    `witnesses` says who is to have cosigned; the logs it names do not matter. Raises ExportError; LogInconsistentError where there is nothing signed, or the own bundles name no key of the log.
    """
    check_folder(out)
    with reader_engine(database).connect() as connection:  # one transaction: all files are of one moment
        size = connection.scalar(select(func.max(checkpoint.c.size)))
        if not isinstance(size, int) or size < 1:
            raise LogInconsistentError("nothing is signed yet")
        source = _Source(connection=connection, size=size)
        folder = _Folder(out)
        keys = _log_keys(source, own, origin)
        policy = _without_places(witnesses, keys)
        folder.write(VKEY, "".join(f"{key.vkey()}\n" for key in keys).encode())
        folder.write(POLICY, policy.to_bytes())
        _write_entries(source, folder)
        checkpoints = _write_notes(source, folder, policy)
        receipts = folder.write_named("receipts", _receipts(source))
        bundles = folder.write_named("bundles", _bundles(source))
        opened, unreadable = (0, 0) if openings is None else _write_openings(source, folder, openings)
        return Exported(
            size=size,
            checkpoints=checkpoints,
            receipts=receipts,
            bundles=bundles,
            openings=opened,
            unreadable=unreadable,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """One state of the database, and how far the export goes."""

    connection: Connection
    size: int

    def stream(self, statement: Select[Any]) -> Iterator[Any]:
        yield from self.connection.execute(statement.execution_options(yield_per=_PAGE))


class _Folder:
    """A folder that is written once."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, exist_ok=True)
        self._path = path

    def open(self, name: str) -> BinaryIO:
        return open(os.open(self._path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def write(self, name: str, data: bytes) -> None:
        with self.open(name) as file:
            file.write(data)

    def write_named(self, under: str, files: Iterable[tuple[str, bytes]]) -> int:
        """Write files into a folder of their own; the same name twice is the same bytes. Return how many there are."""
        (self._path / under).mkdir(mode=0o700)
        count = 0
        for name, data in files:
            if not (self._path / under / name).exists():
                self.write(f"{under}/{name}", data)
                count += 1
        return count


def _without_places(policy: Policy, keys: Iterable[NoteKey]) -> Policy:
    """The policy with just these log keys and no URL: nobody signs it, so nothing stands in it that nothing else shows."""
    return replace(
        policy,
        logs=tuple(PolicyLog(key) for key in keys),
        witnesses=tuple(PolicyWitness(witness.name, witness.key) for witness in policy.witnesses),
    )


def _log_keys(source: _Source, own: str, origin: str) -> tuple[NoteKey, ...]:
    """The keys, by the own bundles, under which a checkpoint of this log is signed, newest first."""
    rows = source.connection.execute(select(bundle.c.jws).where(bundle.c.org == own).order_by(bundle.c.seq))
    try:
        history = replay_history([as_blob(row.jws) for row in rows], org=own)
    except BundleError as error:
        raise LogInconsistentError("the own key bundles are not those that were accepted") from error
    listed = [key for held in reversed(history) for key in held.keys if key.role is Role.LOG and key.origin == origin]
    known = dict.fromkeys(NoteKey(origin, key.public.raw) for key in sorted(listed, key=lambda key: -key.nbf))
    used: set[bytes] = set()
    for row in source.stream(select(checkpoint.c.note)):
        try:
            used.update(signature.key_id for signature in parse_note(as_text(row.note).encode()).signatures)
        except NoteError:
            continue  # written out as it is
    keys = tuple(key for key in known if key.id in used)
    if not keys:
        raise LogInconsistentError("no checkpoint is signed by a log key of ours")
    return keys


def _write_entries(source: _Source, folder: _Folder) -> None:
    """Line k is entry k. Where one is missing stands an empty line, so that those after it keep their places."""
    columns = select(log_entry.c.idx, log_entry.c.entry, log_entry.c.leaf_hash)
    count = 0
    with folder.open(ENTRIES) as entries, folder.open(LEAVES) as leaves:
        for row in source.stream(columns.where(log_entry.c.idx < source.size).order_by(log_entry.c.idx)):
            missing = min(max(0, row.idx - count), _GAP)
            leaf = as_blob(row.leaf_hash)
            entries.write(b"\n" * missing + as_blob(row.entry) + b"\n")
            leaves.write(bytes(HASH_LENGTH) * missing + (leaf if len(leaf) == HASH_LENGTH else bytes(HASH_LENGTH)))
            count = row.idx + 1


def _write_notes(source: _Source, folder: _Folder, policy: Policy) -> int:
    """Each note, with the cosignatures of the policy's witnesses: a line by anybody else proves nothing to its reader."""
    counted = [witness.key.vkey() for witness in policy.witnesses]
    after = (
        source.connection.scalar(select(func.max(log_epoch.c.size))) or 0
    )  # earlier ones are signed as another log's
    lines = select(cosignature.c.size, cosignature.c.line).where(
        cosignature.c.witness.in_(counted), cosignature.c.size > after
    )
    cosigned = source.stream(lines.order_by(cosignature.c.size, cosignature.c.ts, cosignature.c.witness))
    line = next(cosigned, None)

    def notes() -> Iterator[tuple[str, bytes]]:
        nonlocal line
        notes_of_it = select(checkpoint.c.size, checkpoint.c.note).where(checkpoint.c.size > after)
        for row in source.stream(notes_of_it.order_by(checkpoint.c.size)):
            note, size = as_text(row.note), as_number(row.size)
            while line is not None and as_number(line.size) <= size:
                if line.size == size:
                    note += as_text(line.line).removesuffix("\n") + "\n"
                line = next(cosigned, None)
            yield note_name(size).rpartition("/")[2], note.encode()

    return folder.write_named("checkpoints", notes())


def _receipts(source: _Source) -> Iterator[tuple[str, bytes]]:
    """Receipts given whose entry the export covers (or nobody has), and every receipt that came."""
    given = (
        select(inbox.c.receipt).where(inbox.c.receipt.is_not(None)),
        select(outgoing.c.bytes).where(outgoing.c.kind == owed.RECEIPT),
    )
    for statement in given:
        for (data,) in source.stream(statement):
            if _covered(source, as_blob(data)):
                yield _named(as_blob(data))
    for (data,) in source.stream(select(receipt_in.c.bytes)):
        yield _named(as_blob(data))


def _named(data: bytes) -> tuple[str, bytes]:
    return f"{hashlib.sha256(data).hexdigest()}.jws", data


def _covered(source: _Source, receipt: bytes) -> bool:
    try:
        leaf = leaf_hash(read_receipt(receipt).entry)
    except ReceiptRejectedError:
        return True
    index = source.connection.scalar(select(log_entry.c.idx).where(log_entry.c.leaf_hash == leaf))
    return index is None or index < source.size


def _bundles(source: _Source) -> Iterator[tuple[str, bytes]]:
    for row in source.stream(select(bundle).order_by(bundle.c.org, bundle.c.seq)):
        yield f"{as_text(row.org)}-{as_number(row.seq)}.jws", as_blob(row.jws)


def _write_openings(source: _Source, folder: _Folder, vault: Vault) -> tuple[int, int]:
    """Each opening that was not erased, in the order of the entries; those that do not decrypt are counted alone."""
    statement = select(log_detail).where(log_detail.c.entry_idx < source.size)
    opened = unreadable = 0
    with folder.open(OPENINGS) as file:
        for row in source.stream(statement.order_by(log_detail.c.entry_idx, log_detail.c.field)):
            try:
                salt = vault.open_detail(row.entry_idx, row.field, SALT, as_blob(row.salt))
                value = vault.open_detail(row.entry_idx, row.field, VALUE, as_blob(row.value)).decode()
            except (VaultError, UnicodeDecodeError):
                unreadable += 1
                continue
            opening = {"field": row.field, "index": row.entry_idx, "salt": base64url(salt), "value": value}
            file.write(canonical(opening) + b"\n")
            opened += 1
    return opened, unreadable
