"""Macs of rows that decide."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import deciding
from gateway.store import rows
from gateway.store.proven import KEPT, LARGEST, ProvenRows
from gateway.store.rows import TAMPERED, RowSeal, encode
from gateway.store.schema import intention, partner, protection
from tests.support.store import Alarms

ROW = {
    "org": "la-902",
    "name": "Council B",
    "root": "sha256:" + "00" * 32,
    "verified_by": '["one", "two"]',
    "route": "peer",
    "duty_number": "020 7946 0000",
    "fetched_at": 1,
}
CHANGED: dict[str, Any] = dict.fromkeys(ROW, "other") | {"fetched_at": 2}

parts = st.lists(st.one_of(st.none(), st.integers(), st.text(), st.binary()), max_size=5)


def make_seal(key: bytes = b"k" * 32) -> RowSeal:
    return RowSeal(key=key, alarm=Alarms())


@pytest.mark.parametrize("column", sorted(ROW))
def test_a_row_with_any_column_changed_fails(column: str) -> None:
    seal = make_seal()
    row = seal.sealed(partner, ROW)
    assert seal.checked(partner, [row]) == [{**ROW, "mac": row["mac"]}]
    assert seal.checked(partner, [{**row, column: CHANGED[column]}]) == []


def test_a_row_sealed_for_another_table_fails() -> None:
    seal = make_seal()
    row = {"tag": b"t", "kind": "location", "added_at": 1}
    assert seal.checked(protection, [{**row, "mac": seal.sealed(partner, ROW)["mac"]}]) == []


def test_a_row_sealed_under_another_key_fails() -> None:
    assert make_seal().checked(partner, [make_seal(b"x" * 32).sealed(partner, ROW)]) == []


def test_the_alarm_names_table_and_key_and_no_other_column() -> None:
    alarms = Alarms()
    row = make_seal().sealed(partner, ROW)
    RowSeal(key=b"x" * 32, alarm=alarms).checked(partner, [row])
    assert alarms.raised == [(TAMPERED, {"table": "partner", "row": "la-902"})]


def test_the_alarm_shows_no_tag() -> None:
    alarms = Alarms()
    row = make_seal().sealed(protection, {"tag": b"\xaa" * 32, "kind": "location", "added_at": 1})
    RowSeal(key=b"x" * 32, alarm=alarms).checked(protection, [row])
    assert alarms.raised == [(TAMPERED, {"table": "protection", "row": "location"})]


def test_a_damaged_row_raises_its_alarm_once_however_often_it_is_read() -> None:
    alarms = Alarms()
    seal = RowSeal(key=b"x" * 32, alarm=alarms)
    row, other = make_seal().sealed(partner, ROW), make_seal().sealed(partner, {**ROW, "org": "la-903"})
    for _ in range(3):
        assert seal.checked(partner, [row, other]) == []
    assert [details["row"] for _, details in alarms.raised] == ["la-902", "la-903"]


def test_two_rows_whose_names_look_alike_raise_two_alarms() -> None:
    alarms = Alarms()
    seal = RowSeal(key=b"x" * 32, alarm=alarms)
    for tag in (b"a" * 32, b"b" * 32):  # a tag is not shown
        seal.checked(protection, [make_seal().sealed(protection, {"tag": tag, "kind": "location", "added_at": 1})])
    assert len(alarms.raised) == 2


def test_alarms_past_the_room_to_remember_are_raised_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "REMEMBERED", 2)
    alarms = Alarms()
    seal = RowSeal(key=b"k" * 32, alarm=alarms)
    for about in ("a", "b", "b", "c", "b", "a"):  # the oldest is forgotten first
        seal.tell(TAMPERED, {"row": about}, about)
    assert [details["row"] for _, details in alarms.raised] == ["a", "b", "c", "a"]


@given(parts, parts)
def test_two_rows_have_one_encoding_only_if_they_are_one(left: list[Any], right: list[Any]) -> None:
    same = [(type(part), part) for part in left] == [(type(part), part) for part in right]
    assert (encode(left) == encode(right)) == same


# --- names at rest


def test_names_are_encrypted_at_rest_and_handed_on_in_the_clear() -> None:
    seal = make_seal()
    kept = seal.sealed(partner, ROW)
    assert [name for name in ROW if kept[name] != ROW[name]] == ["verified_by"]
    assert seal.sealed(partner, ROW)["verified_by"] != kept["verified_by"]  # equal names do not look alike
    assert seal.opened(partner, kept)["verified_by"] == ROW["verified_by"]


def test_names_of_one_row_do_not_open_in_another() -> None:
    seal = make_seal()
    with pytest.raises(InvalidTag):
        seal.opened(partner, {**seal.sealed(partner, ROW), "org": "la-903"})


def test_names_of_a_row_that_was_kept_in_the_clear_are_read_as_they_are() -> None:
    seal = make_seal()
    old = {**ROW, "mac": seal._mac(partner, ROW)}
    assert seal.in_the_clear(partner, old)
    assert seal.checked(partner, [old]) == [old]
    assert not seal.in_the_clear(partner, seal.sealed(partner, ROW))


# --- a table with few rows


HALF = {"id": "1", "act": b"a" * 32, "by": "one", "stated_at": 1}
PLACE = ("intention", ("1",))
DIGEST = deciding.digest_of("intention", HALF)


def is_good(seal: RowSeal) -> bool:
    return bool(seal.checked(intention, [seal.sealed(intention, HALF)]))


def test_a_row_that_nobody_stated_is_not_good_and_one_that_was_is() -> None:
    seal = make_seal()
    assert not is_good(seal)
    seal.stated({PLACE: DIGEST})
    assert is_good(seal)
    seal.stated({PLACE: None})
    assert not is_good(seal)


def test_a_row_that_stands_by_the_log_is_good_once_that_was_taken_in() -> None:
    seal = make_seal()
    assert not seal.compared
    seal.take_in({PLACE: DIGEST})
    assert seal.compared
    assert is_good(seal)


def test_what_was_committed_here_is_newer_than_any_log() -> None:
    """A log cut short together with the rows says again that a used row stands: the process knows better."""
    seal = make_seal()
    seal.stated({PLACE: None})
    seal.compare()
    seal.take_in({PLACE: DIGEST})
    seal.pin(*PLACE, DIGEST)
    assert not is_good(seal)


def test_a_row_that_is_to_be_there_and_is_not_is_lacking() -> None:
    seal = make_seal()
    seal.take_in({PLACE: DIGEST})
    assert seal.lacks(intention, []) == {("1",)}
    assert seal.lacks(intention, [HALF]) == frozenset()


@pytest.mark.parametrize("column", [*sorted(ROW), "mac"])
def test_a_row_that_was_good_before_is_judged_by_every_cell(column: str) -> None:
    seal = make_seal()
    row = seal.sealed(partner, ROW)
    for _ in range(3):
        assert seal.checked(partner, [row])
    assert not seal.checked(partner, [{**row, column: b"x" * 32 if column == "mac" else CHANGED[column]}])
    assert seal.checked(partner, [row])


def test_a_number_of_another_kind_is_another_row() -> None:
    seal = make_seal()
    row = seal.sealed(partner, ROW)
    assert seal.checked(partner, [row])
    assert not seal.checked(partner, [{**row, "fetched_at": 1.0}])
    assert not seal.checked(partner, [{**row, "fetched_at": True}])


def test_what_is_remembered_of_good_rows_has_an_end() -> None:
    known = ProvenRows()
    for number in range(KEPT + 1):
        known.add(("partner", (str(number),)), {"org": str(number)})
    assert [known.knows(("partner", (str(n),)), {"org": str(n)}) for n in (0, 1, KEPT)] == [False, True, True]
    known.add(("partner", ("large",)), {"org": "large", "root": b"x" * (LARGEST + 1)})
    assert not known.knows(("partner", ("large",)), {"org": "large", "root": b"x" * (LARGEST + 1)})
