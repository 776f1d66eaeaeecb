"""A second reader and writer of format sh1, written from docs/envelope.md alone: it imports nothing of the project.

Only json, hashlib, hmac and primitives of `cryptography`. The tests let it open what the gateway seals, and the gateway
open what it seals; the attack tests forge with it, because it signs and encrypts whatever it is told to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HPKE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.SHAKE256, hpke.AEAD.AES_256_GCM)
INFO = b"JOSE-HPKE rcpt\xffA256GCM\xff"
COMMITMENT = b"safehand sh1 cek commitment"
MESSAGE = "safehand-msg+jws"
RECEIPT = "safehand-rcpt+jws"


class RefusedError(Exception):
    """Not an envelope, or not one for this reader."""


# --- bytes and text


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64u(text: Any, length: int | None = None) -> bytes:
    if not isinstance(text, str) or re.fullmatch(r"[A-Za-z0-9_-]*", text) is None or len(text) % 4 == 1:
        raise RefusedError("not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64u(data) != text or (length is not None and len(data) != length):
        raise RefusedError("not canonical base64url")
    return data


def wire(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def parse(data: bytes) -> Any:
    """Strict JSON in wire form. Lone surrogates, BOMs and floats cannot be written back to the same bytes, or are refused here."""
    depth = deepest = 0
    for mark in re.sub(r'"(?:[^"\\]|\\.)*"', "", data.decode(), flags=re.DOTALL):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(mark, 0)
        deepest = max(deepest, depth)
    try:
        value = json.loads(data, parse_float=_refuse, parse_constant=_refuse)
        same = wire(value) == data  # a duplicate member, white space and a needless escape all change the bytes
    except ValueError as error:
        raise RefusedError("not strict JSON") from error
    if deepest > 16 or not same or b"null" in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", data):
        raise RefusedError("not in wire form")
    return value


def _refuse(_: str) -> Any:
    raise RefusedError("a number that is not whole")


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _exactly(value: Any, *names: str) -> tuple[Any, ...]:
    if not isinstance(value, dict) or tuple(value) != names:
        raise RefusedError("other members")
    return tuple(value.values())


# --- keys


def thumbprint(members: Mapping[str, str]) -> str:
    """RFC 7638: the required members, sorted, without white space."""
    return b64u(hashlib.sha256(wire(dict(sorted(members.items())))).digest())


def ed25519_kid(raw: bytes) -> str:
    return thumbprint({"crv": "Ed25519", "kty": "OKP", "x": b64u(raw)})


def akp_kid(alg: str, raw: bytes) -> str:
    return thumbprint({"alg": alg, "kty": "AKP", "pub": b64u(raw)})


@dataclass(frozen=True)
class Signer:
    """A signing pair from its two 32-byte seeds."""

    ed_seed: bytes
    ml_seed: bytes

    @property
    def publics(self) -> tuple[bytes, bytes]:
        return (
            ed25519.Ed25519PrivateKey.from_private_bytes(self.ed_seed).public_key().public_bytes_raw(),
            mldsa.MLDSA65PrivateKey.from_seed_bytes(self.ml_seed).public_key().public_bytes_raw(),
        )

    @property
    def kids(self) -> tuple[str, str]:
        ed, ml = self.publics
        return ed25519_kid(ed), akp_kid("ML-DSA-65", ml)

    def sign(self, payload: bytes, typ: str) -> bytes:
        """The two-signature statement."""
        return wire({"payload": b64u(payload), "signatures": self.signatures(payload, typ)})

    def signatures(self, payload: bytes, typ: str, *, kids: tuple[str, str] | None = None) -> list[dict[str, str]]:
        ed_kid, ml_kid = kids or self.kids
        made = []
        for alg, kid in (("Ed25519", ed_kid), ("ML-DSA-65", ml_kid)):
            protected = b64u(wire({"alg": alg, "kid": kid, "typ": typ}))
            signed = f"{protected}.{b64u(payload)}".encode("ascii")
            if alg == "Ed25519":
                signature = ed25519.Ed25519PrivateKey.from_private_bytes(self.ed_seed).sign(signed)
            else:
                signature = mldsa.MLDSA65PrivateKey.from_seed_bytes(self.ml_seed).sign(signed)
            made.append({"protected": protected, "signature": b64u(signature)})
        return made


@dataclass(frozen=True)
class Opener:
    """A KEM key from its 32-byte seed: SHAKE256 to 96 bytes, ML-KEM d || z (64), then X25519 (32)."""

    seed: bytes

    @property
    def _halves(self) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
        expanded = hashlib.shake_256(self.seed).digest(96)
        return (
            mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
            x25519.X25519PrivateKey.from_private_bytes(expanded[64:]),
        )

    @property
    def public(self) -> bytes:
        post_quantum, classic = self._halves
        return post_quantum.public_key().public_bytes_raw() + classic.public_key().public_bytes_raw()

    @property
    def kid(self) -> str:
        return akp_kid("HPKE-9-KE", self.public)

    def unwrap(self, ek: bytes, encrypted_key: bytes) -> bytes:
        return HPKE.decrypt(ek + encrypted_key, hpke.MLKEM768X25519PrivateKey(*self._halves), INFO)


def wrap(cek: bytes, public: bytes) -> dict[str, Any]:
    """One entry of `recipients`."""
    post_quantum = mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184])
    classic = x25519.X25519PublicKey.from_public_bytes(public[1184:])
    wrapped = HPKE.encrypt(cek, hpke.MLKEM768X25519PublicKey(post_quantum, classic), INFO)
    return {
        "header": {"alg": "HPKE-9-KE", "kid": akp_kid("HPKE-9-KE", public), "ek": b64u(wrapped[:1120])},
        "encrypted_key": b64u(wrapped[1120:]),
    }


# --- write


def commitment(cek: bytes) -> str:
    return b64u(hmac.new(cek, COMMITMENT, hashlib.sha256).digest())


def protected_header(cek: bytes, recipients: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {
        "enc": "A256GCM",
        "typ": "safehand-msg+jwe",
        "cty": "jose+json",
        "kc": commitment(cek),
        "rh": b64u(hashlib.sha256(wire(list(recipients))).digest()),
    }


def encrypt(
    inner: bytes,
    recipients: list[dict[str, Any]],
    *,
    cek: bytes,
    iv: bytes,
    header: bytes | None = None,
) -> bytes:
    """The outer JWE around inner bytes; `header` replaces the bytes of the protected header."""
    protected = b64u(wire(protected_header(cek, recipients)) if header is None else header)
    sealed = AESGCM(cek).encrypt(iv, inner, protected.encode("ascii"))
    return wire(
        {
            "protected": protected,
            "recipients": recipients,
            "iv": b64u(iv),
            "ciphertext": b64u(sealed[:-16]),
            "tag": b64u(sealed[-16:]),
        }
    )


def seal(members: Mapping[str, Any], signer: Signer, publics: Sequence[bytes], *, cek: bytes, iv: bytes) -> bytes:
    """A whole envelope of the members of P."""
    inner = signer.sign(wire(members), MESSAGE)
    return encrypt(inner, [wrap(cek, public) for public in publics], cek=cek, iv=iv)


# --- read


def read_statement(data: bytes, typ: str, publics: tuple[bytes, bytes]) -> dict[str, Any]:
    """The payload of a two-signature statement by exactly these keys."""
    payload, signatures = _exactly(parse(data), "payload", "signatures")
    if len(signatures) != 2:
        raise RefusedError("not two signatures")
    ed, ml = publics
    for entry, alg, raw in zip(signatures, ("Ed25519", "ML-DSA-65"), publics, strict=True):
        protected, signature = _exactly(entry, "protected", "signature")
        kid = ed25519_kid(raw) if alg == "Ed25519" else akp_kid(alg, raw)
        if unb64u(protected) != wire({"alg": alg, "kid": kid, "typ": typ}):
            raise RefusedError("another protected header")
        signed = f"{protected}.{payload}".encode("ascii")
        if alg == "Ed25519":
            ed25519.Ed25519PublicKey.from_public_bytes(ed).verify(unb64u(signature, 64), signed)
        else:
            mldsa.MLDSA65PublicKey.from_public_bytes(ml).verify(unb64u(signature, 3309), signed)
    value: dict[str, Any] = parse(unb64u(payload))
    return value


def decrypt(envelope: bytes, opener: Opener) -> tuple[bytes, bytes]:
    """(CEK, inner bytes) of an envelope: reading steps 1 to 8."""
    if len(envelope) > 640 * 1024:
        raise RefusedError("too large")
    protected, recipients, iv, ciphertext, tag = _exactly(
        parse(envelope), "protected", "recipients", "iv", "ciphertext", "tag"
    )
    enc, typ, cty, kc, rh = _exactly(parse(unb64u(protected)), "enc", "typ", "cty", "kc", "rh")
    if (enc, typ, cty) != ("A256GCM", "safehand-msg+jwe", "jose+json"):
        raise RefusedError("another suite")
    start, end = envelope.index(b'"recipients":[') + 13, envelope.index(b'],"iv":') + 1
    if unb64u(rh, 32) != hashlib.sha256(envelope[start:end]).digest():
        raise RefusedError("rh")
    for entry in recipients:
        header, encrypted_key = _exactly(entry, "header", "encrypted_key")
        alg, kid, ek = _exactly(header, "alg", "kid", "ek")
        if alg == "HPKE-9-KE" and kid == opener.kid:
            cek = opener.unwrap(unb64u(ek, 1120), unb64u(encrypted_key, 48))
            break
    else:
        raise RefusedError("for nobody here")
    if not hmac.compare_digest(commitment(cek), kc):
        raise RefusedError("kc")
    sealed = unb64u(ciphertext) + unb64u(tag, 16)
    return cek, AESGCM(cek).decrypt(unb64u(iv, 12), sealed, protected.encode("ascii"))


def open_envelope(envelope: bytes, opener: Opener, publics: tuple[bytes, bytes]) -> dict[str, Any]:
    """The members of P, of an envelope for `opener` signed by `publics` (Ed25519, ML-DSA-65)."""
    members = read_statement(decrypt(envelope, opener)[1], MESSAGE, publics)
    kids = [entry["header"]["kid"] for entry in json.loads(envelope)["recipients"]]
    signed = (ed25519_kid(publics[0]), akp_kid("ML-DSA-65", publics[1]))
    if [entry["enc"] for entry in members["to"]] != kids or tuple(members["from"]["sig"]) != signed:
        raise RefusedError("sealed to others, or signed by others, than it says")
    return members
