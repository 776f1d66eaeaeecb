"""The leaf format: canonical bytes, the grammar of every member, commitments."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from contracts.document import canonical
from gateway.tlog.entry import (
    ENTRY_LIMIT,
    Entry,
    commitment,
    commitment_opens,
    digest_text,
    encode,
    leaf_hash,
    nonce_text,
    parse,
    parse_shape,
    row_mac,
)
from gateway.tlog.errors import EntryError

MSG = "01923c5e-7a10-7c3f-9d21-0123456789ab"

FULL: dict[str, Any] = {
    "agreement": {"digest": digest_text(b"a" * 32), "id": "rbkc-hants-cme-transfer", "version": 2},
    "at": 1_795_000_000_123_456,
    "basis": ["core", "sensitive"],
    "breaches": [
        {"code": "message.condition-not-met", "path": ""},
        {"code": "field.not-allowed", "path": "services[0].service"},
        {"code": "field.unknown", "path": "child.?3"},
        {"code": "field.missing", "path": "contacts[].telephone"},
        {"code": "message.fact", "path": "consent.state"},
    ],
    "commit": {"user": commitment(b"s" * 32, "user", "u-17")},
    "conditions": {"emergency": "false", "over_13": "unknown", "right_person": "true"},
    "dir": "in",
    "env": digest_text(b"e" * 32),
    "jws": digest_text(b"j" * 32),
    "kind": "refused-inbound",
    "msg": MSG,
    "nonce": nonce_text(b"n" * 16),
    "org": "la-850",
    "origin": "safehand.hants.example/exchange-log/1",
    "outcome": "rejected",
    "partner": "la-207",
    "paths": ["attachments[].kind", "child.date_of_birth", "child.name.family"],
    "receipt": digest_text(b"r" * 32),
    "role": "team-manager",
    "thread": MSG,
    "type": "cme.transfer",
    "urgency": "immediate_risk",
    "v": 1,
}
LEAST = {name: FULL[name] for name in ("at", "kind", "nonce", "v")}


def altered(**members: Any) -> bytes:
    return canonical({**FULL, **members})


def test_the_members_of_log_a3_are_all_there_and_no_others() -> None:
    assert set(Entry.__struct_fields__) == set(FULL)


@pytest.mark.parametrize("members", [FULL, LEAST])
def test_canonical_bytes_parse_and_encode_to_themselves(members: dict[str, Any]) -> None:
    data = canonical(members)
    assert encode(parse(data)) == data


def test_absent_members_are_left_out() -> None:
    entry = Entry(v=1, kind="clock-step", at=1, nonce=nonce_text(bytes(16)))
    assert json.loads(encode(entry)) == {"at": 1, "kind": "clock-step", "nonce": "A" * 22, "v": 1}
    assert parse(encode(entry)).msg is UNSET


@given(
    st.sets(st.sampled_from(sorted(set(FULL) - set(LEAST)))),
    st.integers(0, 2**53 - 1),
    st.binary(min_size=16, max_size=16),
)
def test_encoding_is_rfc_8785_whatever_members_are_there(names: set[str], at: int, nonce: bytes) -> None:
    members = {**LEAST, **{name: FULL[name] for name in names}, "at": at, "nonce": nonce_text(nonce)}
    data = canonical(members)
    assert encode(parse(data)) == data


@given(st.integers(0, len(canonical(FULL)) - 1), st.integers(0, 255))
def test_whatever_parses_encodes_to_the_same_bytes(position: int, byte: int) -> None:
    data = bytearray(canonical(FULL))
    data[position] = byte
    try:
        entry = parse(bytes(data))
    except EntryError:
        return
    assert encode(entry) == bytes(data)


@pytest.mark.parametrize("name", sorted(LEAST))
def test_an_entry_without_version_kind_time_or_nonce_is_refused(name: str) -> None:
    with pytest.raises(EntryError):
        parse(canonical({k: v for k, v in FULL.items() if k != name}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        canonical(FULL) + b"\n",
        b" " + canonical(FULL),
        b"\xef\xbb\xbf" + canonical(FULL),
        canonical(FULL).replace(b'"v":1', b'"v":1,"v":1'),
        canonical(FULL).replace(b'"v":1', b'"v": 1'),
        canonical(FULL).replace(b'"v":1', b'"v":1.0'),
        canonical(FULL).replace(b'"v":1', b'"v":2'),
        canonical(FULL).replace(b'"v":1', b'"v":true'),
        canonical(FULL).replace(b'"version":2', b'"version":2e0'),
        canonical(FULL).replace(b'"dir":"in"', b'"dir":"\\u0069n"'),
        canonical(FULL).replace(b'"dir":"in"', b'"dir":null'),
        canonical(FULL).replace(b'"la-850"', b'"la-\\ud800"'),
        json.dumps(FULL, separators=(",", ":")).replace('"at":1795000000123456,', "").replace(
            '"v":1', '"v":1,"at":1795000000123456'
        ).encode(),
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_bytes_that_are_not_canonical_json_of_an_entry_are_refused(data: bytes) -> None:
    for reader in (parse, parse_shape):
        with pytest.raises(EntryError):
            reader(data)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("agreement", {"digest": "sha256:" + "A" * 64, "id": "x", "version": 1}),
        ("agreement", {"digest": digest_text(bytes(32)), "id": "Two Words", "version": 1}),
        ("agreement", {"digest": digest_text(bytes(32)), "id": "x", "version": 0}),
        ("agreement", {"digest": digest_text(bytes(32)), "id": "x"}),
        ("agreement", {"digest": digest_text(bytes(32)), "id": "x", "version": 1, "title": "x"}),
        ("at", -1),
        ("at", "2026-12-01"),
        ("basis", ["for the Okafor family"]),
        ("basis", "core"),
        ("breaches", [{"code": "field.value", "path": "child.name.family", "value": "Okafor"}]),
        ("breaches", [{"code": "field.value", "path": "child.name.family", "rule": "not a valid name"}]),
        ("breaches", [{"code": "field.unknown", "path": "Okafor"}]),
        ("breaches", [{"code": "field.unknown", "path": "child."}]),
        ("breaches", [{"code": "field.unknown", "path": "child..name"}]),
        ("breaches", [{"code": "field.unknown", "path": "child.name family"}]),
        ("breaches", [{"code": "Not granted", "path": ""}]),
        ("commit", {"user": "u-17"}),
        ("commit", {"user": "A" * 42 + "B"}),  # 43 characters, but left-over bits
        ("commit", {"Amara Okafor": "A" * 43}),
        ("conditions", {"emergency": True}),
        ("conditions", {"emergency": "yes"}),
        ("conditions", {"Is it urgent": "true"}),
        ("dir", "both"),
        ("env", "e" * 64),
        ("jws", "sha512:" + "e" * 64),
        ("kind", "Received"),
        ("kind", "received message"),
        ("kind", "k" * 41),
        ("msg", MSG.upper()),
        ("msg", "01923c5e-7a10-4c3f-9d21-0123456789ab"),  # version 4
        ("msg", "A123456789012"),
        ("nonce", "n" * 22),  # left-over bits
        ("nonce", "A" * 21),
        ("org", "Hampshire"),
        ("org", "la-850-"),
        ("origin", "two words"),
        ("origin", "a+b"),
        ("outcome", "Accepted: now their case"),
        ("partner", ""),
        ("paths", ["child.name.family", "child.date_of_birth"]),
        ("paths", ["child.name.family", "child.name.family"]),
        ("paths", ["services[0].service"]),
        ("paths", [""]),
        ("paths", ["child.name.family=okafor"]),
        ("receipt", "sha256:" + "e" * 63),
        ("role", "Amara Okafor"),
        ("role", "officer7"),
        ("thread", "case-17"),
        ("type", "transfer"),
        ("urgency", "high"),
        ("case", "CME-0017"),
        ("user", "u-17"),
    ],
)  # fmt: skip
def test_a_member_outside_its_grammar_is_refused_without_repeating_it(member: str, value: Any) -> None:
    with pytest.raises(EntryError) as caught:
        parse(altered(**{member: value}))
    assert "kafor" not in str(caught.value)
    assert "u-17" not in str(caught.value)


def test_the_error_names_member_and_rule() -> None:
    with pytest.raises(EntryError) as caught:
        parse(altered(paths=["b", "a"]))
    assert (caught.value.code, caught.value.member, caught.value.rule) == (
        "tlog.entry", "paths", "not strictly ascending",
    )  # fmt: skip
    with pytest.raises(EntryError) as caught:
        parse(altered(partner="Two Words"))
    assert caught.value.member == "partner"


def test_encode_refuses_what_a_reader_would_refuse() -> None:
    for wrong in ({"role": "Amara Okafor"}, {"paths": ("b", "a")}, {"dir": "sideways"}, {"env": 7}, {"msg": None}):
        with pytest.raises(EntryError):
            encode(Entry(v=1, kind="received", at=1, nonce=nonce_text(bytes(16)), **wrong))


def test_an_entry_that_would_burst_its_receipt_is_refused() -> None:
    paths = [f"child.p{number:05}" for number in range(3000)]
    assert len(altered(paths=paths)) > ENTRY_LIMIT
    with pytest.raises(EntryError, match="larger than"):
        parse(altered(paths=paths))


def test_leaf_hash_is_domain_separated() -> None:
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_row_mac_binds_origin_index_and_bytes() -> None:
    expected = hmac.digest(b"k" * 32, b"log/1" + bytes(7) + b"\x07" + b"entry", "sha256")
    assert row_mac(b"k" * 32, "log/1", 7, b"entry") == expected


def test_a_commitment_is_hmac_over_field_and_canonical_value() -> None:
    expected = urlsafe_b64encode(hmac.digest(b"s" * 32, b'user\x00{"a":1,"b":2}', "sha256")).rstrip(b"=").decode()
    assert commitment(b"s" * 32, "user", {"b": 2, "a": 1}) == expected


def test_a_commitment_opens_with_its_own_salt_field_and_value_only() -> None:
    text = commitment(b"s" * 32, "user", "u-17")
    assert commitment_opens(text, b"s" * 32, "user", "u-17")
    assert not commitment_opens(text, b"t" * 32, "user", "u-17")
    assert not commitment_opens(text, b"s" * 32, "case", "u-17")
    assert not commitment_opens(text, b"s" * 32, "user", "u-18")


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(EntryError, match="salt"):
        commitment(b"s" * 31, "user", "u-17")
    with pytest.raises(EntryError, match="16 bytes"):
        nonce_text(b"n" * 15)
