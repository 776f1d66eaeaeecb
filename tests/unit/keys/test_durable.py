"""A file replaced durably: wherever the power is cut, the old one or the new one stands, whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keys.sources import durable
from keys.sources.durable import UnsyncedError, create_file, remove_file, replace_file

OLD, NEW = b"what stood here", b"what is to stand here, and is longer"
TOUCHING = ("unlink", "open", "fdopen", "fsync", "replace", "link")  # calls of os that touch the disk, as they are made

Write = Callable[[Path, bytes], None]


class PowerCut(BaseException):
    """Nothing of this process runs after it: what would tidy up does not either."""


class Machine:
    """Counts the calls that touch the disk, and cuts the power in place of one; after that every further call is cut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cut_at: int | None = None) -> None:
        self.calls: list[str] = []
        self._cut_at = cut_at
        for name in TOUCHING:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if self._cut_at is not None and len(self.calls) >= self._cut_at:
                raise PowerCut
            self.calls.append(f"{name} {self._what(args[0])}")
            return real(*args, **named)

        return call

    @staticmethod
    def _what(thing: Any) -> str:
        return Path(os.readlink(f"/proc/self/fd/{thing}") if isinstance(thing, int) else thing).name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def calls(write: Callable[[], None]) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine(patch)
        write()
    return machine.calls


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_call_returns(path: Path) -> None:
    path.write_bytes(OLD)
    order = [call for call in calls(lambda: replace_file(path, NEW)) if call.startswith(("fsync", "replace"))]
    assert order == ["fsync .file.new", "replace .file.new", f"fsync {path.parent.name}"]


def test_a_new_file_is_named_by_a_link_that_refuses_what_is_there(path: Path) -> None:
    order = [call for call in calls(lambda: create_file(path, NEW)) if call.startswith(("fsync", "link", "replace"))]
    assert order == ["fsync .file.new", "link .file.new", f"fsync {path.parent.name}"]


@pytest.mark.parametrize(("write", "before"), [(replace_file, OLD), (replace_file, None), (create_file, None)])
def test_wherever_the_power_is_cut_the_old_file_or_the_new_one_stands(
    path: Path, write: Write, before: bytes | None
) -> None:
    def put_back() -> None:
        for left in path.parent.iterdir():
            left.unlink()
        if before is not None:
            path.write_bytes(before)

    put_back()
    steps = len(calls(lambda: write(path, NEW)))
    assert steps >= 6
    seen = set()
    for cut_at in range(steps):
        put_back()
        with pytest.MonkeyPatch.context() as patch:
            Machine(patch, cut_at)
            with pytest.raises(PowerCut):
                write(path, NEW)
        stands = path.read_bytes() if path.exists() else None
        assert stands in (before, NEW), cut_at
        seen.add(stands)
        if stands is None or write is replace_file:
            write(path, OLD)  # the next start goes on, whatever lies about
            assert path.read_bytes() == OLD
            assert list(path.parent.iterdir()) == [path]
    assert seen == {before, NEW}


@pytest.mark.parametrize("failing", ["fdopen", "fsync", "replace"])
def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_beside_it(
    path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(OLD)

    def full(descriptor: Any, *_: Any) -> None:
        if isinstance(descriptor, int):
            os.close(descriptor) if failing == "fdopen" else None
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, NEW)
    monkeypatch.undo()
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_does_not_sync_is_told_apart_for_the_new_file_stands(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(durable, "sync", refuse)
    with pytest.raises(UnsyncedError):
        replace_file(path, NEW)
    assert path.read_bytes() == NEW


def test_a_file_that_is_there_is_never_created_over(path: Path) -> None:
    path.write_bytes(OLD)
    with pytest.raises(FileExistsError):
        create_file(path, NEW)
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("write", [replace_file, create_file])
def test_what_is_written_is_private_whatever_the_mask(path: Path, write: Write) -> None:
    before = os.umask(0)
    try:
        write(path, NEW)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("write", [replace_file, create_file])
def test_a_link_planted_as_the_draft_is_not_followed(path: Path, write: Write) -> None:
    other = path.with_name("other")
    other.write_bytes(OLD)
    path.with_name(".file.new").symlink_to(other)
    write(path, NEW)
    assert (other.read_bytes(), path.read_bytes()) == (OLD, NEW)


def test_a_file_is_replaced_by_its_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace_file(Path("file"), NEW)
    assert (tmp_path / "file").read_bytes() == NEW


def test_a_removed_file_is_off_the_disk_before_the_call_returns(path: Path) -> None:
    path.write_bytes(OLD)
    assert calls(lambda: remove_file(path)) == ["unlink file", f"open {path.parent.name}", f"fsync {path.parent.name}"]
    remove_file(path)
    assert not path.exists()
