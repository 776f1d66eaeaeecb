"""What the log says of rows that decide: digests, lists of changes, and their replay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import deciding
from gateway.core.deciding import Change, RowsError, Standing
from gateway.store.schema import metadata

keys = st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**53) + 1, 2**53 - 1), max_size=4)
changes = st.lists(
    st.builds(
        Change,
        table=st.sampled_from(sorted(deciding.TABLES)),
        key=keys.map(tuple),
        digest=st.none() | st.just("sha256:" + "0" * 64),
    ),
    unique_by=lambda change: (change.table, change.key),
)


@given(changes)
def test_a_list_of_changes_has_one_form_and_is_read_back(listed: list[Change]) -> None:
    text = deciding.to_text(listed)
    assert set(deciding.from_text(text)) == set(listed)
    assert deciding.to_text(reversed(listed)) == text


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '[{"t":"partner"}]', '[{"k":["la-902"],"t":"partner"},{"k":["la-901"],"t":"partner"}]', "[null]"],
)
def test_what_is_no_list_of_changes_is_refused(text: str) -> None:
    with pytest.raises(RowsError):
        deciding.from_text(text)


def test_every_table_with_a_mac_is_registered_or_left_out_with_a_reason() -> None:
    sealed = {name for name, table in metadata.tables.items() if "mac" in table.c}
    assert sealed == deciding.TABLES.keys() | deciding.NOT_COMPARED.keys()


@pytest.mark.parametrize("name", sorted(deciding.TABLES))
def test_a_registered_table_names_its_primary_key_and_its_own_columns(name: str) -> None:
    known, table = deciding.TABLES[name], metadata.tables[name]
    assert set(known.key) == {column.name for column in table.primary_key}
    assert set(known.compared) <= {column.name for column in table.columns} - {*known.key, "mac"}
    assert known.org is None or known.org in known.key


def test_the_digest_binds_table_key_and_compared_columns() -> None:
    row = {"org": "la-902", "seq": 1, "jws": b"bytes"}
    others = [{**row, "org": "la-903"}, {**row, "seq": 2}, {**row, "jws": b"other"}]
    digests = {deciding.digest_of("bundle", one) for one in (row, *others)}
    assert len(digests) == 4
    assert deciding.digest_of("bundle", {**row, "mac": b"x"}) in digests


def test_replayed_changes_leave_what_stands() -> None:
    listed, gone = (deciding.of_protection({b"t", b"u"}, {"location"}, add=add) for add in (True, False))
    standing = Standing()
    standing.replay(listed)
    standing.replay(listed)
    assert len(standing.rows) == 2
    standing.replay(gone[:1])
    assert [key for _, key in standing.rows] == [(deciding.digest_of_bytes(b"u"), "location")]
