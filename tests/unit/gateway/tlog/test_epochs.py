"""The names that one log has had, by index and by size."""

from __future__ import annotations

import pytest

from gateway.tlog.epochs import Epochs, next_origin

TWICE = Epochs("log/3", ((5, "log/1"), (9, "log/2")))


@pytest.mark.parametrize(
    ("index", "origin"), [(0, "log/1"), (4, "log/1"), (5, "log/2"), (8, "log/2"), (9, "log/3"), (99, "log/3")]
)
def test_an_entry_belongs_to_the_epoch_it_was_written_in(index: int, origin: str) -> None:
    assert TWICE.at(index) == origin
    assert TWICE.of_size(index + 1) == origin


def test_a_log_that_never_went_back_has_one_name() -> None:
    assert {Epochs("log/1").at(index) for index in (0, 7)} == {"log/1"}
    assert Epochs("log/1").of_size(0) == "log/1"


@pytest.mark.parametrize(
    ("origin", "after"),
    [
        ("safehand.la-207/exchange-log/1", "safehand.la-207/exchange-log/2"),
        ("log/9", "log/10"),
        ("log", None),
        ("log/0", None),
        ("7", None),
    ],
)
def test_the_next_epoch_is_counted_on(origin: str, after: str | None) -> None:
    assert next_origin(origin) == after
