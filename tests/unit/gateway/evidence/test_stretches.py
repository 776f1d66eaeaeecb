"""Entries come in stretches of lines: the same whoever works them out, however they are cut, and whatever the file holds."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from gateway.evidence import stretches
from gateway.evidence.files import read_lines
from gateway.evidence.stretches import open_blocks, read_stretches
from gateway.tlog.entry import ENTRY_LIMIT, Entry, encode, leaf_hash, nonce_text
from gateway.tlog.exported import Head, LogCheck, check_lines
from gateway.tlog.fsck import Problem
from gateway.tlog.merkle import root_of
from tests.support.plain_export import Reading

ORIGIN, ORG, SIZE = "safehand.la-207.example/exchange-log/1", "la-207", 300
ENTRIES = [
    encode(Entry(v=1, kind="search", at=n, nonce=nonce_text(n.to_bytes(16, "big")), org=ORG, origin=ORIGIN))
    for n in range(SIZE)
]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
WHOLE = b"".join(entry + b"\n" for entry in ENTRIES)
CUT = [WHOLE, WHOLE[:-1], WHOLE[:-50], b"", b"\n", b"\n\n", WHOLE.replace(b":", b": ", 1)]
LONG = [b"x" * (3 * ENTRY_LIMIT), b"x" * (3 * ENTRY_LIMIT) + b"\n", WHOLE + b"x" * ENTRY_LIMIT + b"\n" + WHOLE]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "STRETCH", 4_000)


def check(path: Path, processes: int) -> tuple[list[Problem], list[int]]:
    reading = Reading(every=7)
    heads = [Head(size, root_of(LEAVES[:size]), f"head {size}") for size in (13, 14, 150, SIZE)]
    rules = LogCheck(origin=ORIGIN, org=ORG, heads=heads, reader=reading)
    with open_blocks(path, rules, processes=processes) as blocks:
        return list(check_lines(blocks, BytesIO(b"".join(LEAVES)), rules)), [index for index, _, _ in reading.seen]


@pytest.mark.parametrize("data", [*CUT, *LONG])
def test_stretches_have_every_line_of_the_file_once(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "entries").write_bytes(data)
    found = list(read_stretches(tmp_path / "entries"))
    lines = [line for stretch, _ in found for line in stretch.lines()]
    assert lines == list(read_lines(tmp_path / "entries", ENTRY_LIMIT))
    assert sum(stretch.length for stretch, _ in found) == len(data)
    for stretch, read in found:
        assert read == stretch.read()
        assert read or stretch.length > ENTRY_LIMIT
        assert read == data[stretch.offset : stretch.offset + stretch.length] or not read


@pytest.mark.parametrize("change", [b"", b'"kind":"search"', b"\n"], ids=["whole", "changed", "joined"])
def test_several_processes_find_what_one_finds(tmp_path: Path, change: bytes) -> None:
    at = WHOLE.find(change, 20_000)
    (tmp_path / "entries").write_bytes(WHOLE[:at] + WHOLE[at + len(change) :])
    alone = check(tmp_path / "entries", 1)
    assert check(tmp_path / "entries", 2) == alone
    assert (alone[0] == []) is (not change)


class Dead:
    """An executor that is broken from the first answer, or from the first question."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once

    def submit(self, *_: Any) -> Future[Any]:
        if self.at_once:
            raise BrokenProcessPool
        future: Future[Any] = Future()
        future.set_exception(BrokenProcessPool())
        return future

    def shutdown(self, **_: Any) -> None:
        return


@pytest.mark.parametrize("executor", [None, Dead(at_once=True), Dead(at_once=False)], ids=["none", "refuses", "dies"])
def test_where_processes_cannot_be_had_or_die_this_one_does_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: Dead | None
) -> None:
    (tmp_path / "entries").write_bytes(WHOLE)
    alone = check(tmp_path / "entries", 1)
    monkeypatch.setattr(stretches, "_start", lambda _: executor)
    assert check(tmp_path / "entries", 2) == alone
