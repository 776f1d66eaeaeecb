"""Aim: make the reader use something weaker, or fetch keys from where the attacker likes.

Held off by the suite being whole: constants are compared, no header member is known beside the five, the key found by its
id in a signed bundle decides the algorithm. All of these are made by a sender who holds its true keys.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import EnvelopeRejectedError
from tests.support import independent
from tests.support.messages import CEK, A, altered, insider, make_members, open_it, seal_it, signer_of

FOREIGN = {
    "zip": "DEF",
    "crit": ["exp"],
    "jku": "https://keys.example/jwks.json",
    "jwk": {"kty": "OKP"},
    "x5u": "https://keys.example/cert.pem",
    "x5c": ["MIIB"],
    "p2c": 1,
    "p2s": "c2FsdA",
    "apu": "QQ",
    "epk": {"kty": "OKP"},
    "b64": False,
}


def refuse(envelope: bytes) -> str:
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(envelope)
    assert refused.value.code == "unreadable"
    return refused.value.step


@pytest.mark.parametrize("name", FOREIGN)
def test_header_member_of_another_world_is_refused(name: str) -> None:
    envelope = insider().envelope(header=lambda header: independent.wire({**header, name: FOREIGN[name]}))
    assert refuse(envelope) == "4"


@pytest.mark.parametrize("name", FOREIGN)
def test_recipient_header_member_of_another_world_is_refused(name: str) -> None:
    envelope = insider().envelope(recipients=lambda made: made[0]["header"].update({name: FOREIGN[name]}))
    assert refuse(envelope) == "2"


@pytest.mark.parametrize("name", ["unprotected", "aad", "header", *FOREIGN])
def test_outer_member_of_another_world_is_refused(name: str) -> None:
    assert refuse(altered(seal_it().envelope, lambda whole: whole.update({name: FOREIGN.get(name, {})}))) == "2"


@pytest.mark.parametrize(
    "change",
    [
        {"enc": "A128GCM"},
        {"enc": "A256CBC-HS512"},
        {"enc": "none"},
        {"enc": None},
        {"typ": "safehand-msg+jws"},
        {"typ": "JWE"},
        {"cty": "json"},
        {"alg": "dir"},
        {"v": 2},
    ],
)
def test_other_content_encryption_is_refused(change: dict[str, Any]) -> None:
    def header(honest: dict[str, Any]) -> bytes:
        return independent.wire({n: v for n, v in {**honest, **change}.items() if v is not None})

    assert refuse(insider().envelope(header=header)) == "4"


@pytest.mark.parametrize("alg", ["HPKE-0", "HPKE-9", "HPKE-10-KE", "HPKE-9-ke", "dir", "RSA-OAEP", "ECDH-ES+A256KW", 9])
def test_other_key_encryption_is_refused(alg: object) -> None:
    assert refuse(insider().envelope(recipients=lambda made: made[0]["header"].update(alg=alg))) == "4"


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("alg", ["none", "HS256", "EdDSA", "ES256", "Ed448", "ML-DSA-44", "ML-DSA-87", "ed25519"])
def test_other_signature_algorithm_is_refused(alg: str, place: int) -> None:
    def lower(statement: Any) -> None:
        header = json.loads(independent.unb64u(statement["signatures"][place]["protected"]))
        statement["signatures"][place]["protected"] = independent.b64u(independent.wire({**header, "alg": alg}))

    assert refuse(insider().envelope(inner=altered(insider().inner(make_members()), lower))) == "9"


@pytest.mark.parametrize("name", ["zip", "crit", "jku", "jwk", "x5u", "b64"])
def test_signature_header_member_of_another_world_is_refused(name: str) -> None:
    def add(statement: Any) -> None:
        header = json.loads(independent.unb64u(statement["signatures"][0]["protected"]))
        statement["signatures"][0]["protected"] = independent.b64u(independent.wire({**header, name: FOREIGN[name]}))

    assert refuse(insider().envelope(inner=altered(insider().inner(make_members()), add))) == "9"


@pytest.mark.parametrize("change", [{"suite": "sh2"}, {"suite": "sh0"}, {"v": 2}, {"v": 0}, {"v": "1"}, {"v": True}])
def test_other_suite_or_version_is_refused(change: dict[str, Any]) -> None:
    assert refuse(insider().envelope(make_members(**change))) == "9"


def test_unsigned_content_is_refused() -> None:
    assert refuse(insider().envelope(inner=independent.wire(make_members()))) == "9"


def test_other_serialisations_are_refused() -> None:
    whole = json.loads(seal_it().envelope)
    entry = whole["recipients"][0]
    flattened = {
        "protected": whole["protected"],
        "header": entry["header"],
        "encrypted_key": entry["encrypted_key"],
        **{name: whole[name] for name in ("iv", "ciphertext", "tag")},
    }
    compact = ".".join((whole["protected"], entry["encrypted_key"], whole["iv"], whole["ciphertext"], whole["tag"]))
    assert refuse(independent.wire(flattened)) == "2"
    assert refuse(compact.encode()) == "2"
    inner = json.loads(insider().inner(make_members()))
    flat_inner = {"payload": inner["payload"], **inner["signatures"][0]}
    assert refuse(insider().envelope(inner=independent.wire(flat_inner))) == "9"


def test_attachments_are_refused_as_long_as_they_are_not_taken() -> None:
    attachment = {
        "name": "plan.pdf",
        "media": "application/pdf",
        "size": 1,
        "alg": "cobblestone-256",
        "key": independent.b64u(CEK),
        "sha256": "sha256:" + "0" * 64,
        "csize": 1,
        "psha256": "sha256:" + "0" * 64,
    }
    assert signer_of(A).kids == tuple(make_members()["from"]["sig"])
    assert refuse(insider().envelope(make_members(att=[attachment]))) == "9"
