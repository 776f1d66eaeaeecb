"""What a store owes the protection list."""

from __future__ import annotations

from tests.conformance.steps import TAGS, protect
from tests.conformance.subject import Subject


async def test_a_listed_tag_is_found_under_its_kinds(subject: Subject) -> None:
    both = frozenset({"location", "identity"})
    assert await subject.store.write(protect(kinds=both)) == 4
    assert await subject.protection.kinds([b"t" * 32]) == both
    assert await subject.protection.kinds([b"x" * 32]) == frozenset()
    assert await subject.protection.kinds([]) == frozenset()
    assert await subject.overview.protected() == {"location": 2, "identity": 2}


async def test_listing_again_changes_nothing_and_is_logged(subject: Subject) -> None:
    await subject.store.write(protect())
    assert await subject.store.write(protect()) == 0
    assert [kind for kind, _ in subject.log()][1:] == ["protection-changed"] * 2


async def test_a_tag_taken_off_is_gone_for_that_kind_only(subject: Subject) -> None:
    await subject.store.write(protect(kinds=frozenset({"location", "identity"})))
    assert await subject.store.write(protect(add=False)) == 2
    assert await subject.protection.kinds(TAGS) == {"identity"}
    assert await subject.store.write(protect(add=False)) == 0
    assert [kind for kind, _ in subject.log()][1:] == ["protection-changed"] * 3
