"""The tables of docs/api.md against what they speak of: every code that is raised, every breach, fact, role and type."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.breach import BreachCode
from contracts.facts import FACTS, Trust
from contracts.field_types import field_type
from contracts.names import ANSWERING_TYPES
from contracts.register import vocabulary
from gateway import records
from gateway.core.errors import (
    BusyError,
    HeadsMovedError,
    IdempotencyConflictError,
    IllegalTransitionError,
    NotYetError,
    StoreChangedError,
)
from gateway.core.roles import StaffRole
from gateway.core.tokens import TokenScopeError, TokenUnknownError
from gateway.store.writer import WriterStoppedError
from gateway.submissions import NeedsApproverError
from gateway.web.api.description import document

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/api.md").read_text()
CODE = r"`([a-z]+(?:[.-][a-z-]+)*)`"

# What the API's handlers drive, besides the API itself.
DRIVEN = ("outbound", "records", "service", "circumstances", "submissions", "forms", "protection", "two_people")
DRIVEN += ("inbound", "delivery", "core/roles")
RAISED = (
    *(BusyError, HeadsMovedError, IdempotencyConflictError, IllegalTransitionError, NotYetError, StoreChangedError),
    *(WriterStoppedError, NeedsApproverError, TokenScopeError, TokenUnknownError),
)
# Of a state of the inbox (`inbound`), of a path (`acts.find_agreement`), of HTTP itself, and of a bug.
OTHERWISE = {"message.refused", "message.withdrawn", "message.destroyed", "agreement.none", "contract.breach", "fault"}
OTHERWISE |= {"route.unknown", "method.unknown", "request.time-out", "request.too-large"}


def rows(heading: str) -> list[list[str]]:
    """The rows of the table with this heading."""
    table = PAGE.partition(f"\n{heading}\n")[2].partition("\n\n")[0]
    assert table, heading
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[1:]]


def codes_in(file: Path, error: str, place: int) -> Iterator[str]:
    """The codes that the errors of a class are raised with: the argument at `place`, where it is written out."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == error:
            argument = node.args[place]
            if isinstance(argument, ast.Constant):
                yield str(argument.value)


def test_every_code_that_the_api_can_raise_has_a_row_and_every_row_is_raised() -> None:
    raised = set(OTHERWISE) | {error.code for error in RAISED}
    for name in DRIVEN:
        raised |= set(codes_in(ROOT / f"gateway/{name}.py", "SubmissionRefusedError", 0))
    for file in (ROOT / "gateway/web/api").glob("*.py"):
        raised |= set(codes_in(file, "RequestRefusedError", 1))
    told = [re.findall(CODE, row[1]) for row in rows("| status | code | cause | what to do |")]
    assert [len(codes) for codes in told] == [1] * len(told)
    assert raised == {code for (code,) in told}


def test_every_row_says_cause_and_mend() -> None:
    for heading in ("| status | code | cause | what to do |", "| breach | cause | what to do |"):
        assert all(all(row) for row in rows(heading))


def test_every_breach_has_a_row() -> None:
    told = [re.findall(CODE, row[0])[0] for row in rows("| breach | cause | what to do |")]
    assert sorted(told) == sorted(map(str, BreachCode))


def test_facts_are_told_with_their_values_and_who_says_them() -> None:
    told = {row[0].strip("`"): row for row in rows("| fact | values | who says |")}
    assert told.keys() == FACTS.keys()
    who = {Trust.ASSERTED: "you", Trust.RECORDED: "the gateway's records", Trust.DERIVED: "computed"}
    for name, fact in FACTS.items():
        values = {"true", "false"} if fact.codes is None else fact.codes
        assert fact.is_whole or set(re.findall(r"`(\w[\w-]*)`", told[name][1])) == values
        assert told[name][2].startswith(who[fact.trust])


def test_types_that_must_name_a_thread_are_listed() -> None:
    (row,) = [row for row in rows("| optional | what |") if row[0] == "`thread`"]
    assert set(re.findall(r"`([a-z-]+\.[a-z_]+)`", row[1])) == {*ANSWERING_TYPES, "message.thread"}
    assert "ANSWERING_TYPES" in Path(records.__file__).read_text()


def test_roles_are_told_and_are_those_of_the_description() -> None:
    told = PAGE.partition("The roles, here and in `opened`:")[2].partition(". ")[0]
    assert re.findall(r"`(\w+)`", told) == list(StaffRole)
    assert json.loads(document())["components"]["schemas"]["Opening"]["properties"]["role"]["enum"] == list(StaffRole)


# --- types of fields

TYPES = rows("| type | JSON | accepted | example |")
SETS = {"S": frozenset({"whereabouts-unknown"})}
FOREIGN = [None, "", [], {}, 1.5, "\x00", "a\x07b", "x" * 200_000]


def type_of(shown: str) -> str:
    return (
        shown.strip("`")
        .replace("list:T", "list:date")
        .replace(":n", ":4" if "hex" in shown or "digits" in shown else ":9")
    )


@pytest.mark.parametrize(("shown", "kind", "example"), [(row[0], row[1], row[3]) for row in TYPES])
def test_example_of_a_type_is_accepted_and_what_is_none_is_not(shown: str, kind: str, example: str) -> None:
    accepts = field_type(type_of(shown), SETS).accepts
    value = json.loads(example.strip("`"))
    assert accepts(value)
    assert {"string": str, "boolean": bool, "integer": int, "array": list}[kind] is type(value)
    assert not any(accepts(other) for other in FOREIGN if other != [] or kind != "array")


def test_every_type_of_the_vocabulary_has_a_row() -> None:
    told = {row[0].strip("`").partition(":")[0] for row in TYPES}
    used = {field.type.text.partition(":")[0] for field in vocabulary().fields.values()}
    assert used <= told


PATTERNS = [(row[0].strip("`"), found[1]) for row in TYPES if (found := re.search(r"`([^`]*\[[^`]*)`", row[2]))]


@pytest.mark.parametrize(("shown", "pattern"), [one for one in PATTERNS if ":" not in one[0]])
def test_pattern_of_a_type_judges_as_the_check_does(shown: str, pattern: str) -> None:
    accepts = field_type(shown, SETS).accepts
    example = json.loads(next(row[3] for row in TYPES if row[0] == f"`{shown}`").strip("`"))
    for text in (example, example + " ", " " + example, example.lower(), example[:-1], example * 9, example + "!"):
        assert bool(re.fullmatch(pattern, text)) == accepts(text), text
