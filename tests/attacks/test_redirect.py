"""Aim: take a message that somebody wrote to one organisation to another, or slip a reader in, or take one out.

Held off by `to`, which is signed and must equal the outer list of keys: who decrypted a message cannot seal it anew for
someone else (surreptitious forwarding, Davis 2001).
"""

from __future__ import annotations

import pytest

from gateway.core.envelope import prove
from gateway.core.errors import EnvelopeRejectedError
from tests.support import independent
from tests.support.keys import x_wing
from tests.support.messages import (
    CEK,
    IV,
    MESSAGE_ID,
    A,
    B,
    C,
    Forger,
    altered,
    insider,
    kem_of,
    make_draft,
    make_members,
    open_it,
    opener_of,
    pair_of,
    seal_it,
    signer_of,
    unlock_it,
)

SECOND = x_wing(f"{B} message-kem 2")


def test_recipient_cannot_forward_a_message_as_if_it_had_been_written_to_another() -> None:
    # la-850 opens what la-207 wrote to it, and seals the same signed bytes to la-919.
    cek, inner = independent.decrypt(seal_it().envelope, opener_of(B))
    forwarded = independent.encrypt(inner, [independent.wrap(cek, opener_of(C).public)], cek=cek, iv=IV)

    # Signatures alone do not help: they are la-207's, and they verify.
    signed = independent.decrypt(forwarded, opener_of(C))[1]
    assert independent.read_statement(signed, independent.MESSAGE, signer_of(A).publics)["from"]["org"] == A

    claimed = unlock_it(forwarded, kem_of(C))
    with pytest.raises(EnvelopeRejectedError) as refused:  # la-850 brings it itself
        prove(claimed, pair_of(A).public, http_org=B, own=C, idempotency_key=MESSAGE_ID)
    assert refused.value.step == "10"
    with pytest.raises(EnvelopeRejectedError) as refused:  # and even if la-207 brought it
        prove(claimed, pair_of(A).public, http_org=A, own=C, idempotency_key=MESSAGE_ID)
    assert refused.value.step == "12"


def test_message_for_another_organisation_is_refused_though_sealed_to_our_key() -> None:
    envelope = insider().envelope(_to(C))
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(envelope)
    assert refused.value.step == "12"


def test_reader_cannot_be_added_on_the_way() -> None:
    added = independent.wrap(CEK, opener_of(C).public)
    envelope = altered(seal_it().envelope, lambda whole: whole["recipients"].append(added))
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(envelope)
    assert refused.value.step == "4"  # rh


def test_reader_cannot_be_added_by_who_knows_the_content_key() -> None:
    inner = independent.decrypt(seal_it().envelope, opener_of(B))[1]
    recipients = [independent.wrap(CEK, opener.public) for opener in (opener_of(B), opener_of(C))]
    envelope = independent.encrypt(inner, recipients, cek=CEK, iv=IV)
    assert independent.decrypt(envelope, opener_of(B))[1] == inner  # rh and kc are right again
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(envelope)
    assert refused.value.step == "12"


def test_reader_cannot_be_taken_out_on_the_way() -> None:
    sealed = seal_it(make_draft(kem=(kem_of(B), SECOND)))
    assert open_it(sealed.envelope).payload.id == MESSAGE_ID
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(altered(sealed.envelope, lambda whole: whole["recipients"].pop()))
    assert refused.value.step == "4"


def test_reader_cannot_be_taken_out_by_who_knows_the_content_key() -> None:
    sealed = seal_it(make_draft(kem=(kem_of(B), SECOND)))
    inner = independent.decrypt(sealed.envelope, opener_of(B))[1]
    envelope = independent.encrypt(inner, [independent.wrap(CEK, opener_of(B).public)], cek=CEK, iv=IV)
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(envelope)
    assert refused.value.step == "12"


def test_keys_in_another_order_than_signed_are_refused() -> None:
    sealed = seal_it(make_draft(kem=(kem_of(B), SECOND)))
    inner = independent.decrypt(sealed.envelope, opener_of(B))[1]
    swapped = [independent.wrap(CEK, opener.public) for opener in (opener_of(B, 2), opener_of(B))]
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(independent.encrypt(inner, swapped, cek=CEK, iv=IV))
    assert refused.value.step == "12"


def test_one_key_named_twice_is_refused() -> None:
    twice = Forger(signer_of(A), (opener_of(B), opener_of(B)))
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(twice.envelope())
    assert refused.value.step == "5"


def test_message_to_two_organisations_is_refused() -> None:
    members = make_members()
    members["to"].append({"org": C, "enc": opener_of(C).kid})
    envelope = Forger(signer_of(A), (opener_of(B), opener_of(C))).envelope(members)
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(envelope)
    assert refused.value.step == "9"


def test_recipients_acting_for_different_controllers_are_refused() -> None:
    members = make_members()
    members["to"].append({"org": B, "for": "la-851", "enc": opener_of(B, 2).kid})
    envelope = Forger(signer_of(A), (opener_of(B), opener_of(B, 2))).envelope(members)
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(envelope)
    assert refused.value.step == "9"


def test_message_brought_under_another_id_is_refused() -> None:
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(seal_it().envelope, idempotency_key="019bbd3c-8ac0-7abc-8def-ffffffffffff")
    assert refused.value.step == "12"


def test_message_sealed_to_nobody_here_is_refused() -> None:
    with pytest.raises(EnvelopeRejectedError) as refused:
        unlock_it(seal_it().envelope, kem_of(C))
    assert refused.value.step == "5"


def _to(org: str) -> dict[str, object]:
    members = make_members()
    members["to"][0]["org"] = org
    return members
