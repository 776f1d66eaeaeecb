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
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from gateway.evidence.files import lines_of
from gateway.tlog.blocks import Digest, Names, digest_block, within
from gateway.tlog.entry import ENTRY_LIMIT
from gateway.tlog.exported import Block, Line, LogCheck

STRETCH: Final = 256 * 1024  # bytes: about a millisecond of work
SHARED: Final = 256 * 1024 * 1024  # bytes of entries, some 300,000, from which on it pays to start processes

_AHEAD: Final = 4  # stretches under way for each process
_FEWEST: Final = 4  # processors: with two, handing the work over cost as much as it brought
_MOST: Final = 8  # processes: the reading process keeps up with no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Whole lines of a file, but for the last one of all, which may break off."""

    path: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """The bytes; none where one line is longer than an entry can be."""
        if self.length > STRETCH + ENTRY_LIMIT + 1:
            return b""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)

    def lines(self) -> list[Line]:
        """Each line; of one that is too long for an entry the beginning alone."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return list(lines_of(file, ENTRY_LIMIT, self.offset + self.length))

    def digest(self, first: int, cuts: Sequence[int], names: Names) -> Digest | None:
        """What the lines come to (`tlog.blocks`), where this is the number of the first."""
        return digest_block(self.read(), first, cuts, names)


def read_stretches(path: Path) -> Iterator[tuple[Stretch, bytes]]:
    """Every line of a file, in stretches, with the bytes; none where one line is longer than an entry can be."""
    offset = 0
    with path.open("rb") as file:
        while data := file.read(STRETCH):
            rest, length = data, len(data)
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(ENTRY_LIMIT + 1)
                length += len(rest)
                data = data + rest if length <= STRETCH + ENTRY_LIMIT + 1 else b""
            yield Stretch(path=path, offset=offset, length=length), data
            offset += length


@contextmanager
def open_blocks(path: Path, rules: LogCheck, *, processes: int | None = None) -> Iterator[Iterable[Block]]:
    """The entries in `path` as blocks, in order, worked on by so many processes (None: as many as pay)."""
    wanted = _paying(path) if processes is None else processes
    executor = _start(wanted) if wanted > 1 else None
    if executor is None:
        yield _here(path, rules)
        return
    try:
        yield _elsewhere(executor, path, rules, wanted * _AHEAD)
    finally:
        executor.shutdown(cancel_futures=True)


def _paying(path: Path) -> int:
    processors = len(os.sched_getaffinity(0))
    return min(processors, _MOST) if processors >= _FEWEST and path.stat().st_size >= SHARED else 1


def _start(processes: int) -> Executor | None:
    try:
        return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    except (ImportError, NotImplementedError, OSError):
        return None  # a host without what processes need to speak to each other


def _here(path: Path, rules: LogCheck) -> Iterator[Block]:
    first, cuts, names = 0, rules.cuts, rules.names
    for stretch, data in read_stretches(path):
        digest = digest_block(data, first, cuts, names)
        yield Block(partial(_same, digest), stretch.lines)
        first += len(stretch.lines()) if digest is None else digest.length


def _same(digest: Digest | None) -> Digest | None:
    return digest


def _elsewhere(executor: Executor, path: Path, rules: LogCheck, ahead: int) -> Iterator[Block]:
    """Blocks whose digests are worked out by others, some ahead of the one that is asked for."""
    first, cuts, names = 0, rules.cuts, rules.names
    under_way: deque[Block] = deque()
    for stretch, data in read_stretches(path):
        count = len(BytesIO(data).readlines()) if data else len(stretch.lines())
        digest = partial(stretch.digest, first, within(cuts, first, count), names)
        under_way.append(Block(_submit(executor, digest), stretch.lines))
        first += count
        if len(under_way) > ahead:
            yield under_way.popleft()
    yield from under_way


def _submit(executor: Executor, digest: Callable[[], Digest | None]) -> Callable[[], Digest | None]:
    try:
        return partial(_result, executor.submit(digest), digest)
    except (BrokenProcessPool, OSError):
        return digest


def _result(future: Future[Digest | None], digest: Callable[[], Digest | None]) -> Digest | None:
    try:
        return future.result()
    except BrokenProcessPool:
        return digest()
