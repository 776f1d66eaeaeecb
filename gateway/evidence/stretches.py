"""The entries of an export, a stretch of lines at a time, and who works out what each comes to: this process, or, where there
are many, one process for each processor.

Judges nothing. Only so many stretches are under way, so memory is the same for a log of any length. What a process works
out is what this one would have: where none can be had, or one dies, this one does it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from gateway.evidence.files import lines_of
from gateway.tlog.blocks import Digest, digest_block, within
from gateway.tlog.entry import ENTRY_LIMIT
from gateway.tlog.exported import Block, Line

STRETCH: Final = 256 * 1024  # bytes: about a millisecond of work
SHARED: Final = 64 * 1024 * 1024  # bytes of entries from which on it pays to start processes

_LONGEST: Final = STRETCH + ENTRY_LIMIT + 1  # bytes of a stretch of entries
_AHEAD: Final = 4  # stretches under way for each process
_MOST: Final = 8  # processes: the reading process keeps up with no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Whole lines of a file (but for the last one of all, which may break off), and the number of the first."""

    path: Path
    offset: int
    length: int
    first: int
    count: int
    data: bytes | None = field(repr=False)  # where this process reads them but once

    def digest(self, cuts: Sequence[int]) -> Digest | None:
        """What they come to (`tlog.blocks`)."""
        if self.length > _LONGEST:
            return None  # the last line is too long for an entry
        return digest_block(self.data or self._read(), self.first, cuts)

    def _read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)

    def lines(self) -> list[Line]:
        """Each of them; of one that is too long for an entry the beginning alone."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return list(islice(lines_of(file, ENTRY_LIMIT), self.count))


def read_stretches(path: Path, *, keep: bool) -> Iterator[Stretch]:
    """Every line of a file, in stretches; `keep`: with what was read."""
    offset = first = 0
    with path.open("rb") as file:
        while data := file.read(STRETCH):
            length, count, rest = len(data), len(BytesIO(data).readlines()), data
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(ENTRY_LIMIT)
                length += len(rest)
                data += rest if length <= _LONGEST else b""
            yield Stretch(
                path=path, offset=offset, length=length, first=first, count=count, data=data if keep else None
            )
            offset, first = offset + length, first + count


@contextmanager
def open_blocks(path: Path, cuts: Sequence[int], *, shared: int = SHARED) -> Iterator[Iterable[Block]]:
    """The entries in `path` as blocks, in order; a file of at least `shared` bytes is worked on by several processes."""
    processes = min(len(os.sched_getaffinity(0)), _MOST)
    if processes < 2 or path.stat().st_size < shared:
        yield _here(path, cuts)
        return
    try:
        executor = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    except (ImportError, NotImplementedError, OSError):  # a host without what processes need to speak to each other
        yield _here(path, cuts)
        return
    try:
        yield _elsewhere(executor, path, cuts, processes * _AHEAD)
    finally:
        executor.shutdown(cancel_futures=True)


def _here(path: Path, cuts: Sequence[int]) -> Iterator[Block]:
    for stretch in read_stretches(path, keep=True):
        yield Block(partial(stretch.digest, cuts), stretch.lines)


def _elsewhere(executor: Executor, path: Path, cuts: Sequence[int], ahead: int) -> Iterator[Block]:
    """Blocks whose digests are worked out by others, some ahead of the one that is asked for."""
    under_way: deque[Block] = deque()
    for stretch in read_stretches(path, keep=False):
        under_way.append(Block(_submit(executor, stretch, cuts), stretch.lines))
        if len(under_way) > ahead:
            yield under_way.popleft()
    yield from under_way


def _submit(executor: Executor, stretch: Stretch, cuts: Sequence[int]) -> Callable[[], Digest | None]:
    inside = within(cuts, stretch.first, stretch.count)
    try:
        future = executor.submit(stretch.digest, inside)
    except (BrokenProcessPool, OSError):
        return partial(stretch.digest, inside)
    return partial(_result, future, stretch, inside)


def _result(future: Future[Digest | None], stretch: Stretch, cuts: Sequence[int]) -> Digest | None:
    try:
        return future.result()
    except BrokenProcessPool:
        return stretch.digest(cuts)
