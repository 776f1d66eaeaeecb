"""What must be right before an agreement is compiled: nothing unsafe or ambiguous may be."""

from __future__ import annotations

import pytest

from contracts.agreement import read_agreement
from contracts.compiled import compile_agreement
from contracts.library import template_bytes, template_names
from contracts.register import register_bytes, vocabulary
from contracts.strict import FileError, Problem
from contracts.vocabulary import read_vocabulary
from tests.support.agreements import lab, lab_toml

GOOD = 'fields = ["child.sex"]'


def problems(*grants: str, message: str = "", top: str = "", extra: str = "") -> set[tuple[str, str]]:
    with pytest.raises(FileError) as caught:
        lab(*grants, message=message, top=top, extra=extra)
    assert caught.value.file == "lab-agreement version 1"
    return {(problem.key, problem.rule) for problem in caught.value.problems}


@pytest.mark.parametrize("name", template_names())
def test_worked_agreement_compiles(name: str) -> None:
    compiled = compile_agreement(read_agreement(template_bytes(name), file=name), vocabulary())
    assert len(compiled.messages) == len(compiled.agreement.messages)


GRANT_FAULTS = [
    ('fields = ["child.sex", "child.hat"]', "fields[1]", "unknown field"),
    ('fields = ["child"]', "fields[0]", "unknown field"),
    ('fields = ["contacts.telephone"]', "fields[0]", "unknown field"),
    ('fields = ["child.*"]', "fields[0]", "a wildcard: an agreement lists paths"),
    ('fields = ["*"]', "fields[0]", "a wildcard: an agreement lists paths"),
    (GOOD + '\nbasis = "other"', "basis", "unknown basis"),
    (GOOD + '\nwhen = ["at_risk", "ghost"]', "when[1]", "unknown condition"),
    (GOOD + '\nonly = { "child.upn" = ["x"] }', 'only."child.upn"', "not among this group's fields"),
    (GOOD + '\nonly = { "child.sex" = ["F", "X"] }', 'only."child.sex"', "a value outside the code set"),
    (
        'fields = ["child.upn"]\nonly = { "child.upn" = ["x"] }',
        'only."child.upn"',
        "narrows a field that has no code set",
    ),
    (
        'need = "required"\nfields = ["school.urn"]',
        "fields[0]",
        "required, but a protected child's message must be able to go without it",
    ),
    (
        'need = "required"\nfields = ["child.former_upn"]',
        "fields[0]",
        "required, but a protected child's message must be able to go without it",
    ),
]


@pytest.mark.parametrize(("grant", "key", "rule"), GRANT_FAULTS)
def test_unsafe_grant_is_refused_at_its_key(grant: str, key: str, rule: str) -> None:
    assert problems(GOOD, grant) == {(f"message[0].allow[1].{key}", rule)}


@pytest.mark.parametrize(
    ("promise", "field"),
    [
        ("child.sex", "child.sex"),
        ("immigration", "immigration.concern"),
        ("services", "services[].open"),
        ("contacts[].name", "contacts[].name.given"),
        ("contacts[]", "contacts[].telephone"),
        ("child", "child.other_names[].given"),
    ],
)
def test_grant_of_what_is_promised_never_is_refused(promise: str, field: str) -> None:
    found = problems(f'fields = ["{field}"]', top=f'never = ["{promise}"]')
    assert found == {("message[0].allow[0].fields[0]", "granted but promised never")}


def test_promise_covers_no_neighbour_of_like_name() -> None:
    lab('fields = ["child.name.preferred_family", "safeguarding.summary"]', top='never = ["child.name.family", "send"]')


@pytest.mark.parametrize("promise", ["child.hat", "contact", "child.*", ""])
def test_promise_about_something_unknown_is_refused(promise: str) -> None:
    if promise:
        assert problems(GOOD, top=f'never = ["{promise}"]') == {("never[0]", "unknown field or container")}


CONDITIONS = [
    ('test = ["mood", "=", "x"]', "unknown fact"),
    ('test = ["urgency", "~", "routine"]', "unknown operator for this fact"),
    ('test = ["urgency", "<", "routine"]', "unknown operator for this fact"),
    ('test = ["request.verified", ">", true]', "unknown operator for this fact"),
    ('test = ["urgency", "=", "later"]', "a value outside the fact's type or code list"),
    ('test = ["urgency", "in", ["routine", "later"]]', "a value outside the fact's type or code list"),
    ('test = ["urgency", "=", true]', "a value outside the fact's type or code list"),
    ('test = ["age_years", ">=", "13"]', "a value outside the fact's type or code list"),
    ('test = ["age_years", ">=", true]', "a value outside the fact's type or code list"),
    ('test = ["request.verified", "=", 1]', "a value outside the fact's type or code list"),
    ('test = ["urgency", "in", "routine"]', "a list of values goes with 'in', and with nothing else"),
    ('test = ["urgency", "=", ["routine"]]', "a list of values goes with 'in', and with nothing else"),
    ('all = ["at_risk", "ghost"]', "refers to an unknown condition"),
    ('any = ["bad"]', "refers to itself"),
    ('all = ["at_risk"]\nany = ["teenager"]', "needs exactly one of test, all, any"),
    ('test = ["urgency", "=", "routine"]\nany = ["teenager"]', "needs exactly one of test, all, any"),
    ('says = "nothing"', "needs exactly one of test, all, any"),
]


@pytest.mark.parametrize(("condition", "rule"), CONDITIONS)
def test_unsafe_condition_is_refused_even_where_unused(condition: str, rule: str) -> None:
    assert problems(GOOD, extra=f"[condition.bad]\n{condition}\n") == {("condition.bad", rule)}


def test_unknown_required_condition_is_refused() -> None:
    assert problems(GOOD, message='require = ["ghost"]') == {("message[0].require[0]", "unknown condition")}


def test_limit_of_a_list_that_is_not_carried_is_refused() -> None:
    rule = "limits a list this message does not carry"
    for path in ("contacts", "child", "ghost", "child.sex"):
        found = problems(GOOD, message=f'max_items = {{ "{path}" = 2 }}')
        shown = f'"{path}"' if "." in path else path
        assert found == {(f"message[0].max_items.{shown}", rule)}


def test_one_type_and_direction_cannot_stand_twice() -> None:
    again = '[[message]]\ntype = "lab.message"\nfrom = "a"\nto = "b"\n[[message.allow]]\nneed = "optional"\n'
    found = problems('basis = "core"\nneed = "optional"\n' + GOOD + "\n" + again + 'basis = "core"\n' + GOOD)
    assert found == {("message[1]", "this type and direction is given twice")}


def test_service_messages_cannot_be_granted_fields() -> None:
    data = lab_toml(GOOD).replace(b'type = "lab.message"', b'type = "rights.notice"')
    with pytest.raises(FileError, match=r"message\[0\].type: reserved"):
        compile_agreement(read_agreement(data, file="f"), vocabulary())


def test_another_vocabulary_is_refused() -> None:
    agreement = read_agreement(lab_toml(GOOD), file="f")
    newer = read_vocabulary(register_bytes("fields.toml").replace(b'"2026.1"', b'"2026.2"'), file="v")
    with pytest.raises(FileError, match=r"vocabulary\.id: another vocabulary"):
        compile_agreement(agreement, newer)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (b'sha256 = ""', b'sha256 = "sha256:' + b"0" * 64 + b'"', "vocabulary.sha256"),
        (b'sha256 = ""', b'sha256 = "' + b"0" * 64 + b'"', "vocabulary.sha256"),
        (b'root = ""', b'root = "sha256:xyz"', "party.a.root"),
        (b'root = ""', b"", "party.a.root"),
        (b'id = "la-901"', b'id = "la-902"', "party.b.id"),
        (b'root = ""', b'root = "sha256:' + b"1" * 64 + b'"', "party.b.root"),
        (b"valid_until = 2028-11-30", b"valid_until = 2026-12-01", "dates.valid_until"),
        (b"valid_until = 2028-11-30", b"", "dates.valid_until"),
        (b"valid_from = 2026-12-01", b"", "dates.valid_from"),
        (b"review_by = 2027-11-30", b"review_by = 2029-11-30", "dates.review_by"),
    ],
)
def test_unsafe_pin_party_or_date_is_refused_at_its_key(old: bytes, new: bytes, key: str) -> None:
    data = lab_toml(GOOD)
    assert old in data
    data = data.replace(old, new) if key == "party.b.root" else data.replace(old, new, 1)
    with pytest.raises(FileError) as caught:
        compile_agreement(read_agreement(data, file="f"), vocabulary())
    assert key in {problem.key for problem in caught.value.problems}


def test_every_problem_is_named_at_once() -> None:
    found = problems('fields = ["a.b", "child.*"]\nbasis = "x"', message='require = ["y"]', top='never = ["z"]')
    assert len(found) == 5


def test_too_many_conditions_are_refused_before_they_are_analysed() -> None:
    extra = "".join(f'[condition.c{n}]\nany = ["c{n + 1}"]\n' for n in range(201))
    assert problems(GOOD, extra=extra) == {("condition", "more than 200 conditions")}


def test_problem_is_a_plain_value() -> None:
    assert Problem(key="a", rule="b") == Problem(key="a", rule="b")
