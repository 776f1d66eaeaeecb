"""Protected children, and answers limited to what was asked."""

from __future__ import annotations

from typing import Any

from tests.support.agreements import checked, lab, verdict

GRANT = (
    'fields = ["child.address.lines", "child.address.protection", "child.address.town", "school.urn", '
    '"child.name.former_family", "child.name.family", "contacts[].address.postcode", "previous_schools[].name"]'
)
BODY: dict[str, Any] = {
    "child": {"address": {"lines": ["1 Example Street"]}, "name": {"family": "Testchild", "former_family": "Former"}},
    "contacts": [{"address": {"postcode": "SO14 7AA"}}, {"address": {"postcode": "SO14 7AB"}}],
}
LOCATING = {("field.protected", "child.address.lines"), ("field.protected", "contacts[].address.postcode")}
PAST = {("field.protected", "child.name.former_family")}


def test_child_that_is_not_listed_may_be_located() -> None:
    assert verdict(lab(GRANT), BODY) == set()


def test_child_listed_for_location_is_sent_without_what_locates() -> None:
    assert verdict(lab(GRANT), BODY, protected=["location"]) == LOCATING


def test_child_listed_for_identity_is_sent_without_the_past_either() -> None:
    assert verdict(lab(GRANT), BODY, protected=["identity"]) == LOCATING | PAST
    assert verdict(lab(GRANT), BODY, protected=["identity", "location"]) == LOCATING | PAST


def test_body_that_says_protected_counts_as_listed_for_location() -> None:
    address = {"lines": ["1 Example Street"], "protection": "protected"}
    body = {"child": {"address": address, "name": {"former_family": "Former"}}}
    assert verdict(lab(GRANT), body) == {("field.protected", "child.address.lines")}
    address["protection"] = "none-known"
    assert verdict(lab(GRANT), body) == set()


def test_protection_never_refuses_an_inbound_message() -> None:
    body = {"child": {"address": {"lines": ["1 Example Street"], "protection": "protected"}}}
    assert verdict(lab(GRANT), body, protected=["location", "identity"], sending=False) == set()


def test_release_by_a_senior_manager_lifts_protection_for_this_message() -> None:
    body = {"child": {"address": {"lines": ["1 Example Street"], "protection": "protected"}}}
    assert verdict(lab(GRANT), body, protected=["location", "identity"], released=True) == set()


def test_protection_only_takes_away() -> None:
    refused = verdict(lab(GRANT), {"child": {"sex": "F"}}, protected=["identity"], released=True)
    assert refused == {("field.not-allowed", "child.sex")}


def test_locating_path_is_refused_even_where_its_value_is_empty_or_wrong() -> None:
    body = {"child": {"address": {"lines": [], "town": None}}}
    assert verdict(lab(GRANT), body, protected=["location"]) == {
        ("field.protected", "child.address.lines"),
        ("field.protected", "child.address.town"),
        ("field.value", "child.address.town"),
    }


def test_locating_path_that_is_not_granted_either_is_named_for_both() -> None:
    assert verdict(lab('fields = ["child.sex"]'), {"school": {"urn": "999001"}}, protected=["location"]) == {
        ("field.not-allowed", "school.urn"),
        ("field.protected", "school.urn"),
    }


LIMITED = "limit_to_request = true"
ANSWER = 'fields = ["contacts[].telephone", "child.sex", "response.refusal_reason", "child.upn"]'
REFERENCE = 'need = "required"\nfields = ["case.reference"]'
REPLY: dict[str, Any] = {"case": {"reference": "R1"}, "contacts": [{"telephone": "0123456789"}], "child": {"sex": "F"}}


def test_path_that_the_request_does_not_name_is_refused_by_its_generic_path() -> None:
    compiled = lab(REFERENCE, ANSWER, message=LIMITED)
    assert verdict(compiled, REPLY, requested=["child.sex"]) == {("field.not-requested", "contacts[].telephone")}
    assert verdict(compiled, REPLY, requested=["child.sex", "contacts[].telephone"]) == set()


def test_required_paths_and_the_reason_for_refusing_are_always_answerable() -> None:
    compiled = lab(REFERENCE, ANSWER, message=LIMITED)
    body = {"case": {"reference": "R1"}, "response": {"refusal_reason": "no-power"}}
    assert verdict(compiled, body, requested=[]) == set()


def test_rule_does_not_fire_where_no_request_is_held() -> None:
    assert verdict(lab(REFERENCE, ANSWER, message=LIMITED), REPLY, requested=None) == set()


def test_message_that_is_not_limited_ignores_the_request() -> None:
    assert verdict(lab(REFERENCE, ANSWER), REPLY, requested=[]) == set()


def test_request_does_not_widen_what_is_granted() -> None:
    compiled = lab(REFERENCE, message=LIMITED)
    body = {"case": {"reference": "R1"}, "child": {"sex": "F"}}
    assert verdict(compiled, body, requested=["child.sex"]) == {("field.not-allowed", "child.sex")}


def test_not_requested_is_reported_with_missing_and_conditions_but_only_of_a_sound_body() -> None:
    compiled = lab(REFERENCE, ANSWER, message=LIMITED + '\nrequire = ["at_risk"]')
    assert verdict(compiled, {"child": {"sex": "F"}}, requested=[]) == {
        ("message.condition-not-met", ""),
        ("field.missing", "case.reference"),
        ("field.not-requested", "child.sex"),
    }
    assert verdict(compiled, {"child": {"sex": "F", "upn": "wrong"}}, requested=[]) == {
        ("message.condition-not-met", ""),
        ("field.missing", "case.reference"),
        ("field.value", "child.upn"),
    }


def test_checked_body_is_the_same_with_and_without_a_request_that_names_all() -> None:
    compiled = lab(REFERENCE, ANSWER, message=LIMITED)
    paths = ["child.sex", "contacts[].telephone"]
    assert checked(compiled, REPLY, requested=paths) == checked(compiled, REPLY)
