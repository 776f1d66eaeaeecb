"""Lines, leaf hashes and heads of an export: whatever was changed is placed, and named where it can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tlog.entry import Entry, encode, leaf_hash, nonce_text
from gateway.tlog.exported import ENTRIES, LEAVES, NAMED, Block, Head, Line, LogCheck, check_lines, note_name
from gateway.tlog.fsck import Problem
from gateway.tlog.merkle import root_of
from tests.support.plain_export import Reading, blocks_of

ORIGIN, ORG = "safehand.la-207.example/exchange-log/1", "la-207"
SIZE = 40
HEADS = (7, 8, 20, 33, 40)


def make_entry(number: int, **members: str) -> bytes:
    nonce = nonce_text(number.to_bytes(16, "big"))
    return encode(Entry(v=1, kind="search", at=number, nonce=nonce, **{"org": ORG, "origin": ORIGIN, **members}))


ENTRIES_OF = tuple(make_entry(number) for number in range(SIZE))
LEAVES_OF = tuple(map(leaf_hash, ENTRIES_OF))


def make_head(size: int, leaves: Sequence[bytes] = LEAVES_OF) -> Head:
    return Head(size, root_of(leaves[:size]), note_name(size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What lies in an export, as far as the tree goes; `data` are the bytes of entries.jsonl."""

    data: bytes = b"".join(entry + b"\n" for entry in ENTRIES_OF)
    leaves: tuple[bytes, ...] | None = LEAVES_OF
    heads: tuple[Head, ...] = tuple(make_head(size) for size in HEADS)

    def problems(self) -> list[Problem]:
        rules = LogCheck(origin=ORIGIN, org=ORG, heads=self.heads, reader=Reading())
        leaves = None if self.leaves is None else BytesIO(b"".join(self.leaves))
        return list(check_lines(blocks_of(self.data, rules, every=11), leaves, rules))

    def found(self) -> list[tuple[int, str]]:
        return [(problem.index, problem.column) for problem in self.problems()]


def of(*entries: bytes) -> bytes:
    return b"".join(entry + b"\n" for entry in entries)


def test_a_whole_export_has_no_problem_with_or_without_leaf_hashes() -> None:
    assert Export().problems() == []
    assert Export(leaves=None).problems() == []


@given(place=st.integers(0, len(Export().data) - 1), change=st.integers(1, 255))
def test_any_changed_byte_of_an_entry_is_named_first_by_its_index(place: int, change: int) -> None:
    data = bytearray(Export().data)
    data[place] ^= change
    index = Export().data[:place].count(b"\n")
    assert Export(data=bytes(data)).found()[0] == (index, ENTRIES)


@given(place=st.integers(0, SIZE * 32 - 1), change=st.integers(1, 255))
def test_any_changed_byte_of_a_leaf_hash_is_named_and_blamed_on_its_file(place: int, change: int) -> None:
    data = bytearray(b"".join(LEAVES_OF))
    data[place] ^= change
    leaves = tuple(bytes(data[start : start + 32]) for start in range(0, len(data), 32))
    assert Export(leaves=leaves).found() == [(place // 32, LEAVES)]


@given(place=st.integers(0, len(Export().data) - 1), change=st.integers(1, 255))
def test_without_leaf_hashes_a_change_lies_between_two_checkpoints_that_are_named(place: int, change: int) -> None:
    data = bytearray(Export().data)
    data[place] ^= change
    index = Export().data[:place].count(b"\n")
    since = max([0, *(size for size in HEADS if size <= index)])
    problems = Export(data=bytes(data), leaves=None).problems()
    assert since in {problem.index for problem in problems}
    assert all(problem.index >= since for problem in problems)


def test_an_entry_taken_out_is_named_and_no_other() -> None:
    assert Export(data=of(*ENTRIES_OF[:9], *ENTRIES_OF[10:])).found() == [(9, ENTRIES)]


def test_an_entry_put_in_is_named_and_no_other() -> None:
    assert Export(data=of(*ENTRIES_OF[:9], make_entry(99), *ENTRIES_OF[9:])).found() == [(9, ENTRIES)]


WRONG = "not the entry that was signed"
EXCHANGED = (*ENTRIES_OF[:9], ENTRIES_OF[10], ENTRIES_OF[9], *ENTRIES_OF[11:])
FAR = (*ENTRIES_OF[:9], ENTRIES_OF[30], *ENTRIES_OF[10:30], ENTRIES_OF[9], *ENTRIES_OF[31:])


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        (EXCHANGED, ["9 exchanged with entry 10", "10 exchanged with entry 9"]),
        ((*ENTRIES_OF[:38], ENTRIES_OF[39], ENTRIES_OF[38]), ["38 exchanged with entry 39", "39 exchanged with entry 38"]),
        (FAR, ["9 changed", "30 exchanged with entry 9"]),
        (
            (*ENTRIES_OF[:9], ENTRIES_OF[13], *ENTRIES_OF[10:13], ENTRIES_OF[18], *ENTRIES_OF[14:18], ENTRIES_OF[9], *ENTRIES_OF[19:]),
            [f"{here} changed, entry {there} stands here" for here, there in ((9, 13), (13, 18), (18, 9))],
        ),
        (ENTRIES_OF[:9] + ENTRIES_OF[10:], ["9 missing"]),
        (ENTRIES_OF[:39], ["39 missing"]),
        ((*ENTRIES_OF[:9], make_entry(99), *ENTRIES_OF[9:]), ["9 a line too many stands before it"]),
        (ENTRIES_OF[:10] + ENTRIES_OF[9:], ["10 a line too many stands before it, entry 9 once more"]),
        (ENTRIES_OF[:10] + ENTRIES_OF[8:], [f"10 a line too many stands before it, entry {n} once more" for n in (8, 9)]),
        ((*ENTRIES_OF[:9], ENTRIES_OF[9], ENTRIES_OF[12], *ENTRIES_OF[10:]), ["10 a line too many stands before it"]),
        (
            (*ENTRIES_OF[:9], *ENTRIES_OF[10:15], ENTRIES_OF[9], *ENTRIES_OF[15:]),
            ["9 missing, it stands at entry 15", "15 a line too many stands before it, that of entry 9"],
        ),
        (
            (*ENTRIES_OF[:9], ENTRIES_OF[15], *ENTRIES_OF[9:15], *ENTRIES_OF[16:]),
            ["9 a line too many stands before it, that of entry 15", "15 missing, it stands at entry 9"],
        ),
        (
            (*ENTRIES_OF[:9], *ENTRIES_OF[10:30], ENTRIES_OF[9], *ENTRIES_OF[30:]),
            ["9 missing", "30 a line too many stands before it, that of entry 9"],
        ),
    ],
)  # fmt: skip
def test_what_became_of_a_line_is_said_where_it_can_be_known(entries: tuple[bytes, ...], told: list[str]) -> None:
    problems = Export(data=of(*entries)).problems()
    assert [(problem.column, str(problem)) for problem in problems] == [
        (ENTRIES, f"{index} {ENTRIES}: {what}: {WRONG}") for index, _, what in (one.partition(" ") for one in told)
    ]


def test_two_leaf_hashes_that_changed_places_are_blamed_on_their_file() -> None:
    leaves = (*LEAVES_OF[:9], LEAVES_OF[10], LEAVES_OF[9], *LEAVES_OF[11:])
    assert Export(leaves=leaves).found() == [(9, LEAVES), (10, LEAVES)]


def test_a_run_of_entries_replaced_is_named_one_by_one() -> None:
    other = [make_entry(100 + number) for number in range(3)]
    changed = (*ENTRIES_OF[:21], *other, *ENTRIES_OF[24:])
    assert Export(data=of(*changed)).found() == [(21, ENTRIES), (22, ENTRIES), (23, ENTRIES)]


def test_a_log_cut_off_at_its_end_misses_what_was_signed() -> None:
    assert Export(data=of(*ENTRIES_OF[:38])).found() == [(38, ENTRIES), (39, ENTRIES)]
    assert (40, note_name(40)) in Export(data=of(*ENTRIES_OF[:38]), leaves=None).found()


def test_entries_behind_the_newest_checkpoint_are_covered_by_nothing() -> None:
    longer = of(*ENTRIES_OF, make_entry(99))
    assert Export(data=longer).found() == [(40, ENTRIES)]
    assert Export(data=longer, leaves=None).found() == [(40, ENTRIES)]


def test_a_file_that_breaks_off_before_its_last_line_feed_is_named() -> None:
    assert Export(data=Export().data[:-1]).found() == [(39, ENTRIES)]


def test_a_head_that_other_heads_contradict_is_the_one_that_is_told_of() -> None:
    other = replace(Export(), heads=(*Export().heads[:2], Head(20, bytes(32), "elsewhere"), *Export().heads[3:]))
    assert other.found() == [(20, "elsewhere")]


@pytest.mark.parametrize("column", ["first", "second"])
def test_of_two_heads_of_one_size_the_one_that_the_entries_have_counts(column: str) -> None:
    true, false = Head(20, root_of(LEAVES_OF[:20]), "true"), Head(20, bytes(32), "false")
    heads = [make_head(8), *([true, false] if column == "first" else [false, true]), make_head(40)]
    assert Export(heads=tuple(heads)).found() == [(20, "false")]


def test_where_entries_and_leaf_hashes_were_changed_alike_the_range_is_named() -> None:
    other = make_entry(99)
    entries = (*ENTRIES_OF[:9], other, *ENTRIES_OF[10:])
    leaves = (*LEAVES_OF[:9], leaf_hash(other), *LEAVES_OF[10:])
    problems = Export(data=of(*entries), leaves=leaves).problems()
    assert [(p.index, p.column) for p in problems] == [
        (8, ENTRIES),
        (20, note_name(20)),
        (33, note_name(33)),
        (40, note_name(40)),
    ]
    assert "entries 8 to 19" in problems[0].rule


def test_where_entries_and_leaf_hashes_differ_and_neither_was_signed_both_places_are_named() -> None:
    entries = (*ENTRIES_OF[:9], make_entry(99), *ENTRIES_OF[10:])
    leaves = (*LEAVES_OF[:12], bytes(32), *LEAVES_OF[13:])
    found = Export(data=of(*entries), leaves=leaves).found()
    assert {(9, ENTRIES), (12, ENTRIES), (8, ENTRIES)} <= set(found)


def test_damage_to_each_file_in_another_stretch_is_blamed_on_each() -> None:
    entries = (*ENTRIES_OF[:9], make_entry(99), *ENTRIES_OF[10:])
    leaves = (*LEAVES_OF[:34], bytes(32), *LEAVES_OF[35:])
    assert Export(data=of(*entries), leaves=leaves).found() == [(9, ENTRIES), (34, LEAVES)]


def test_a_log_of_other_entries_altogether_is_not_told_of_without_end() -> None:
    other = [make_entry(10_000 + number) for number in range(3 * NAMED)]
    leaves = [leaf_hash(make_entry(number)) for number in range(3 * NAMED)]
    export = Export(data=of(*other), leaves=tuple(leaves), heads=(make_head(3 * NAMED, leaves),))
    problems = export.problems()
    assert len(problems) == NAMED + 1
    assert f"and {2 * NAMED} more" in problems[-1].rule


@pytest.mark.parametrize("members", [{"origin": "other.example/log"}, {"org": "la-850"}])
def test_an_entry_of_another_log_is_named_though_it_was_signed(members: dict[str, str]) -> None:
    entries = (*ENTRIES_OF[:9], make_entry(9, **members), *ENTRIES_OF[10:])
    leaves = tuple(map(leaf_hash, entries))
    heads = tuple(make_head(size, leaves) for size in HEADS)
    assert Export(data=of(*entries), leaves=leaves, heads=heads).found() == [(9, ENTRIES)]


@pytest.mark.parametrize(("earlier_at", "named"), [((0, 1, 2), []), ((0, 2), [(2, ENTRIES)]), ((39,), [(39, ENTRIES)])])
def test_the_name_of_an_earlier_epoch_stands_before_the_logs_own_alone(
    earlier_at: tuple[int, ...], named: list[tuple[int, str]]
) -> None:
    entries = [
        make_entry(number, origin=f"{ORIGIN[:-1]}0" if number in earlier_at else ORIGIN) for number in range(SIZE)
    ]
    leaves = tuple(map(leaf_hash, entries))
    rules = LogCheck(
        origin=ORIGIN,
        org=ORG,
        heads=[make_head(size, leaves) for size in HEADS],
        reader=Reading(),
        earlier=frozenset({f"{ORIGIN[:-1]}0"}),
    )
    problems = check_lines(blocks_of(of(*entries), rules, every=1), BytesIO(b"".join(leaves)), rules)
    assert [(problem.index, problem.column) for problem in problems] == named


def test_an_entry_that_is_not_canonical_is_named_though_it_was_signed() -> None:
    entries = (*ENTRIES_OF[:9], ENTRIES_OF[9].replace(b":", b": ", 1), *ENTRIES_OF[10:])
    leaves = tuple(map(leaf_hash, entries))
    heads = tuple(make_head(size, leaves) for size in HEADS)
    assert Export(data=of(*entries), leaves=leaves, heads=heads).found() == [(9, ENTRIES)]


def test_what_is_in_doubt_is_shown_to_nobody() -> None:
    entries = (*ENTRIES_OF[:9], make_entry(99), *ENTRIES_OF[10:])
    reading = Reading()
    rules = LogCheck(origin=ORIGIN, org=ORG, heads=Export().heads, reader=reading)
    list(check_lines(blocks_of(of(*entries), rules, every=11), BytesIO(b"".join(LEAVES_OF)), rules))
    assert [index for index, _, _ in reading.seen] == [index for index in range(SIZE) if index != 9]


def test_an_entry_that_is_not_the_one_that_was_hashed_is_shown_to_nobody() -> None:
    """The file is changed between the two times that it is read."""
    reading = Reading()
    rules = LogCheck(origin=ORIGIN, org=ORG, heads=[make_head(SIZE)], reader=reading)
    (block,) = blocks_of(Export().data, rules, every=SIZE)
    other = [Line(entry, True) for entry in (*ENTRIES_OF[:9], make_entry(99), *ENTRIES_OF[10:])]
    problems = list(check_lines([Block(block.digest, lambda: other)], BytesIO(b"".join(LEAVES_OF)), rules))
    assert [str(problem) for problem in problems] == [f"9 {ENTRIES}: changed while it was read"]
    assert [index for index, _, _ in reading.seen] == [index for index in range(SIZE) if index != 9]
