"""Reading an agreement: strict, each fault with file, key and rule; one digest for one meaning."""

from __future__ import annotations

import hashlib
import json
import tomllib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.agreement import draw_up, read_agreement, read_canonical_agreement
from contracts.compiled import compile_agreement
from contracts.library import template_bytes, template_names
from contracts.names import Digest
from contracts.register import vocabulary
from contracts.strict import FileError
from tests.support.agreements import lab_toml

LAB = lab_toml(
    'when = ["at_risk"]\nwhy = "w"\nfields = ["child.sex", "child.upn"]\nonly = { "child.sex" = ["F"] }',
    message='max_subjects = 1\nmax_items = { "contacts" = 3 }\nrequire = ["teenager"]',
    top='never = ["child.nationality"]',
    extra='[retention.b]\ndays_after_close = 90\nthen = "destroy"\n[retention.b.message."lab.message"]\n'
    'days_after_answer = 30\nthen = "destroy"\n[clock."lab.message"]\nanswer_working_days = 5\nescalate_to = "m"\n'
    '[safeguards]\ndpia = "D"\n[acknowledge]\nfree_text = ["care.contact"]\nfree_text_reason = "r"\n',
).decode()

FAULTS = [
    ('title = "An agreement for tests"', "title = 5", "title: must be text"),
    ('title = "An agreement for tests"', 'title = ""', "title: must be 1 to 4000"),
    ('title = "An agreement for tests"', 'title = "a\\u0007b"', "title: must be 1 to 4000"),
    ('title = "An agreement for tests"', "", "title: missing"),
    ('title = "An agreement for tests"', 'title = "t"\ntitel = "t"', "titel: unknown key"),
    ('title = "An agreement for tests"', 'title = "t"\n"Robin E." = "t"', "?: unknown key"),
    ('title = "An agreement for tests"', 'title = "t"\ntitle = "u"', "a key or table is given twice (line"),
    ('title = "An agreement for tests"', "title = {", "not valid TOML"),
    ("version = 1", "version = 1.0", "version: a number that is not whole"),
    ("version = 1", "version = 0", "version: must be 1 or more"),
    ("version = 1", "version = true", "version: must be a whole number"),
    ("version = 1", 'version = "1"', "version: must be a whole number"),
    ("version = 1", "version = 9007199254740992", "version: a whole number of 2^53 or more"),
    ('format = "isa/1"', 'format = "isa/2"', "format: must be isa/1"),
    ('id = "lab-agreement"', 'id = "Lab agreement"', "id: not an agreement id"),
    ('id = "lab-agreement"', 'id = "lab-agreement"\nmode = "trilateral"', "mode: must be one of"),
    ('id = "lab-agreement"', 'id = "lab-agreement"\nsupersedes = "sha256:00"', "supersedes: not a digest"),
    ('never = ["child.nationality"]', 'never = "child.nationality"', "never: must be a list"),
    ('never = ["child.nationality"]', "never = [5]", "never[0]: must be text"),
    ('never = ["child.nationality"]', 'never = ["case", "case"]', "never[1]: given twice"),
    ('never = ["child.nationality"]', "never = [2026-12-01]", "never[0]: must be text"),
    ('id = "la-901"', 'id = "la_901"', "party.a.id: not an organisation id"),
    ('id = "la-901"', 'id = "-la"', "party.a.id: not an organisation id"),
    ('id = "la-901"', 'id = "la-901"\nkey = "x"', "party.a.key: unknown key"),
    ('id = "la-901"', 'id = "la-901"\non_behalf_of = ["la/9"]', "party.a.on_behalf_of: not an organisation id"),
    ("[party.b]", "[party.c]", "party.b: missing"),
    ('kind = "public-authority"', 'kind = "charity"', "party.a.kind: must be one of"),
    ('regime = "uk-gdpr"', 'regime = "gdpr"', "party.a.regime: must be one of"),
    ('name = "Council A"', "", "party.a.name: missing"),
    ("[purpose]", "[purposes]", "purpose: missing"),
    ('onward = "none"', 'onward = "none"\nforward = true', "purpose.forward: unknown key"),
    ("[basis.core]", "[basis.Core]", "basis.Core: not a name"),
    ('article6 = "6(1)(e)"', 'article_6 = "6(1)(e)"', "basis.core.article_6: unknown key"),
    ('article6 = "6(1)(e)"', 'article6 = ["6(1)(e)"]', "basis.core.article6: must be text"),
    ('test = ["urgency", "=", "immediate_risk"]', 'test = ["urgency", "="]', "condition.at_risk.test: must be"),
    ('test = ["urgency", "=", "immediate_risk"]', 'test = ["urgency", "in", []]', "condition.at_risk.test: must be"),
    (
        'test = ["urgency", "=", "immediate_risk"]',
        'test = ["urgency", "=", 1.5]',
        "condition.at_risk.test[2]: a number",
    ),
    ('test = ["urgency", "=", "immediate_risk"]', "all = []", "condition.at_risk.all: must not be empty"),
    ('test = ["urgency", "=", "immediate_risk"]', 'not = ["x"]', "condition.at_risk.not: unknown key"),
    ('type = "lab.message"', 'type = "lab"', "message[0].type: not a message type"),
    ('type = "lab.message"', 'type = "Lab.message"', "message[0].type: not a message type"),
    ('from = "a"', 'from = "c"', "message[0].from: must be one of"),
    ('to = "b"', 'to = "a"', "message[0].to: from and to must be a and b"),
    ("max_subjects = 1", "max_subjects = 0", "message[0].max_subjects: must be 1 or more"),
    ('max_items = { "contacts" = 3 }', 'max_items = { "contacts" = "3" }', "message[0].max_items.contacts: must be"),
    ('require = ["teenager"]', 'require = ["teenager"]\nlimit_to_request = 1', "message[0].limit_to_request: must be"),
    ('require = ["teenager"]', 'require = ["teenager"]\nmax_item = {}', "message[0].max_item: unknown key"),
    ("[[message.allow]]", "[message.allow]", "message[0].allow: must be an array of tables"),
    ('need = "optional"', 'need = "maybe"', "message[0].allow[0].need: must be one of"),
    ('when = ["at_risk"]', "when = []", "message[0].allow[0].when: must not be empty"),
    ('when = ["at_risk"]', 'whem = ["at_risk"]', "message[0].allow[0].whem: unknown key"),
    ('fields = ["child.sex", "child.upn"]', "fields = []", "message[0].allow[0].fields: must not be empty"),
    ('fields = ["child.sex", "child.upn"]', "", "message[0].allow[0].fields: missing"),
    ('fields = ["child.sex", "child.upn"]', 'fields = ["child.sex", 5]', "message[0].allow[0].fields[1]: must be text"),
    ('fields = ["child.sex", "child.upn"]', 'fields = ["child.sex", "child.sex"]', "fields[1]: given twice"),
    ('only = { "child.sex" = ["F"] }', 'only = { "child.sex" = "F" }', 'allow[0].only."child.sex": must be a list'),
    ('only = { "child.sex" = ["F"] }', 'only = { "child.sex" = [] }', 'allow[0].only."child.sex": must not be empty'),
    ("days_after_close = 90", "days_after_close = -1", "retention.b.days_after_close: must be 1 or more"),
    ("[retention.b]", "[retention.c]", "retention.c: unknown key"),
    ("days_after_answer = 30", "days_after = 30", 'retention.b.message."lab.message".days_after: unknown key'),
    ("answer_working_days = 5", "answer_days = 5", 'clock."lab.message".answer_working_days: missing'),
    ("valid_from = 2026-12-01", "valid_from = 2026-12-01T00:00:00Z", "dates.valid_from: a time"),
    ("valid_from = 2026-12-01", "valid_from = 12:00:00", "dates.valid_from: a time"),
    ("valid_from = 2026-12-01", 'valid_from = "2026-12-01"', "dates.valid_from: must be a day"),
    ("valid_from = 2026-12-01", "valid_from = 2026-02-30", "not valid TOML"),
    ("review_by = 2027-11-30", "review_on = 2027-11-30", "dates.review_on: unknown key"),
    ('dpia = "D"', 'dpias = "D"', "safeguards.dpias: unknown key"),
    ('free_text_reason = "r"', 'reason = "r"', "acknowledge.reason: unknown key"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_fault_is_refused_with_file_key_and_rule(old: str, new: str, message: str) -> None:
    assert old in LAB
    with pytest.raises(FileError) as caught:
        read_agreement(LAB.replace(old, new, 1).encode(), file="lab.toml")
    assert str(caught.value).startswith("lab.toml: ")
    assert message in str(caught.value)


def test_file_without_a_fault_is_read_whole() -> None:
    agreement = read_agreement(LAB.encode(), file="lab.toml")
    assert agreement.messages[0].grants[0].only == {"child.sex": ("F",)}
    assert agreement.retention["b"].by_message["lab.message"].days_after_answer == 30
    assert agreement.clocks["lab.message"].answer_working_days == 5
    assert agreement.valid_from == date(2026, 12, 1)
    assert agreement.mode == "bilateral"


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xef\xbb\xbf" + LAB.encode(), b"a = " + b"[" * 5000, b"x" * 1_048_577]
)
def test_bytes_that_are_no_such_file_are_refused(data: bytes) -> None:
    with pytest.raises(FileError):
        read_agreement(data, file="f.toml")


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_make_the_reader_fail_otherwise(data: bytes) -> None:
    for read in (read_agreement, read_canonical_agreement):
        with pytest.raises(FileError):
            read(data, file="f")


def test_errors_never_hold_a_value_of_the_file() -> None:
    text = LAB.replace('dpo = "dpo@a.example"', 'dpo = "canary@a.example\\u0007"')
    with pytest.raises(FileError) as caught:
        read_agreement(text.encode(), file="lab.toml")
    assert "canary" not in str(caught.value)


def test_digest_is_that_of_the_canonical_json_of_the_file() -> None:
    plain = json.loads(json.dumps(tomllib.loads(LAB), default=lambda day: day.isoformat()))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    agreement = read_agreement(LAB.encode(), file="f")
    assert agreement.canonical == text.encode()
    assert agreement.digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_white_space_and_comments_change_no_digest_but_a_reason_does() -> None:
    digest = read_agreement(LAB.encode(), file="f").digest
    assert read_agreement(("# note\n" + LAB.replace(" = ", "  =  ")).encode(), file="f").digest == digest
    assert read_agreement(LAB.replace("\n", "\r\n").encode(), file="f").digest == digest
    assert read_agreement(LAB.replace('why = "w"', 'why = "v"').encode(), file="f").digest != digest
    assert read_agreement(LAB.replace("at least 13", "at least 14").encode(), file="f").digest != digest


@pytest.mark.parametrize("name", template_names())
def test_canonical_json_gives_the_same_agreement_and_digest(name: str) -> None:
    from_toml = read_agreement(template_bytes(name), file=name)
    from_json = read_canonical_agreement(from_toml.canonical, file=name)
    assert from_json == from_toml
    assert from_json.digest == from_toml.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":1', b'"version": 1'),
        (b'"2026-12-01"', b'"2026-1-1"'),
        (b'"2026-12-01"', b'"20261201"'),
        (b'"2026-12-01"', b"20261201"),
        (b'"version":1', b'"version":null'),
        (b'"version":1', b'"version":1,"version":1'),
    ],
)
def test_json_that_is_not_the_canonical_form_is_refused(old: bytes, new: bytes) -> None:
    data = read_agreement(LAB.encode(), file="f").canonical
    assert old in data
    with pytest.raises(FileError):
        read_canonical_agreement(data.replace(old, new), file="f")


ROOTS = {"a": Digest("sha256:" + "a" * 64), "b": Digest("sha256:" + "b" * 64)}


def complete(name: str) -> bytes:
    template = read_agreement(template_bytes(name), file=name)
    return draw_up(
        template,
        vocabulary_digest=vocabulary().digest,
        roots=ROOTS,  # type: ignore[arg-type]
        valid_from=date(2026, 1, 1),
        valid_until=date(2026, 12, 31),
        review_by=date(2026, 12, 1),
    ).canonical


@pytest.mark.parametrize("name", template_names())
def test_agreement_drawn_up_from_a_template_is_complete_and_compiles(name: str) -> None:
    assert read_agreement(template_bytes(name), file=name).is_template
    agreement = read_canonical_agreement(complete(name), file=name)
    assert not agreement.is_template
    assert agreement.parties["a"].root == ROOTS["a"]
    assert agreement.valid_until == date(2026, 12, 31)
    compile_agreement(agreement, vocabulary())


@pytest.mark.parametrize("digest", [b"a" * 64, b"b" * 64, vocabulary().digest.removeprefix("sha256:").encode()])
def test_agreement_with_any_pin_left_empty_is_a_template(digest: bytes) -> None:
    data = complete("la-nhs.toml").replace(b"sha256:" + digest, b"")
    assert read_canonical_agreement(data, file="f").is_template


def test_upper_case_organisation_is_accepted_in_a_template_only() -> None:
    template = template_bytes("la-nhs.toml").replace(b"ods-rw1", b"ods-RW1")
    assert read_agreement(template, file="f").parties["b"].id == "ods-RW1"
    data = complete("la-nhs.toml").replace(b"ods-rw1", b"ods-RW1")
    with pytest.raises(FileError, match=r"party\.b: not an organisation id"):
        read_canonical_agreement(data, file="f")


@pytest.mark.parametrize("text", ["a." * 40_000 + "a=1", "[" + "a." * 40_000 + "a]", "a . " * 40_000 + "a=1"])
def test_name_of_endless_parts_is_refused_before_the_library_sees_it(text: str) -> None:
    with pytest.raises(FileError, match="dotted parts"):
        read_agreement(text.encode(), file="agreement")
