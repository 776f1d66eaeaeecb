"""Entries as they go into the log: order, indices, the columns beside them, the head (log A4, invariant I4)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from gateway.core.commands import LogEntry, PutCheckpoint, Record
from gateway.core.errors import LogInconsistentError
from gateway.store.opening import open_store
from gateway.tlog.entry import row_mac
from gateway.tlog.merkle import root_of
from tests.support.store import KEYS, ORIGIN, OWN, Alarms, Lab, at, make_entry, open_lab, rows

LEAVES = "SELECT leaf_hash FROM log_entry ORDER BY idx"


async def test_entries_follow_the_order_of_arrival_without_a_gap(lab: Lab) -> None:
    entries = [make_entry() for _ in range(30)]
    futures = [lab.open.store.submit(Record(entry=entry)) for entry in entries]
    assert [future.result(10) for future in futures] == list(range(1, 31))
    assert rows(lab.path, "SELECT entry FROM log_entry WHERE idx > 0 ORDER BY idx") == [(one.data,) for one in entries]


async def test_the_head_is_the_frontier_of_the_entries(lab: Lab) -> None:
    for count in (1, 2, 7, 3):
        for future in [lab.open.store.submit(Record(entry=make_entry())) for _ in range(count)]:
            future.result(10)
    ((size, frontier),) = rows(lab.path, "SELECT size, frontier FROM log_head")
    leaves = [leaf for (leaf,) in rows(lab.path, LEAVES)]
    assert size == len(leaves) == 14
    peaks = [frontier[at : at + 32] for at in range(0, len(frontier), 32)]
    assert peaks == [root_of(leaves[:8]), root_of(leaves[8:12]), root_of(leaves[12:])]
    nodes = {(level, idx): node for level, idx, node in rows(lab.path, "SELECT * FROM log_node")}
    assert nodes[3, 0] == root_of(leaves[:8])
    assert nodes[1, 6] == root_of(leaves[12:])
    assert len(nodes) == 14 - (14).bit_count()


async def test_each_entry_carries_the_mac_of_its_bytes_at_its_index(lab: Lab) -> None:
    await lab.open.store.write(Record(entry=make_entry()))
    for idx, entry, mac in rows(lab.path, "SELECT idx, entry, mac FROM log_entry"):
        assert mac == row_mac(KEYS.append, ORIGIN, idx, entry)


async def test_a_clock_that_runs_backwards_stays_in_the_entry_and_not_in_the_column(lab: Lab) -> None:
    for seconds in (10, 5, 20):
        await lab.open.store.write(Record(entry=make_entry(when=at(seconds))))
    start = int(at(0).timestamp())
    assert [us // 1_000_000 - start for (us,) in rows(lab.path, "SELECT at_us FROM log_entry")] == [0, 10, 10, 20]


async def test_paths_tags_and_openings_lie_beside_the_entry(lab: Lab) -> None:
    entry = make_entry(paths=("child.date_of_birth", "child.name.family"), by="officer.one")
    index = await lab.open.store.write(Record(entry=entry))
    paths = rows(lab.path, "SELECT path FROM log_path WHERE idx = :idx ORDER BY path", idx=index)
    assert paths == [("child.date_of_birth",), ("child.name.family",)]
    assert rows(lab.path, "SELECT tag FROM log_subject WHERE entry_idx = :idx", idx=index) == [(*entry.tags,)]
    ((field, salt, value),) = rows(
        lab.path, "SELECT field, salt, value FROM log_detail WHERE entry_idx = :idx", idx=index
    )
    assert field == "by"
    assert entry.openings[0].salt not in salt
    assert b"officer.one" not in value


async def test_an_entry_whose_leaf_is_not_that_of_its_bytes_is_refused(lab: Lab) -> None:
    good, other = make_entry(), make_entry()
    lying = LogEntry(kind=good.kind, at_us=good.at_us, data=good.data, leaf=other.leaf)
    with pytest.raises(ValueError, match="leaf hash"):
        await lab.open.store.write(Record(entry=lying))
    assert rows(lab.path, "SELECT size FROM log_head") == [(1,)]


async def test_the_same_entry_twice_is_refused(lab: Lab) -> None:
    entry = make_entry()
    await lab.open.store.write(Record(entry=entry))
    with pytest.raises(IntegrityError):
        await lab.open.store.write(Record(entry=entry))
    assert await lab.open.store.write(Record(entry=make_entry())) == 2


async def test_the_log_goes_on_where_it_stood_when_the_store_is_opened_again(database: Path) -> None:
    async with open_lab(database) as lab:
        await lab.open.store.write(Record(entry=make_entry()))
    async with open_lab(database, agreement=False) as lab:
        assert await lab.open.store.write(Record(entry=make_entry())) == 2


async def test_a_database_with_another_log_is_refused(database: Path) -> None:
    async with open_lab(database):
        pass
    other, fatal = "other.example/exchange-log/1", list[BaseException]()
    with pytest.raises(LogInconsistentError):
        async with open_store(database, own=OWN, origin=other, keys=KEYS, alarm=Alarms(), fatal=fatal.append):
            pass


async def test_a_checkpoint_is_kept_once_and_another_root_of_its_size_is_refused(lab: Lab) -> None:
    checkpoint = PutCheckpoint(size=1, root=b"r" * 32, note="note", signed_at=5)
    for _ in range(2):
        await lab.open.store.write(checkpoint)
    assert rows(lab.path, "SELECT * FROM checkpoint") == [(1, b"r" * 32, "note", 5)]
    with pytest.raises(LogInconsistentError):
        await lab.open.store.write(PutCheckpoint(size=1, root=b"x" * 32, note="note", signed_at=6))


async def test_a_log_made_in_batches_is_the_log_made_one_by_one(lab: Lab) -> None:
    entries = [make_entry() for _ in range(60)]
    waiting, futures = list(entries), []
    while waiting:
        for _ in range(min(random.randint(1, 9), len(waiting))):  # noqa: S311 - sizes of batches
            futures.append(lab.open.store.submit(Record(entry=waiting.pop(0))))
        futures[-1].result(10)
    for future in futures:
        future.result(10)
    leaves = [leaf for (leaf,) in rows(lab.path, LEAVES)]
    assert leaves[1:] == [entry.leaf for entry in entries]
