"""Erasure on the disk (invariant I10): proofs before are proofs after, no opening, and no erased byte in any file."""

from __future__ import annotations

from pathlib import Path

from gateway.core.commands import Record
from gateway.core.erasure import AtEntry, Erase, OfMessage
from gateway.store.sqlite import reader_engine
from gateway.tlog.merkle import Frontier
from tests.support.store import (
    Lab,
    make_entry,
    make_submit,
    problems,
    rows,
    sign_log,
)

MANY = 60


def files(path: Path) -> bytes:
    """Every byte that lies on the disk."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")) if "-shm" not in file.name)


def stored(path: Path, *indexes: int) -> list[bytes]:
    """The salts, values and tags of entries, as they lie in the tables."""
    named = ",".join(map(str, indexes))
    cells = rows(path, f"SELECT salt, value FROM log_detail WHERE field <> 'rows' AND entry_idx IN ({named})")  # noqa: S608
    return [cell for row in cells for cell in row]


def erase(what: AtEntry | OfMessage) -> Erase:
    return Erase(what=what, entry=make_entry("erased", by="dpo.one", erased=what.text(), tags=frozenset()))


async def fill(lab: Lab) -> list[str]:
    """Entries enough for several pages; return the messages they are about."""
    submits = [make_submit(lane=b"%d" % number) for number in range(MANY)]
    for submit in submits:
        await lab.open.store.write(submit)
    return [submit.message.id for submit in submits]


async def test_nothing_of_what_was_erased_stays_in_any_file(lab: Lab) -> None:
    messages = await fill(lab)
    targets = range(3, MANY, 7)
    secret = stored(lab.path, *targets)
    assert len(secret) == 2 * len(targets)
    assert all(cell in files(lab.path) for cell in secret)
    for index in targets:
        assert await lab.open.store.write(erase(AtEntry(index=index))) == 1
    assert not any(cell[:16] in files(lab.path) or cell[-16:] in files(lab.path) for cell in secret)
    kept = stored(lab.path, 1, 2, 4)
    assert all(cell in files(lab.path) for cell in kept)
    assert messages


async def test_tag_that_was_erased_stays_in_no_file(lab: Lab) -> None:
    tags = frozenset({bytes(range(100, 132))})
    entry = make_entry(by="officer.one")
    object.__setattr__(entry, "tags", tags)
    index = await lab.open.store.write(Record(entry=entry))
    assert next(iter(tags)) in files(lab.path)
    await lab.open.store.write(erase(AtEntry(index=index)))
    assert next(iter(tags)) not in files(lab.path)


async def test_with_a_reader_in_the_way_the_log_is_emptied_after_a_later_commit(lab: Lab) -> None:
    messages = await fill(lab)
    secret = stored(lab.path, 5)
    with reader_engine(lab.path).connect() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM log_entry").fetchall()  # a long look at the old state
        assert await lab.open.store.write(erase(AtEntry(index=5))) == 1
        assert any(cell in files(lab.path) for cell in secret)
    await lab.open.store.write(Record(entry=make_entry()))
    assert not any(cell in files(lab.path) for cell in secret)
    assert messages


async def test_every_proof_stays_and_verification_finds_nothing(lab: Lab, tmp_path: Path) -> None:
    messages = await fill(lab)
    before = await sign_log(lab, tmp_path / "signer")
    assert before is not None
    await lab.open.store.write(erase(OfMessage(message_id=messages[4])))
    await lab.open.store.write(erase(AtEntry(index=9)))
    assert problems(lab.path) == []
    tree = Frontier()
    for (leaf,) in rows(lab.path, f"SELECT leaf_hash FROM log_entry WHERE idx < {before.size} ORDER BY idx"):  # noqa: S608
        tree.append(leaf)
    assert tree.root() == before.root
    assert await sign_log(lab, tmp_path / "signer") is not None
    compared = lab.open.comparison.run()
    assert (compared.rows, compared.log) == ((), ())
