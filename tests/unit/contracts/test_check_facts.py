"""Facts that come with a message: which may be stated, with which values, and what they do."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.compiled import facts_named
from tests.support.agreements import checked, lab, library, verdict

GRANT = 'when = ["consented"]\nfields = ["child.sex"]'


def test_message_states_urgency_and_the_facts_its_conditions_reach() -> None:
    assert facts_named(lab('fields = ["child.sex"]'), "lab.message", "a") == {"urgency"}
    assert facts_named(lab(GRANT), "lab.message", "a") == {"urgency", "consent.state"}
    assert facts_named(lab(GRANT), "lab.message", "b") == frozenset()
    assert facts_named(library("la-police"), "police.response", "a") == {
        "urgency",
        "request.verified",
        "request.by_telephone",
        "request.authorised_rank",
    }


def test_facts_of_required_conditions_are_named_through_their_parts() -> None:
    extra = '[condition.both]\nall = ["consented", "nested"]\n[condition.nested]\nany = ["told"]\n'
    extra += '[condition.told]\ntest = ["subject_informed_risk", "=", false]\n'
    compiled = lab('fields = ["child.sex"]', message='require = ["both"]', extra=extra)
    assert facts_named(compiled, "lab.message", "a") == {"urgency", "consent.state", "subject_informed_risk"}


@pytest.mark.parametrize(
    ("facts", "path"),
    [
        ({"consent.by": "parent"}, "consent.by"),  # known, but nothing in this message asks for it
        ({"age_years": 14}, "age_years"),  # derived, never stated
        ({"consent.state": "perhaps"}, "consent.state"),
        ({"consent.state": None}, "consent.state"),
        ({"consent.state": True}, "consent.state"),
        ({"consent.state": ["given"]}, "consent.state"),
        ({"urgency": "emergency"}, "urgency"),
        ({"Robin Example": "x"}, "?"),
        ({"mood": "x"}, "?"),
    ],
)
def test_fact_that_may_not_be_stated_so_is_a_breach_named_by_the_fact(facts: dict[str, Any], path: str) -> None:
    compiled = lab(GRANT, 'when = ["teenager"]\nfields = ["child.upn"]')
    assert verdict(compiled, {}, facts={"urgency": "routine"} | facts) == {("message.fact", path)}


def test_wrong_fact_counts_as_unknown_and_is_reported_with_the_rest() -> None:
    body = {"child": {"sex": "F"}}
    assert verdict(lab(GRANT), body, facts={"urgency": "routine", "consent.state": "yes"}) == {
        ("message.fact", "consent.state"),
        ("field.not-allowed", "child.sex"),
    }


def test_absent_fact_is_unknown() -> None:
    assert verdict(lab(GRANT), {"child": {"sex": "F"}}, facts={}) == {("field.not-allowed", "child.sex")}
    assert checked(lab(GRANT), {}, facts={}).conditions == {"consented": "unknown"}


def test_fact_that_differs_from_the_receivers_own_record_is_a_breach() -> None:
    facts = {"urgency": "routine", "consent.state": "given"}
    body = {"child": {"sex": "F"}}
    assert verdict(lab(GRANT), body, facts=facts, recorded={"consent.state": "given"}, sending=False) == set()
    assert verdict(lab(GRANT), body, facts=facts, recorded={"consent.state": "withdrawn"}, sending=False) == {
        ("message.fact", "consent.state"),
        ("field.not-allowed", "child.sex"),
    }


def test_body_never_answers_for_a_recorded_fact() -> None:
    body = {"child": {"sex": "F"}, "consent": {"state": "given"}}
    assert verdict(lab(GRANT), body) == {("field.not-allowed", "child.sex"), ("field.unknown", "consent")}
