"""Halves of acts that need two people: which of them meet, and which go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.deciding import of_halves
from gateway.core.halves import Half, Met, Waiting, half, meet

ACT, OTHER = b"a" * 32, b"b" * 32


def make_half(number: int, name: str, through: str | None = None, *, act: bytes = ACT, at: int = 1_000) -> Half:
    return Half(id=f"{number:032x}", act=act, by=half(name, through), stated_at=at)


def state(mine: Half, *waiting: Half, not_before: int = 0, alone: bool = False, lost: tuple[str, ...] = ()) -> Met:
    return meet(Waiting(halves=waiting, lost=frozenset(lost)), mine, not_before=not_before, alone=alone)


def ids(*halves: Half) -> frozenset[str]:
    return frozenset(half.id for half in halves)


@pytest.mark.parametrize(
    ("first", "second", "people"),
    [
        (("a", None), ("b", None), 2),
        (("a", "one"), ("b", "one"), 1),
        (("a", "one"), ("b", "two"), 2),
        (("a", "one"), ("a", "two"), 1),
        (("a", "one"), ("b", None), 2),
        (("a", "one"), ("a", None), 1),
        (("a", None), ("a", None), 1),
    ],
)
def test_two_halves_meet_where_name_and_credential_differ(
    first: tuple[str, str | None], second: tuple[str, str | None], people: int
) -> None:
    waiting, mine = make_half(1, *first), make_half(2, *second)
    met = state(mine, waiting)
    assert len(met.names) == people
    assert met.kept == (None if people == 2 else mine)


def test_halves_that_met_all_go_and_none_is_kept() -> None:
    same = (make_half(1, "a", "one"), make_half(2, "b", "one"))
    assert state(make_half(3, "c", "two"), *same) == Met(names=("a", "b", "c"), kept=None, gone=ids(*same))


def test_names_are_told_without_what_they_came_through() -> None:
    assert state(make_half(2, "b", "two"), make_half(1, "a", "one")).names == ("a", "b")


def test_half_stated_again_takes_the_place_of_the_first() -> None:
    first, again = make_half(1, "a"), make_half(2, "a", at=4_000)
    assert state(again, first) == Met(names=("a",), kept=again, gone=ids(first))


def test_half_of_another_act_stays() -> None:
    mine = make_half(2, "b")
    assert state(mine, make_half(1, "a", act=OTHER)) == Met(names=("b",), kept=mine, gone=frozenset())


def test_old_half_counts_no_more_and_goes_whatever_its_act() -> None:
    old, others, mine = make_half(1, "a", at=999), make_half(2, "c", act=OTHER, at=999), make_half(3, "b")
    assert state(mine, old, others, not_before=1_000) == Met(names=("b",), kept=mine, gone=ids(old, others))
    assert state(mine, replace(old, stated_at=1_000), not_before=1_000).names == ("a", "b")


def test_half_that_is_enough_alone_waits_for_nobody() -> None:
    mine = make_half(2, "b")
    assert state(mine, alone=True) == Met(names=("b",), kept=None, gone=frozenset())
    earlier = make_half(1, "b")
    assert state(mine, earlier, alone=True) == Met(names=("b",), kept=None, gone=ids(earlier))


def test_half_that_is_not_to_be_found_is_stated_gone() -> None:
    mine = make_half(2, "b")
    assert state(mine, lost=("f" * 32,)) == Met(names=("b",), kept=mine, gone=frozenset({"f" * 32}))


def test_nothing_that_is_printed_tells_who_stated_a_half() -> None:
    assert "Officer" not in repr(make_half(1, "Officer"))


def test_what_the_log_says_of_a_half_does_not_follow_from_who_stated_it() -> None:
    one = make_half(1, "a")
    assert of_halves(one, ()) == of_halves(replace(one, by="b"), ())
