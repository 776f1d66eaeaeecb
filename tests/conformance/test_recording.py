"""What a store owes an entry without an act, and checkpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.commands import PutCheckpoint, Record
from gateway.core.errors import LogInconsistentError
from tests.conformance.subject import Subject
from tests.support.store import make_entry


async def test_a_record_is_one_entry_and_answers_its_place(subject: Subject) -> None:
    assert await subject.store.write(Record(entry=make_entry("search"))) == 1
    assert await subject.store.write(Record(entry=make_entry("export"))) == 2
    assert subject.log() == [("agreement-event", None), ("search", None), ("export", None)]


async def test_two_checkpoints_of_one_size_have_one_root(subject: Subject) -> None:
    put_one = PutCheckpoint(size=1, root=b"r" * 32, note="note", signed_at=100)
    for again in (put_one, replace(put_one, note="another note")):
        await subject.store.write(again)
    with pytest.raises(LogInconsistentError):
        await subject.store.write(replace(put_one, root=b"s" * 32))
    await subject.store.write(replace(put_one, size=2, root=b"s" * 32))
