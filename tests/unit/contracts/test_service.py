"""The eight fixed bodies: what each takes, what each refuses, and what of a record a correction may carry."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.breach import ContractBreachError
from contracts.checked import CheckedBody
from contracts.compiled import CompiledAgreement
from contracts.names import SERVICE_TYPES
from contracts.register import vocabulary
from contracts.service import BODIES, Original, carries_values, check_service, named_in, overlay
from tests.support.agreements import lab, library
from tests.support.records import WRONG, mutant, record
from tests.support.service_bodies import FILE, NAMED, body, schema, written

PAGE = (Path(__file__).parents[3] / "docs" / "agreement-format.md").read_text(encoding="utf-8")
DAY = date(2026, 12, 1)
KC = library("la-la-cme-transfer")
LAB = lab(
    'fields = ["child.name.given", "child.date_of_birth", "contacts[].telephone", "child.address.postcode"]',
    'fields = ["safeguarding.concern_level"]\nwhen = ["at_risk"]',
    'fields = ["child.sex"]\nwhen = ["teenager"]',
)
CANARY = "Canaryname Zq"
TYPES = sorted(SERVICE_TYPES)
NAMES = sorted({name for forms in BODIES.values() for name in forms})


def checked(
    message_type: str,
    said: Any,
    *,
    compiled: CompiledAgreement = LAB,
    original: Mapping[str, Any] | None = None,
    original_type: str = "lab.message",
    requested: frozenset[str] | None = None,
    facts: Mapping[str, Any] | None = None,
    **more: Any,
) -> CheckedBody:
    held = Original(type=original_type, body=original or {}, requested=requested)
    how: dict[str, Any] = {"issued": DAY, "on": DAY, "in_force": True, "protected": frozenset(), "sending": True}
    return check_service(
        said,
        type=message_type,
        compiled=compiled,
        sender="a",
        facts={"urgency": "routine"} if facts is None else facts,
        original=held if message_type == "exchange.correction" else None,
        **(how | more),
    )


def verdict(message_type: str, said: Any, **how: Any) -> set[tuple[str, str]]:
    try:
        checked(message_type, said, **how)
    except ContractBreachError as error:
        return {(str(breach.code), breach.path) for breach in error.breaches}
    return set()


# --- the fixed bodies


@pytest.mark.parametrize("message_type", TYPES)
def test_right_body_passes_as_it_is(message_type: str) -> None:
    said = body(message_type)
    passed = checked(message_type, said)
    assert (passed.body, passed.type, passed.paths) == (said, message_type, ())
    assert passed.facts == {"urgency": "routine"}


@pytest.mark.parametrize("message_type", TYPES)
def test_each_member_but_a_reason_of_what_is_done_is_required(message_type: str) -> None:
    for name in body(message_type):
        assert ("field.missing", name) in verdict(message_type, body(message_type, **{name: None}))


@pytest.mark.parametrize("message_type", TYPES)
def test_further_member_is_refused_by_a_name_that_is_safe(message_type: str) -> None:
    said = body(message_type) | {"note": CANARY, "Robin Example": 1}
    n = len(said)
    assert verdict(message_type, said) == {("field.unknown", "note"), ("field.unknown", f"?{n}")}


@pytest.mark.parametrize("message_type", TYPES)
@pytest.mark.parametrize("said", [None, [], "x", 1, True])
def test_body_that_is_no_object_holds_nothing(message_type: str, said: Any) -> None:
    needed = {("field.missing", name) for name, form in BODIES[message_type].items() if form.needed}
    assert verdict(message_type, said) == {("field.type", "")} | needed


@pytest.mark.parametrize(
    ("message_type", "member", "value"),
    [
        ("exchange.withdrawal", "message", "019BBD3C-8AC0-7ABC-8DEF-0123456789AB"),
        ("exchange.withdrawal", "message", "case 42"),
        ("exchange.withdrawal", "message", f"{NAMED}\n"),
        ("exchange.withdrawal", "reason", "because"),
        ("exchange.withdrawal", "reason", ["in-error"]),
        ("exchange.question", "paths", []),
        ("exchange.question", "paths", ["child.name.given", "child.name.given"]),
        ("exchange.question", "paths", ["child.shoe_size"]),
        ("exchange.question", "paths", ["contacts[0].telephone"]),
        ("exchange.question", "paths", [["child.sex"]]),
        ("exchange.question", "paths", {"child.sex": 1}),
        ("exchange.ack", "done", 1),
        ("exchange.ack", "done", "true"),
        ("exchange.ack", "on", "2026-12-02"),
        ("exchange.ack", "on", "2026-2-1"),
        ("case.closed", "on", "2026-11-31"),
        ("breach.notice", "found_on", "2026-12-02"),
        ("rights.notice", "by", "2026-11-30"),
        ("rights.notice", "right", "forget"),
        ("destruction.receipt", "messages", []),
        ("destruction.receipt", "messages", [NAMED, NAMED]),
        ("destruction.receipt", "messages", NAMED),
        ("destruction.receipt", "messages", [f"019bbd3c-8ac0-7abc-8def-{n:012x}" for n in range(101)]),
    ],
)
def test_member_of_another_form_is_a_wrong_value_at_its_name(message_type: str, member: str, value: Any) -> None:
    assert verdict(message_type, body(message_type, **{member: value})) == {("field.value", member)}


def test_day_of_the_message_itself_is_neither_too_late_nor_too_early() -> None:
    assert verdict("rights.notice", body("rights.notice", by="2026-12-01")) == set()
    assert verdict("case.closed", body("case.closed", on="2026-12-01")) == set()


def test_reason_of_an_acknowledgement_stands_exactly_where_it_was_not_done() -> None:
    assert verdict("exchange.ack", body("exchange.ack", done=False, reason="legal-hold")) == set()
    assert verdict("exchange.ack", body("exchange.ack", done=False)) == {("field.missing", "reason")}
    wrong = body("exchange.ack", done=True, reason="legal-hold")
    assert verdict("exchange.ack", wrong) == {("field.not-allowed", "reason")}


def test_nothing_but_the_urgency_is_stated() -> None:
    facts = {"urgency": "routine", "consent.state": "given", "a fact": True}
    assert verdict("case.closed", body("case.closed"), facts=facts) == {
        ("message.fact", "consent.state"),
        ("message.fact", "?"),
    }
    assert verdict("case.closed", body("case.closed"), facts={"urgency": "now"}) == {("message.fact", "urgency")}


def test_type_that_is_no_service_message_has_no_fixed_body() -> None:
    assert verdict("cme.transfer", {}) == {("message.not-in-agreement", "")}


def test_names_are_read_only_where_they_are_ids() -> None:
    assert named_in(body("exchange.withdrawal"), "exchange.withdrawal") == (NAMED,)
    assert named_in(body("destruction.receipt"), "destruction.receipt") == (NAMED,)
    assert named_in(body("case.closed"), "case.closed") == ()
    for wrong in (None, [], {}, {"message": 1}, {"message": CANARY}):
        assert named_in(wrong, "exchange.question") is None


# --- corrections


def corrected(values: Any, *paths: str, **how: Any) -> set[tuple[str, str]]:
    return verdict("exchange.correction", body("exchange.correction", paths=list(paths), values=values), **how)


def test_value_travels_where_the_corrected_type_grants_its_path() -> None:
    values = {"child": {"name": {"given": "Ada"}}, "contacts": [{"telephone": "02380 999000"}]}
    said = body("exchange.correction", paths=["child.name.given", "contacts[].telephone"], values=values)
    passed = checked("exchange.correction", said)
    assert passed.paths == ("child.name.given", "contacts[].telephone")
    assert passed.bases == ("core",)
    assert carries_values(passed.body)


@pytest.mark.parametrize(
    ("values", "code", "path"),
    [
        ({"child": {"ethnicity": "WBRI"}}, "field.not-allowed", "values.child.ethnicity"),
        ({"child": {"shoe_size": 4}}, "field.unknown", "values.child.shoe_size"),
        ({"child": {"name": {"given": ""}}}, "field.value", "values.child.name.given"),
        ({"child": {"name": {"given": None}}}, "field.value", "values.child.name.given"),
        ({"child": {"name": "Ada"}}, "field.type", "values.child.name"),
        ({"child": []}, "field.type", "values.child"),
        ({"contacts": [{"telephone": "x"}]}, "field.value", "values.contacts[0].telephone"),
        ({"contacts": [{}] * 21}, "field.too-many", "values.contacts"),
        ({CANARY: 1}, "field.unknown", "values.?1"),
        ([], "field.type", "values"),
        ("x", "field.type", "values"),
    ],
)
def test_value_that_the_corrected_message_could_not_carry_is_refused_in_its_place(
    values: Any, code: str, path: str
) -> None:
    assert corrected(values, "child.name.given") == {(code, path)}


def test_value_goes_nowhere_but_to_a_path_that_is_named() -> None:
    found = corrected({"child": {"name": {"given": "Ada"}}}, "child.date_of_birth")
    assert found == {("field.not-allowed", "values.child.name.given")}


def test_no_value_travels_under_an_agreement_that_is_not_in_force() -> None:
    values = {"child": {"name": {"given": "Ada"}}}
    assert corrected(values, "child.name.given", in_force=False) == {("agreement.not-in-force", "")}
    assert corrected({}, "child.name.given", in_force=False) == set()


def test_path_granted_on_a_condition_takes_a_value_while_that_is_true() -> None:
    values, path = {"safeguarding": {"concern_level": "concern"}}, "safeguarding.concern_level"
    assert corrected(values, path) == {("field.not-allowed", f"values.{path}")}
    assert corrected(values, path, facts={"urgency": "immediate_risk"}) == set()


def test_age_is_that_of_the_corrected_record() -> None:
    values, born = {"child": {"sex": "F"}}, {"child": {"date_of_birth": "2012-01-01"}}
    assert corrected(values, "child.sex") == {("field.not-allowed", "values.child.sex")}
    assert corrected(values, "child.sex", original=born) == set()
    younger = {"child": {"sex": "F", "date_of_birth": "2016-01-01"}}
    found = corrected(younger, "child.sex", "child.date_of_birth", original=born)
    assert found == {("field.not-allowed", "values.child.sex")}


def test_protected_childs_place_does_not_leave_in_a_correction() -> None:
    values, path = {"child": {"address": {"postcode": "SO14 7AA"}}}, "child.address.postcode"
    assert corrected(values, path, protected=frozenset({"location"})) == {("field.protected", f"values.{path}")}
    assert corrected(values, path, protected=frozenset({"location"}), sending=False) == set()
    itself = {"child": {"address": {"protection": "protected"}}}
    assert corrected(values, path, original=itself) == {("field.protected", f"values.{path}")}


def test_answer_limited_to_a_request_is_corrected_within_it() -> None:
    compiled = lab('fields = ["child.name.given", "child.date_of_birth"]', message="limit_to_request = true")
    values, path = {"child": {"name": {"given": "Ada"}}}, "child.name.given"
    assert corrected(values, path, compiled=compiled, requested=frozenset({path})) == set()
    found = corrected(values, path, compiled=compiled, requested=frozenset({"child.date_of_birth"}))
    assert found == {("field.not-requested", f"values.{path}")}


def test_message_that_could_not_go_at_all_is_not_corrected_with_values() -> None:
    compiled = lab('fields = ["child.name.given"]', message='require = ["at_risk"]')
    values = {"child": {"name": {"given": "Ada"}}}
    assert corrected(values, "child.name.given", compiled=compiled) == {("message.condition-not-met", "")}
    assert corrected({}, "child.name.given", compiled=compiled) == set()


def test_correction_of_what_the_agreement_does_not_list_carries_no_value() -> None:
    values = {"child": {"name": {"given": "Ada"}}}
    assert corrected(values, "child.name.given", original_type="lab.other") == {("message.not-in-agreement", "")}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@given(OBJECTS, OBJECTS)
def test_laying_values_over_a_record_changes_neither_and_lets_each_value_win(
    whole: dict[str, Any], part: dict[str, Any]
) -> None:
    before = copy.deepcopy((whole, part))
    merged = overlay(whole, part)
    assert (whole, part) == before
    assert overlay(merged, part) == merged
    assert merged.keys() == whole.keys() | part.keys()
    assert all(merged[name] == value for name, value in part.items() if not isinstance(value, dict))


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_every_value_that_passes_could_have_stood_in_the_message(random: Random) -> None:
    """Of mutants of a whole record: what a correction lets through, the grants of the corrected type list."""
    paths = [f.path for grant in LAB.messages["lab.message", "a"].grants for f in grant.fields]
    values = mutant(record(paths), random)
    said = body("exchange.correction", paths=sorted(vocabulary().fields), values=values)
    try:
        passed = checked("exchange.correction", said, facts={"urgency": "immediate_risk"})
    except ContractBreachError as error:
        told = str(error) + repr(error.breaches)
        assert not any(value in told for value in ("Testchild", "SO14", "7946"))
    else:
        assert set(passed.paths) <= set(paths)


# --- whatever a body holds

HOSTILE = st.recursive(
    st.sampled_from([None, True, 0, 1.5, 10**40, CANARY, "2026-12-01", NAMED, "in-error", "\x00", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*NAMES, "child", "name", CANARY, CANARY.lower(), "é", ""]), inner, max_size=5
        )
    ),
    max_leaves=15,
)


@given(st.sampled_from(TYPES), HOSTILE, st.dictionaries(st.sampled_from(["urgency", CANARY]), HOSTILE, max_size=2))
@settings(max_examples=500, deadline=None)
def test_no_json_makes_the_check_fail_or_repeat_it(message_type: str, said: Any, facts: dict[str, Any]) -> None:
    try:
        checked(message_type, said, facts=facts, compiled=KC, original_type="cme.transfer")
    except ContractBreachError as error:
        told = str(error) + repr(error.breaches)
        assert "anaryname" not in told.lower()
    named_in(said, message_type)


def test_deep_values_are_not_followed_beyond_the_vocabulary() -> None:
    deep: Any = CANARY
    for _ in range(5000):
        deep = {"child": deep}
    assert corrected({"child": deep}, "child.name.given") == {("field.unknown", "values.child.child")}


# --- a second opinion, and the page

MEMBERS = {
    "message": [NAMED, "x", NAMED.upper(), None, 1],
    "messages": [[NAMED], [], [NAMED, NAMED], NAMED, [1]],
    "paths": [["child.sex"], [], ["child.sex"] * 2, ["Child"], ["child.sex", "contacts[].telephone"], 5],
    "values": [{}, [], None, "x"],
    "done": [True, False, 1, "yes"],
    "on": ["2026-12-01", "2026-13-01", "x", 20261201],
    "found_on": ["2026-11-30", "2026-02-29", None],
    "by": ["2027-01-01", "2027-1-1", False],
}
CODES = sorted({code for forms in BODIES.values() for form in forms.values() for code in form.codes})


@given(st.sampled_from(TYPES), st.data())
@settings(max_examples=800, deadline=None)
def test_check_and_json_schema_agree(message_type: str, data: st.DataObject) -> None:
    said: Any = body(message_type)
    for name in data.draw(st.lists(st.sampled_from([*NAMES, "note"]), max_size=3)):
        values = MEMBERS.get(name, [*CODES[::5], *WRONG[:6]])
        if data.draw(st.booleans()):
            said.pop(name, None)
        else:
            said[name] = data.draw(st.sampled_from(values))
    document = {"$ref": f"#/$defs/{message_type}", "$defs": schema()["$defs"]}
    validator = jsonschema_rs.validator_for(document, validate_formats=True)
    assert validator.is_valid(said) == (verdict(message_type, said) == set())


def test_published_schema_is_what_the_table_says() -> None:
    assert FILE.read_text(encoding="utf-8") == written()


def section() -> str:
    return PAGE.split("\n## 11. Service messages\n")[1].split("\n## 12.")[0]


def test_page_lists_every_type_with_its_members_and_every_code() -> None:
    rows = [line for line in section().splitlines() if line.startswith("| `")]
    told = {
        cells[1].strip(" `"): re.findall(r"`([a-z_]+)`", cells[3]) for row in rows if len(cells := row.split("|")) == 5
    }
    assert {name: members for name, members in told.items() if name in BODIES} == {
        name: list(forms) for name, forms in BODIES.items()
    }
    for forms in BODIES.values():
        for form in forms.values():
            assert all(f"`{code}`" in section() for code in form.codes)


def test_examples_on_the_page_pass() -> None:
    lines = re.findall(r"^\{\"type\".*\}$", section(), re.MULTILINE)
    examples = [json.loads(line) for line in lines]
    assert {one["type"] for one in examples} == SERVICE_TYPES
    for one in examples:
        found = verdict(one["type"], one["body"], issued=date(2027, 1, 15), on=date(2027, 1, 15))
        assert found == set(), one["type"]
