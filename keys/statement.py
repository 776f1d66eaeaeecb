"""The two-signature statement: JWS JSON General serialisation (RFC 7515 section 7.2.1) in wire form.

Pure. Everything that leaves an organisation as evidence has this form; it knows nothing of what payloads mean, and
payload JSON is checked by the caller. Both signatures of a pair must be there and verify: a reader that is content
with one of two has lost the post-quantum half without noticing. A root change has four (two pairs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.document import read_wire, write_wire
from contracts.errors import DocumentError
from keys import base64url
from keys.errors import Base64Error, SignatureError, StatementError
from keys.key import Ed25519Public, Ed25519Secret, Kid, MlDsa65Public, MlDsa65Secret

_KINDS = (Ed25519Public, MlDsa65Public)  # signatures alternate in this order
_COUNTS = (2, 4)
_DEPTH = 3  # object, list of signatures, signature


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedStatement:
    """A statement in strict form whose signatures are not verified: its payload proves nothing yet."""

    payload: bytes = field(repr=False)
    headers: tuple[bytes, ...]
    signatures: tuple[bytes, ...] = field(repr=False)
    inputs: tuple[bytes, ...] = field(repr=False)


def sign_statement(payload: bytes, typ: str, signers: Sequence[Ed25519Secret | MlDsa65Secret]) -> bytes:
    """Return the wire bytes of a statement signed by each key of one pair, or of two pairs, in order."""
    _check_order([signer.public for signer in signers])
    encoded = base64url.encode(payload)
    signatures = []
    for signer in signers:
        protected = base64url.encode(_header(signer.public.algorithm, signer.public.kid, typ))
        signature = signer.sign(_signing_input(protected, encoded))
        signatures.append({"protected": protected, "signature": base64url.encode(signature)})
    return write_wire({"payload": encoded, "signatures": signatures})


def read_statement(data: bytes, *, limit: int) -> ClaimedStatement:
    """Return the parts of a statement of at most `limit` bytes, in strict form only; nothing is verified.

    Raises StatementError `statement.malformed`.
    """
    try:
        value = read_wire(data, limit=limit, depth=_DEPTH)
        payload, signatures = _members(value, "payload", "signatures")
        if type(signatures) is not list or len(signatures) not in _COUNTS:
            raise StatementError("statement.malformed", "a statement has two signatures, or four")
        parts = [_members(entry, "protected", "signature") for entry in signatures]
        return ClaimedStatement(
            payload=base64url.decode(payload),
            headers=tuple(base64url.decode(protected) for protected, _ in parts),
            signatures=tuple(
                base64url.decode(signature, _KINDS[index % 2].signature_size)
                for index, (_, signature) in enumerate(parts)
            ),
            inputs=tuple(_signing_input(protected, payload) for protected, _ in parts),
        )
    except (DocumentError, Base64Error) as error:
        raise StatementError("statement.malformed", error.rule) from error


def check_headers(claimed: ClaimedStatement, typ: str, kids: Sequence[Kid]) -> None:
    """Raise StatementError `statement.header` unless the headers are byte for byte those of `kids` in this order.

    For a reader that knows the key ids from the payload and not yet the keys (envelope section 2, step 9).
    """
    expected = tuple(_header(_KINDS[index % 2].algorithm, kid, typ) for index, kid in enumerate(kids))
    if len(kids) not in _COUNTS or claimed.headers != expected:
        raise StatementError("statement.header", "the protected headers name exactly the expected keys and type")


def verify_statement(claimed: ClaimedStatement, typ: str, publics: Sequence[Ed25519Public | MlDsa65Public]) -> bytes:
    """Return the payload if there are exactly the signatures of `publics`, in this order, and all of them verify.

    Raises StatementError (`statement.header`, `statement.signature`).
    """
    _check_order(publics)
    check_headers(claimed, typ, [public.kid for public in publics])
    for public, signature, signed in zip(publics, claimed.signatures, claimed.inputs, strict=True):
        try:
            public.verify(signature, signed)
        except SignatureError as error:
            raise StatementError("statement.signature", error.rule) from error
    return claimed.payload


def _header(algorithm: str, kid: Kid, typ: str) -> bytes:
    return write_wire({"alg": algorithm, "kid": kid, "typ": typ})


def _signing_input(protected: str, payload: str) -> bytes:
    return f"{protected}.{payload}".encode("ascii")  # RFC 7515 section 5.1


def _members(value: Any, first: str, second: str) -> tuple[Any, Any]:
    if type(value) is not dict or list(value) != [first, second]:
        raise StatementError("statement.malformed", f"an object with exactly {first} and {second}, in this order")
    return value[first], value[second]


def _check_order(publics: Sequence[Ed25519Public | MlDsa65Public]) -> None:
    if len(publics) not in _COUNTS or any(type(key) is not _KINDS[index % 2] for index, key in enumerate(publics)):
        raise ValueError("a statement is signed by one pair or two, Ed25519 before ML-DSA-65")
