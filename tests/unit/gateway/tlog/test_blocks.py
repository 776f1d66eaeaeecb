"""A block read at once says what its lines say one by one, and the fast reading accepts nothing that the careful one refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.tlog import blocks
from gateway.tlog.blocks import Names, digest_block, spans, subtrees
from gateway.tlog.entry import ENTRY_LIMIT, AgreementRef, BreachRef, Entry, encode, leaf_hash, nonce_text, parse_shape
from gateway.tlog.errors import EntryError
from gateway.tlog.merkle import Frontier, root_of

DIGEST = "sha256:" + "ab" * 32
ID = "01938e7c-1111-7abc-8def-0123456789ab"


def make_entry(number: int = 7, **members: object) -> bytes:
    whole = {"v": 1, "kind": "search", "at": number, "nonce": nonce_text(number.to_bytes(16, "big")), **members}
    return encode(Entry(**whole))


FULL = make_entry(
    agreement=AgreementRef(id="a", version=2, digest=DIGEST), basis=("x", "y"), breaches=(BreachRef(code="c", path="p"),),
    commit={"by": "A" * 43, "rows": "A" * 43}, conditions={"a": "true", "b": "unknown"}, dir="in", env=DIGEST, jws=DIGEST,
    msg=ID, org="la-207", origin="o/1", outcome="ok", partner="la-850", paths=("a", "b"), receipt=DIGEST, role="officer",
    thread=ID, type="cme.enquiry", urgency="routine",
)  # fmt: skip
KINDS = (
    FULL,
    make_entry(),
    make_entry(commit={"rows": "A" * 43}),
    make_entry(commit={"by": "A" * 43, "erased": "A" * 43}),
    make_entry(basis=(), breaches=(), paths=(), conditions={}),
    make_entry(breaches=(BreachRef(code="c", path="p"), BreachRef(code="d", path="q"))),
)


NAMES = Names("la-207", ("o/2", "o/1"))


def at_once(*lines: bytes, names: Names = NAMES) -> bool:
    return blocks._read_at_once(b"".join(line + b"\n" for line in lines), names) is not None


@pytest.mark.parametrize("entry", KINDS)
def test_what_gateways_write_is_read_at_once(entry: bytes) -> None:
    assert at_once(entry)
    assert at_once(*KINDS, entry)


def test_every_member_that_an_entry_may_have_is_tried() -> None:
    assert set(json.loads(FULL)) == set(Entry.__struct_fields__)


def accepted(data: bytes) -> bool:
    try:
        parse_shape(data)
    except EntryError:
        return False
    return True


TOKENS = st.sampled_from(
    [b'"', b'""', b",", b":", b"{", b"}", b"[", b"]", b"\\", b"\\u0041", b"\n", b"\x00", b"\x7f", b"\xc3\xa9", b" ", b"0",
     b"-1", b"1.0", b"1e3", b"00", b"9" * 30, b"null", b"true", b'"at":1,', b'"v":1', b'"org":"la-207",', b'"a":"true",',
     b'"by":"x",', b'"commit":{"rows":"x","by":"y"},', b'"conditions":{"b":"true","a":"true"},', b'"x":"y"']
)  # fmt: skip


@given(
    entry=st.sampled_from(KINDS),
    place=st.integers(0, 2000),
    length=st.integers(0, 12),
    put=st.one_of(TOKENS, st.binary(max_size=3)),
)
def test_whatever_is_read_at_once_is_an_entry_by_itself_too(entry: bytes, place: int, length: int, put: bytes) -> None:
    place %= len(entry)
    changed = entry[:place] + put + entry[place + length :]
    for lines in ([changed], [FULL, changed], [changed, FULL], *([[*changed.split(b"\n")]] if b"\n" in put else ())):
        if at_once(*lines):
            assert all(map(accepted, lines)), changed


@given(first=st.sampled_from(KINDS), second=st.sampled_from(KINDS), data=st.data())
def test_pieces_of_entries_put_together_are_no_entry_that_is_none(
    first: bytes, second: bytes, data: st.DataObject
) -> None:
    members, others = first[1:-1].split(b',"'), second[1:-1].split(b',"')
    at = data.draw(st.integers(0, len(members)))
    here = data.draw(st.integers(0, len(others)))
    until = data.draw(st.integers(here, len(others)))
    changed = b"{" + b',"'.join([*members[:at], *others[here:until], *members[at:]]) + b"}"
    if at_once(changed):
        assert accepted(changed), changed


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" " + FULL,
        FULL + b" ",
        FULL + b"\r",
        FULL.replace(b'"la-207"', b'"la\\u002d207"'),
        FULL.replace(b'"a":"true","b"', b'"b":"true","a"'),
        FULL.replace(b'"a":"true","b"', b'"b":"true","b"'),
        FULL.replace(b'"by"', b'"rows"'),
        FULL.replace(b'"search"', b'"sea\trch"'),
        FULL.replace(b'"v":1', b'"v":2'),
        FULL.replace(b'"at":7', b'"at":07'),
        FULL.replace(b'"at":7', b'"at":-0'),
        FULL[:-1] + b',"x":1}',
        b"junk" + FULL,
        FULL + FULL,
    ],
)
def test_a_block_with_a_line_that_is_no_entry_has_no_digest(line: bytes) -> None:
    assert not accepted(line)
    for lines in ([line], [FULL, line], [line, FULL], [FULL, line, FULL]):
        assert digest_block(b"".join(one + b"\n" for one in lines), 0, (), NAMES) is None


@pytest.mark.parametrize("data", [b"", b"\n", FULL, FULL + b"\n" + FULL, b"\n".join([FULL, b"", FULL, b""])])
def test_a_block_that_is_not_whole_lines_has_no_digest(data: bytes) -> None:
    assert digest_block(data, 0, (), NAMES) is None


def test_a_line_larger_than_an_entry_has_no_digest() -> None:
    line = FULL.replace(b'"ok"', b'"' + b"a" * ENTRY_LIMIT + b'"')
    assert not at_once(line)
    assert at_once(line.replace(b"a" * 1_000, b""))
    assert digest_block(line + b"\n", 0, (), NAMES) is None


@example(lines=[FULL.replace(b'"search"', b'"sea\\nrch"')])
@example(lines=[make_entry(commit={"somebody": "A" * 43}, org="la-850"), FULL])
@given(lines=st.lists(st.sampled_from(KINDS), min_size=1, max_size=9))
def test_a_digest_says_what_the_lines_say(lines: list[bytes]) -> None:
    digest = digest_block(b"".join(line + b"\n" for line in lines), 5, (5, 6, 9, 99), NAMES)
    assert digest is not None
    entries = [parse_shape(line) for line in lines]
    assert digest.length == len(lines)
    assert [digest.leaf(offset) for offset in range(len(lines))] == [leaf_hash(line) for line in lines]
    assert digest.orgs | {"la-207"} == {entry.org for entry in entries if entry.org} | {"la-207"}
    assert digest.origins == {entry.origin for entry in entries if entry.origin}
    assert digest.receipts == {offset: entry.receipt for offset, entry in enumerate(entries) if entry.receipt}
    assert digest.marked == {number: lines[number - 5] for number in (5, 8) if number - 5 < len(lines)}


LEAVES = [leaf_hash(bytes([number])) for number in range(200)]


@given(first=st.integers(0, 60), count=st.integers(0, 140))
def test_the_subtrees_of_a_stretch_make_the_tree_of_its_leaves(first: int, count: int) -> None:
    tree = Frontier()
    for leaf in LEAVES[:first]:
        tree.push(leaf)
    for subtree in subtrees(LEAVES[first : first + count], first):
        tree.graft(subtree)
    assert (tree.size, tree.root()) == (first + count, root_of(LEAVES[: first + count]))


@given(first=st.integers(0, 60), count=st.integers(1, 140), cuts=st.sets(st.integers(0, 220)))
def test_at_every_cut_the_tree_has_the_root_it_had_then(first: int, count: int, cuts: set[int]) -> None:
    tree = Frontier()
    for leaf in LEAVES[:first]:
        tree.push(leaf)
    ends = [*sorted(cut for cut in cuts if first < cut < first + count), first + count]
    stretches = spans(LEAVES[first : first + count], first, sorted(cuts))
    assert len(stretches) == len(ends)
    for end, stretch in zip(ends, stretches, strict=True):
        for subtree in stretch:
            tree.graft(subtree)
        assert (tree.size, tree.root()) == (end, root_of(LEAVES[:end]))
