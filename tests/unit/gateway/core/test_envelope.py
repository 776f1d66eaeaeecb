"""The envelope in its exact wire form, judged by a reader and a writer that share no code with it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.envelope import ENVELOPE_LIMIT, digest, read_envelope
from gateway.core.errors import EnvelopeRejectedError, SubmissionRefusedError
from gateway.core.message import Party
from gateway.core.payload import PAYLOAD_LIMIT
from tests.support import independent
from tests.support.keys import x_wing
from tests.support.messages import (
    CEK,
    HEADS,
    IV,
    MESSAGE_ID,
    SALT,
    A,
    B,
    bundle_of,
    insider,
    kem_of,
    make_body,
    make_checked,
    make_draft,
    make_members,
    open_it,
    opener_of,
    pair_of,
    seal_it,
    signer_of,
    unlock_it,
)

names = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=70)


@settings(deadline=None, max_examples=25)
@given(family=names, town=names.map(lambda name: name[:35]), urgency=st.sampled_from(["routine", "immediate_risk"]))
def test_independent_reader_opens_what_is_sealed_here(family: str, town: str, urgency: str) -> None:
    body = make_body(child__name__family=family, child__address__town=town)
    sealed = seal_it(make_draft(make_checked(body, facts={"urgency": urgency})))
    members = independent.open_envelope(sealed.envelope, opener_of(B), signer_of(A).publics)
    assert members == make_members(body=body, facts={"urgency": urgency})
    assert list(members) == list(make_members())


@settings(deadline=None, max_examples=25)
@given(family=names)
def test_what_an_independent_writer_seals_is_opened_here(family: str) -> None:
    members = make_members(body=make_body(child__name__family=family))
    envelope = independent.seal(members, signer_of(A), [opener_of(B).public], cek=CEK, iv=IV)
    opened = open_it(envelope)
    assert opened.payload.body == members["body"]
    assert opened.env == independent.sha256(envelope)
    assert opened.jws == independent.sha256(independent.decrypt(envelope, opener_of(B))[1])


def test_outside_has_exactly_the_members_of_the_design_in_their_order() -> None:
    envelope = seal_it().envelope
    whole = json.loads(envelope)
    assert json.dumps(whole, separators=(",", ":")).encode() == envelope
    assert list(whole) == ["protected", "recipients", "iv", "ciphertext", "tag"]
    assert [list(entry) for entry in whole["recipients"]] == [["header", "encrypted_key"]]
    header = whole["recipients"][0]["header"]
    assert list(header) == ["alg", "kid", "ek"]
    assert (header["alg"], header["kid"]) == ("HPKE-9-KE", opener_of(B).kid)
    assert [len(header["ek"]), len(whole["recipients"][0]["encrypted_key"])] == [1494, 64]
    assert [len(whole["iv"]), len(whole["tag"])] == [16, 22]


def test_protected_header_is_the_designs_byte_for_byte() -> None:
    envelope = seal_it().envelope
    start, end = envelope.index(b'"recipients":') + 13, envelope.index(b',"iv":')
    kc = hmac.new(CEK, b"safehand sh1 cek commitment", hashlib.sha256).digest()
    rh = hashlib.sha256(envelope[start:end]).digest()
    expected = (
        '{"enc":"A256GCM","typ":"safehand-msg+jwe","cty":"jose+json",'
        f'"kc":"{base64.urlsafe_b64encode(kc).decode()[:43]}","rh":"{base64.urlsafe_b64encode(rh).decode()[:43]}"}}'
    )
    assert independent.unb64u(json.loads(envelope)["protected"]) == expected.encode()


def test_inside_is_a_statement_of_two_signatures_with_headers_byte_for_byte() -> None:
    sealed = seal_it()
    cek, inner = independent.decrypt(sealed.envelope, opener_of(B))
    assert (cek, inner) == (CEK, sealed.inner)
    statement = json.loads(inner)
    assert list(statement) == ["payload", "signatures"]
    kids = signer_of(A).kids
    assert [independent.unb64u(entry["protected"]) for entry in statement["signatures"]] == [
        f'{{"alg":"Ed25519","kid":"{kids[0]}","typ":"safehand-msg+jws"}}'.encode(),
        f'{{"alg":"ML-DSA-65","kid":"{kids[1]}","typ":"safehand-msg+jws"}}'.encode(),
    ]
    assert [len(independent.unb64u(entry["signature"])) for entry in statement["signatures"]] == [64, 3309]


def test_payload_is_the_designs_byte_for_byte() -> None:
    inner = json.loads(seal_it().inner)
    assert independent.unb64u(inner["payload"]) == independent.wire(make_members())


def test_optional_members_stand_where_the_design_puts_them() -> None:
    draft = make_draft(
        sender=Party(org=A, acting_for="la-213"),
        recipient=Party(org=B, acting_for="la-851"),
        thread=MESSAGE_ID,
        replaces=MESSAGE_ID,
    )
    members = independent.open_envelope(seal_it(draft).envelope, opener_of(B), signer_of(A).publics)
    assert list(members["from"]) == ["org", "for", "sig", "bundle"]
    assert list(members["to"][0]) == ["org", "for", "enc"]
    assert list(members)[7:12] == ["iat", "exp", "thread", "replaces", "agreement"]


def test_digests_are_over_the_published_bytes() -> None:
    sealed = seal_it()
    assert sealed.env == "sha256:" + hashlib.sha256(sealed.envelope).hexdigest() == digest(sealed.envelope)
    assert sealed.jws == "sha256:" + hashlib.sha256(sealed.inner).hexdigest()
    opened = open_it(sealed.envelope)
    assert (opened.env, opened.jws, opened.inner) == (sealed.env, sealed.jws, sealed.inner)


def test_content_key_iv_and_salt_are_those_handed_in() -> None:
    sealed = seal_it()
    assert json.loads(sealed.envelope)["iv"] == independent.b64u(IV)
    assert open_it(sealed.envelope).payload.salt == independent.b64u(SALT)


def test_every_key_of_the_recipient_opens_the_same_text() -> None:
    keys = tuple(x_wing(f"{B} message-kem {number}") for number in (1, 2, 3))
    sealed = seal_it(make_draft(kem=keys))
    texts = {independent.decrypt(sealed.envelope, opener_of(B, number))[1] for number in (1, 2, 3)}
    assert texts == {sealed.inner}
    assert {unlock_it(sealed.envelope, key).jws for key in keys} == {sealed.jws}


def test_first_own_key_in_the_list_opens() -> None:
    """Garbage in the entry of another key goes unnoticed here: that key's owner would notice (envelope section 10)."""
    garbage = {"header": {"alg": "HPKE-9-KE", "kid": opener_of(B, 2).kid, "ek": independent.b64u(bytes(1120))}}
    envelope = insider().envelope(
        recipients=lambda made: made.append({**garbage, "encrypted_key": independent.b64u(bytes(48))})
    )
    assert unlock_it(envelope).payload.id == MESSAGE_ID
    with pytest.raises(EnvelopeRejectedError) as refused:
        unlock_it(envelope, x_wing(f"{B} message-kem 2"))
    assert refused.value.step == "6"


@pytest.mark.parametrize("count", [1, 16])
def test_one_to_sixteen_keys_are_taken(count: int) -> None:
    keys = tuple(x_wing(f"{B} key {number}") for number in range(count))
    assert len(read_envelope(seal_it(make_draft(kem=keys)).envelope).recipients) == count


@pytest.mark.parametrize("change", [lambda made: made.clear(), lambda made: made.extend(made * 16)])
def test_no_key_and_seventeen_are_refused(change: Any) -> None:
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(insider().envelope(recipients=change))
    assert refused.value.step == "2"


# --- nothing is sealed that a reader would refuse


@pytest.mark.parametrize(
    "change",
    [
        {"thread": "case 42"},
        {"replaces": "019bbd3c-8ac0-4abc-8def-0123456789ab"},
        {"id": "1"},
        {"recipient": Party(org="Hampshire")},
        {"sender": Party(org=A, acting_for="la 213")},
    ],
    ids=str,
)
def test_draft_that_no_reader_would_take_is_not_sealed(change: dict[str, Any]) -> None:
    with pytest.raises(SubmissionRefusedError) as refused:
        seal_it(make_draft(**change))
    assert refused.value.code == "message.malformed"


def test_largest_message_fits_the_cap() -> None:
    """16 keys and a P of 256 KB stay below 640 KB: no honest message is refused at step 1."""
    openers = tuple(independent.Opener(bytes([n]) * 32) for n in range(16))
    members = make_members(body={"a": ""}, to=[{"org": B, "enc": opener.kid} for opener in openers])
    members["body"]["a"] = "x" * (PAYLOAD_LIMIT - len(independent.wire(members)))
    envelope = independent.seal(members, signer_of(A), [opener.public for opener in openers], cek=CEK, iv=IV)
    assert len(envelope) < ENVELOPE_LIMIT
    assert len(read_envelope(envelope).recipients) == 16


# --- what stands in no log and no traceback


def test_no_secret_and_no_text_of_a_message_is_shown_by_repr() -> None:
    sealed = seal_it()
    shown = repr((sealed, open_it(sealed.envelope), unlock_it(sealed.envelope), pair_of(A), kem_of(B)))
    for secret in ("Okafor", independent.b64u(SALT), "Invented Row"):
        assert secret not in shown
    assert repr(CEK) not in shown


def test_agreement_and_bundle_named_are_those_of_the_draft() -> None:
    payload = open_it(seal_it().envelope).payload
    assert payload.agreement.heads == HEADS
    assert payload.from_.bundle == bundle_of(A).digest
