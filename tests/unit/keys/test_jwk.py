from typing import Any

import pytest

from keys.errors import KeyFormatError
from keys.key import Ed25519Secret, MlDsa65Secret, PublicKey, XWingSecret, public_from_jwk

SEED = bytes(range(32))
KEYS: list[PublicKey] = [
    Ed25519Secret.from_seed(SEED).public,
    MlDsa65Secret.from_seed(SEED).public,
    XWingSecret.from_seed(SEED).public,
]
each_key = pytest.mark.parametrize("key", KEYS, ids=lambda key: key.algorithm)


@each_key
def test_key_comes_back_from_its_jwk(key: PublicKey) -> None:
    assert public_from_jwk(key.jwk()) == key


def test_members_stand_in_the_order_of_the_bundle() -> None:
    orders = [list(key.jwk()) for key in KEYS]
    assert orders == [["kty", "crv", "use", "kid", "x"], *[["kty", "alg", "use", "kid", "pub"]] * 2]
    assert [key.jwk()["use"] for key in KEYS] == ["sig", "sig", "enc"]


@each_key
def test_jwk_with_any_member_missing_added_moved_or_changed_is_refused(key: PublicKey) -> None:
    jwk = key.jwk()
    attempts: list[dict[str, Any]] = [
        {**jwk, "key_ops": "verify"},
        {**jwk, "d": "AA"},
        {**jwk, "priv": "AA"},
        dict(reversed(list(jwk.items()))),
        {**jwk, "kty": ["OKP"]},
        {**jwk, "crv": "Ed448"},
        {},
    ]
    for name, value in jwk.items():
        attempts.append({other: member for other, member in jwk.items() if other != name})
        attempts += [{**jwk, name: bad} for bad in (None, 1, "", value + "A", value[:-1], value.swapcase())]
    for bad_jwk in attempts:
        with pytest.raises(KeyFormatError):
            public_from_jwk(bad_jwk)


@each_key
def test_kid_of_another_key_is_refused(key: PublicKey) -> None:
    other = next(other for other in KEYS if other is not key)
    with pytest.raises(KeyFormatError):
        public_from_jwk({**key.jwk(), "kid": other.kid})


@pytest.mark.parametrize("algorithm", ["ML-DSA-44", "ML-DSA-87", "HPKE-9", "HPKE-10-KE", "EdDSA", "Ed25519"])
def test_another_suite_is_refused(algorithm: str) -> None:
    with pytest.raises(KeyFormatError):
        public_from_jwk({**KEYS[1].jwk(), "alg": algorithm})
