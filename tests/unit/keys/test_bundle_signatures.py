"""Who must have signed a bundle, and that nothing in it can be changed afterwards."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.document import read_wire, write_wire
from keys.errors import BundleError
from keys.statement import read_statement, sign_statement
from keys.suite import BUNDLE_TYPE, MESSAGE_TYPE
from tests.support.keys import accept, make_bundle, make_jws, make_pair, make_request, make_roots

PAYLOAD = read_statement(make_jws(make_request()), limit=1 << 20).payload


@cache
def published() -> bytes:
    return make_jws(make_request())


def refusal(jws: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        accept(jws, org="la-850")
    return caught.value.code


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_bundle_with_any_byte_changed_is_refused(data: st.DataObject):
    jws = bytearray(published())
    place = data.draw(st.integers(0, len(jws) - 1))
    jws[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BundleError):
        accept(bytes(jws), org="la-850")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_held_bundle_with_any_byte_changed_is_refused(data: st.DataObject):
    bundle = make_bundle()
    jws = bytearray(bundle.jws)
    place = data.draw(st.integers(0, len(jws) - 1))
    jws[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BundleError):
        accept(bytes(jws), org="la-850", history=(bundle,))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_other_bytes_are_refused_with_a_bundle_error(data: bytes):
    assert refusal(data) == "bundle.malformed"


def test_bundle_signed_by_other_roots_is_refused():
    assert refusal(sign_statement(PAYLOAD, BUNDLE_TYPE, make_pair("thief").signers)) == "bundle.signature"


def test_bundle_with_one_root_of_another_pair_is_refused():
    roots = make_roots()
    assert refusal(sign_statement(PAYLOAD, BUNDLE_TYPE, (roots.ed, make_pair("thief").ml))) == "bundle.signature"


def test_bundle_signed_as_a_message_is_refused():
    assert refusal(sign_statement(PAYLOAD, MESSAGE_TYPE, make_roots().signers)) == "bundle.signature"


def test_bundle_with_one_signature_is_refused():
    value = read_wire(published(), limit=1 << 20)
    del value["signatures"][1]
    assert refusal(write_wire(value)) == "bundle.malformed"


def test_bundle_with_the_same_signatures_twice_is_refused():
    value = read_wire(published(), limit=1 << 20)
    value["signatures"] *= 2
    assert refusal(write_wire(value)) == "bundle.roots"


def test_bundle_above_the_size_cap_is_refused_unread():
    assert refusal(published() + b" " * (640 * 1024)) == "bundle.malformed"


def test_bundle_of_another_organisation_is_refused():
    with pytest.raises(BundleError) as caught:
        accept(published(), org="la-207")
    assert caught.value.code == "bundle.org"
