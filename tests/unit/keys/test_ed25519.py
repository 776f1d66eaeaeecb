"""Ed25519 as envelope section 5 wants it: two honest readers never disagree about a key or a signature."""

import hashlib

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp

from keys.errors import KeyFormatError, SignatureError
from keys.key import Ed25519Public, Ed25519Secret

ORDER = 2**252 + 27742317777372353535851937790883648493
MESSAGE = b"an invented message"
OF_ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
IDENTITY = bytes.fromhex("01" + "00" * 31)
SMALL_ORDER = [
    IDENTITY,
    bytes.fromhex("ec" + "ff" * 30 + "7f"),
    bytes(32),
    bytes.fromhex("00" * 31 + "80"),
    OF_ORDER_8,
    OF_ORDER_8[:31] + b"\x85",
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
]
NOT_CANONICAL = [
    bytes.fromhex("01" + "00" * 30 + "80"),
    bytes.fromhex("ed" + "ff" * 30 + "7f"),
    bytes.fromhex("ee" + "ff" * 30 + "7f"),
    bytes.fromhex("ec" + "ff" * 31),
    bytes.fromhex("ff" * 32),
]


def make_secret() -> Ed25519Secret:
    return Ed25519Secret.from_seed(bytes(range(32)))


def _scalar(secret: Ed25519Secret) -> int:
    digest = bytearray(hashlib.sha512(secret.seed).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    return int.from_bytes(digest, "little")


def _forge(secret: Ed25519Secret, r_point: bytes, r_scalar: int) -> bytes:
    """Return R || (r + k a): what a dishonest signer can make with an R of its choice."""
    k = int.from_bytes(hashlib.sha512(r_point + secret.public.raw + MESSAGE).digest(), "little") % ORDER
    return r_point + ((r_scalar + k * _scalar(secret)) % ORDER).to_bytes(32, "little")


@pytest.mark.vectors
def test_published_signatures_are_made_and_verified() -> None:
    with cryptography_vectors.open_vector_file("asymmetric/Ed25519/sign.input", "r") as file:
        lines = [line.split(":")[:4] for line in file.read().splitlines()[::16]]
    assert len(lines) == 64
    for private, public, message, signed in lines:
        secret = Ed25519Secret.from_seed(bytes.fromhex(private)[:32])
        signature = bytes.fromhex(signed)[:64]
        assert secret.public.raw.hex() == public
        assert secret.sign(bytes.fromhex(message)) == signature
        secret.public.verify(signature, bytes.fromhex(message))


def test_thumbprint_is_that_of_rfc_8037() -> None:
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert Ed25519Public.from_raw(raw).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("raw", SMALL_ORDER + NOT_CANONICAL + [b"", bytes(31), bytes(33)], ids=bytes.hex)
def test_key_of_small_order_or_not_canonical_is_refused(raw: bytes) -> None:
    with pytest.raises(KeyFormatError):
        Ed25519Public.from_raw(raw)


def test_key_outside_the_prime_order_subgroup_is_refused() -> None:
    with pytest.raises(KeyFormatError):
        Ed25519Public.from_raw(crypto_core_ed25519_add(make_secret().public.raw, OF_ORDER_8))


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_changed_signature_is_rejected(position: int) -> None:
    signature = bytearray(make_secret().sign(MESSAGE))
    signature[position] ^= 1
    with pytest.raises(SignatureError):
        make_secret().public.verify(bytes(signature), MESSAGE)


def test_signature_of_another_message_length_or_key_is_rejected() -> None:
    secret, signature = make_secret(), make_secret().sign(MESSAGE)
    secret.public.verify(signature, MESSAGE)
    for bad_signature, message in [
        (signature, MESSAGE + b"."),
        (signature[:63], MESSAGE),
        (signature + b"\0", MESSAGE),
    ]:
        with pytest.raises(SignatureError):
            secret.public.verify(bad_signature, message)
    with pytest.raises(SignatureError):
        Ed25519Secret.from_seed(bytes(32)).public.verify(signature, MESSAGE)


def test_s_not_reduced_is_rejected() -> None:
    signature = make_secret().sign(MESSAGE)
    for times in (1, 2):
        s = int.from_bytes(signature[32:], "little") + times * ORDER
        with pytest.raises(SignatureError):
            make_secret().public.verify(signature[:32] + s.to_bytes(32, "little"), MESSAGE)


def test_r_of_small_order_is_rejected_though_openssl_accepts_it() -> None:
    secret = make_secret()
    forged = _forge(secret, IDENTITY, 0)
    ed25519.Ed25519PublicKey.from_public_bytes(secret.public.raw).verify(forged, MESSAGE)  # the equation holds
    with pytest.raises(SignatureError):
        secret.public.verify(forged, MESSAGE)


def test_r_with_a_small_order_part_is_rejected_where_the_cofactor_would_hide_it() -> None:
    secret, r = make_secret(), 12345
    honest = crypto_scalarmult_ed25519_base_noclamp(r.to_bytes(32, "little"))
    secret.public.verify(_forge(secret, honest, r), MESSAGE)
    with pytest.raises(SignatureError):
        secret.public.verify(_forge(secret, crypto_core_ed25519_add(honest, OF_ORDER_8), r), MESSAGE)


@pytest.mark.parametrize("r_point", NOT_CANONICAL, ids=bytes.hex)
def test_r_not_canonical_is_rejected(r_point: bytes) -> None:
    with pytest.raises(SignatureError):
        make_secret().public.verify(_forge(make_secret(), r_point, 0), MESSAGE)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyFormatError):
        Ed25519Secret.from_seed(bytes(length))


def test_new_keys_differ_and_show_no_secret() -> None:
    first, second = Ed25519Secret.generate(), Ed25519Secret.generate()
    assert first != second
    assert Ed25519Secret.from_seed(first.seed) == first
    assert repr(first) == f"Ed25519Secret(public=Ed25519Public(kid='{first.public.kid}'))"
