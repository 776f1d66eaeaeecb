"""Backing a home up while it is in use, and making a home of a backup: files and their order; the database is the store's.

A backup is a folder: `manifest.json`, `config.toml`, `data/safehand.db`, `data/log-signer`, and only if asked for
`secrets/`. The manifest holds the digest of every file: it tells damage, not malice, which row macs and the log are for.

Order matters. The log's signer must never have seen more than the database beside it holds, so its memory is copied first.
A restored log may be behind what partners and witnesses hold: `data/restored` marks the home until its gateway has said
so in the log and asked its partners for what it may have missed (`returning`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from contracts.document import read_wire, write_wire
from contracts.errors import DocumentError
from gateway.app import open_readonly_exchange
from gateway.config import Settings
from gateway.core.errors import SafehandError
from gateway.home import Home, HomeError
from gateway.store.backup import CopiedLog, CopyError, copy_database, judge_copy
from gateway.store.signer import recall
from gateway.tlog.entry import row_mac
from keys.key import Kid
from keys.keyset import KeySet
from keys.listed import DAY, Role
from keys.sources.durable import remove_file, replace_file, sync
from keys.sources.keystore import KeystoreFile

SECRETS_KEPT: Final = 14 * DAY  # how long a backup with secrets may lie: KEM seeds that end sooner are left out of it
ROOM: Final = 64 * 1024 * 1024  # bytes that stay free, beyond the backup itself
MANIFEST: Final = "manifest.json"
_MANIFEST_LIMIT: Final = 64 * 1024
_CHUNK: Final = 1024 * 1024

_CONFIG: Final = "config.toml"
_DATABASE: Final = "data/safehand.db"
_SIGNER: Final = "data/log-signer"
_SHARED: Final = ("gateway", "index")  # keystores whose passphrase lies beside them in a home
_AGREEMENT: Final = "agreement"  # its passphrase lies nowhere: copied as it is
_KEYSTORES: Final = tuple(f"secrets/{name}.keystore" for name in (*_SHARED, _AGREEMENT))
_KNOWN: Final = frozenset({_CONFIG, _DATABASE, _SIGNER, *_KEYSTORES})


class BackupError(SafehandError):
    """A backup cannot be made or used; says of what, and what to do."""

    code = "backup"


class _FileWire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str
    size: int
    sha256: str


class _LogWire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    size: int
    root: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a backup holds. `created` in seconds since 1970; `destroy_by` stands where KEM seeds are in it: their first
    last day. `log` is the exchange log as far as the backup goes."""

    v: Literal[1]
    format: Literal["safehand-backup"]
    org: str
    origin: str
    created: int
    log: _LogWire
    destroy_by: int | None = None
    files: list[_FileWire]


class Restored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mark of a restored home: the backup's time, how far its log went, and whether this was logged yet."""

    created: int
    size: int
    logged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Where a home comes back from: a backup; keystores in it or in another backup `secrets`, opened by `passphrase`;
    `signer`, the memory of the lost home's signer, where it survived."""

    folder: Path
    secrets: Path | None
    passphrase: bytes | None = field(repr=False)
    signer: Path | None


# --- backing up


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """That the keystores go too: under this passphrase; `ends` is the last day of every KEM key ever listed."""

    passphrase: bytes = field(repr=False)
    ends: Mapping[Kid, int]


async def kem_ends(home: Home) -> Mapping[Kid, int]:
    """Return when each KEM key that a bundle of ours lists opens nothing any more."""
    async with open_readonly_exchange(home) as running:
        bundles = running.keys.bundles
    return {key.kid: key.exp for bundle in bundles for key in bundle.keys if key.role is Role.MESSAGE_KEM}


def back_up(home: Home, out: Path, now: int, secrets: Secrets | None) -> Manifest:
    """Write a backup of the home to the new folder `out`, beside a running gateway or alone; return what it holds.

    It is verified after writing, and stands there whole or not at all. Raises BackupError, CopyError,
    LogInconsistentError.
    """
    settings = home.settings()
    _check_room(home.database, out)
    with _new_folder(out) as draft:
        for folder in ("data", *(("secrets",) if secrets else ())):
            (draft / folder).mkdir(mode=0o700)
        _copy(home.config, draft / _CONFIG)
        if home.signer.exists():
            _copy(home.signer, draft / _SIGNER)
        copy_database(home.database, draft / _DATABASE)  # INVARIANT: after the signer's memory
        destroy_by = None if secrets is None else _copy_secrets(home, draft, secrets, now)
        log = judge_copy(draft / _DATABASE, recall(draft / _SIGNER, settings.log_origin))
        manifest = Manifest(
            v=1,
            format="safehand-backup",
            org=settings.org,
            origin=log.origin,
            created=now,
            log=_LogWire(size=log.size, root=log.root.hex()),
            destroy_by=destroy_by,
            files=[_described(draft, path) for path in sorted(_KNOWN) if (draft / path).exists()],
        )
        for file in manifest.files:
            sync(draft / file.path)
        replace_file(draft / MANIFEST, write_wire(msgspec.to_builtins(manifest)))
        _check_files(draft, read_manifest(draft))
    return manifest


def _copy_secrets(home: Home, draft: Path, secrets: Secrets, now: int) -> int | None:
    """Copy the keystores: those whose passphrase lies beside them under the backup's own. Return the day of the first
    KEM seed among them."""
    until: int | None = None
    for name in _SHARED:
        held = home.keystore(name).load()
        if name == "gateway":
            held, until = _lasting(held, secrets.ends, now)
        KeystoreFile(draft / f"secrets/{name}.keystore", secrets.passphrase).create(held)
    agreement = home.secrets / f"{_AGREEMENT}.keystore"
    if agreement.exists():
        _copy(agreement, draft / f"secrets/{_AGREEMENT}.keystore")
    return until


def _lasting(held: KeySet, ends: Mapping[Kid, int], now: int) -> tuple[KeySet, int | None]:
    """Leave out the KEM seeds whose last day would come while the backup lies about; one made for a bundle that is not
    published yet has more than a month."""
    kems = [key.kid for key in held.keys if key.role == Role.MESSAGE_KEM]
    short = {kid for kid in kems if kid in ends and ends[kid] < now + SECRETS_KEPT}
    return held.destroy(*short), min((ends[kid] for kid in kems if kid in ends and kid not in short), default=None)


# --- restoring


def restore(recovery: Recovery, home: Home) -> Manifest:
    """Make a home of a backup; nothing is left of it where anything is amiss. Return what the backup held.

    Raises BackupError, CopyError (damaged), LogInconsistentError (the signer has seen more), HomeError.
    """
    home.check_socket()
    if home.path.exists() and (not home.path.is_dir() or any(home.path.iterdir())):
        raise BackupError(f"{home.path}: is not empty: a backup is restored into a new home only")
    # 1 every file is the one that was written
    manifest = read_manifest(recovery.folder)
    _check_files(recovery.folder, manifest)
    # 2 the log is whole, and the signer has seen no more of it: else other entries would follow under signed indexes
    _check_log(recovery, manifest)
    _check_room(recovery.folder / _DATABASE, home.path)
    with _new_folder(home.path) as draft:
        made = Home(draft)
        for folder in (made.secrets, made.database.parent, made.socket.parent):
            folder.mkdir(mode=0o700)
        _copy(recovery.folder / _CONFIG, made.config)
        settings = _settings(made, manifest)
        _copy(recovery.folder / _DATABASE, made.database)
        memory = recovery.signer or recovery.folder / _SIGNER
        if memory.exists():
            _copy(memory, made.signer)
        # 3 what was copied is what was checked, and the keystores are this database's
        log = judge_copy(made.database, recall(made.signer, settings.log_origin))
        if recovery.passphrase is not None:
            _restore_secrets(recovery, made, log)
        write_mark(made, Restored(created=manifest.created, size=log.size, logged=False))
        for path in (path for path in draft.rglob("*") if path.is_file()):
            sync(path)
    return manifest


def _check_log(recovery: Recovery, manifest: Manifest) -> None:
    for memory in (recovery.folder / _SIGNER, *((recovery.signer,) if recovery.signer else ())):
        log = judge_copy(recovery.folder / _DATABASE, recall(memory, manifest.origin))
        if (log.origin, log.size, log.root.hex()) != (manifest.origin, manifest.log.size, manifest.log.root):
            raise CopyError("the log in the backup is not that of its manifest")


def _settings(made: Home, manifest: Manifest) -> Settings:
    settings = made.settings()
    if (settings.org, settings.log_origin) != (manifest.org, manifest.origin):
        raise CopyError("the configuration in the backup is another organisation's or another log's")
    return settings


def _restore_secrets(recovery: Recovery, made: Home, log: CopiedLog) -> None:
    """Put the keystores in place, each with a new passphrase beside it; they must be those that this log was written with."""
    folder = recovery.secrets or recovery.folder
    if recovery.secrets is not None:
        _check_files(folder, read_manifest(folder))
    for name in _SHARED:
        path = folder / f"secrets/{name}.keystore"
        if not path.exists():
            raise BackupError(f"{folder.name}: holds no keystores: name a backup that does with --secrets")
        held = KeystoreFile(path, recovery.passphrase or b"").load()
        if name == "gateway" and log.last is not None:
            index, entry, mac = log.last
            if not hmac.compare_digest(row_mac(held.secrets["append"], log.origin, index, entry), mac):
                raise BackupError(f"{folder.name}: its keystores are not those of this database")
        made.new_keystore(name, held)
    agreement = folder / f"secrets/{_AGREEMENT}.keystore"
    if agreement.exists():
        _copy(agreement, made.secrets / f"{_AGREEMENT}.keystore")


# --- the mark of a restored home


def read_mark(home: Home) -> Restored | None:
    """Return the mark that a restored home has until its gateway has come back to its partners; None: it has none."""
    try:
        return msgspec.convert(read_wire(home.restored.read_bytes(), limit=_MANIFEST_LIMIT), Restored, strict=True)
    except FileNotFoundError:
        return None
    except (DocumentError, msgspec.ValidationError) as error:
        raise HomeError(f"{home.restored}: is not what a restore writes") from error


def write_mark(home: Home, mark: Restored) -> None:
    """Write the mark anew, at once or not at all."""
    replace_file(home.restored, write_wire(msgspec.to_builtins(mark)))


def remove_mark(home: Home) -> None:
    """The home is one like any other again."""
    remove_file(home.restored)


# --- manifests and files


def read_manifest(folder: Path) -> Manifest:
    """Return a backup's manifest; raises BackupError where there is none, CopyError where it is none."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise BackupError(f"{folder}: no backup (its {MANIFEST} cannot be read: {error.strerror})") from error
    try:
        manifest = msgspec.convert(read_wire(data, limit=_MANIFEST_LIMIT), Manifest, strict=True)
    except (DocumentError, msgspec.ValidationError) as error:
        raise CopyError(f"{MANIFEST}: is not one that a backup writes") from error
    named = [file.path for file in manifest.files]
    if len(set(named)) != len(named) or not set(named) <= _KNOWN or not {_CONFIG, _DATABASE} <= set(named):
        raise CopyError(f"{MANIFEST}: names other files than a backup holds")
    return manifest


def _check_files(folder: Path, manifest: Manifest) -> None:
    for file in manifest.files:
        try:
            found = _described(folder, file.path)
        except OSError as error:
            raise CopyError(f"{file.path}: cannot be read ({error.strerror})") from error
        if found != file:
            raise CopyError(f"{file.path}: is not what was written into the backup")


def _described(folder: Path, path: str) -> _FileWire:
    digest, size = hashlib.sha256(), 0
    with (folder / path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return _FileWire(path=path, size=size, sha256=digest.hexdigest())


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` that takes its place when all is done; nothing is left where it is not. An `out` that
    is there, and not an empty folder, is refused."""
    draft = out.absolute().with_name(f".{out.name}.new")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BackupError(f"{out}: exists and is not overwritten")
    try:
        draft.mkdir(mode=0o700)
    except FileExistsError:
        raise BackupError(f"{draft}: is left of one that was cut off, or another is being made: remove it") from None
    except OSError as error:
        raise BackupError(f"{draft}: cannot be made ({error.strerror})") from error
    try:
        yield draft
        for folder in (*(path for path in draft.rglob("*") if path.is_dir()), draft):
            sync(folder)
        draft.replace(out.absolute())  # over an empty folder too
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync(out.absolute().parent)


def _check_room(database: Path, out: Path) -> None:
    try:
        needed = database.stat().st_size + ROOM
        free = shutil.disk_usage(out.absolute().parent).free
    except OSError as error:
        raise BackupError(f"{error.filename}: cannot be looked at ({error.strerror})") from error
    if free < needed:
        raise BackupError(f"{out.absolute().parent}: too little room ({needed // ROOM + 1} times 64 MiB are needed)")


def _copy(source: Path, to: Path) -> None:
    try:
        with source.open("rb") as file, to.open("xb") as copy:
            os.fchmod(copy.fileno(), 0o600)
            shutil.copyfileobj(file, copy, _CHUNK)
    except OSError as error:
        raise BackupError(f"{source}: cannot be copied ({error.strerror})") from error
