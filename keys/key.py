"""The three kinds of key: Ed25519 and ML-DSA-65 to sign (always as a pair), X-Wing to wrap content keys.

Pure values over PyNaCl and `cryptography`; how keys rest is in `keys.sources`, when they are in force in the bundle.
A public key that exists is valid: the constructors refuse every form that another implementation might judge
otherwise (envelope section 5). A secret key is its 32-byte seed; seeds are never shown by repr.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NewType

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem, x25519

from contracts.document import canonical
from keys import base64url, suite
from keys.errors import Base64Error, KeyFormatError, SignatureError, UnwrapError

Kid = NewType("Kid", str)
"""Key id: the RFC 7638 thumbprint, 43 characters of base64url."""

_HPKE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.SHAKE256, hpke.AEAD.AES_256_GCM)
_FIELD_PRIME = 2**255 - 19
_CLAMPED = bytes(31) + b"\x40"  # 2^254 after clamping: a multiple of both cofactors


@dataclass(frozen=True, slots=True)
class Ed25519Public:
    """Half of a signing pair, and the key of HTTP requests and log checkpoints."""

    raw: bytes = field(repr=False)
    kid: Kid = field(init=False, compare=False)

    algorithm: ClassVar[str] = suite.ED25519_ALGORITHM
    signature_size: ClassVar[int] = suite.ED25519_SIGNATURE_SIZE

    def __post_init__(self) -> None:
        _check_length(self.raw, suite.ED25519_PUBLIC_SIZE, "an Ed25519 public key")
        if not nacl.bindings.crypto_core_ed25519_is_valid_point(self.raw):
            raise KeyFormatError("an Ed25519 public key is canonical and in the prime-order subgroup")
        _set(self, kid=_thumbprint({"crv": self.algorithm, "kty": "OKP", "x": base64url.encode(self.raw)}))

    @classmethod
    def from_raw(cls, raw: bytes) -> Ed25519Public:
        """Return the key of 32 bytes, or raise KeyFormatError."""
        return cls(raw)

    def jwk(self) -> dict[str, str]:
        """Return the members in the order of a bundle (envelope section 5)."""
        return {
            "kty": "OKP",
            "crv": self.algorithm,
            "use": "sig",
            "kid": self.kid,
            "x": base64url.encode(self.raw),
        }

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise SignatureError unless S < L, R is canonical and not of small order, and the equation without the
        cofactor holds: libsodium's rule, the strictest in use."""
        if len(signature) != self.signature_size:
            raise SignatureError("an Ed25519 signature is 64 bytes")
        try:
            nacl.bindings.crypto_sign_open(signature + message, self.raw)
        except nacl.exceptions.BadSignatureError:
            raise SignatureError("the Ed25519 signature does not verify") from None


@dataclass(frozen=True, slots=True)
class Ed25519Secret:
    """The secret half of an `Ed25519Public`."""

    seed: bytes = field(repr=False, compare=False)
    public: Ed25519Public = field(init=False)
    _expanded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_length(self.seed, suite.SEED_SIZE, "an Ed25519 seed")
        raw, expanded = nacl.bindings.crypto_sign_seed_keypair(self.seed)
        _set(self, public=Ed25519Public(raw), _expanded=expanded)

    @classmethod
    def from_seed(cls, seed: bytes) -> Ed25519Secret:
        """Return the key of a 32-byte seed (RFC 8032 section 5.1.5)."""
        return cls(seed)

    @classmethod
    def generate(cls) -> Ed25519Secret:
        """Return a new random key."""
        return cls(secrets.token_bytes(suite.SEED_SIZE))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature; the same message has the same signature."""
        return nacl.bindings.crypto_sign(message, self._expanded)[: suite.ED25519_SIGNATURE_SIZE]


@dataclass(frozen=True, slots=True)
class MlDsa65Public:
    """The post-quantum half of a signing pair: FIPS 204, pure mode, empty context (RFC 9964)."""

    raw: bytes = field(repr=False)
    kid: Kid = field(init=False, compare=False)
    _handle: mldsa.MLDSA65PublicKey = field(init=False, repr=False, compare=False)

    algorithm: ClassVar[str] = suite.ML_DSA_ALGORITHM
    signature_size: ClassVar[int] = suite.ML_DSA_SIGNATURE_SIZE

    def __post_init__(self) -> None:
        _check_length(self.raw, suite.ML_DSA_PUBLIC_SIZE, "an ML-DSA-65 public key")
        _set(self, kid=_akp_thumbprint(self.algorithm, self.raw))
        _set(self, _handle=mldsa.MLDSA65PublicKey.from_public_bytes(self.raw))

    @classmethod
    def from_raw(cls, raw: bytes) -> MlDsa65Public:
        """Return the key of 1,952 bytes, or raise KeyFormatError."""
        return cls(raw)

    def jwk(self) -> dict[str, str]:
        """Return the members in the order of a bundle (envelope section 5)."""
        return _akp_jwk(self.algorithm, "sig", self.kid, self.raw)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise SignatureError unless the 3,309-byte signature verifies."""
        if len(signature) != self.signature_size:
            raise SignatureError("an ML-DSA-65 signature is 3,309 bytes")
        try:
            self._handle.verify(signature, message)
        except InvalidSignature:
            raise SignatureError("the ML-DSA-65 signature does not verify") from None


@dataclass(frozen=True, slots=True)
class MlDsa65Secret:
    """The secret half of an `MlDsa65Public`."""

    seed: bytes = field(repr=False, compare=False)
    public: MlDsa65Public = field(init=False)
    _handle: mldsa.MLDSA65PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_length(self.seed, suite.SEED_SIZE, "an ML-DSA-65 seed")
        handle = mldsa.MLDSA65PrivateKey.from_seed_bytes(self.seed)
        _set(self, public=MlDsa65Public(handle.public_key().public_bytes_raw()), _handle=handle)

    @classmethod
    def from_seed(cls, seed: bytes) -> MlDsa65Secret:
        """Return the key of a 32-byte seed (FIPS 204's xi)."""
        return cls(seed)

    @classmethod
    def generate(cls) -> MlDsa65Secret:
        """Return a new random key."""
        return cls(secrets.token_bytes(suite.SEED_SIZE))

    def sign(self, message: bytes) -> bytes:
        """Return a 3,309-byte signature; hedged, so every call returns another one. About 1 ms: call it in a thread."""
        return self._handle.sign(message)


@dataclass(frozen=True, slots=True)
class XWingPublic:
    """The key that content keys are wrapped for: ML-KEM-768 encapsulation key (1,184) || X25519 (32)."""

    raw: bytes = field(repr=False)
    kid: Kid = field(init=False, compare=False)
    _handle: hpke.MLKEM768X25519PublicKey = field(init=False, repr=False, compare=False)

    algorithm: ClassVar[str] = suite.KEY_ENCRYPTION

    def __post_init__(self) -> None:
        _check_length(self.raw, suite.KEM_PUBLIC_SIZE, "an X-Wing public key")
        _check_x25519(self.x25519_half)
        try:  # the library makes the modulus check of FIPS 203 section 7.2
            ml_kem = mlkem.MLKEM768PublicKey.from_public_bytes(self.raw[: suite.ML_KEM_PUBLIC_SIZE])
        except ValueError:
            raise KeyFormatError("an ML-KEM-768 encapsulation key passes the FIPS 203 check") from None
        handle = hpke.MLKEM768X25519PublicKey(ml_kem, x25519.X25519PublicKey.from_public_bytes(self.x25519_half))
        _set(self, kid=_akp_thumbprint(self.algorithm, self.raw), _handle=handle)

    @classmethod
    def from_raw(cls, raw: bytes) -> XWingPublic:
        """Return the key of 1,216 bytes, or raise KeyFormatError."""
        return cls(raw)

    @property
    def x25519_half(self) -> bytes:
        """The X25519 public key inside: no other organisation's key may share it (envelope section 10)."""
        return self.raw[suite.ML_KEM_PUBLIC_SIZE :]

    def jwk(self) -> dict[str, str]:
        """Return the members in the order of a bundle (envelope section 5)."""
        return _akp_jwk(self.algorithm, "enc", self.kid, self.raw)

    def wrap(self, content_key: bytes, info: bytes) -> tuple[bytes, bytes]:
        """Return (`ek`, `encrypted_key`): 1,120 and 48 bytes for the 32-byte content key. Draws its own randomness."""
        _check_length(content_key, suite.CONTENT_KEY_SIZE, "a content key")
        wrapped = _HPKE.encrypt(content_key, self._handle, info)
        return wrapped[: suite.ENCAPSULATED_SIZE], wrapped[suite.ENCAPSULATED_SIZE :]


@dataclass(frozen=True, slots=True)
class XWingSecret:
    """The secret half of an `XWingPublic`; once its seed is destroyed, what was wrapped for it cannot be opened."""

    seed: bytes = field(repr=False, compare=False)
    public: XWingPublic = field(init=False)
    _handle: hpke.MLKEM768X25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_length(self.seed, suite.SEED_SIZE, "an X-Wing seed")
        expanded = hashlib.shake_256(self.seed).digest(96)  # ML-KEM d || z, then X25519
        ml_kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        classic = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
        raw = ml_kem.public_key().public_bytes_raw() + classic.public_key().public_bytes_raw()
        _set(self, public=XWingPublic(raw), _handle=hpke.MLKEM768X25519PrivateKey(ml_kem, classic))

    @classmethod
    def from_seed(cls, seed: bytes) -> XWingSecret:
        """Return the key of a 32-byte seed (draft-connolly-cfrg-xwing-kem section 5.2)."""
        return cls(seed)

    @classmethod
    def generate(cls) -> XWingSecret:
        """Return a new random key."""
        return cls(secrets.token_bytes(suite.SEED_SIZE))

    def unwrap(self, ek: bytes, encrypted_key: bytes, info: bytes) -> bytes:
        """Return the 32-byte content key, or raise UnwrapError without saying why."""
        if len(ek) != suite.ENCAPSULATED_SIZE or len(encrypted_key) != suite.ENCRYPTED_KEY_SIZE:
            raise UnwrapError("a wrapped content key is 1,120 and 48 bytes")
        try:
            return _HPKE.decrypt(ek + encrypted_key, self._handle, info)
        except (InvalidTag, ValueError):
            raise UnwrapError("the content key was not wrapped for this key") from None


PublicKey = Ed25519Public | MlDsa65Public | XWingPublic
SecretKey = Ed25519Secret | MlDsa65Secret | XWingSecret

_KINDS: Mapping[tuple[Any, Any], tuple[type[Ed25519Public | MlDsa65Public | XWingPublic], str]] = {
    ("OKP", None): (Ed25519Public, "x"),
    ("AKP", suite.ML_DSA_ALGORITHM): (MlDsa65Public, "pub"),
    ("AKP", suite.KEY_ENCRYPTION): (XWingPublic, "pub"),
}


def public_from_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    """Return the key of a JWK whose members, order and `kid` are exactly what `jwk()` of that key writes.

    Raises KeyFormatError.
    """
    if not all(type(member) is str for member in jwk.values()):
        raise KeyFormatError("every member of a JWK is a string")
    kind, member = _KINDS.get((jwk.get("kty"), jwk.get("alg")), (None, ""))
    if kind is None:
        raise KeyFormatError("a JWK is an Ed25519, ML-DSA-65 or HPKE-9-KE key")
    try:
        key = kind(base64url.decode(jwk.get(member, "")))
    except Base64Error as error:
        raise KeyFormatError(f"the key in a JWK is {error.rule}") from error
    if list(jwk.items()) != list(key.jwk().items()):
        raise KeyFormatError("a JWK has exactly its members in their order, and its thumbprint as kid")
    return key


@dataclass(frozen=True, slots=True)
class VerifyingPair:
    """The public halves of a `SigningPair`, Ed25519 first."""

    ed: Ed25519Public
    ml: MlDsa65Public

    @property
    def kids(self) -> tuple[Kid, Kid]:
        """The two key ids in the order of signatures."""
        return self.ed.kid, self.ml.kid

    @property
    def publics(self) -> tuple[Ed25519Public, MlDsa65Public]:
        """The two keys in the order of signatures."""
        return self.ed, self.ml


@dataclass(frozen=True, slots=True)
class SigningPair:
    """The two keys that sign every statement of an organisation; neither is used alone."""

    ed: Ed25519Secret
    ml: MlDsa65Secret

    @property
    def kids(self) -> tuple[Kid, Kid]:
        """The two key ids in the order of signatures."""
        return self.public.kids

    @property
    def signers(self) -> tuple[Ed25519Secret, MlDsa65Secret]:
        """The two keys in the order of signatures."""
        return self.ed, self.ml

    @property
    def public(self) -> VerifyingPair:
        """The keys that verify what this pair signs."""
        return VerifyingPair(self.ed.public, self.ml.public)


def _check_length(value: bytes, length: int, what: str) -> None:
    if len(value) != length:
        raise KeyFormatError(f"{what} is {length} bytes")


def _check_x25519(raw: bytes) -> None:
    if int.from_bytes(raw, "little") >= _FIELD_PRIME:  # covers the unused top bit too
        raise KeyFormatError("an X25519 public key is canonical")
    try:  # a multiple of the cofactor times a point of small order is zero, which libsodium refuses to return
        nacl.bindings.crypto_scalarmult(_CLAMPED, raw)
    except nacl.exceptions.RuntimeError:
        raise KeyFormatError("an X25519 public key is not of small order") from None


def _thumbprint(members: dict[str, str]) -> Kid:
    return Kid(base64url.encode(hashlib.sha256(canonical(members)).digest()))


def _akp_thumbprint(algorithm: str, raw: bytes) -> Kid:
    return _thumbprint({"alg": algorithm, "kty": "AKP", "pub": base64url.encode(raw)})


def _akp_jwk(algorithm: str, use: str, kid: Kid, raw: bytes) -> dict[str, str]:
    return {"kty": "AKP", "alg": algorithm, "use": use, "kid": kid, "pub": base64url.encode(raw)}


def _set(instance: object, **members: object) -> None:
    """Fill derived fields of a frozen value while it is being made."""
    for name, value in members.items():
        object.__setattr__(instance, name, value)
