"""Reading the vocabulary: strict, with a digest of its meaning."""

from __future__ import annotations

import re

import pytest

from contracts.register import register_bytes, vocabulary
from contracts.strict import FileError
from contracts.vocabulary import Field, Group, ListOf, present_fields, read_vocabulary

SMALL = """
vocabulary = "v"
version = "1"
[codes]
sex = ["M", "F"]
[fields]
"child.sex" = { type="code:sex", ctf="-", law="ordinary", cat="characteristic", sens=2, notice="-" }
"contacts[].telephone" = { type="phone", ctf="-", law="ordinary", cat="contact", sens=3, notice="-", locates=true }
"""


def refused(text: str) -> str:
    with pytest.raises(FileError) as caught:
        read_vocabulary(text.encode(), file="fields.toml")
    return str(caught.value)


def test_shipped_vocabulary_has_every_field_and_flag() -> None:
    shipped = vocabulary()
    assert shipped.id == "cme-fields/2026.1"
    assert len(shipped.fields) == 129
    assert shipped.fields["school.urn"].locates
    assert shipped.fields["child.former_upn"].past
    assert shipped.fields["safeguarding.summary"].free
    assert shipped.fields["household.benefits[].kind"].gate == "SSAA1992-s123"
    assert shipped.fields["deletion.ground_2006"].until == "2024-08-18"
    assert shipped.fields["send.provision"].reveals == ("special:health",)
    assert shipped.fields["child.ethnicity"].law == "special:ethnicity"


def test_tree_separates_leaves_objects_and_lists() -> None:
    members = read_vocabulary(SMALL.encode(), file="f").tree.members
    child, contacts = members["child"], members["contacts"]
    assert isinstance(child, Group)
    assert isinstance(child.members["sex"], Field)
    assert isinstance(contacts, ListOf)
    assert contacts.path == "contacts"


def test_digest_ignores_comments_and_order_but_not_meaning() -> None:
    lines = SMALL.splitlines()
    swapped = "\n".join([*lines[:-2], "# a comment", lines[-1], lines[-2]])
    digest = read_vocabulary(SMALL.encode(), file="f").digest
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    assert read_vocabulary(swapped.encode(), file="f").digest == digest
    assert read_vocabulary(SMALL.replace("sens=3", "sens=4").encode(), file="f").digest != digest


def test_digest_is_that_of_the_canonical_json() -> None:
    import hashlib
    import json
    import tomllib

    plain = json.dumps(
        tomllib.loads(register_bytes("fields.toml").decode()),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    assert vocabulary().digest == "sha256:" + hashlib.sha256(plain.encode()).hexdigest()


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"phone"', '"fone"', 'fields."contacts[].telephone".type'),
        ("locates=true", "located=true", 'fields."contacts[].telephone".located'),
        ("locates=true", 'locates="yes"', 'fields."contacts[].telephone".locates'),
        ("sens=3", "sens=5", 'fields."contacts[].telephone".sens'),
        ("sens=3", "sens=3.0", 'fields."contacts[].telephone".sens'),
        ('law="ordinary", cat="contact"', 'law="secret", cat="contact"', 'fields."contacts[].telephone".law'),
        ('cat="contact", ', "", 'fields."contacts[].telephone".cat'),
        ('"contacts[].telephone"', '"contacts[]"', 'fields."contacts[]"'),
        ('"contacts[].telephone"', '"Contacts[].telephone"', 'fields."Contacts[].telephone"'),
        ('"contacts[].telephone"', '"child[].telephone"', 'fields."child[]"'),
        ('"contacts[].telephone"', '"child.sex.at_birth"', 'fields."child.sex"'),
        ("locates=true", 'until="2024-02-30"', 'fields."contacts[].telephone".until'),
        ('["M", "F"]', "[]", "codes.sex"),
        ('["M", "F"]', '["M", "M"]', "codes.sex[1]"),
        ('["M", "F"]', '["M", 1]', "codes.sex[1]"),
        ('version = "1"', "", "version"),
        ('version = "1"', 'version = "1"\ncolour = "red"', "colour"),
    ],
)
def test_fault_is_refused_with_file_and_key(old: str, new: str, key: str) -> None:
    assert old in SMALL
    assert refused(SMALL.replace(old, new)).startswith(f"fields.toml: {key}: ")


def test_duplicate_field_is_refused() -> None:
    assert "given twice" in refused(SMALL + SMALL.splitlines()[-1])


def test_present_fields_counts_presence_whatever_the_value() -> None:
    tree = vocabulary().tree
    body = {"child": {"upn": None, "name": {"family": ""}, "sex": {}, "stranger": 1}, "contacts": [{"telephone": 1}, 5]}
    assert {f.path for f in present_fields(tree, body)} == {
        "child.upn",
        "child.name.family",
        "child.sex",
        "contacts[].telephone",
    }
    assert present_fields(tree, [body]) == set()
    assert present_fields(tree, {"child": [body["child"]], "contacts": {"telephone": "1"}}) == set()
