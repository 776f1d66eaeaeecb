"""Aim: write in another organisation's name.

Held off by `from.sig`: the two keys are named inside what is signed, come from the bundle of the organisation that signed
the HTTP request and from nowhere else, and both signatures are verified, each by itself and in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from gateway.core.errors import EnvelopeRejectedError
from tests.support import independent
from tests.support.keys import seed
from tests.support.messages import (
    A,
    B,
    C,
    Forger,
    altered,
    insider,
    make_members,
    open_it,
    opener_of,
    pair_of,
    seal_it,
    signer_of,
)


def refuse(envelope: bytes, **how: Any) -> str:
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(envelope, **how)
    assert refused.value.code == "unreadable"
    return refused.value.step


def test_message_brought_by_another_organisation_than_wrote_it_is_refused() -> None:
    assert refuse(seal_it().envelope, http_org=C) == "10"


def test_stranger_who_names_our_partner_and_its_keys_is_refused() -> None:
    stranger = signer_of(C)
    inner = independent.wire(
        {
            "payload": independent.b64u(independent.wire(make_members())),
            "signatures": stranger.signatures(
                independent.wire(make_members()), independent.MESSAGE, kids=signer_of(A).kids
            ),
        }
    )
    assert refuse(insider().envelope(inner=inner)) == "11"


def test_stranger_who_names_our_partner_and_its_own_keys_is_refused() -> None:
    members = make_members(from__sig=list(signer_of(C).kids))
    assert refuse(Forger(signer_of(C), (opener_of(B),)).envelope(members)) == "10"


def test_stranger_cannot_be_the_partner_by_bringing_both_name_and_keys() -> None:
    """la-919 signs everything as itself but `from.org`: its own HTTP key, its own bundle's keys."""
    members = make_members(from__sig=list(signer_of(C).kids))
    envelope = Forger(signer_of(C), (opener_of(B),)).envelope(members)
    assert refuse(envelope, by=pair_of(C).public, http_org=C) == "10"


def test_one_good_signature_of_two_is_not_enough() -> None:
    """What a library that accepts any one of several signatures would let through."""
    payload = independent.wire(make_members())
    mixed = independent.Signer(seed(f"{A} message-sign ed25519"), seed("broken ml-dsa-65"))
    signatures = mixed.signatures(payload, independent.MESSAGE, kids=signer_of(A).kids)
    signed = f"{signatures[0]['protected']}.{independent.b64u(payload)}".encode()
    good = ed25519.Ed25519PublicKey.from_public_bytes(signer_of(A).publics[0])
    good.verify(independent.unb64u(signatures[0]["signature"]), signed)  # the first alone verifies

    inner = independent.wire({"payload": independent.b64u(payload), "signatures": signatures})
    assert refuse(insider().envelope(inner=inner)) == "11"


def test_broken_classical_signature_is_refused_though_the_other_is_good() -> None:
    payload = independent.wire(make_members())
    mixed = independent.Signer(seed("broken ed25519"), seed(f"{A} message-sign ml-dsa-65"))
    inner = independent.wire(
        {
            "payload": independent.b64u(payload),
            "signatures": mixed.signatures(payload, independent.MESSAGE, kids=signer_of(A).kids),
        }
    )
    assert refuse(insider().envelope(inner=inner)) == "11"


Surgery = Callable[[list[Any]], object]


@pytest.mark.parametrize(
    "surgery",
    [
        pytest.param(lambda signatures: signatures.pop(), id="post-quantum signature stripped"),
        pytest.param(lambda signatures: signatures.pop(0), id="classical signature stripped"),
        pytest.param(lambda signatures: signatures.clear(), id="both stripped"),
        pytest.param(lambda signatures: signatures.append(signatures[1]), id="one doubled"),
        pytest.param(lambda signatures: signatures.extend(signatures[:]), id="both doubled"),
        pytest.param(lambda signatures: signatures.reverse(), id="order swapped"),
        pytest.param(lambda signatures: signatures.__setitem__(1, signatures[0]), id="the same twice"),
    ],
)
def test_other_signatures_than_the_two_named_in_their_order_are_refused(surgery: Surgery) -> None:
    inner = altered(insider().inner(make_members()), lambda statement: surgery(statement["signatures"]))
    assert refuse(insider().envelope(inner=inner)) == "9"


def test_signature_for_something_else_is_no_signature_for_a_message() -> None:
    """A statement that la-207 truly signed with these keys, as a receipt, is not taken as a message."""
    inner = signer_of(A).sign(independent.wire(make_members()), independent.RECEIPT)
    assert refuse(insider().envelope(inner=inner)) == "9"


def test_keys_of_another_job_of_the_same_organisation_are_refused() -> None:
    agreeing = independent.Signer(seed(f"{A} agreement-sign ed25519"), seed(f"{A} agreement-sign ml-dsa-65"))
    members = make_members(from__sig=list(agreeing.kids))
    assert refuse(Forger(agreeing, (opener_of(B),)).envelope(members)) == "10"


def test_header_that_names_another_key_than_p_is_refused() -> None:
    payload = independent.wire(make_members())
    inner = independent.wire(
        {
            "payload": independent.b64u(payload),
            "signatures": signer_of(A).signatures(payload, independent.MESSAGE, kids=signer_of(C).kids),
        }
    )
    assert refuse(insider().envelope(inner=inner)) == "9"


def test_small_order_signature_that_signs_everything_is_refused() -> None:
    """S = 0 and R the neutral element verify for a small-order key under lax rules; ours are never such keys."""
    payload = independent.wire(make_members())
    signatures = signer_of(A).signatures(payload, independent.MESSAGE)
    signatures[0]["signature"] = independent.b64u(b"\x01" + bytes(63))
    inner = independent.wire({"payload": independent.b64u(payload), "signatures": signatures})
    assert refuse(insider().envelope(inner=inner)) == "11"


def test_signature_with_s_beyond_the_group_order_is_refused() -> None:
    """The second form of a valid Ed25519 signature, S + L, that lax verifiers take."""
    payload = independent.wire(make_members())
    signatures = signer_of(A).signatures(payload, independent.MESSAGE)
    good = independent.unb64u(signatures[0]["signature"])
    order = 2**252 + 27742317777372353535851937790883648493
    other = good[:32] + (int.from_bytes(good[32:], "little") + order).to_bytes(32, "little")
    signatures[0]["signature"] = independent.b64u(other)
    inner = independent.wire({"payload": independent.b64u(payload), "signatures": signatures})
    assert refuse(insider().envelope(inner=inner)) == "11"
