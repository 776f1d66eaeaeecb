"""One worked case a line, as `safehand agreement check --cases` reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.cases import run_case
from tests.support.agreements import library

AGREEMENTS = {
    compiled.agreement.id: compiled
    for compiled in map(
        library, ("la-la-cme-transfer", "la-youth-support", "la-police", "school-dudley-deletion-referral")
    )
}
CHILD = {"name": {"family": "Testchild", "given": "Robin"}, "date_of_birth": "2010-12-01"}
YOUTH = {"agreement": "afc-youth-support", "from": "a", "type": "youth.referral", "on": "2026-11-30"}


def line(**members: Any) -> bytes:
    case = YOUTH | {"body": {"child": CHILD}, "facts": {"urgency": "routine"}, "requested": None} | members
    return json.dumps({name: value for name, value in case.items() if value != "absent"}).encode()


def run(data: bytes) -> set[tuple[str, str]]:
    answer = run_case(data, AGREEMENTS)
    assert set(answer) == {"allowed", "breaches"}
    assert all(set(breach) == {"code", "path", "rule"} for breach in answer["breaches"])
    assert answer["allowed"] == (not answer["breaches"])
    json.dumps(answer)
    return {(breach["code"], breach["path"]) for breach in answer["breaches"]}


def raw_body(text: str) -> set[tuple[str, str]]:
    return run(line(body="BODY").replace(b'"BODY"', text.encode()))


def test_case_is_allowed_or_answered_with_every_breach() -> None:
    assert run(line()) == set()
    assert run(line(body={"child": CHILD | {"sex": "F"}, "zebra": 1})) == {
        ("field.not-allowed", "child.sex"),
        ("field.unknown", "zebra"),
    }


def test_day_of_the_case_gives_the_age() -> None:
    assert run(line(on="2030-11-30")) == set()
    assert run(line(on="2030-12-01")) == {("message.condition-not-met", "")}


@pytest.mark.parametrize("on", ["absent", None, 5, "tomorrow", "2026-02-30"])
def test_case_without_a_day_leaves_the_age_unknown(on: Any) -> None:
    assert run(line(on=on)) == {("message.condition-not-met", "")}


@pytest.mark.parametrize("agreement", ["other", "", None, 5, ["afc-youth-support"], "absent"])
def test_unknown_agreement_is_none(agreement: Any) -> None:
    assert run(line(agreement=agreement)) == {("agreement.none", "")}


@pytest.mark.parametrize(
    "change", [{"type": "cme.transfer"}, {"type": 5}, {"from": "b"}, {"from": "c"}, {"from": None}, {"type": "absent"}]
)
def test_message_that_the_agreement_has_not_is_so_answered(change: dict[str, Any]) -> None:
    assert run(line(**change)) == {("message.not-in-agreement", "")}


@pytest.mark.parametrize("body", [None, [], "text", 1, "absent"])
def test_body_that_is_no_object_is_a_type_breach(body: Any) -> None:
    nothing = {("field.missing", f"child.{name}") for name in ("name.family", "name.given", "date_of_birth")}
    assert run(line(body=body)) == {("field.type", ""), ("message.condition-not-met", ""), *nothing}


def test_missing_facts_are_unknown() -> None:
    assert run(line(facts="absent")) == set()
    assert run(line(facts={})) == set()
    assert run(line(facts=None)) == set()
    assert run(line(facts={"urgency": "maybe", "Robin": 1})) == {("message.fact", "urgency"), ("message.fact", "?")}


def test_requested_limits_and_null_does_not() -> None:
    police = {"agreement": "herts-police-request", "type": "police.response"}
    facts = {"urgency": "routine", "request.verified": True, "request.authorised_rank": "inspector_or_above"}
    body = {"case": {"reference": "1", "status": "open"}, "response": {"outcome": "supplied-in-full"}}
    assert run(line(**police, facts=facts, body=body)) == set()
    assert run(line(**police, facts=facts, body=body, requested=[])) == {("field.not-requested", "case.status")}
    assert run(line(**police, facts=facts, body=body, requested=["case.status"])) == set()


def test_protected_kinds_apply_and_so_does_the_body_itself() -> None:
    body = {"child": CHILD | {"address": {"postcode": "KT1 1AA"}}}
    assert run(line(body=body)) == set()
    assert run(line(body=body, protected=[])) == set()
    assert run(line(body=body, protected=["location"])) == {("field.protected", "child.address.postcode")}
    assert run(line(body=body, protected=["identity", "location"])) == {("field.protected", "child.address.postcode")}


def test_null_and_numbers_of_any_kind_are_answered_by_the_check() -> None:
    school = "child.date_of_birth"
    for value in ("null", "1.0", "1e999", "-0", "123456789012345678901234567890", "-" + "9" * 5000):
        child = f'{{"name":{{"family":"T","given":"R"}},"date_of_birth":{value}}}'
        assert raw_body(f'{{"child":{child}}}') == {
            ("field.value", school),
            ("message.condition-not-met", ""),
        }


@pytest.mark.parametrize("count", ["190.0", "1e2", "true", "100001", "-1", "9" * 400])
def test_count_that_is_not_whole_or_too_great_is_a_value_breach(count: str) -> None:
    case = {"agreement": "school-dudley-deletion-referral", "type": "school.deletion_referral"}
    names = '"child":{"name":{"family":"T","given":"R"}},"deletion":{"ground":"2024-9(1)(a)"}'
    data = line(**case, body="BODY").replace(
        b'"BODY"', f'{{{names},"attendance":{{"sessions_possible":{count}}}}}'.encode()
    )
    assert run(data) == {("field.value", "attendance.sessions_possible")}


@pytest.mark.parametrize(
    "text",
    [
        '{"child":{"sex":"F","sex":"F"}}',
        '{"child":{"name":{"family":NaN}}}',
        '{"child":{"name":{"family":Infinity}}}',
        '{"child":{}',
        '{"a":' * 20 + "1" + "}" * 20,
        "[" * 100_000,
        "{'child':{}}",
    ],
)
def test_line_that_is_not_strict_json_is_a_type_breach_at_the_top(text: str) -> None:
    assert raw_body(text) == {("field.type", "")}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b'"x"',
        b"5",
        line() + line(),
        b"\xef\xbb\xbf" + line(),
        b"{" + b" " * 1_100_000 + b"}",
    ],
)
def test_line_that_is_no_case_is_a_type_breach_at_the_top(data: bytes) -> None:
    assert run(data) == {("field.type", "")}


@pytest.mark.parametrize(
    "change",
    [{"facts": []}, {"facts": "x"}, {"requested": "child.sex"}, {"protected": ["x"]}, {"protected": "location"}],
)
def test_case_with_a_mistyped_member_is_a_type_breach_at_the_top(change: dict[str, Any]) -> None:
    assert run(line(**change)) == {("field.type", "")}


@given(st.binary(max_size=80))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    """Nearly all are no case at all; now and then one is an object that names no agreement."""
    assert run(data) in ({("field.type", "")}, {("agreement.none", "")})


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(["body", "facts", "requested", "protected", "on", "type"], JSON))
)
def test_no_case_makes_it_fail(members: dict[str, Any]) -> None:
    run(line(**members))


def test_lone_surrogates_are_answered_and_the_answer_can_be_written() -> None:
    assert raw_body('{"child":{"name":{"family":"\\ud800","given":"R"},"date_of_birth":"2010-12-01","\\udfff":1}}') == {
        ("field.value", "child.name.family"),
        ("field.unknown", "child.?3"),
    }
