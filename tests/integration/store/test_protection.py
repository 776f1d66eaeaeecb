"""The protection list, and acts that need two people."""

from __future__ import annotations

from gateway.core.commands import Intend, Protect
from gateway.store.rows import TAMPERED
from tests.support.store import Lab, at, make_entry, rows, tamper

TAGS = frozenset({b"t" * 32, b"u" * 32})


def protect(*, add: bool = True, kinds: frozenset[str] = frozenset({"location"})) -> Protect:
    return Protect(tags=TAGS, kinds=kinds, add=add, now=at(0), entry=make_entry("protection-changed"))


def intend(by: str, *, act: bytes = b"a" * 32, now: int = 1_000, not_before: int = 0) -> Intend:
    return Intend(act=act, by=by, now=now, not_before=not_before)


async def test_a_listed_tag_is_found_under_its_kinds(lab: Lab) -> None:
    both = frozenset({"location", "identity"})
    assert await lab.open.store.write(protect(kinds=both)) == 4
    assert await lab.open.read.protection.kinds([b"t" * 32]) == both
    assert await lab.open.read.protection.kinds([b"x" * 32]) == frozenset()
    assert await lab.open.read.protection.kinds([]) == frozenset()


async def test_listing_again_changes_nothing_and_is_logged(lab: Lab) -> None:
    await lab.open.store.write(protect())
    assert await lab.open.store.write(protect()) == 0
    assert rows(lab.path, "SELECT count(*) FROM log_entry WHERE kind = 'protection-changed'") == [(2,)]


async def test_a_tag_taken_off_is_gone_for_that_kind_only(lab: Lab) -> None:
    await lab.open.store.write(protect(kinds=frozenset({"location", "identity"})))
    assert await lab.open.store.write(protect(add=False)) == 2
    assert await lab.open.read.protection.kinds(TAGS) == {"identity"}


async def test_a_planted_entry_counts_as_absent_and_listing_mends_it(lab: Lab) -> None:
    await lab.open.store.write(protect())
    tamper(lab.path, "UPDATE protection SET kind = 'identity'")
    assert await lab.open.read.protection.kinds(TAGS) == frozenset()
    assert {code for code, _ in lab.alarms.raised} == {TAMPERED}
    assert await lab.open.store.write(protect(kinds=frozenset({"identity"}))) == 2
    assert await lab.open.read.protection.kinds(TAGS) == {"identity"}


async def test_one_person_twice_is_not_two_people(lab: Lab) -> None:
    assert await lab.open.store.write(intend("one")) == ("one",)
    assert await lab.open.store.write(intend("one")) == ("one",)


async def test_a_second_person_completes_the_act(lab: Lab) -> None:
    await lab.open.store.write(intend("one"))
    assert await lab.open.store.write(intend("two")) == ("one", "two")


async def test_two_halves_are_used_up_by_the_act(lab: Lab) -> None:
    await lab.open.store.write(intend("one"))
    await lab.open.store.write(intend("two"))
    assert await lab.open.store.write(intend("two")) == ("two",)


async def test_halves_of_different_acts_do_not_meet(lab: Lab) -> None:
    await lab.open.store.write(intend("one", act=b"a" * 32))
    assert await lab.open.store.write(intend("two", act=b"b" * 32)) == ("two",)


async def test_an_old_half_does_not_count(lab: Lab) -> None:
    await lab.open.store.write(intend("one", now=1_000))
    assert await lab.open.store.write(intend("two", now=5_000, not_before=1_001)) == ("two",)


async def test_a_planted_half_does_not_count(lab: Lab) -> None:
    await lab.open.store.write(intend("one"))
    tamper(lab.path, "UPDATE intention SET by = 'somebody'")
    assert await lab.open.store.write(intend("one")) == ("one",)
