"""The exact meaning of a check, sentence by sentence (agreements section 2), on small agreements."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.breach import ContractBreachError
from contracts.check import CheckedBody
from contracts.compiled import CompiledAgreement
from contracts.errors import DocumentError
from tests.support.agreements import checked, lab, verdict

NAMES = 'fields = ["child.name.family", "child.name.given"]'
CONTACTS = 'fields = ["contacts[].telephone", "contacts[].name.family", "contacts[].address.lines"]'


def allowed(compiled: CompiledAgreement, body: Any, **how: Any) -> bool:
    return not verdict(compiled, body, **how)


# Closed world


def test_path_travels_only_if_a_grant_lists_it() -> None:
    compiled = lab(NAMES)
    assert allowed(compiled, {"child": {"name": {"family": "Testchild"}}})
    assert verdict(compiled, {"child": {"sex": "F"}}) == {("field.not-allowed", "child.sex")}


def test_path_travels_only_while_every_condition_of_its_grant_is_true() -> None:
    compiled = lab('when = ["at_risk", "teenager"]\nfields = ["child.sex"]', 'fields = ["child.date_of_birth"]')
    body = {"child": {"sex": "F", "date_of_birth": "2013-12-01"}}
    assert allowed(compiled, body, facts={"urgency": "immediate_risk"})
    refused = {("field.not-allowed", "child.sex")}
    assert verdict(compiled, body, facts={"urgency": "priority"}) == refused
    younger = {"child": {"sex": "F", "date_of_birth": "2013-12-02"}}
    assert verdict(compiled, younger, facts={"urgency": "immediate_risk"}) == refused
    unknown = {"child": {"sex": "F"}}
    assert verdict(compiled, unknown, facts={"urgency": "immediate_risk"}) == refused


def test_nothing_is_stripped() -> None:
    body = {"child": {"name": {"family": "Testchild"}}}
    done = checked(lab(NAMES), body)
    assert done.body == body
    assert done.wire == b'{"child":{"name":{"family":"Testchild"}}}'


@pytest.mark.parametrize("nothing", [None, "", {}, []])
def test_presence_counts_at_a_leaf_that_is_not_granted(nothing: Any) -> None:
    assert verdict(lab(NAMES), {"child": {"sex": nothing}}) == {("field.not-allowed", "child.sex")}


@pytest.mark.parametrize("nothing", [None, "", {}, []])
def test_presence_counts_at_a_container_that_is_not_granted(nothing: Any) -> None:
    assert verdict(lab(NAMES), {"services": nothing}) == {("field.not-allowed", "services")}
    assert verdict(lab(NAMES), {"child": {"address": nothing}}) == {("field.not-allowed", "child.address")}


# Containers


@pytest.mark.parametrize("body", [{}, {"child": {}}, {"child": {"name": {}}}, {"contacts": []}, {"contacts": [{}]}])
def test_granted_containers_may_be_absent_or_empty(body: dict[str, Any]) -> None:
    assert allowed(lab(NAMES, CONTACTS), body)


@pytest.mark.parametrize("other", [None, "", 0, True, [], "text"])
def test_an_object_was_expected_here(other: Any) -> None:
    assert verdict(lab(NAMES), {"child": other}) == {("field.type", "child")}
    assert verdict(lab(NAMES), {"child": {"name": other}}) == {("field.type", "child.name")}


@pytest.mark.parametrize("other", [None, "", 0, True, {}, {"telephone": "0000000"}])
def test_a_list_of_objects_was_expected_here(other: Any) -> None:
    assert verdict(lab(CONTACTS), {"contacts": other}) == {("field.type", "contacts")}


@pytest.mark.parametrize("other", [None, "", 0, []])
def test_an_item_that_is_no_object_is_named_by_its_place(other: Any) -> None:
    body = {"contacts": [{}, other, {"name": other}]}
    assert verdict(lab(CONTACTS), body) == {("field.type", "contacts[1]"), ("field.type", "contacts[2].name")}


@pytest.mark.parametrize("body", [None, [], "text", 5, True])
def test_body_that_is_no_object_is_a_type_breach_at_the_top_and_holds_nothing(body: Any) -> None:
    missing = {("field.missing", "child.name.family"), ("field.missing", "child.name.given")}
    assert verdict(lab('need = "required"\n' + NAMES), body) == {("field.type", ""), *missing}
    assert verdict(lab('need = "optional"\n' + NAMES), body) == {("field.type", "")}


# Leaves


@pytest.mark.parametrize("wrong", [None, "", 5, [], {}, {"x": 1}, "a\x00b", "n" * 71])
def test_anything_wrong_with_a_granted_leaf_is_a_value_breach(wrong: Any) -> None:
    assert verdict(lab(NAMES), {"child": {"name": {"family": wrong}}}) == {("field.value", "child.name.family")}


def test_value_breach_in_a_list_of_objects_names_the_item() -> None:
    body = {"contacts": [{"telephone": "0123456789"}, {"telephone": "none"}]}
    assert verdict(lab(CONTACTS), body) == {("field.value", "contacts[1].telephone")}


@pytest.mark.parametrize("lines", [["ok", ""], ["a", "b", "c", "d", "e"], "text", None, [None], ["l" * 71]])
def test_list_leaf_is_one_leaf_named_without_index(lines: Any) -> None:
    body = {"contacts": [{"address": {"lines": lines}}]}
    assert verdict(lab(CONTACTS), body) == {("field.value", "contacts[0].address.lines")}


def test_empty_list_leaf_is_a_value_of_its_type() -> None:
    assert allowed(lab(CONTACTS), {"contacts": [{"address": {"lines": []}}]})


def test_valid_value_outside_only_has_its_own_code() -> None:
    compiled = lab('fields = ["child.sex"]\nonly = { "child.sex" = ["F"] }')
    assert allowed(compiled, {"child": {"sex": "F"}})
    assert verdict(compiled, {"child": {"sex": "M"}}) == {("field.value-not-allowed", "child.sex")}
    assert verdict(compiled, {"child": {"sex": "X"}}) == {("field.value", "child.sex")}


def test_only_narrows_every_item_of_a_list_leaf() -> None:
    compiled = lab('fields = ["send.needs"]\nonly = { "send.needs" = ["SPLD", "HI"] }')
    assert allowed(compiled, {"send": {"needs": ["HI", "SPLD"]}})
    assert verdict(compiled, {"send": {"needs": ["HI", "VI"]}}) == {("field.value-not-allowed", "send.needs")}


def test_list_longer_than_max_items_is_too_many() -> None:
    compiled = lab(CONTACTS, message="max_items = { contacts = 2 }")
    assert allowed(compiled, {"contacts": [{}, {}]})
    assert verdict(compiled, {"contacts": [{}, {}, {}]}) == {("field.too-many", "contacts")}


def test_twenty_items_where_max_items_says_nothing() -> None:
    assert allowed(lab(CONTACTS), {"contacts": [{}] * 20})
    assert verdict(lab(CONTACTS), {"contacts": [{}] * 21}) == {("field.too-many", "contacts")}


# Not allowed and unknown


def test_each_leaf_below_an_ungranted_member_is_named_concretely() -> None:
    body = {"services": [{"service": "mash", "open": None}, {"contact": {}}], "offence": {"stage": "charged"}}
    assert verdict(lab(NAMES), body) == {
        ("field.not-allowed", "services[0].service"),
        ("field.not-allowed", "services[0].open"),
        ("field.not-allowed", "services[1].contact"),
        ("field.not-allowed", "offence.stage"),
    }


def test_empty_or_mistyped_value_below_an_ungranted_member_is_named_where_it_stands() -> None:
    body = {"services": [{}, "x", []], "household": {"council_tax": {}, "benefits": {"kind": "other"}}}
    assert verdict(lab(NAMES), body) == {
        ("field.not-allowed", "services[0]"),
        ("field.not-allowed", "services[1]"),
        ("field.not-allowed", "services[2]"),
        ("field.not-allowed", "household.council_tax"),
        ("field.not-allowed", "household.benefits"),
    }


def test_stranger_inside_an_ungranted_member_is_named_only_if_safe() -> None:
    body = {"services": [{"diary": 1, "Robin Example": 2, "service": "mash"}]}
    assert verdict(lab(NAMES), body) == {
        ("field.not-allowed", "services[0].diary"),
        ("field.not-allowed", "services[0].?"),
        ("field.not-allowed", "services[0].service"),
    }


def test_unknown_member_is_named_if_safe_else_by_position() -> None:
    body = {"child": {"diary": {"deep": [1]}, "Robin Example": 1, "name": {}, "é": 1}, "contacts[]": [], "": 0}
    assert verdict(lab(NAMES), body) == {
        ("field.unknown", "child.diary"),
        ("field.unknown", "child.?2"),
        ("field.unknown", "child.?4"),
        ("field.unknown", "?2"),
        ("field.unknown", "?3"),
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a" * 40, "a" * 40), ("a" * 41, "?1"), ("a\n", "?1"), ("A", "?1"), ("1a", "?1"), ("a-b", "?1"), ("a.b", "?1")],
)
def test_unknown_name_is_echoed_only_where_it_matches_the_safe_form(name: str, shown: str) -> None:
    assert verdict(lab(NAMES), {name: 1}) == {("field.unknown", shown)}


def test_unknown_member_in_a_list_item_is_named_by_item_and_position() -> None:
    body = {"contacts": [{"telephone": "0123456789", "Her Name": 1}]}
    assert verdict(lab(CONTACTS), body) == {("field.unknown", "contacts[0].?2")}


# Missing


def test_required_path_that_is_absent_is_missing() -> None:
    compiled = lab('need = "required"\n' + NAMES)
    both = {("field.missing", "child.name.family"), ("field.missing", "child.name.given")}
    assert verdict(compiled, {}) == both
    assert verdict(compiled, {"child": {"name": {}}}) == both
    assert verdict(compiled, {"child": {"name": {"given": "Robin"}}}) == {("field.missing", "child.name.family")}


def test_required_path_that_holds_null_is_present_and_wrong() -> None:
    compiled = lab('need = "required"\nfields = ["child.sex"]')
    assert verdict(compiled, {"child": {"sex": None}}) == {("field.value", "child.sex")}


def test_what_is_required_below_a_mistyped_container_is_missing_too() -> None:
    compiled = lab('need = "required"\nfields = ["child.sex"]')
    assert verdict(compiled, {"child": 5}) == {("field.type", "child"), ("field.missing", "child.sex")}


@pytest.mark.parametrize(
    "contacts", [None, [], [{}], [{"telephone": "0123456789"}, {}], [{}, {}, {"telephone": "0123456789"}]]
)
def test_required_path_below_a_list_needs_an_item_and_stands_in_every_one(contacts: Any) -> None:
    compiled = lab('need = "required"\nfields = ["contacts[].telephone"]')
    body = {} if contacts is None else {"contacts": contacts}
    assert verdict(compiled, body) == {("field.missing", "contacts[].telephone")}
    assert allowed(compiled, {"contacts": [{"telephone": "0123456789"}]})


def test_absence_of_expected_and_optional_paths_never_refuses() -> None:
    assert allowed(lab('need = "expected"\n' + NAMES, CONTACTS), {})


# Several grants of one path


def test_required_is_stronger_than_expected_than_optional() -> None:
    grants = [f'need = "{need}"\nfields = ["child.sex"]' for need in ("optional", "required", "expected")]
    assert verdict(lab(*grants), {}) == {("field.missing", "child.sex")}
    assert verdict(lab(*reversed(grants)), {}) == {("field.missing", "child.sex")}
    assert allowed(lab(grants[0], grants[2]), {})


def test_only_sets_of_true_grants_unite() -> None:
    first = 'fields = ["child.sex"]\nonly = { "child.sex" = ["F"] }'
    second = 'when = ["at_risk"]\nfields = ["child.sex"]\nonly = { "child.sex" = ["M"] }'
    compiled = lab(first, second)
    assert allowed(compiled, {"child": {"sex": "M"}}, facts={"urgency": "immediate_risk"})
    assert allowed(compiled, {"child": {"sex": "F"}}, facts={"urgency": "immediate_risk"})
    assert verdict(compiled, {"child": {"sex": "M"}}) == {("field.value-not-allowed", "child.sex")}


def test_a_true_grant_without_only_lifts_the_limit() -> None:
    limited = 'fields = ["child.sex"]\nonly = { "child.sex" = ["F"] }'
    free = 'when = ["at_risk"]\nfields = ["child.sex"]'
    for compiled in (lab(limited, free), lab(free, limited)):
        assert allowed(compiled, {"child": {"sex": "M"}}, facts={"urgency": "immediate_risk"})
        assert verdict(compiled, {"child": {"sex": "M"}}) == {("field.value-not-allowed", "child.sex")}


def test_a_grant_that_is_not_true_requires_nothing() -> None:
    compiled = lab('need = "required"\nwhen = ["at_risk"]\nfields = ["child.sex"]')
    assert allowed(compiled, {})
    assert verdict(compiled, {}, facts={"urgency": "immediate_risk"}) == {("field.missing", "child.sex")}


def test_max_subjects_limits_no_body() -> None:
    assert allowed(lab(CONTACTS, message="max_subjects = 1"), {"contacts": [{}, {}]})


# The order of the steps


def test_message_type_and_direction_stop_the_check() -> None:
    compiled = lab('need = "required"\n' + NAMES)
    stop = {("message.not-in-agreement", "")}
    assert verdict(compiled, {"Jane": 1}, type="lab.other") == stop
    assert verdict(compiled, {"Jane": 1}, sender="b") == stop
    assert verdict(compiled, {"Jane": 1}, sender="c") == stop


def test_conditions_of_the_message_and_breaches_of_the_body_are_reported_together() -> None:
    compiled = lab(
        'need = "required"\nfields = ["child.sex"]',
        message='require = ["at_risk", "teenager"]\nmax_items = { }',
    )
    assert verdict(compiled, {"child": {"upn": "x"}, "zebra": 1}) == {
        ("message.condition-not-met", ""),
        ("field.not-allowed", "child.upn"),
        ("field.unknown", "zebra"),
        ("field.missing", "child.sex"),
    }


def test_each_required_condition_that_is_not_true_has_its_own_breach() -> None:
    compiled = lab('fields = ["child.sex"]', message='require = ["at_risk", "teenager"]')
    with pytest.raises(ContractBreachError) as caught:
        checked(compiled, {})
    assert [breach.rule for breach in caught.value.breaches] == [
        "only when the sender states an immediate risk",
        "only when the young person is at least 13",
    ]


def test_rule_of_a_refused_path_is_its_condition_in_plain_words() -> None:
    compiled = lab('when = ["at_risk"]\nfields = ["child.sex"]')
    with pytest.raises(ContractBreachError) as caught:
        checked(compiled, {"child": {"sex": "F", "upn": "x"}})
    assert [(breach.path, breach.rule) for breach in caught.value.breaches] == [
        ("child.sex", "only when the sender states an immediate risk"),
        ("child.upn", "no grant of this message lists it"),
    ]


# The bytes


@pytest.mark.parametrize(
    "data",
    [
        b'{"child":{"sex":"F","sex":"F"}}',
        b'{"child": {"sex":"F"}}',
        b'{"child":{"sex":"\\u0046"}}',
        b'{"child":{"sex":NaN}}',
        b'{"child":{"sex":"F"}}\n',
        b'\xef\xbb\xbf{"child":{"sex":"F"}}',
        b'{"child":{"sex":"\xff"}}',
        b'{"child":{"sex":"\\ud800"}}',
        b"{" + b'"child":{' * 15 + b"}" * 16,
        b'{"x":"' + b"a" * 262_144 + b'"}',
        b"",
    ],
)
def test_bytes_that_are_not_wire_json_are_refused_before_any_rule(data: bytes) -> None:
    with pytest.raises(DocumentError):
        checked(lab('fields = ["child.sex"]'), data)


def test_bytes_and_the_value_they_hold_have_the_same_verdict() -> None:
    compiled = lab('fields = ["child.sex"]')
    done = checked(compiled, b'{"child":{"sex":"F"}}')
    assert done == checked(compiled, {"child": {"sex": "F"}})
    assert verdict(compiled, b'{"child":{"sex":null}}') == {("field.value", "child.sex")}
    assert verdict(compiled, b'{"child":{"sex":1.5}}') == {("field.value", "child.sex")}


# What comes out


def test_checked_body_says_what_the_log_needs() -> None:
    compiled = lab(
        NAMES,
        'when = ["at_risk"]\nbasis = "welfare"\nfields = ["contacts[].telephone", "child.name.family"]',
        'when = ["teenager"]\nfields = ["child.sex"]',
    )
    body = {"contacts": [{"telephone": "0123456789"}, {}], "child": {"name": {"given": "Robin"}}}
    done = checked(compiled, body, facts={"urgency": "immediate_risk"})
    assert done.paths == ("child.name.given", "contacts[].telephone")
    assert done.conditions == {"at_risk": "true", "teenager": "unknown"}
    assert done.bases == ("core", "welfare")
    assert done.facts == {"urgency": "immediate_risk"}
    assert (done.type, done.sender, done.agreement_digest) == ("lab.message", "a", compiled.agreement.digest)
    assert checked(compiled, {"child": {"name": {"given": "R"}}}, facts={"urgency": "priority"}).bases == ("core",)
    assert checked(compiled, {}).bases == ()


def test_bases_of_a_path_are_those_of_every_true_grant_of_it() -> None:
    compiled = lab(NAMES, 'when = ["at_risk"]\nbasis = "welfare"\nfields = ["child.name.family"]')
    body = {"child": {"name": {"family": "Testchild"}}}
    assert checked(compiled, body).bases == ("core",)
    assert checked(compiled, body, facts={"urgency": "immediate_risk"}).bases == ("core", "welfare")


def test_checked_body_cannot_be_made_without_the_check() -> None:
    import dataclasses

    done = checked(lab(NAMES), {})
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(done, wire=b'{"child":{"sex":"F"}}')  # type: ignore[call-arg]
    members = {f.name: getattr(done, f.name) for f in dataclasses.fields(CheckedBody)}
    with pytest.raises(TypeError, match="made by"):
        CheckedBody(**members, proof=object())


def test_checked_body_cannot_be_changed_through_what_it_gives_out() -> None:
    given: dict[str, Any] = {"child": {"name": {"given": "Robin"}}}
    done = checked(lab(NAMES), given)
    done.body["child"]["sex"] = "F"
    given["child"]["sex"] = "F"
    assert done.body == {"child": {"name": {"given": "Robin"}}}


def test_checked_body_shows_no_value_in_its_representation() -> None:
    done = checked(lab(NAMES), {"child": {"name": {"given": "Canaryname"}}})
    assert "Canaryname" not in repr(done)
