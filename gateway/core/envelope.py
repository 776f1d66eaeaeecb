"""Seal and open: the envelope of format sh1 (envelope.md sections 1 and 2), with the numbered reading steps.

Pure and synchronous: no I/O, no clock, no event loop. CEK, iv and salt are arguments; HPKE's own randomness is the
one exception. What is signed and sealed is a checked body; sealing anything else is a type error.
Steps 1a, 13 and 14 need the inbox, the clock and the agreement: they are `gateway.inbound`'s.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import UNSET

from contracts.document import read_wire, write_wire
from contracts.errors import DocumentError
from gateway.core.errors import EnvelopeRejectedError, SubmissionRefusedError
from gateway.core.message import (
    AgreementRef,
    ClaimedEnvelope,
    ClaimedMessage,
    ClaimedRecipient,
    Draft,
    OpenedMessage,
    SealedMessage,
)
from gateway.core.payload import Addressee, Governing, Payload, Sender, encode_payload, read_payload
from keys import base64url
from keys.errors import KeysError
from keys.key import Kid, SigningPair, VerifyingPair, XWingPublic, XWingSecret
from keys.statement import check_headers, read_statement, sign_statement, verify_statement
from keys.suite import (
    COMMITMENT_LABEL,
    CONTENT_KEY_SIZE,
    CONTENT_TYPE,
    ENCAPSULATED_SIZE,
    ENCRYPTED_KEY_SIZE,
    ENCRYPTION,
    KEY_ENCRYPTION,
    MESSAGE_TYPE,
    NONCE_SIZE,
    RECIPIENT_INFO,
    SEALED_TYPE,
    TAG_SIZE,
)

ENVELOPE_LIMIT: Final = 640 * 1024  # section 10: size cap of a message
_MAX_RECIPIENTS: Final = 16


def digest(data: bytes) -> str:
    """Return the text form of SHA-256: `sha256:` and 64 lower-case hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


# --- seal


def seal(draft: Draft, pair: SigningPair, *, cek: bytes, iv: bytes, salt: bytes) -> SealedMessage:
    """Sign P with both keys, then encrypt the JWS to every key of the recipient. `cek` 32, `iv` 12, `salt` 16 random bytes.

    Raises SubmissionRefusedError where a reader would refuse P: too large, or an id in it that is none.
    """
    payload = encode_payload(_payload(draft, pair, salt))
    try:
        read_payload(payload)
    except DocumentError as error:
        raise SubmissionRefusedError("message.malformed", error.place, error.rule) from None
    inner = sign_statement(payload, MESSAGE_TYPE, pair.signers)
    recipients = [_wrap(key, cek) for key in draft.sealing_keys]
    protected = base64url.encode(
        write_wire(
            {
                "enc": ENCRYPTION,
                "typ": SEALED_TYPE,
                "cty": CONTENT_TYPE,
                "kc": base64url.encode(_commitment(cek)),
                "rh": base64url.encode(hashlib.sha256(write_wire(recipients)).digest()),
            }
        )
    )
    sealed = AESGCM(cek).encrypt(iv, inner, protected.encode("ascii"))
    envelope = write_wire(
        {
            "protected": protected,
            "recipients": recipients,
            "iv": base64url.encode(iv),
            "ciphertext": base64url.encode(sealed[:-TAG_SIZE]),
            "tag": base64url.encode(sealed[-TAG_SIZE:]),
        }
    )
    return SealedMessage(draft=draft, envelope=envelope, env=digest(envelope), inner=inner, jws=digest(inner))


def _payload(draft: Draft, pair: SigningPair, salt: bytes) -> Payload:
    recipient = draft.recipient
    return Payload(
        v=1,
        suite="sh1",
        id=draft.id,
        typ=draft.type,
        salt=base64url.encode(salt),
        from_=Sender(
            org=draft.sender.org,
            for_=draft.sender.acting_for or UNSET,
            sig=pair.kids,
            bundle=draft.bundle,
        ),
        to=tuple(
            Addressee(org=recipient.org, for_=recipient.acting_for or UNSET, enc=key.kid) for key in draft.sealing_keys
        ),
        iat=draft.issued_at,
        exp=draft.expires_at,
        thread=draft.thread or UNSET,
        replaces=draft.replaces or UNSET,
        agreement=_governing(draft.agreement),
        facts=dict(draft.checked.facts),
        body=dict(draft.checked.body),
        att=(),
    )


def _governing(ref: AgreementRef) -> Governing:
    return Governing(id=ref.id, version=ref.version, digest=ref.digest, heads=ref.heads)


def _wrap(key: XWingPublic, cek: bytes) -> dict[str, Any]:
    ek, encrypted_key = key.wrap(cek, RECIPIENT_INFO)
    return {
        "header": {"alg": KEY_ENCRYPTION, "kid": key.kid, "ek": base64url.encode(ek)},
        "encrypted_key": base64url.encode(encrypted_key),
    }


def _commitment(cek: bytes) -> bytes:
    return hmac.digest(cek, COMMITMENT_LABEL, "sha256")


# --- open


def check_size(data: bytes) -> None:
    """Step 1: nothing is parsed, hashed or looked up that is larger than a message can be."""
    if len(data) > ENVELOPE_LIMIT:
        raise EnvelopeRejectedError("1", "larger than a message can be")


def read_envelope(data: bytes) -> ClaimedEnvelope:
    """Steps 1 to 4: return the outer envelope's parts, all claims; raises EnvelopeRejectedError."""
    check_size(data)
    # 2: strict JSON in wire form; exact members, every recipient's types and lengths
    try:
        outer = read_wire(data, limit=ENVELOPE_LIMIT)
    except DocumentError as error:
        raise EnvelopeRejectedError("2", error.rule) from None
    protected, entries, iv, ciphertext, tag = _members(
        outer, ("protected", "recipients", "iv", "ciphertext", "tag"), "2"
    )
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MAX_RECIPIENTS:
        raise EnvelopeRejectedError("2", "not 1 to 16 recipients")
    # 3: canonical base64url everywhere
    recipients = tuple(_recipient(entry) for entry in entries)
    header = _decode(protected, None, "protected")
    nonce = _decode(iv, NONCE_SIZE, "iv")
    sealed = _decode(ciphertext, None, "ciphertext") + _decode(tag, TAG_SIZE, "tag")
    # 4: suite constants and the hash over the recipients; no other header member is known, so none is accepted
    commitment = _check_protected(header, entries)
    return ClaimedEnvelope(
        data=data,
        env=digest(data),
        recipients=recipients,
        protected=protected,
        commitment=commitment,
        iv=nonce,
        sealed=sealed,
    )


def _members(value: Any, names: tuple[str, ...], step: str) -> tuple[Any, ...]:
    if not isinstance(value, dict) or tuple(value) != names:
        raise EnvelopeRejectedError(step, "not exactly the members of this form, in their order")
    return tuple(value.values())


def _recipient(entry: Any) -> ClaimedRecipient:
    header, encrypted_key = _members(entry, ("header", "encrypted_key"), "2")
    alg, kid, ek = _members(header, ("alg", "kid", "ek"), "2")
    if alg != KEY_ENCRYPTION:
        raise EnvelopeRejectedError("4", "another key encapsulation")
    _decode(kid, 32, "kid")
    return ClaimedRecipient(
        kid=kid,
        ek=_decode(ek, ENCAPSULATED_SIZE, "ek"),
        encrypted_key=_decode(encrypted_key, ENCRYPTED_KEY_SIZE, "encrypted_key"),
    )


def _decode(text: Any, length: int | None, place: str) -> bytes:
    if not isinstance(text, str):
        raise EnvelopeRejectedError("2", f"{place} is not a string")
    try:
        return base64url.decode(text, length)
    except KeysError:
        raise EnvelopeRejectedError("3", f"{place} is not canonical base64url of its length") from None


def _check_protected(header: bytes, recipients: list[Any]) -> bytes:
    try:
        members = read_wire(header, limit=1024)
    except DocumentError as error:
        raise EnvelopeRejectedError("4", f"protected header: {error.rule}") from None
    enc, typ, cty, commitment, recipients_hash = _members(members, ("enc", "typ", "cty", "kc", "rh"), "4")
    if (enc, typ, cty) != (ENCRYPTION, SEALED_TYPE, CONTENT_TYPE):
        raise EnvelopeRejectedError("4", "another suite")
    # The outer JSON is in wire form, so re-serialising the array gives it as it stands on the wire.
    if _decode(recipients_hash, 32, "rh") != hashlib.sha256(write_wire(recipients)).digest():
        raise EnvelopeRejectedError("4", "rh is not the hash of the recipients")
    return _decode(commitment, 32, "kc")


def unlock(claimed: ClaimedEnvelope, own_key: Callable[[str], XWingSecret | None]) -> ClaimedMessage:
    """Steps 5 to 9: decrypt with an own key and read what is inside. `own_key` answers the secret of a kid of ours that may
    open now and is not revoked, else None. Raises EnvelopeRejectedError."""
    # 5: all kids distinct; the first entry that is ours
    kids = [entry.kid for entry in claimed.recipients]
    if len(set(kids)) != len(kids):
        raise EnvelopeRejectedError("5", "a key is named twice")
    found = next(((entry, secret) for entry in claimed.recipients if (secret := own_key(entry.kid)) is not None), None)
    if found is None:
        raise EnvelopeRejectedError("5", "sealed to no key of ours")
    entry, secret = found
    # 6: HPKE
    try:
        cek = secret.unwrap(entry.ek, entry.encrypted_key, RECIPIENT_INFO)
    except KeysError:
        raise EnvelopeRejectedError("6", "the content key does not open") from None
    # 7: the CEK that was committed to: one envelope cannot open to two texts
    if len(cek) != CONTENT_KEY_SIZE or not hmac.compare_digest(_commitment(cek), claimed.commitment):
        raise EnvelopeRejectedError("7", "kc is not the commitment of this content key")
    # 8: content
    try:
        inner = AESGCM(cek).decrypt(claimed.iv, claimed.sealed, claimed.protected.encode("ascii"))
    except InvalidTag:
        raise EnvelopeRejectedError("8", "the content does not open") from None
    # 9: the signed statement and P, as strictly as the outside
    try:
        statement = read_statement(inner, limit=ENVELOPE_LIMIT)
        payload = read_payload(statement.payload)
        check_headers(statement, MESSAGE_TYPE, [Kid(kid) for kid in payload.from_.sig])
    except (DocumentError, KeysError) as error:
        raise EnvelopeRejectedError("9", str(error)) from None
    if payload.att:
        raise EnvelopeRejectedError("9", "attachments are not taken yet")
    return ClaimedMessage(envelope=claimed, inner=inner, jws=digest(inner), payload=payload)


def prove(
    claimed: ClaimedMessage, pair: VerifyingPair, *, http_org: str, own: str, idempotency_key: str
) -> OpenedMessage:
    """Steps 10 to 12, given the sender's keys that were found usable for this message: who wrote it, and to whom.

    `pair` is the message-sign pair named by `from.sig` in the newest bundle of `http_org`, found by the caller inside
    nbf/exp at `iat` and now, and unrevoked (the rest of step 10). Raises EnvelopeRejectedError.
    """
    payload = claimed.payload
    # 10: the organisation that wrote is the one that knocked
    if payload.from_.org != http_org:
        raise EnvelopeRejectedError("10", "written by another organisation than the one that brought it")
    if pair.kids != payload.from_.sig:
        raise EnvelopeRejectedError("10", "other signing keys")
    # 11: both signatures, each verified by itself
    try:
        verify_statement(read_statement(claimed.inner, limit=ENVELOPE_LIMIT), MESSAGE_TYPE, pair.publics)
    except KeysError as error:
        raise EnvelopeRejectedError("11", str(error)) from None
    # 12: meant for us, sealed to exactly the keys that were signed, brought under its own id
    if idempotency_key != payload.id:
        raise EnvelopeRejectedError("12", "brought under another id")
    if tuple(entry.enc for entry in payload.to) != tuple(entry.kid for entry in claimed.envelope.recipients):
        raise EnvelopeRejectedError("12", "sealed to other keys than were signed")
    if payload.to[0].org != own:
        raise EnvelopeRejectedError("12", "meant for another organisation")
    return OpenedMessage(payload=payload, env=claimed.envelope.env, inner=claimed.inner, jws=claimed.jws)
