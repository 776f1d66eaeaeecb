"""The shape of what people type: each fault is named by its place, and never by its value."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.register import vocabulary
from contracts.shape import misshapen
from tests.support.messages import make_body

CHILD = vocabulary().tree.members["child"]


def faults(child: Any) -> list[tuple[str, str]]:
    return [(str(breach.code), breach.path) for breach in misshapen(CHILD, child, "child")]


def test_a_child_as_the_vocabulary_has_it_is_in_order() -> None:
    assert faults(make_body()["child"]) == []


@pytest.mark.parametrize(
    ("child", "fault"),
    [
        ({"date_of_birth": "20140402"}, ("field.value", "child.date_of_birth")),
        ({"date_of_birth": "2015-02-30"}, ("field.value", "child.date_of_birth")),
        ({"upn": "zzz"}, ("field.value", "child.upn")),
        ({"nhs_number": "943-476-5919"}, ("field.value", "child.nhs_number")),
        ({"upn": None}, ("field.value", "child.upn")),
        ({"dob": "2014-04-02"}, ("field.unknown", "child.dob")),
        ({"Ada Zebulonia": 1}, ("field.unknown", "child.?1")),
        ({"name": {"surname": "x"}}, ("field.unknown", "child.name.surname")),
        ({"name": 5}, ("field.type", "child.name")),
        ({"other_names": {}}, ("field.type", "child.other_names")),
        ({"other_names": [{"family": 1}]}, ("field.value", "child.other_names[0].family")),
        ([], ("field.type", "child")),
    ],
)
def test_each_fault_is_named_by_its_place(child: Any, fault: tuple[str, str]) -> None:
    assert faults(child) == [fault]
