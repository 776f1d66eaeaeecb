"""What a store owes witnesses: nothing remembered is lost, taken back or overwritten; run over `gateway.store` and the fake."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.commands import PutCheckpoint
from gateway.core.errors import RowTamperedError
from gateway.core.witnessing import CosignatureRow, KeepConflict, KeepCosignatures, KeepProof, Remember
from gateway.store.witnessing import CONFLICTS_KEPT
from gateway.tlog.witness import EMPTY_ROOT
from tests.conformance.subject import Subject
from tests.support.store import (
    START,
    make_claim,
    make_complete,
    make_entry,
    make_submit,
    open_lab,
    rows,
    tamper,
)

ORIGIN = "safehand.la-902.example/exchange-log/1"
ROOT = b"\x01" * 32


def make_remember(size: int, root: bytes = ROOT, *, before: tuple[int, bytes] = (0, EMPTY_ROOT)) -> Remember:
    return Remember(
        origin=ORIGIN,
        partner="la-902",
        before_size=before[0],
        before_root=before[1],
        size=size,
        root=root,
        note=f"note {size}".encode(),
        at=7,
    )


def make_conflict(size: int = 5, root: bytes = b"\x02" * 32) -> KeepConflict:
    entry = make_entry("witness-conflict", dir="own", partner="la-902")
    return KeepConflict(origin=ORIGIN, size=size, root=root, note=b"another note", at=7, entry=entry)


def cosigned(size: int, witness: str) -> CosignatureRow:
    return CosignatureRow(size=size, witness=witness, at=1_000 + size, line=f"line of {witness} at {size}")


async def keep(subject: Subject, *cosignatures: CosignatureRow) -> int:
    return await subject.store.write(KeepCosignatures(rows=cosignatures))


# --- what we witness


async def test_nothing_is_remembered_of_a_log_never_seen(subject: Subject) -> None:
    assert await subject.witnesses.log(ORIGIN) is None
    assert await subject.witnesses.logs() == ()


async def test_what_was_remembered_is_what_is_read(subject: Subject) -> None:
    assert await subject.store.write(make_remember(5))
    held = await subject.witnesses.log(ORIGIN)
    assert held is not None
    assert (held.partner, held.size, held.root, held.note, held.updated_at) == ("la-902", 5, ROOT, b"note 5", 7)
    assert await subject.witnesses.logs() == (held,)


async def test_only_who_saw_the_present_state_may_replace_it(subject: Subject) -> None:
    assert await subject.store.write(make_remember(5))
    assert await subject.store.write(make_remember(9, before=(5, ROOT)))
    for before in ((0, EMPTY_ROOT), (5, ROOT), (9, b"\x02" * 32)):
        assert not await subject.store.write(make_remember(7, before=before))
    held = await subject.witnesses.log(ORIGIN)
    assert held is not None
    assert held.size == 9


async def test_of_two_that_saw_the_same_state_one_is_told_that_it_came_too_late(subject: Subject) -> None:
    assert await subject.store.write(make_remember(5))
    assert not await subject.store.write(make_remember(6))


async def test_the_first_conflict_of_a_size_is_kept_and_logged(subject: Subject) -> None:
    assert await subject.store.write(make_conflict())
    assert not await subject.store.write(make_conflict())
    assert not await subject.store.write(make_conflict(root=b"\x03" * 32))
    assert await subject.store.write(make_conflict(6))


async def test_conflicts_of_one_log_cannot_fill_the_disk(subject: Subject) -> None:
    for number in range(CONFLICTS_KEPT):
        assert await subject.store.write(make_conflict(number))
    assert not await subject.store.write(make_conflict(CONFLICTS_KEPT))


# --- who witnesses us


async def test_cosignatures_are_found_by_size(subject: Subject) -> None:
    assert await keep(subject, cosigned(5, "b"), cosigned(5, "a"), cosigned(7, "a")) == 3
    assert await subject.witnesses.cosignatures(5) == (cosigned(5, "a"), cosigned(5, "b"))
    assert await subject.witnesses.cosignatures(6) == ()


async def test_the_first_cosignature_of_a_size_and_witness_stays(subject: Subject) -> None:
    first = cosigned(5, "a")
    await keep(subject, first)
    assert await keep(subject, CosignatureRow(size=5, witness="a", at=9, line="another")) == 0
    assert await subject.witnesses.cosignatures(5) == (first,)


async def test_the_newest_cosignature_of_each_key_is_found_up_to_a_size(subject: Subject) -> None:
    await keep(subject, cosigned(5, "a"), cosigned(7, "b"), cosigned(7, "a"), cosigned(9, "b"), cosigned(11, "c"))
    newest = subject.witnesses.newest_cosigned
    assert await newest({"a", "b", "nobody"}, None) == {"a": 7, "b": 9}
    assert await newest({"a", "b"}, 8) == {"a": 7, "b": 7}
    assert await newest({"a", "b"}, 7) == {"a": 7, "b": 7}
    assert await newest({"a", "b"}, 6) == {"a": 5}
    assert await newest({"a", "b"}, 4) == {}
    assert await newest(set(), None) == {}


async def test_the_last_size_of_a_witness_is_that_of_any_of_its_keys(subject: Subject) -> None:
    await keep(subject, cosigned(5, "old key"), cosigned(7, "new key"), cosigned(9, "another"))
    assert await subject.witnesses.last_cosigned({"old key", "new key"}) == 7
    assert await subject.witnesses.last_cosigned({"nobody"}) == 0
    assert await subject.witnesses.last_cosigned(set()) == 0


async def test_the_first_checkpoint_above_a_size_is_the_smallest_larger_one(subject: Subject) -> None:
    for size in (2, 5, 9):
        await subject.store.write(PutCheckpoint(size=size, root=ROOT, note=f"note {size}", signed_at=100 + size))
    found = await subject.witnesses.first_above(2)
    assert found is not None
    assert (found.size, found.root, found.note, found.signed_at) == (5, ROOT, b"note 5", 105)
    assert await subject.witnesses.first_above(9) is None


# --- receipts


async def receipt(subject: Subject) -> tuple[str, bytes]:
    """A delivered message; its id and the leaf in its receipt."""
    submit = make_submit(lane=b"lane of its own")
    await subject.store.write(submit)
    (candidate,) = [one for one in await subject.outbox.due(START, 20) if one.message_id == submit.message.id]
    lease = await subject.store.write(make_claim(candidate))
    assert lease is not None
    complete = make_complete(lease, submit.message.id)
    assert await subject.store.write(complete)
    return submit.message.id, complete.receipt.leaf


async def test_a_receipt_waits_for_its_proof(subject: Subject) -> None:
    own, leaf = await receipt(subject)
    assert await subject.witnesses.unproven_from() == ("la-902",)
    (waiting,) = await subject.witnesses.unproven("la-902", 10)
    assert (waiting.message_id, waiting.leaf) == (own, leaf)
    assert await subject.witnesses.unproven("la-903", 10) == ()
    assert await subject.witnesses.proof(leaf) is None


async def test_a_proven_receipt_keeps_its_first_proof(subject: Subject) -> None:
    _, leaf = await receipt(subject)
    assert await subject.store.write(KeepProof(leaf=leaf, proof=b"the proof"))
    assert not await subject.store.write(KeepProof(leaf=leaf, proof=b"another"))
    assert await subject.witnesses.proof(leaf) == b"the proof"
    assert await subject.witnesses.unproven_from() == ()
    assert await subject.witnesses.unproven("la-902", 10) == ()


async def test_a_proof_of_nothing_is_not_kept(subject: Subject) -> None:
    assert not await subject.store.write(KeepProof(leaf=b"\x09" * 32, proof=b"a proof"))


async def test_no_more_receipts_are_answered_than_asked_for(subject: Subject) -> None:
    for _ in range(3):
        await receipt(subject)
    assert len(await subject.witnesses.unproven("la-902", 2)) == 2


async def test_receipts_are_answered_from_any_of_them_on(subject: Subject) -> None:
    for _ in range(3):
        await receipt(subject)
    first, *others = await subject.witnesses.unproven("la-902", 10)
    assert await subject.witnesses.unproven("la-902", 10, after=first.number) == tuple(others)
    assert await subject.witnesses.unproven("la-902", 10, after=others[-1].number) == ()


# --- what only the real store has


async def test_a_witness_whose_memory_was_changed_cosigns_nothing_rather_than_anything(database: Path) -> None:
    async with open_lab(database) as lab:
        await lab.open.store.write(make_remember(5))
    tamper(database, "UPDATE witness_state SET size = 0")
    async with open_lab(database) as lab:
        with pytest.raises(RowTamperedError):
            await lab.open.store.write(make_remember(3))
        with pytest.raises(RowTamperedError):
            await lab.open.read.witnesses.log(ORIGIN)
        assert [code for code, _ in lab.alarms.raised] == ["row-tampered"]


async def test_the_contradicting_note_lies_beside_its_entry(database: Path) -> None:
    async with open_lab(database) as lab:
        await lab.open.store.write(make_conflict())
    assert rows(database, "SELECT origin, size, note FROM witness_conflict") == [(ORIGIN, 5, b"another note")]
    assert ("witness-conflict",) in rows(database, "SELECT kind FROM log_entry")
