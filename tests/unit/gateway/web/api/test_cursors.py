"""Cursors: one text for one place of one list, and nothing else is read as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.api.cursors import to_number, to_text

NUMBERS = st.integers(0, 2**53 - 1)


@given(NUMBERS)
def test_place_comes_back(number: int) -> None:
    assert to_number("inbox", to_text("inbox", number)) == number
    assert to_number("events", to_text("inbox", number)) is None


@given(st.text(max_size=16))
def test_whatever_is_read_is_written_the_same(text: str) -> None:
    number = to_number("inbox", text)
    assert number is None or to_text("inbox", number) == text


@pytest.mark.parametrize("text", ["", "AQ", "AQAAAAAAAAA=", "AQ_________", "AAAAAAAAAAAA", "AQAAAAAAAAAAA"])
def test_other_texts_are_none(text: str) -> None:
    assert to_number("inbox", text) is None


def test_number_beyond_every_database_is_none() -> None:
    assert to_number("inbox", to_text("inbox", 2**53)) is None
