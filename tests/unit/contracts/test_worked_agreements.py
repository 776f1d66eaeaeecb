"""The eight agreements behave as agreements section 6 says: what each may carry, and what it must refuse."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from contracts.library import template_names
from tests.support.agreements import library, nested, verdict

URGENT = {"urgency": "immediate_risk"}
CHILD: dict[str, Any] = {
    "child.name.family": "Testchild",
    "child.name.given": "Robin",
    "child.date_of_birth": "2014-02-03",
}
TRANSFER = CHILD | {"case.reference": "KC/2026/1", "case.reason": "moved-out-of-area", "case.status": "open"}
ENQUIRY = CHILD | {"case.reference": "KC/2026/2", "case.reply_by": "2026-12-10"}


def ask(name: str, message_type: str, sender: str, body: dict[str, Any], **how: Any) -> set[tuple[str, str]]:
    return verdict(library(name), nested(body), type=message_type, sender=sender, **how)


def test_there_are_eight() -> None:
    assert len(template_names()) == 8


# Council to council

KC = "la-la-cme-transfer"


@pytest.mark.parametrize("sender", ["a", "b"])
def test_transfer_carries_identity_address_contacts_school_and_welfare(sender: str) -> None:
    more = {
        "child.upn": "B801200005001",
        "child.address.lines": ["1 Example Street"],
        "child.address.postcode": "SO14 7AA",
        "contacts[0].relationship": "mother",
        "contacts[0].telephone": "020 7946 0000",
        "contacts[0].safe_to_contact": "ask-sender-first",
        "school.urn": "999001",
        "deletion.ground": "2024-9(1)(g)",
        "safeguarding.concern_level": "concern",
        "child.looked_after": False,
        "case.family_told": "told",
    }
    assert ask(KC, "cme.transfer", sender, TRANSFER | more) == set()


def test_transfer_from_kensington_carries_sen_provision_and_hampshires_does_not() -> None:
    body = TRANSFER | {"send.provision": "E"}
    assert ask(KC, "cme.transfer", "a", body) == set()
    assert ask(KC, "cme.transfer", "b", body) == {("field.not-allowed", "send.provision")}


def test_transfer_refuses_ethnicity_and_nationality_naming_exactly_those() -> None:
    body = TRANSFER | {"child.ethnicity": "WBRI", "child.nationality": "GBR"}
    both = {("field.not-allowed", "child.ethnicity"), ("field.not-allowed", "child.nationality")}
    assert ask(KC, "cme.transfer", "a", body) == both
    assert ask(KC, "cme.transfer", "b", body, facts=URGENT) == both


@pytest.mark.parametrize("nothing", [None, {}])
def test_transfer_refuses_null_and_empty_object_at_an_ungranted_path(nothing: Any) -> None:
    body = TRANSFER | {"child.ethnicity": nothing, "immigration": nothing}
    assert ask(KC, "cme.transfer", "a", body) == {
        ("field.not-allowed", "child.ethnicity"),
        ("field.not-allowed", "immigration"),
    }


def test_transfer_refuses_a_fifth_contact() -> None:
    contacts = {f"contacts[{n}].relationship": "other" for n in range(5)}
    assert ask(KC, "cme.transfer", "a", TRANSFER | contacts) == {("field.too-many", "contacts")}
    del contacts["contacts[4].relationship"]
    assert ask(KC, "cme.transfer", "a", TRANSFER | contacts) == set()


def test_summary_and_services_travel_only_under_immediate_risk() -> None:
    body = TRANSFER | {"safeguarding.summary": "Seen at risk.", "services[0].service": "mash"}
    assert ask(KC, "cme.transfer", "a", body, facts=URGENT) == set()
    for urgency in ({"urgency": "priority"}, {"urgency": "routine"}, {}):
        assert ask(KC, "cme.transfer", "a", body, facts=urgency) == {
            ("field.not-allowed", "safeguarding.summary"),
            ("field.not-allowed", "services[0].service"),
        }


def test_services_never_come_from_hampshire() -> None:
    body = TRANSFER | {"services[0].service": "mash"}
    assert ask(KC, "cme.transfer", "b", body, facts=URGENT) == {("field.not-allowed", "services[0].service")}


def test_enquiry_carries_the_last_known_address_and_no_present_one() -> None:
    last = ENQUIRY | {"child.previous_addresses[0].postcode": "W8 7NX"}
    assert ask(KC, "cme.enquiry", "a", last) == set()
    present = last | {"child.address.postcode": "SO14 7AA"}
    assert ask(KC, "cme.enquiry", "a", present) == {("field.not-allowed", "child.address.postcode")}


def test_answer_to_an_enquiry_carries_no_address() -> None:
    body = {"case.reference": "KC/2026/2", "case.enquiry_answer": "telephone-us"}
    assert ask(KC, "cme.enquiry_answer", "b", body) == set()
    body |= {"child.address.lines": ["1 Example Street"]}
    assert ask(KC, "cme.enquiry_answer", "b", body) == {("field.not-allowed", "child.address.lines")}


def test_transfer_answer_needs_only_reference_and_answer() -> None:
    body = {"case.reference": "KC/2026/1", "case.answer": "accepted"}
    assert ask(KC, "cme.answer", "b", body | {"case.other_la_reference": "H/9", "case.status": "open"}) == set()
    assert ask(KC, "cme.answer", "b", {"case.reference": "KC/2026/1"}) == {("field.missing", "case.answer")}


def test_protected_child_is_transferred_without_an_address() -> None:
    body = TRANSFER | {
        "child.address.postcode": "SO14 7AA",
        "school.urn": "999001",
        "child.former_upn": "P207000016049",
    }
    located = {("field.protected", "child.address.postcode"), ("field.protected", "school.urn")}
    assert ask(KC, "cme.transfer", "a", body, protected=["location"]) == located
    assert ask(KC, "cme.transfer", "a", body, protected=["identity"]) == located | {
        ("field.protected", "child.former_upn")
    }
    assert ask(KC, "cme.transfer", "a", TRANSFER, protected=["location", "identity"]) == set()


# School to council

SCHOOL = "school-la-cme"
RETURN = {"child.name.family": "Testchild", "child.name.given": "Robin", "deletion.ground": "2024-9(1)(f)"}


def test_deletion_return_goes_without_what_the_register_does_not_hold() -> None:
    assert ask(SCHOOL, "school.deletion_return", "a", RETURN) == set()
    full = RETURN | {"child.upn": "B801200005001", "contacts[0].telephone": "020 7946 0000", "case.reference": "S1"}
    assert ask(SCHOOL, "school.deletion_return", "a", full) == set()


def test_deletion_return_refuses_the_grounds_of_2006() -> None:
    body = RETURN | {"deletion.ground": "2006-8(1)(d)"}
    assert ask(SCHOOL, "school.deletion_return", "a", body) == {("field.value", "deletion.ground")}
    body = RETURN | {"deletion.ground_2006": "2006-8(1)(d)"}
    assert ask(SCHOOL, "school.deletion_return", "a", body) == {("field.not-allowed", "deletion.ground_2006")}


def test_school_messages_refuse_diagnosis_and_free_school_meals() -> None:
    notice = {"child.name.family": "T", "child.name.given": "R", "case.reason": "no-show"}
    assert ask(SCHOOL, "school.cme_notice", "a", notice) == set()
    more = {"health.relevant_condition": "asthma", "send.needs": ["ASD"], "child.fsm_eligible": True}
    assert ask(SCHOOL, "school.cme_notice", "a", notice | more) == {
        ("field.not-allowed", "health.relevant_condition"),
        ("field.not-allowed", "send.needs"),
        ("field.not-allowed", "child.fsm_eligible"),
    }


def test_outcome_to_the_school_carries_status_and_decision_only() -> None:
    body = {"case.reference": "S1", "case.status": "located", "decision.outcome": "ground-met"}
    assert ask(SCHOOL, "la.cme_outcome", "b", body) == set()
    body |= {"child.address.postcode": "SO14 7AA"}
    assert ask(SCHOOL, "la.cme_outcome", "b", body) == {("field.not-allowed", "child.address.postcode")}


def test_new_pupil_return_and_enquiry_travel() -> None:
    assert ask(SCHOOL, "school.new_pupil_return", "a", CHILD | {"school.start_date": "2026-11-01"}) == set()
    assert ask(SCHOOL, "la.school_enquiry", "b", ENQUIRY) == set()
    answer = {"case.reference": "KC/2026/2", "case.enquiry_answer": "on-roll", "school.start_date": "2026-09-01"}
    assert ask(SCHOOL, "school.enquiry_answer", "a", answer) == set()


# School to Dudley

DUDLEY = "school-dudley-deletion-referral"


def test_dudley_referral_carries_attendance_reasons_enquiries_and_the_court_order_flag() -> None:
    body = RETURN | {
        "attendance.sessions_possible": 190,
        "attendance.absence_reasons": ["I", "R"],
        "case.enquiries_made": "Two visits, no answer.",
        "safeguarding.court_order": False,
        "services[0].service": "social-care",
        "attachments[0].kind": "school-letter",
        "attachments[0].sha256": "0" * 64,
    }
    assert ask(DUDLEY, "school.deletion_referral", "a", body) == set()
    assert ask(DUDLEY, "la.referral_decision", "b", {"case.reference": "1", "decision.outcome": "ground-met"}) == set()


def test_dudley_referral_refuses_convictions_statements_ethnicity_and_youth_justice() -> None:
    body = RETURN | {
        "offence.conviction_date": "2026-01-01",
        "statements.under_caution": "x",
        "child.ethnicity": "WBRI",
        "services[0].service": "youth-justice",
        "attachments[0].kind": "court-order",
    }
    assert ask(DUDLEY, "school.deletion_referral", "a", body) == {
        ("field.not-allowed", "offence.conviction_date"),
        ("field.not-allowed", "statements.under_caution"),
        ("field.not-allowed", "child.ethnicity"),
        ("field.value-not-allowed", "services[0].service"),
        ("field.value-not-allowed", "attachments[0].kind"),
    }


# Police

POLICE = "la-police"
OUTCOME = {"case.reference": "P/1", "response.outcome": "supplied-in-part"}
DATA = OUTCOME | {"child.address.postcode": "SG1 2AA", "contacts[0].telephone": "020 7946 0000"}
ASKED = ["child.address.postcode", "contacts[].telephone", "safeguarding.concern_level"]
SIGNED = {"urgency": "routine", "request.verified": True, "request.authorised_rank": "inspector_or_above"}


def respond(body: dict[str, Any], facts: dict[str, Any], requested: list[str] | None) -> set[tuple[str, str]]:
    return ask(POLICE, "police.response", "a", body, facts=facts, requested=requested)


def test_response_carries_what_agreement_and_request_both_name() -> None:
    assert respond(DATA, SIGNED, ASKED) == set()


def test_response_refuses_a_field_that_was_not_requested() -> None:
    assert respond(DATA, SIGNED, ["child.address.postcode"]) == {("field.not-requested", "contacts[].telephone")}


def test_response_needs_a_request_that_is_held() -> None:
    for unheld in ({"request.verified": False}, {}):
        facts = {"urgency": "routine", "request.authorised_rank": "inspector_or_above"} | unheld
        assert respond(DATA, facts, None) == {("message.condition-not-met", "")}


def test_response_below_inspector_carries_no_data() -> None:
    for rank in ({"request.authorised_rank": "none"}, {"request.authorised_rank": "senior_manager"}, {}):
        facts = {"urgency": "routine", "request.verified": True} | rank
        assert respond(DATA, facts, ASKED) == {
            ("field.not-allowed", "child.address.postcode"),
            ("field.not-allowed", "contacts[0].telephone"),
        }


def test_refusal_needs_neither_inspector_nor_emergency() -> None:
    body = {"case.reference": "P/1", "response.outcome": "refused", "response.refusal_reason": "no-power-cited"}
    assert respond(body, {"urgency": "routine", "request.verified": True}, []) == set()


def test_safeguarding_is_answered_only_in_an_emergency() -> None:
    body = OUTCOME | {"safeguarding.concern_level": "immediate-risk"}
    assert respond(body, SIGNED, ASKED) == {("field.not-allowed", "safeguarding.concern_level")}
    assert respond(body, SIGNED | URGENT, ASKED) == set()


def test_emergency_goes_ahead_of_the_inspector() -> None:
    assert respond(DATA, {"urgency": "immediate_risk", "request.verified": True}, ASKED) == set()


def test_telephone_request_counts_only_recorded_and_in_an_emergency() -> None:
    recorded = {"request.by_telephone": True, "request.verified": False}
    assert respond(DATA, recorded | URGENT, ASKED) == set()
    assert ("message.condition-not-met", "") in respond(DATA, recorded | {"urgency": "priority"}, ASKED)
    assert ("message.condition-not-met", "") in respond(DATA, URGENT | {"request.by_telephone": False}, ASKED)


REQUEST = {
    "case.reference": "P/1",
    "child.name.family": "Testchild",
    "child.name.given": "Robin",
    "request.ground": "DPA2018-sch2-p2",
    "request.officer_name": "PC Example",
    "request.officer_rank": "constable",
    "request.call_back": "01707 000000",
    "request.necessity": "To find the child.",
    "request.fields": ["child.address.postcode"],
}
AUTHORISED = {
    "child.date_of_birth": "2014-02-03",
    "request.authorised_by": "Insp Example",
    "request.authoriser_rank": "inspector-or-above",
}


def test_request_needs_authoriser_and_date_of_birth_except_in_an_emergency() -> None:
    assert ask(POLICE, "police.request", "b", REQUEST | AUTHORISED) == set()
    assert ask(POLICE, "police.request", "b", REQUEST) == {("field.missing", path) for path in AUTHORISED}
    assert ask(POLICE, "police.request", "b", REQUEST, facts=URGENT) == set()
    assert ask(POLICE, "police.request", "b", REQUEST | AUTHORISED, facts=URGENT) == set()


def test_referral_to_the_police_needs_a_manager() -> None:
    body = CHILD | {
        "case.reference": "H/1",
        "case.last_seen_on": "2026-11-01",
        "safeguarding.concern_level": "concern",
        "safeguarding.lead_contact": "Duty desk",
    }
    manager = {"urgency": "routine", "request.authorised_rank": "senior_manager"}
    assert ask(POLICE, "police.referral", "a", body, facts=manager) == set()
    assert ask(POLICE, "police.referral", "a", body) == {("message.condition-not-met", "")}


def test_police_receipt_carries_three_outcomes() -> None:
    body = {"case.reference": "P/1", "response.outcome": "received"}
    assert ask(POLICE, "police.receipt", "b", body) == set()
    body["response.outcome"] = "supplied-in-full"
    assert ask(POLICE, "police.receipt", "b", body) == {("field.value-not-allowed", "response.outcome")}


# Home Office

HOME = "la-home-office"
NOTIFY = CHILD | {"case.reference": "KC/1", "immigration.concern": "child-believed-unlawfully-present"}
MANAGER = {"urgency": "routine", "request.authorised_rank": "senior_manager"}


def test_notification_needs_a_senior_manager_each_time() -> None:
    assert ask(HOME, "immigration.notification", "a", NOTIFY, facts=MANAGER) == set()
    inspector = MANAGER | {"request.authorised_rank": "inspector_or_above"}
    for facts in ({"urgency": "routine"}, inspector):
        assert ask(HOME, "immigration.notification", "a", NOTIFY, facts=facts) == {("message.condition-not-met", "")}


@pytest.mark.parametrize("concern", ["suspected-trafficking", "unaccompanied-child", "false-document"])
def test_notification_carries_one_concern_only(concern: str) -> None:
    body = NOTIFY | {"immigration.concern": concern}
    refused = {("field.value-not-allowed", "immigration.concern")}
    assert ask(HOME, "immigration.notification", "a", body, facts=MANAGER) == refused


@pytest.mark.parametrize(
    ("path", "value"), [("child.nationality", "GBR"), ("child.first_language", "ENG"), ("school.name", "Example")]
)
def test_notification_refuses_nationality_language_and_school(path: str, value: str) -> None:
    found = ask(HOME, "immigration.notification", "a", NOTIFY | {path: value}, facts=MANAGER)
    assert found == {("field.not-allowed", path)}


def test_home_office_request_is_received_and_answered_without_data() -> None:
    body = CHILD | {"case.reference": "HO/1"} | {k: v for k, v in REQUEST.items() if k.startswith("request.")}
    del body["request.necessity"], body["request.call_back"]
    body["request.authorised_by"] = "An Officer"
    assert ask(HOME, "home-office.request", "b", body) == set()
    answer = {"case.reference": "HO/1", "response.outcome": "refused", "response.refusal_reason": "no-basis"}
    assert ask(HOME, "home-office.response", "a", answer) == set()
    assert ask(HOME, "home-office.response", "a", answer | {"child.address.postcode": "W8 7NX"}) == {
        ("field.not-allowed", "child.address.postcode")
    }
    supplied = answer | {"response.outcome": "supplied-in-full"}
    assert ask(HOME, "home-office.response", "a", supplied) == {("field.value-not-allowed", "response.outcome")}


# Youth support

YOUTH = "la-youth-support"
CONSENT = {
    "urgency": "routine",
    "consent.state": "given",
    "consent.in_date": True,
    "consent.scope": "youth-support-other-information",
}
PARENT, YOUNG = CONSENT | {"consent.by": "parent"}, CONSENT | {"consent.by": "young_person"}
REFER = CHILD | {"child.date_of_birth": "2010-12-01"}  # 16 on 1 December 2026
MORE = REFER | {"school.name": "Example School"}
NO_SCHOOL = {("field.not-allowed", "school.name")}


def refer(body: dict[str, Any], on: date, facts: dict[str, Any] | None = None) -> set[tuple[str, str]]:
    return ask(YOUTH, "youth.referral", "a", body, on=on, facts=facts)


def test_referral_begins_at_13_and_ends_at_20() -> None:
    young = {("message.condition-not-met", "")}
    assert refer(REFER, date(2023, 11, 30)) == young
    assert refer(REFER, date(2023, 12, 1)) == set()
    assert refer(REFER, date(2030, 11, 30)) == set()
    assert refer(REFER, date(2030, 12, 1)) == young


def test_parents_consent_stops_counting_on_the_16th_birthday() -> None:
    assert refer(MORE, date(2026, 11, 30), PARENT) == set()
    assert refer(MORE, date(2026, 11, 30), PARENT | {"consent.by": "guardian"}) == set()
    assert refer(MORE, date(2026, 12, 1), PARENT) == NO_SCHOOL


def test_young_persons_consent_counts_from_the_16th_birthday() -> None:
    assert refer(MORE, date(2026, 11, 30), YOUNG) == NO_SCHOOL
    assert refer(MORE, date(2026, 12, 1), YOUNG) == set()


@pytest.mark.parametrize(
    "fault",
    [
        {"consent.state": "withdrawn"},
        {"consent.state": "refused"},
        {"consent.state": "none"},
        {"consent.in_date": False},
    ],
)
def test_consent_withdrawn_refused_or_out_of_date_grants_nothing_more(fault: dict[str, Any]) -> None:
    assert refer(MORE, date(2026, 11, 30), PARENT | fault) == NO_SCHOOL


@pytest.mark.parametrize("unknown", ["consent.state", "consent.by", "consent.scope", "consent.in_date"])
def test_consent_of_which_anything_is_unknown_grants_nothing_more(unknown: str) -> None:
    facts = {name: value for name, value in PARENT.items() if name != unknown}
    assert refer(MORE, date(2026, 11, 30), facts) == NO_SCHOOL


def test_address_travels_unless_protected() -> None:
    body = REFER | {"child.address.postcode": "KT1 1AA"}
    assert refer(body, date(2026, 11, 30)) == set()
    found = ask(YOUTH, "youth.referral", "a", body, on=date(2026, 11, 30), protected=["location"])
    assert found == {("field.protected", "child.address.postcode")}


# NHS

NHS = "la-nhs"
KNOWN = {"case.reference": "H/1", "response.outcome": "supplied-in-full"}


def test_nhs_answer_says_known_where_registered_and_whether_the_address_differs() -> None:
    body = KNOWN | {"health.establishments[0].name": "Example Surgery", "health.registered_address_differs": True}
    assert ask(NHS, "health.answer", "b", body) == set()
    assert ask(NHS, "health.enquiry", "a", CHILD | {"case.reference": "H/1"}) == set()


def test_nhs_answer_refuses_diagnosis_always_and_last_contact_without_harm() -> None:
    body = KNOWN | {"health.last_contact_on": "2026-11-01"}
    assert ask(NHS, "health.answer", "b", body) == {("field.not-allowed", "health.last_contact_on")}
    assert ask(NHS, "health.answer", "b", body, facts=URGENT) == set()
    body = KNOWN | {"health.relevant_condition": "x"}
    assert ask(NHS, "health.answer", "b", body, facts=URGENT) == {("field.not-allowed", "health.relevant_condition")}


# DWP

DWP = "la-dwp"
FRAUD = CHILD | {
    "case.reference": "AFC/1",
    "contacts[0].name.family": "Example",
    "contacts[0].name.given": "Alex",
    "household.composition_changed_on": "2026-10-01",
}


def test_fraud_referral_carries_claimant_child_and_the_day_under_a_senior_manager() -> None:
    assert ask(DWP, "fraud.referral", "a", FRAUD, facts=MANAGER) == set()
    assert ask(DWP, "fraud.referral", "a", FRAUD) == {("message.condition-not-met", "")}
    claimant = {("field.missing", "contacts[].name.family"), ("field.missing", "contacts[].name.given")}
    nameless = {path: value for path, value in FRAUD.items() if not path.startswith("contacts")}
    assert ask(DWP, "fraud.referral", "a", nameless, facts=MANAGER) == claimant


def test_fraud_referral_refuses_benefit_data_and_school() -> None:
    body = FRAUD | {"household.benefits[0].kind": "child-benefit", "school.urn": "999001"}
    assert ask(DWP, "fraud.referral", "a", body, facts=MANAGER) == {
        ("field.not-allowed", "household.benefits[0].kind"),
        ("field.not-allowed", "school.urn"),
    }


def test_fraud_receipt_acknowledges_only() -> None:
    body = {"case.reference": "AFC/1", "response.outcome": "received"}
    assert ask(DWP, "fraud.receipt", "b", body) == set()
    assert ask(DWP, "fraud.receipt", "b", body | {"response.outcome": "supplied-in-full"}) == {
        ("field.value-not-allowed", "response.outcome")
    }
