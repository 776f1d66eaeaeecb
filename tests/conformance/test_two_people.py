"""What a store owes acts that need two people."""

from __future__ import annotations

from gateway.core.commands import Intend
from tests.conformance.subject import Subject
from tests.support.store import make_entry


def intend(by: str, *, act: bytes = b"a" * 32, now: int = 1_000, not_before: int = 0) -> Intend:
    return Intend(act=act, by=by, now=now, not_before=not_before, entry=make_entry("approval"))


async def test_one_person_twice_is_not_two_people(subject: Subject) -> None:
    assert await subject.store.write(intend("one")) == ("one",)
    assert await subject.store.write(intend("one")) == ("one",)


async def test_a_second_person_completes_the_act(subject: Subject) -> None:
    await subject.store.write(intend("two"))
    assert await subject.store.write(intend("one")) == ("one", "two")


async def test_two_halves_are_used_up_by_the_act(subject: Subject) -> None:
    await subject.store.write(intend("one"))
    await subject.store.write(intend("two"))
    assert await subject.store.write(intend("two")) == ("two",)
    assert await subject.store.write(intend("one")) == ("one", "two")


async def test_halves_of_different_acts_do_not_meet(subject: Subject) -> None:
    await subject.store.write(intend("one", act=b"a" * 32))
    assert await subject.store.write(intend("two", act=b"b" * 32)) == ("two",)


async def test_an_old_half_does_not_count_until_it_is_stated_again(subject: Subject) -> None:
    await subject.store.write(intend("one", now=1_000))
    assert await subject.store.write(intend("two", now=5_000, not_before=1_001)) == ("two",)
    assert await subject.store.write(intend("one", now=5_001, not_before=1_002)) == ("one", "two")


async def test_a_half_stated_again_is_as_new(subject: Subject) -> None:
    await subject.store.write(intend("one", now=1_000))
    await subject.store.write(intend("one", now=4_000))
    assert await subject.store.write(intend("two", now=5_000, not_before=4_000)) == ("one", "two")
