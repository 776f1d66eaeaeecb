import re

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa

from keys.errors import KeyFormatError, SignatureError
from keys.key import MlDsa65Public, MlDsa65Secret

MESSAGE = b"an invented message"


def make_secret() -> MlDsa65Secret:
    return MlDsa65Secret.from_seed(bytes(range(32)))


@pytest.mark.vectors
def test_published_seeds_give_their_keys_and_a_signature_with_a_context_is_rejected() -> None:
    with cryptography_vectors.open_vector_file("asymmetric/MLDSA/kat_MLDSA_65_det_pure.rsp", "r") as file:
        cases = [dict(re.findall(r"(?m)^(\w+) = ?(.*)$", block)) for block in file.read().split("count = ")[1:]]
    assert len(cases) == 100
    for case in cases[::10]:
        secret = MlDsa65Secret.from_seed(bytes.fromhex(case["xi"]))
        assert secret.public.raw.hex() == case["pk"].lower()
        signature, message, context = (bytes.fromhex(case[name]) for name in ("sm", "msg", "ctx"))
        library = mldsa.MLDSA65PublicKey.from_public_bytes(secret.public.raw)
        library.verify(signature[:3309], message, context)
        with pytest.raises(SignatureError):
            secret.public.verify(signature[:3309], message)


def test_signature_is_that_of_the_empty_context() -> None:
    secret = make_secret()
    library = mldsa.MLDSA65PublicKey.from_public_bytes(secret.public.raw)
    library.verify(secret.sign(MESSAGE), MESSAGE, b"")


def test_signature_verifies_and_is_hedged() -> None:
    secret = make_secret()
    first, second = secret.sign(MESSAGE), secret.sign(MESSAGE)
    assert len(first) == 3309
    assert first != second
    secret.public.verify(first, MESSAGE)
    secret.public.verify(second, MESSAGE)


def test_changed_signature_message_or_key_is_rejected() -> None:
    secret, signature = make_secret(), make_secret().sign(MESSAGE)
    changed = bytes([signature[0] ^ 1]) + signature[1:]
    for bad, message in [(changed, MESSAGE), (signature, MESSAGE + b"."), (signature[:-1], MESSAGE), (b"", MESSAGE)]:
        with pytest.raises(SignatureError):
            secret.public.verify(bad, message)
    with pytest.raises(SignatureError):
        MlDsa65Secret.from_seed(bytes(32)).public.verify(signature, MESSAGE)


@pytest.mark.parametrize("length", [0, 1951, 1953])
def test_public_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyFormatError):
        MlDsa65Public.from_raw(bytes(length))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyFormatError):
        MlDsa65Secret.from_seed(bytes(length))


def test_new_keys_differ_and_show_no_secret() -> None:
    first, second = MlDsa65Secret.generate(), MlDsa65Secret.generate()
    assert first != second
    assert repr(first) == f"MlDsa65Secret(public=MlDsa65Public(kid='{first.public.kid}'))"
