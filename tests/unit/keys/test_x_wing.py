"""X-Wing and HPKE-9-KE against published vectors and against an HPKE sender written here from the drafts."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keys import suite
from keys.base64url import decode
from keys.errors import KeyFormatError, UnwrapError
from keys.key import XWingPublic, XWingSecret
from tests.support.vectors import vectors

CONTENT_KEY = bytes(range(32))
INFO = suite.RECIPIENT_INFO
SMALL_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    2**255 - 20,
]
NOT_CANONICAL = [2**255 - 19, 2**255 - 18, 2**255 - 10, 2**255 - 1, 2**255 + 9, 2**256 - 1]


def make_secret() -> XWingSecret:
    return XWingSecret.from_seed(bytes(range(32)))


def _prefixed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def seal_by_hand(shared_secret: bytes, plaintext: bytes, info: bytes) -> bytes:
    """HPKE base mode with SHAKE256 (one-stage key schedule) and AES-256-GCM, from the KEM's shared secret on."""
    size = 32 + 12 + 64
    context = b"\0" + _prefixed(b"") + _prefixed(info)
    labelled = b"HPKE-v1" + b"HPKE" + bytes.fromhex("647a00110002") + _prefixed(b"secret") + size.to_bytes(2, "big")
    derived = hashlib.shake_256(_prefixed(b"") + _prefixed(shared_secret) + labelled + context).digest(size)
    return AESGCM(derived[:32]).encrypt(derived[32:44], plaintext, b"")


@pytest.mark.vectors
def test_published_seeds_give_their_keys_and_open_what_was_encapsulated_to_them() -> None:
    cases = json.loads(vectors("xwing-test-vectors.json").read_bytes())
    assert len(cases) == 3
    for case in cases:
        secret = XWingSecret.from_seed(bytes.fromhex(case["sk"]))
        assert secret.public.raw.hex() == case["pk"]
        sealed = seal_by_hand(bytes.fromhex(case["ss"]), CONTENT_KEY, INFO)
        assert secret.unwrap(bytes.fromhex(case["ct"]), sealed, INFO) == CONTENT_KEY


@pytest.mark.vectors
def test_published_jose_message_opens_and_its_key_has_the_published_thumbprint() -> None:
    cases = json.loads(vectors("jose-hpke-pq-vectors.json").read_bytes())
    (case,) = [case for case in cases if case["alg"] == suite.KEY_ENCRYPTION]
    secret = XWingSecret.from_seed(decode(case["jwk"]["priv"]))
    assert secret.public == XWingPublic.from_raw(decode(case["jwk"]["pub"]))
    assert secret.public.kid == case["jwk"]["kid"]
    flat = case["flattened"]
    header, encrypted_key, iv, ciphertext, tag = case["compact"].split(".")
    flat_aad = f"{flat['protected']}.{flat['aad']}"
    plaintexts = set()
    for protected, wrapped, nonce, content, aad in [
        (
            flat["protected"],
            flat["encrypted_key"],
            flat["iv"],
            decode(flat["ciphertext"]) + decode(flat["tag"]),
            flat_aad,
        ),
        (header, encrypted_key, iv, decode(ciphertext) + decode(tag), header),
    ]:
        ek = decode(json.loads(decode(protected))["ek"])
        content_key = secret.unwrap(ek, decode(wrapped), INFO)
        plaintexts.add(AESGCM(content_key).decrypt(decode(nonce), content, aad.encode()))
    (plaintext,) = plaintexts
    assert plaintext.startswith(b"You can trust us")


def test_what_is_wrapped_is_unwrapped_and_never_twice_the_same() -> None:
    secret = make_secret()
    first, second = secret.public.wrap(CONTENT_KEY, INFO), secret.public.wrap(CONTENT_KEY, INFO)
    assert first != second
    for ek, encrypted_key in (first, second):
        assert (len(ek), len(encrypted_key)) == (1120, 48)
        assert secret.unwrap(ek, encrypted_key, INFO) == CONTENT_KEY


def test_wrapped_key_for_another_key_info_or_with_any_part_changed_is_not_opened() -> None:
    secret = make_secret()
    ek, wrapped = secret.public.wrap(CONTENT_KEY, INFO)
    attempts = [
        (XWingSecret.from_seed(bytes(32)), ek, wrapped, INFO),
        (secret, ek, wrapped, INFO + b"."),
        (secret, ek, wrapped, b""),
        (secret, ek, wrapped[:-1] + bytes([wrapped[-1] ^ 1]), INFO),
        (secret, ek[:1088] + bytes(32), wrapped, INFO),
        (secret, bytes(1120), wrapped, INFO),
        (secret, ek[:-1], wrapped, INFO),
        (secret, ek + wrapped[:1], wrapped[1:], INFO),
        (secret, ek, b"", INFO),
    ]
    for position in (0, 1087, 1088, 1119):
        changed = bytearray(ek)
        changed[position] ^= 1
        attempts.append((secret, bytes(changed), wrapped, INFO))
    for key, bad_ek, bad_wrapped, info in attempts:
        with pytest.raises(UnwrapError):
            key.unwrap(bad_ek, bad_wrapped, info)


@pytest.mark.parametrize("u", SMALL_ORDER + NOT_CANONICAL, ids=hex)
def test_x25519_half_of_small_order_or_not_canonical_is_refused(u: int) -> None:
    with pytest.raises(KeyFormatError):
        XWingPublic.from_raw(make_secret().public.raw[:1184] + u.to_bytes(32, "little"))


def test_ml_kem_part_with_a_coefficient_not_reduced_is_refused() -> None:
    raw = make_secret().public.raw
    largest, beyond = b"\x00" + bytes([raw[1] & 0xF0 | 0x0D]), b"\x01" + bytes([raw[1] & 0xF0 | 0x0D])
    XWingPublic.from_raw(largest + raw[2:])  # 3328
    with pytest.raises(KeyFormatError):
        XWingPublic.from_raw(beyond + raw[2:])  # 3329


@pytest.mark.parametrize("length", [0, 1184, 1215, 1217])
def test_public_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyFormatError):
        XWingPublic.from_raw(bytes(length))


@pytest.mark.parametrize("length", [0, 31, 33, 96])
def test_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyFormatError):
        XWingSecret.from_seed(bytes(length))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_content_key_of_another_length_is_not_wrapped(length: int) -> None:
    with pytest.raises(KeyFormatError):
        make_secret().public.wrap(bytes(length), INFO)


def test_new_keys_differ_show_no_secret_and_tell_their_x25519_half() -> None:
    first, second = XWingSecret.generate(), XWingSecret.generate()
    assert first != second
    assert repr(first) == f"XWingSecret(public=XWingPublic(kid='{first.public.kid}'))"
    assert first.public.raw.endswith(first.public.x25519_half)
    assert len(first.public.x25519_half) == 32
    assert base64.b16encode(first.seed).decode() not in repr(first)
