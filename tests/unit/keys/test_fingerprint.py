import hashlib

import pytest

from keys import base64url
from keys.fingerprint import fingerprint, to_hex, to_text, to_words, words_match
from keys.key import Ed25519Secret, MlDsa65Secret, SigningPair

ROOTS = SigningPair(Ed25519Secret.from_seed(bytes(32)), MlDsa65Secret.from_seed(bytes(32))).public
OTHER = SigningPair(Ed25519Secret.from_seed(b"\1" * 32), MlDsa65Secret.from_seed(b"\1" * 32)).public


def test_fingerprint_is_the_digest_of_the_format_page() -> None:
    ed, ml = (base64url.decode(kid) for kid in ROOTS.kids)
    assert fingerprint("la-850", ROOTS) == hashlib.sha256(b"safehand sh1 root\x00la-850\x00" + ed + ml).digest()


def test_organisation_and_each_key_change_the_fingerprint() -> None:
    values = {
        fingerprint("la-850", ROOTS),
        fingerprint("la-207", ROOTS),
        fingerprint("la-850", OTHER),
        fingerprint("la-850", type(ROOTS)(ROOTS.ed, OTHER.ml)),
        fingerprint("la-850", type(ROOTS)(OTHER.ed, ROOTS.ml)),
    }
    assert len(values) == 5


def test_text_forms_hold_all_bytes() -> None:
    value = fingerprint("la-850", ROOTS)
    assert bytes.fromhex(to_hex(value)) == value
    assert to_text(value) == "sha256:" + to_hex(value)


@pytest.mark.parametrize(
    ("entropy", "words"),  # from the test vectors of BIP-39
    [
        (bytes(16), "abandon " * 11 + "about"),
        (b"\x7f" * 16, "legal winner thank year wave sausage worth useful legal winner thank yellow"),
        (b"\xff" * 16, "zoo " * 11 + "wrong"),
    ],
)
def test_words_are_those_of_bip_39_for_the_first_16_bytes(entropy: bytes, words: str) -> None:
    assert to_words(entropy + b"\x55" * 16) == tuple(words.split())


def test_case_and_spaces_are_forgiven_and_nothing_else() -> None:
    value = b"\x7f" * 32
    words = to_words(value)
    assert words_match(" ".join(words), value)
    assert words_match("  " + "\n ".join(words).upper() + " ", value)
    for typed in [
        "",
        " ".join(words[:-1]),
        " ".join([*words, words[-1]]),
        " ".join(reversed(words)),
        " ".join([*words[:-1], "zoo"]),
        "".join(words),
        "-".join(words),
        " ".join(word[:4] for word in words),
    ]:
        assert not words_match(typed, value)
