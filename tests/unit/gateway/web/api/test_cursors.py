"""Cursors: one text for one place of one list, and nothing else is read as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.api.cursors import Cursor, read, since, to_text

NUMBERS = st.integers(0, 2**53 - 1)
RESTORED = st.none() | st.binary(min_size=32, max_size=32)


@given(NUMBERS, RESTORED)
def test_place_comes_back(number: int, restored: bytes | None) -> None:
    text = to_text("inbox", number, restored)
    assert read("inbox", text) == Cursor(number, since(restored))
    assert read("events", text) is None


@given(st.text(max_size=22))
def test_whatever_is_read_is_written_the_same(text: str) -> None:
    cursor = read("inbox", text)
    assert cursor is None or to_text("inbox", cursor.number, cursor.since or None) == text


@pytest.mark.parametrize(
    "text", ["", "AQ", "AQAAAAAAAAA=", "AQ_________", "AAAAAAAAAAAA", "AQAAAAAAAAAAA", "AQAAAAAAAAAAAAAAAAA"]
)
def test_other_texts_are_none(text: str) -> None:
    assert read("inbox", text) is None


def test_number_beyond_every_database_is_none() -> None:
    assert read("inbox", to_text("inbox", 2**53, None)) is None


def test_restores_are_told_apart() -> None:
    assert len({since(None), since(b"a" * 32), since(b"b" * 32)}) == 3
