"""Reading the files of an export: each capped, and in constant memory where there is much of it. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from gateway.core.errors import SafehandError
from gateway.tlog.exported import ENTRIES, LEAVES, Line
from gateway.tlog.fsck import Problem
from gateway.tlog.merkle import HASH_LENGTH

VKEY: Final = "log.vkey"
POLICY: Final = "policy"
OPENINGS: Final = "openings.jsonl"
CHECKPOINTS: Final = "checkpoints"
RECEIPTS: Final = "receipts"
BUNDLES: Final = "bundles"
KNOWN: Final = frozenset({VKEY, POLICY, OPENINGS, CHECKPOINTS, RECEIPTS, BUNDLES, ENTRIES, LEAVES})

_CHUNK: Final = 1 << 16


class EvidenceError(SafehandError):
    """What was handed over to be judged cannot be read as what it should be."""

    code = "evidence.unreadable"


class NoLogError(EvidenceError):
    """An export whose keys cannot be read: nothing in it can be judged."""

    code = "evidence.no-log"

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(f"{problem.column}: {problem.rule}")


def read_capped(path: Path, limit: int) -> bytes:
    """Return a file's bytes. Raises EvidenceError where it is larger than `limit`, OSError where it cannot be read."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise EvidenceError(f"{path.name}: larger than {limit} bytes")
    return data


class ExportFolder:
    """The folder of one export."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def unknown(self) -> tuple[str, ...]:
        """Names that no export has."""
        return tuple(sorted(entry.name for entry in self.path.iterdir() if entry.name not in KNOWN))

    def is_export(self) -> bool:
        """Whether anything of an export lies there."""
        return any(entry.name in KNOWN for entry in self.path.iterdir())

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def read(self, name: str, limit: int) -> bytes:
        return read_capped(self.path / name, limit)

    def names(self, under: str) -> tuple[str, ...]:
        """The names in one of its folders, in order; none where there is no such folder."""
        folder = self.path / under
        return tuple(sorted(entry.name for entry in folder.iterdir())) if folder.is_dir() else ()

    def leaves_fit(self, count: int) -> bool:
        """Whether there is a leaf hash for each of `count` entries, and nothing else."""
        return (self.path / LEAVES).stat().st_size == count * HASH_LENGTH

    def leaves(self) -> BinaryIO:
        return (self.path / LEAVES).open("rb")


def read_lines(path: Path, limit: int) -> Iterator[Line]:
    """Every line of a file without its line feed; of one longer than `limit` bytes no more than that and one."""
    with path.open("rb", buffering=_CHUNK) as file:
        yield from lines_of(file, limit, None)


def lines_of(file: BinaryIO, limit: int, end: int | None) -> Iterator[Line]:
    """As `read_lines`, of the part of a file from where it stands to `end`, or (None) its own."""
    while (end is None or file.tell() < end) and (line := file.readline(limit + 2)):
        if line.endswith(b"\n"):
            yield Line(line[:-1], True)
            continue
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(_CHUNK)
        yield Line(line[: limit + 1], rest.endswith(b"\n"))
