"""Files written so that a crash at any moment leaves the old one or the new one, whole, and nothing in between.

Draft beside it (0600) -> bytes on the disk -> name in one step -> folder on the disk; only then does a call return. It
knows bytes and paths, not what they are for; it never reads. One writer for one file: two would share the draft.
"""

from __future__ import annotations

import os
from pathlib import Path


class UnsyncedError(OSError):
    """The file has its new content; that it still has it after a power cut could not be made sure of."""


def replace_file(path: Path, data: bytes) -> None:
    """Put a private file (0600) in the place of `path`, whether one was there or not. Raises OSError: then the old one
    stands; UnsyncedError: then the new one does."""
    draft = _draft(path, data)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path)


def create_file(path: Path, data: bytes) -> None:
    """As `replace_file`, where there is none. Raises FileExistsError where there is one, whatever it is: it stands."""
    draft = _draft(path, data)
    try:
        os.link(draft, path)  # unlike a rename, it refuses what is there
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path)


def remove_file(path: Path) -> None:
    """Remove a file, or find none; it is off the disk before this returns."""
    path.unlink(missing_ok=True)
    _sync_folder(path)


def sync(path: Path) -> None:
    """Bring a file's content, or a folder's names, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _draft(path: Path, data: bytes) -> Path:
    """A new private file in the same folder, its bytes on the disk. Its name is fixed, so that what a crash left behind,
    perhaps with keys since destroyed, goes at the next write."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _sync_folder(path: Path) -> None:
    try:
        sync(path.absolute().parent)
    except OSError as error:
        raise UnsyncedError(*error.args) from error
