"""Aim: one envelope that shows one text to one reader and another text to another, both "authentic" (a dishonest sender).

AES-GCM does not commit to its key: for two keys one can compute a ciphertext and tag that both accept. A council and a
school with two keys, or a court that gets the envelope later, would each swear to what it read. Held off by `kc`, a
commitment to the content key in the protected header, checked before the content is decrypted.
"""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.errors import EnvelopeRejectedError
from tests.support import independent
from tests.support.keys import seed, x_wing
from tests.support.messages import IV, B, kem_of, opener_of, unlock_it

FIRST, SECOND = seed("first content key"), seed("second content key")
TEXT_ONE = b"The child was seen on Monday and is safe with her aunt. "
TEXT_TWO = b"The child has not been seen since the third of January. "


def block(key: bytes, data: bytes) -> bytes:
    """AES-256 of one block."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the bare block cipher is meant
    return encryptor.update(data)


def times(x: int, y: int) -> int:
    """Multiplication in GF(2^128) with GCM's order of bits (NIST SP 800-38D section 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def inverse(x: int) -> int:
    result, power = 1 << 127, x  # x^(2^128 - 2)
    for _ in range(127):
        power = times(power, power)
        result = times(result, power)
    return result


def ghash(h: int, aad: bytes, ciphertext: bytes) -> int:
    lengths = (len(aad) * 8).to_bytes(8, "big") + (len(ciphertext) * 8).to_bytes(8, "big")
    padded = aad + bytes(-len(aad) % 16) + ciphertext + bytes(-len(ciphertext) % 16) + lengths
    state = 0
    for start in range(0, len(padded), 16):
        state = times(state ^ int.from_bytes(padded[start : start + 16], "big"), h)
    return state


def key_stream(key: bytes, size: int) -> bytes:
    blocks = [block(key, IV + (2 + n).to_bytes(4, "big")) for n in range(-(-size // 16))]
    return b"".join(blocks)[:size]


def two_faced(aad: bytes) -> tuple[bytes, bytes]:
    """(ciphertext, tag) that opens under FIRST to a text that begins with TEXT_ONE, and under SECOND to one that ends,
    but for its last block, with TEXT_TWO. The last block is what makes both tags one (Dodis et al. 2018)."""
    one = TEXT_ONE + bytes(-len(TEXT_ONE) % 16)
    two = TEXT_TWO + bytes(-len(TEXT_TWO) % 16)
    size = len(one) + len(two)
    streams = [key_stream(key, size) for key in (FIRST, SECOND)]
    half = bytes(a ^ b for a, b in zip(one, streams[0][: len(one)], strict=True))
    half += bytes(a ^ b for a, b in zip(two, streams[1][len(one) :], strict=True))

    hashes = [int.from_bytes(block(key, bytes(16)), "big") for key in (FIRST, SECOND)]
    masks = [int.from_bytes(block(key, IV + b"\0\0\0\1"), "big") for key in (FIRST, SECOND)]
    open_ends = [ghash(h, aad, half + bytes(16)) ^ mask for h, mask in zip(hashes, masks, strict=True)]
    squares = [times(h, h) for h in hashes]
    last = times(open_ends[0] ^ open_ends[1], inverse(squares[0] ^ squares[1]))
    ciphertext = half + last.to_bytes(16, "big")
    tag = (open_ends[0] ^ times(last, squares[0])).to_bytes(16, "big")
    return ciphertext, tag


def forge(committed_to: bytes) -> bytes:
    """An envelope for two keys of la-850: the first reads one text, the second another."""
    recipients = [
        independent.wrap(FIRST, opener_of(B, 1).public),
        independent.wrap(SECOND, opener_of(B, 2).public),
    ]
    protected = independent.b64u(independent.wire(independent.protected_header(committed_to, recipients)))
    ciphertext, tag = two_faced(protected.encode())
    return independent.wire(
        {
            "protected": protected,
            "recipients": recipients,
            "iv": independent.b64u(IV),
            "ciphertext": independent.b64u(ciphertext),
            "tag": independent.b64u(tag),
        }
    )


def read_without_commitment(envelope: bytes, opener: independent.Opener) -> bytes:
    """What a reader of plain JWE does: unwrap, decrypt; every check of JOSE and of AES-GCM passes."""
    whole = json.loads(envelope)
    entry = next(entry for entry in whole["recipients"] if entry["header"]["kid"] == opener.kid)
    cek = opener.unwrap(independent.unb64u(entry["header"]["ek"]), independent.unb64u(entry["encrypted_key"]))
    sealed = independent.unb64u(whole["ciphertext"]) + independent.unb64u(whole["tag"])
    return AESGCM(cek).decrypt(independent.unb64u(whole["iv"]), sealed, whole["protected"].encode())


def test_plain_jwe_readers_would_read_two_texts_in_one_envelope() -> None:
    envelope = forge(FIRST)
    assert read_without_commitment(envelope, opener_of(B, 1)).startswith(TEXT_ONE)
    assert TEXT_TWO in read_without_commitment(envelope, opener_of(B, 2))


@pytest.mark.parametrize(("committed_to", "refused_at"), [(FIRST, ("9", "7")), (SECOND, ("7", "9"))])
def test_commitment_lets_one_content_key_at_most_pass(committed_to: bytes, refused_at: tuple[str, str]) -> None:
    envelope = forge(committed_to)
    for secret, step in zip((kem_of(B), x_wing(f"{B} message-kem 2")), refused_at, strict=True):
        with pytest.raises(EnvelopeRejectedError) as refused:
            unlock_it(envelope, secret)
        assert refused.value.step == step  # 7: another key than committed to; 9: decrypted, and no statement


def test_commitment_to_neither_key_shows_nobody_anything() -> None:
    envelope = forge(seed("third"))
    for secret in (kem_of(B), x_wing(f"{B} message-kem 2")):
        with pytest.raises(EnvelopeRejectedError) as refused:
            unlock_it(envelope, secret)
        assert refused.value.step == "7"
