"""What each field type of the vocabulary accepts: the whole value, exactly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.field_types import FieldTypeError, field_type, is_nhs_number, is_uln, is_upn

CODES = {"sex": frozenset({"M", "F"})}

ACCEPTED: list[tuple[str, Any]] = [
    ("name", "Ö"),
    ("name", "n" * 70),
    ("name", "Zoë 'Bob' O'Neill-Smith"),
    ("name", "\U0001f600" * 70),
    ("name", " "),
    ("text:5", "a\nb\tc"),
    ("text:5", "\x7f"),
    ("code-free:2", "ab"),
    ("code:sex", "F"),
    ("ref", "KC/2026/00_1.a-b"),
    ("ref", "r" * 40),
    ("path", "contacts[].name.family"),
    ("date", "2024-02-29"),
    ("date", "0001-01-01"),
    ("yes-no", True),
    ("yes-no", False),
    ("count", 0),
    ("count", 100_000),
    ("digits:3", "007"),
    ("hex:4", "00af"),
    ("upn", "B801200005001"),
    ("nhs-number", "9434765870"),
    ("uln", "9276308686"),
    ("postcode", "SO14 7AA"),
    ("postcode", "W1A1AA"),
    ("postcode", "W8 7NX"),
    ("phone", "+44 20 7946 0000"),
    ("phone", "0" * 20),
    ("email", "a@b"),
    ("nino", "QQ123456C"),
    ("list:text:3:2", []),
    ("list:text:3:2", ["abc", "d"]),
    ("list:code:sex:2", ["M", "M"]),
    ("list:path:60", ["a.b"]),
]

REFUSED: list[tuple[str, Any]] = [
    ("name", ""),
    ("name", "n" * 71),
    ("name", "a\x00b"),
    ("name", "a\rb"),
    ("name", "a\x1fb"),
    ("name", "\ud800"),
    ("name", 5),
    ("name", None),
    ("name", ["a"]),
    ("text:5", "abcdef"),
    ("code-free:2", "abc"),
    ("code:sex", "f"),
    ("code:sex", " F"),
    ("code:sex", ["F"]),
    ("code:sex", {"F": 1}),
    ("ref", "with space"),
    ("ref", "r" * 41),
    ("ref", "ref\n"),
    ("path", "Child"),
    ("date", "2026-02-29"),
    ("date", "2026-2-9"),
    ("date", "20260209"),
    ("date", "2026-W01-1"),
    ("date", "2026-01-01T00:00"),
    ("date", "0000-01-01"),
    ("date", "2026-01-01\n"),
    ("date", "\uff12026-01-01"),
    ("yes-no", "true"),
    ("yes-no", 1),
    ("yes-no", None),
    ("count", -1),
    ("count", 100_001),
    ("count", 1.0),
    ("count", True),
    ("count", "1"),
    ("count", 10**30),
    ("digits:3", "12"),
    ("digits:3", "1234"),
    ("digits:3", "١٢٣"),
    ("digits:3", 123),
    ("hex:4", "00AF"),
    ("upn", "A801200005001"),
    ("upn", "Q207000016049"),
    ("upn", "b801200005001"),
    ("upn", "B80120000500"),
    ("nhs-number", "9434765871"),
    ("nhs-number", "943 476 5870"),
    ("uln", "9276308687"),
    ("uln", "0276308686"),
    ("postcode", "SO14  7AA"),
    ("postcode", "so14 7aa"),
    ("postcode", "SO14 7A"),
    ("phone", "123456"),
    ("phone", "020-7946-0000"),
    ("phone", "++4420794600"),
    ("email", "a@b@c"),
    ("email", "a b@c"),
    ("email", "@b"),
    ("nino", "QQ123456E"),
    ("nino", "QQ 12 34 56 C"),
    ("list:text:3:2", ["a", "b", "c"]),
    ("list:text:3:2", ["a", ""]),
    ("list:text:3:2", "ab"),
    ("list:text:3:2", {}),
    ("list:code:sex:2", ["X"]),
    ("list:code:sex:2", [None]),
]


@pytest.mark.parametrize(("kind", "value"), ACCEPTED)
def test_value_of_its_type_is_accepted(kind: str, value: Any) -> None:
    assert field_type(kind, CODES).accepts(value)


@pytest.mark.parametrize(("kind", "value"), REFUSED)
def test_value_outside_its_type_is_refused(kind: str, value: Any) -> None:
    assert not field_type(kind, CODES).accepts(value)


UNKNOWN = [
    "",
    "names",
    "text",
    "text:",
    "text:0",
    "text:x",
    "text:\u00b2",
    "code",
    "code:",
    "code:age",
    "name:5",
    "upn:1",
]


@pytest.mark.parametrize(
    "text", [*UNKNOWN, "list:", "list:text:5", "list:text:5:0", "list:list:name:2:2", "text:9999999"]
)
def test_unknown_type_is_refused(text: str) -> None:
    with pytest.raises(FieldTypeError):
        field_type(text, CODES)


def test_upn_vectors_of_the_domain_facts() -> None:
    assert [is_upn(upn) for upn in ("B801200005001", "P207000016049", "X85020001501A", "R674123101121")] == [True] * 4
    assert [is_upn(upn) for upn in ("A801200005001", "Q207000016049")] == [False] * 2


@given(st.text(alphabet="0123456789", min_size=9, max_size=9))
def test_at_most_one_check_digit_completes_an_nhs_number(first_nine: str) -> None:
    assert sum(is_nhs_number(first_nine + digit) for digit in "0123456789") <= 1


@given(st.sampled_from("123456789"), st.text(alphabet="0123456789", min_size=8, max_size=8))
def test_uln_follows_the_equivalent_rule_of_the_domain_facts(first: str, rest: str) -> None:
    nine = first + rest
    remainder = sum(int(digit) * weight for digit, weight in zip(nine, range(10, 1, -1), strict=True)) % 11
    good = {nine + digit for digit in "0123456789" if is_uln(nine + digit)}
    assert good == (set() if remainder == 0 else {nine + str(10 - remainder)})


@given(st.text(alphabet="0123456789", min_size=11, max_size=11))
def test_exactly_one_check_letter_completes_a_permanent_upn(digits: str) -> None:
    assert sum(is_upn(f"{letter}{digits}7") for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 1


def test_narrowing_keeps_only_the_codes_named() -> None:
    narrowed = field_type("code:sex", CODES).narrowed(frozenset({"F"}))
    assert narrowed("F")
    assert not narrowed("M")
    listed = field_type("list:code:sex:3", CODES).narrowed(frozenset({"F"}))
    assert listed([])
    assert listed(["F", "F"])
    assert not listed(["F", "M"])
    assert not listed(["F"] * 4)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner)))
def test_no_type_raises_on_any_value(value: Any) -> None:
    for kind in dict.fromkeys(kind for kind, _ in ACCEPTED):
        assert field_type(kind, CODES).accepts(value) in (True, False)
