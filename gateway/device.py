"""A witness on a device of its own: the data protection officer's laptop, say. No gateway, no home, no database.

A folder of three things: `witness.keystore` (the key, under a passphrase), `witness.json` (every log that is pinned, and what
was seen of it last; one file, replaced in one step and on the disk before anything is answered) and `conflicts/` (checkpoints
that contradict what was seen, under the log's own signature). Whoever holds the folder's lock alone may decide; a witness
whose folder is lost is retired, not begun again under the same key.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct, UnsetType

from gateway.core.errors import BusyError, SafehandError
from gateway.quorum import verify
from gateway.tlog.checkpoint import Checkpoint, ClaimedNote, NoteKey, parse_checkpoint, parse_note, verify_note
from gateway.tlog.cosignature import CosignerKey, cosign, verify_cosignatures
from gateway.tlog.errors import NoteError
from gateway.tlog.witness import (
    NOTHING,
    SIZE_TYPE,
    STATUS,
    AddCheckpoint,
    Grown,
    Refusal,
    Refused,
    Seen,
    decide,
    parse_request,
    told_size,
)
from keys.key import Ed25519Secret
from keys.keyset import KeySet, StoredKey
from keys.listed import Role
from keys.sources.durable import replace_file
from keys.sources.keystore import KeystoreFile

STATE: Final = "witness.json"
KEYSTORE: Final = "witness.keystore"
CONFLICTS: Final = "conflicts"
CONFLICTS_KEPT: Final = 100
STILL_GOOD: Final = 60  # seconds in which a checkpoint asked for again gets the cosignature it has
_LIMIT: Final = 8 * 1024 * 1024  # bytes: a thousand logs
_VERSION: Final[Literal[1]] = 1


class _LogWire(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    keys: tuple[str, ...]
    note: str | UnsetType = msgspec.UNSET


class _Wire(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1]
    name: str
    logs: tuple[_LogWire, ...]


_decoder = msgspec.json.Decoder(_Wire)


class DeviceError(SafehandError):
    """The folder of a witness is not as it must be, or something asked of it cannot be; says what, and what to do."""

    code = "witness.device"


class ContradictionError(SafehandError):
    """What the log shows now is not what it showed this witness before: one of the two was rewritten."""

    code = "witness.contradiction"


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedLog:
    """A log that this device watches: its keys, and the last note that it cosigned of it (None before the first)."""

    origin: str
    keys: tuple[NoteKey, ...]
    note: bytes | None = field(default=None, repr=False)

    @property
    def seen(self) -> Seen:
        if self.note is None:
            return NOTHING
        checkpoint = parse_checkpoint(parse_note(self.note).text)
        return Seen(checkpoint.size, checkpoint.root)


@dataclass(frozen=True, slots=True)
class Reply:
    """What one who asks over HTTP is told."""

    status: int
    body: bytes = b""
    media: str = "text/plain"


class Device:
    """An open folder; comes from `open_device` alone."""

    def __init__(self, path: Path, name: str, secret: Ed25519Secret | None, logs: Mapping[str, PinnedLog]) -> None:
        self._path = path
        self._name = name
        self._secret = secret
        self.logs = dict(logs)

    @property
    def key(self) -> CosignerKey:
        """The public half, where the keystore is open."""
        return CosignerKey(self._name, self._opened().public.raw)

    def pin(self, key: NoteKey) -> None:
        """Watch a log from now on, or take one more key of a log that is watched."""
        known = self.logs.get(key.name)
        if known is None:
            self._keep(PinnedLog(origin=key.name, keys=(key,)))
        elif key not in known.keys:
            self._keep(replace(known, keys=(*known.keys, key)))

    def add_checkpoint(self, data: bytes, now: int) -> Reply:
        """Answer one add-checkpoint request (C2SP tlog-witness); what is cosigned is on the disk before it is answered."""
        try:
            request = parse_request(data)
            origin = parse_checkpoint(request.note.text).origin
        except NoteError:
            return Reply(400)
        pinned = self.logs.get(origin)
        if pinned is None:
            return Reply(STATUS[Refusal.UNKNOWN_LOG])
        decision = decide(request, pinned.keys, pinned.seen, verify)
        if isinstance(decision, Refused):
            return self._refused(decision, request)
        return Reply(200, self._vouch(pinned, decision, request.note, now).encode())

    def last_note(self, origin_hash: str) -> bytes | None:
        """Return the note cosigned last of the log with this SHA-256 (hex) of its origin."""
        for origin, pinned in self.logs.items():
            if hashlib.sha256(origin.encode()).hexdigest() == origin_hash:
                return pinned.note
        return None

    def compare(self, data: bytes) -> Checkpoint:
        """Return the checkpoint of a note that a pinned log signed, if it is exactly what was seen last.

        Raises DeviceError (no pinned log's, or of another size: then an export shows what lies between),
        ContradictionError.
        """
        note, pinned, checkpoint = self._of_pinned(data)
        if checkpoint.size != pinned.seen.size:
            raise DeviceError(
                f"a checkpoint of {checkpoint.size} entries cannot be compared with the {pinned.seen.size} seen last "
                "without what lies between: bring an export (safehand log export)"
            )
        self._check_root(pinned, checkpoint, note)
        return checkpoint

    def vouch_for(self, data: bytes, now: int) -> tuple[Checkpoint, str]:
        """Remember and cosign a checkpoint whose tree the caller has computed from all entries, with the root seen last at
        its size in it. Returns it and the signature line. Raises DeviceError, ContradictionError."""
        note, pinned, checkpoint = self._of_pinned(data)
        if checkpoint.size < pinned.seen.size:
            raise DeviceError(f"older than the {pinned.seen.size} entries seen last: nothing new to see")
        self._check_root(pinned, checkpoint, note)
        return checkpoint, self._vouch(pinned, Grown(checkpoint), note, now)

    def _of_pinned(self, data: bytes) -> tuple[ClaimedNote, PinnedLog, Checkpoint]:
        try:
            note = parse_note(data)
            checkpoint = parse_checkpoint(note.text)
            pinned = self.logs.get(checkpoint.origin)
            if pinned is None:
                raise DeviceError("a checkpoint of a log that is not pinned here (safehand witness add)")
            verify_note(note, pinned.keys, verify)
        except NoteError as error:
            raise DeviceError(f"no checkpoint that a pinned log signed: {error}") from None
        return note, pinned, checkpoint

    def _check_root(self, pinned: PinnedLog, checkpoint: Checkpoint, note: ClaimedNote) -> None:
        seen = pinned.seen
        if checkpoint.size == seen.size and checkpoint.root != seen.root:
            self._keep_conflict(checkpoint, note)
            raise ContradictionError(f"another log of {seen.size} entries than this witness saw: kept in {CONFLICTS}")

    def _refused(self, refused: Refused, request: AddCheckpoint) -> Reply:
        if refused.refusal is Refusal.SPLIT_VIEW and refused.checkpoint is not None:
            self._keep_conflict(refused.checkpoint, request.note)
        body = told_size(request, refused)
        return Reply(STATUS[refused.refusal]) if body is None else Reply(409, body, SIZE_TYPE)

    def _vouch(self, pinned: PinnedLog, grown: Grown, note: ClaimedNote, now: int) -> str:
        if grown.checkpoint.size == pinned.seen.size:
            line = self._line_given(pinned, now)
            if line is not None:  # asked again: nothing is signed or written that anybody could ask for without end
                return line
        signature = cosign(note.text, self.key, self._opened().sign, now)
        ids = {(key.name, key.id) for key in pinned.keys}
        by_the_log = tuple(one for one in note.signatures if (one.name, one.key_id) in ids)
        kept = ClaimedNote(text=note.text, signatures=(*by_the_log, signature))
        self._keep(replace(pinned, note=kept.to_bytes()))
        return signature.line()

    def _line_given(self, pinned: PinnedLog, now: int) -> str | None:
        """The line that was answered for the very same checkpoint a moment ago."""
        if pinned.note is None:
            return None
        given = verify_cosignatures(parse_note(pinned.note), [self.key], verify)
        recent = [one for one in given if 0 <= now - one.timestamp < STILL_GOOD]
        return recent[-1].line if recent else None

    def _opened(self) -> Ed25519Secret:
        if self._secret is None:
            raise DeviceError("the keystore of this witness was not opened")
        return self._secret

    def _keep(self, changed: PinnedLog) -> None:
        """Replace the state in one step, on the disk before it counts."""
        logs = {**self.logs, changed.origin: changed}
        _write_state(self._path, self._name, logs)
        self.logs = logs

    def _keep_conflict(self, checkpoint: Checkpoint, note: ClaimedNote) -> None:
        folder = self._path / CONFLICTS
        folder.mkdir(mode=0o700, exist_ok=True)
        if len(list(folder.iterdir())) < CONFLICTS_KEPT:
            name = hashlib.sha256(note.text.encode()).hexdigest()
            replace_file(folder / f"{checkpoint.size}-{name[:16]}.note", note.to_bytes())


def make_device(path: Path, name: str, passphrase: bytes) -> CosignerKey:
    """Make the folder of a new witness; return its public key. Raises DeviceError where there is one already."""
    try:
        secret = Ed25519Secret.generate()
        key = CosignerKey(name, secret.public.raw)
    except NoteError as error:
        raise DeviceError(f"the name of a witness: {error}") from None
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (path / STATE).exists():
        raise DeviceError(f"{path}: a witness is here already")
    keys = KeySet(keys=(StoredKey(Role.WITNESS, secret),), secrets={})
    KeystoreFile(path / KEYSTORE, passphrase).create(keys)
    _write_state(path, name, {})
    return key


@contextmanager
def open_device(path: Path, passphrase: bytes | None) -> Iterator[Device]:
    """Hold the folder and read it; without a passphrase nothing can be cosigned. Raises DeviceError, BusyError."""
    with _locked(path):
        name, logs = _read_state(path)
        secret = None if passphrase is None else _secret(KeystoreFile(path / KEYSTORE, passphrase).load())
        yield Device(path, name, secret, logs)


def _secret(held: KeySet) -> Ed25519Secret:
    for stored in held.keys:
        if stored.role == Role.WITNESS and isinstance(stored.secret, Ed25519Secret):
            return stored.secret
    raise DeviceError(f"{KEYSTORE}: holds no witness key")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        descriptor = os.open(path / STATE, os.O_RDONLY | os.O_CLOEXEC)
        os.close(descriptor)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DeviceError(f"{path}: no witness's folder ({error.strerror}): safehand witness init") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError("another process holds this witness") from None
        yield
    finally:
        os.close(descriptor)


def _read_state(path: Path) -> tuple[str, dict[str, PinnedLog]]:
    """Strict: a state that is not whole must not pass for one that saw nothing."""
    with (path / STATE).open("rb") as file:
        data = file.read(_LIMIT + 1)
    try:
        return _parse_state(data)
    except (msgspec.MsgspecError, NoteError, UnicodeError) as error:
        raise DeviceError(f"{STATE}: cannot be read; a witness that forgot what it saw must be retired") from error


def _parse_state(data: bytes) -> tuple[str, dict[str, PinnedLog]]:
    state = _decoder.decode(data)
    if len(data) > _LIMIT or msgspec.json.encode(state) + b"\n" != data:
        raise NoteError("not in the one form")
    logs = [_pinned(entry) for entry in state.logs]
    if len({log.origin for log in logs}) != len(logs):
        raise NoteError("a log twice")
    return state.name, {log.origin: log for log in logs}


def _pinned(entry: _LogWire) -> PinnedLog:
    keys = tuple(NoteKey.from_vkey(text) for text in entry.keys)
    note = None if entry.note is msgspec.UNSET else entry.note.encode()
    names = {key.name for key in keys}
    if note is not None:
        names.add(parse_checkpoint(parse_note(note).text).origin)
    if not keys or len(names) != 1:
        raise NoteError("not the keys and the note of one log")
    return PinnedLog(origin=keys[0].name, keys=keys, note=note)


def _write_state(path: Path, name: str, logs: Mapping[str, PinnedLog]) -> None:
    entries = tuple(
        _LogWire(
            keys=tuple(key.vkey() for key in pinned.keys),
            note=msgspec.UNSET if pinned.note is None else pinned.note.decode(),
        )
        for _, pinned in sorted(logs.items())
    )
    replace_file(path / STATE, msgspec.json.encode(_Wire(v=_VERSION, name=name, logs=entries)) + b"\n")
