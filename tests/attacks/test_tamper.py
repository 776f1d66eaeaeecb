"""Aim: change a message on its way, so that the receiver takes something that was not sent.

Held off by AES-GCM over everything that is sealed, `rh` over the recipients, and one wire form for all that is not: there
is no byte of an envelope that can be another one.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import EnvelopeRejectedError
from tests.support import independent
from tests.support.messages import (
    MESSAGE_ID,
    altered,
    insider,
    make_body,
    make_checked,
    make_draft,
    make_members,
    open_it,
    seal_it,
)


@cache
def envelope() -> bytes:
    return seal_it().envelope


def refuse(data: bytes) -> str:
    """Assert that the bytes are refused with the one public code; return the step for the local log."""
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(data)
    assert refused.value.code == "unreadable"
    return refused.value.step


def test_untouched_message_opens() -> None:
    assert open_it(envelope()).payload.id == MESSAGE_ID


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_byte_that_becomes_another_is_refused(data: st.DataObject) -> None:
    whole = bytearray(envelope())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != envelope()[place]))
    refuse(bytes(whole))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_bytes_left_out_are_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(envelope()) - 1))
    length = data.draw(st.integers(1, 64))
    refuse(envelope()[:place] + envelope()[place + length :])


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_bytes_put_in_are_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(envelope())))
    refuse(envelope()[:place] + data.draw(st.binary(min_size=1, max_size=32)) + envelope()[place:])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_every_truncation_is_refused(length: int) -> None:
    refuse(envelope()[: min(length, len(envelope()) - 1)])


@pytest.mark.parametrize("end", [b" ", b"\n", b"\r\n", b"\t", b"\0", b"{}", b'"'])
def test_anything_appended_is_refused(end: bytes) -> None:
    refuse(envelope() + end)
    refuse(end + envelope())


def test_every_byte_outside_the_long_texts_is_guarded() -> None:
    """What Hypothesis may miss: each byte of the frame, one bit changed (the long texts are base64url of sealed bytes)."""
    members = json.loads(envelope())
    long_texts = [members["ciphertext"], members["recipients"][0]["header"]["ek"]]
    inside = [(envelope().index(text.encode()), len(text)) for text in long_texts]
    for place in range(len(envelope())):
        if any(start + 8 < place < start + length - 8 for start, length in inside):
            continue
        whole = bytearray(envelope())
        whole[place] ^= 1
        refuse(bytes(whole))


@pytest.mark.parametrize("member", ["protected", "recipients", "iv", "ciphertext", "tag"])
def test_part_of_another_message_is_refused(member: str) -> None:
    other = json.loads(seal_it(make_draft(make_checked(make_body(child__name__given="Mara"))), cek=b"k" * 32).envelope)
    if member == "iv":
        other["iv"] = "AAAAAAAAAAAAAAAA"  # two messages of these tests have the same
    assert refuse(altered(envelope(), lambda whole: whole.update({member: other[member]}))) in {"4", "6", "7", "8"}


def test_empty_and_huge_bytes_are_refused_before_they_are_parsed() -> None:
    assert refuse(b"") == "2"
    assert refuse(b"[" * (640 * 1024)) == "2"
    assert refuse(b" " * (640 * 1024 + 1)) == "1"


# --- anything at all, in every place

json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=80)
@given(place=st.sampled_from(["protected", "recipients", "iv", "ciphertext", "tag"]), value=json_values)
def test_whatever_stands_in_a_place_of_the_envelope_is_refused(place: str, value: object) -> None:
    refuse(altered(envelope(), lambda whole: whole.update({place: value})))


@settings(deadline=None, max_examples=60)
@given(place=st.sampled_from(["alg", "kid", "ek", "header", "encrypted_key"]), value=json_values)
def test_whatever_stands_in_a_recipient_is_refused(place: str, value: object) -> None:
    def alter(made: list[dict[str, Any]]) -> None:
        inside = made[0] if place in made[0] else made[0]["header"]
        inside[place] = value

    refuse(insider().envelope(recipients=alter))


@settings(deadline=None, max_examples=80)
@given(place=st.sampled_from([name for name in make_members() if name != "body"]), value=json_values)
def test_whatever_a_true_sender_signs_is_a_payload_or_refused(place: str, value: object) -> None:
    with suppress(EnvelopeRejectedError):  # nothing else may come out
        open_it(insider().envelope({**make_members(), place: value}))


@settings(deadline=None, max_examples=60)
@given(inner=st.binary(max_size=200) | json_values.map(independent.wire))
def test_whatever_a_true_sender_seals_is_a_statement_or_refused(inner: bytes) -> None:
    assert refuse(insider().envelope(inner=inner)) == "9"
