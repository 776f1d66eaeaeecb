"""The log's signer signs what it has read itself, and nothing that contradicts what it remembers (log A4)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.core.commands import Record
from gateway.core.errors import LogInconsistentError
from gateway.store.signer import LogSigner
from gateway.tlog.entry import leaf_hash
from gateway.tlog.merkle import Frontier, root_of
from tests.support.store import ORIGIN, Lab, entry_mac, make_entry, open_lab, problems, rows, sign_log, tamper


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "signer.json"


async def log(lab: Lab, count: int = 1) -> None:
    for _ in range(count):
        await lab.open.store.write(Record(entry=make_entry()))


def root(lab: Lab) -> bytes:
    return root_of(leaf for (leaf,) in rows(lab.path, "SELECT leaf_hash FROM log_entry ORDER BY idx"))


async def test_a_checkpoint_is_signed_where_the_log_has_grown_and_only_there(lab: Lab, memory: Path) -> None:
    await log(lab, 4)
    first = await sign_log(lab, memory)
    assert first is not None
    assert (first.origin, first.size, first.root) == (ORIGIN, 5, root(lab))
    assert await sign_log(lab, memory) is None
    await log(lab)
    second = await sign_log(lab, memory)
    assert second is not None
    assert (second.size, second.root) == (6, root(lab))
    assert problems(lab.path) == []


async def test_an_empty_log_has_nothing_to_sign(database: Path, memory: Path) -> None:
    async with open_lab(database, agreement=False) as lab:
        assert await sign_log(lab, memory) is None


async def test_what_was_remembered_and_not_yet_signed_is_let_through_again(lab: Lab, memory: Path) -> None:
    signer = LogSigner(lab.path, memory, origin=ORIGIN, mac=entry_mac)
    lost = signer.advance()  # the process dies before it is signed
    assert lost is not None
    assert await sign_log(lab, memory) == lost


async def test_a_signer_without_its_memory_reads_the_whole_log_again(lab: Lab, memory: Path) -> None:
    await log(lab, 3)
    await sign_log(lab, memory)
    os.unlink(memory)
    await log(lab)
    grown = await sign_log(lab, memory)
    assert grown is not None
    assert grown.root == root(lab)


async def test_a_log_rebuilt_from_an_older_entry_on_gets_no_signature(lab: Lab, memory: Path) -> None:
    """The database's administrator rewrites an entry and everything that follows from it, append key in hand."""
    await log(lab, 3)
    await sign_log(lab, memory)
    await log(lab)
    rewrite(lab, make_entry("erased").data, index=1)
    assert problems(lab.path) == [(4, "checkpoint.root")]  # all that is left to see from inside
    with pytest.raises(LogInconsistentError, match="head is not that"):
        await sign_log(lab, memory)


def rewrite(lab: Lab, data: bytes, index: int) -> None:
    """Put other bytes at an index, and make hashes, macs, nodes and head fit."""
    statements = [
        f"UPDATE log_entry SET entry = x'{data.hex()}', leaf_hash = x'{leaf_hash(data).hex()}', "  # noqa: S608 - hex
        f"mac = x'{entry_mac(index, data).hex()}', kind = 'erased' WHERE idx = {index}"
    ]
    tree = Frontier()
    for idx, leaf in rows(lab.path, "SELECT idx, leaf_hash FROM log_entry ORDER BY idx"):
        for node in tree.append(leaf_hash(data) if idx == index else leaf):
            statements.append(
                f"UPDATE log_node SET hash = x'{node.hash.hex()}' WHERE level = {node.level} AND idx = {node.idx}"  # noqa: S608 - hex
            )
    statements.append(f"UPDATE log_head SET frontier = x'{tree.to_bytes().hex()}'")  # noqa: S608 - hex
    tamper(lab.path, *statements)


async def test_a_new_entry_whose_mac_fails_gets_no_signature(lab: Lab, memory: Path) -> None:
    await log(lab, 2)
    tamper(lab.path, "UPDATE log_entry SET mac = x'00' WHERE idx = 2")
    with pytest.raises(LogInconsistentError, match="mac of entry 2"):
        await sign_log(lab, memory)


async def test_a_missing_entry_gets_no_signature(lab: Lab, memory: Path) -> None:
    await log(lab, 3)
    tamper(lab.path, "DELETE FROM log_subject", "DELETE FROM log_entry WHERE idx = 2")
    with pytest.raises(LogInconsistentError, match="entry 2 is missing"):
        await sign_log(lab, memory)


async def test_a_log_that_went_back_in_time_gets_no_signature(lab: Lab, memory: Path) -> None:
    await log(lab, 3)
    await sign_log(lab, memory)
    tamper(lab.path, "UPDATE log_head SET size = 2, frontier = zeroblob(32)")
    with pytest.raises(LogInconsistentError, match="went back from 4 entries to 2"):
        await sign_log(lab, memory)


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"origin": "other", "size": 0, "frontier": ""}', '{"origin": "%s", "size": 3, "frontier": "00"}'],
)
async def test_an_unreadable_memory_is_no_fresh_start(lab: Lab, memory: Path, text: str) -> None:
    with open(memory, "w", encoding="ascii") as file:  # noqa: ASYNC230 - a few bytes
        file.write(text.replace("%s", ORIGIN))
    with pytest.raises(LogInconsistentError, match="memory"):
        await sign_log(lab, memory)
