"""Which key a bundle gives for a job at an instant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.listed import DAY, KeyState, Period, Role
from tests.support.keys import (
    ISSUED,
    NOW,
    ed25519,
    make_bundle,
    make_entries,
    make_entry,
    make_origin,
    make_pair,
    make_revocation,
    ml_dsa_65,
    x_wing,
)

BUNDLE = make_bundle()
SIGNING = make_pair("la-850 message-sign").kids
AGREEING = make_pair("la-850 agreement-sign").kids
PERIOD = Period(nbf=1_000, retire=2_000, exp=3_000)


@pytest.mark.parametrize(
    ("at", "state"),
    [
        (999, KeyState.NEXT),
        (1_000, KeyState.ACTIVE),
        (1_999, KeyState.ACTIVE),
        (2_000, KeyState.RETIRING),
        (2_999, KeyState.RETIRING),
        (3_000, KeyState.EXPIRED),
    ],
)
def test_state_changes_at_nbf_retire_and_exp(at: int, state: KeyState):
    assert PERIOD.state(at) is state


@given(st.integers(0, 4_000))
def test_reader_takes_active_and_retiring_keys_and_the_owner_opens_five_minutes_earlier(at: int):
    assert PERIOD.valid_at(at) == (PERIOD.state(at) in (KeyState.ACTIVE, KeyState.RETIRING))
    assert PERIOD.opens_at(at) == (PERIOD.valid_at(at) or 700 <= at < 1_000)


def test_key_is_found_by_its_id_in_any_state():
    key = BUNDLE.keys[2]
    assert key.state(NOW) is KeyState.NEXT
    assert BUNDLE.find(key.kid) is key


def test_unknown_key_id_finds_nothing():
    assert BUNDLE.find(ed25519("unknown").public.kid) is None


def test_pair_is_found_by_its_two_ids_in_order():
    pair = BUNDLE.message_sign_pair_for(SIGNING)
    assert pair is not None
    assert pair.kids == SIGNING
    assert BUNDLE.message_sign_pair_for(SIGNING[::-1]) is None


def test_halves_of_two_pairs_are_no_pair():
    ed, ml = ed25519("second"), ml_dsa_65("second")
    keys = (*make_entries(), *(make_entry(Role.MESSAGE_SIGN, secret) for secret in (ed, ml)))
    bundle = make_bundle(keys=keys)
    assert bundle.message_sign_pair_for((SIGNING[0], ml.public.kid)) is None
    assert bundle.message_sign_pair_for((ed.public.kid, ml.public.kid)) is not None


def test_pair_for_agreements_signs_no_message():
    assert BUNDLE.message_sign_pair_for(AGREEING) is None
    assert BUNDLE.agreement_sign_pair_for(SIGNING) is None
    assert BUNDLE.agreement_sign_pair_for(AGREEING) is not None


def test_pair_is_trusted_where_it_is_valid_at_every_instant():
    pair = BUNDLE.message_sign_pair_for(SIGNING)
    assert pair is not None
    assert BUNDLE.trusts(pair, pair.nbf, NOW, pair.exp - 1)
    assert not BUNDLE.trusts(pair, NOW, pair.exp)
    assert not BUNDLE.trusts(pair, pair.nbf - 1, NOW)


@pytest.mark.parametrize("half", [0, 1])
def test_pair_with_a_revoked_half_is_not_trusted_and_signs_nothing(half: int):
    bundle = make_bundle(revoked=(make_revocation(SIGNING[half], since=NOW + DAY),))
    pair = bundle.message_sign_pair_for(SIGNING)
    assert pair is not None
    assert not bundle.trusts(pair, NOW)
    assert bundle.active_message_sign(NOW) is None


def test_sealing_takes_the_active_kem_key_of_the_day():
    first, second, third = BUNDLE.keys[:3]
    assert BUNDLE.active_message_kem(first.nbf - 1) is None
    assert BUNDLE.active_message_kem(first.retire - 1) == first
    assert BUNDLE.active_message_kem(first.retire) == second
    assert BUNDLE.active_message_kem(third.retire) is None


def test_sealing_takes_no_revoked_key():
    bundle = make_bundle(revoked=(make_revocation(BUNDLE.keys[0].kid),))
    assert bundle.active_message_kem(NOW) is None


def test_newest_of_several_active_keys_is_taken():
    newer = make_entry(Role.MESSAGE_KEM, x_wing("newer"), nbf=NOW - DAY)
    bundle = make_bundle(keys=(newer, *make_entries()))
    assert bundle.active_message_kem(NOW) == newer
    assert len(bundle.active_keys(Role.MESSAGE_KEM, NOW)) == 2


def test_newest_of_several_active_pairs_is_taken():
    newer = make_pair("newer")
    keys = (*make_entries(), *(make_entry(Role.MESSAGE_SIGN, secret, nbf=NOW) for secret in newer.signers))
    pair = make_bundle(keys=keys).active_message_sign(NOW)
    assert pair is not None
    assert pair.kids == newer.kids


def test_retiring_pair_signs_nothing_and_is_read():
    pair = BUNDLE.message_sign_pair_for(SIGNING)
    assert pair is not None
    assert BUNDLE.active_message_sign(pair.retire - 1) == pair
    assert BUNDLE.active_message_sign(pair.retire) is None
    assert BUNDLE.trusts(pair, pair.retire)


def test_request_is_judged_by_an_http_key_only():
    http, log = BUNDLE.keys[5], BUNDLE.keys[6]
    assert BUNDLE.http_key_for(http.kid, NOW) == http.public
    assert BUNDLE.http_key_for(log.kid, NOW) is None


def test_request_under_an_expired_bundle_has_no_key():
    kid = BUNDLE.keys[5].kid
    assert BUNDLE.http_key_for(kid, BUNDLE.exp - 1) is not None
    assert BUNDLE.http_key_for(kid, BUNDLE.exp) is None


def test_revoked_http_key_is_no_key_whatever_the_time_of_revocation():
    kid = BUNDLE.keys[5].kid
    bundle = make_bundle(revoked=(make_revocation(kid, since=NOW + DAY),))
    assert bundle.http_key_for(kid, NOW) is None
    assert bundle.active_http(NOW) is None


def test_log_keys_are_found_by_origin():
    log = BUNDLE.keys[6]
    assert BUNDLE.log_keys_for(make_origin(), NOW) == (log.public,)
    assert BUNDLE.log_keys_for(make_origin("la-207"), NOW) == ()
    assert BUNDLE.log_keys_for(make_origin(), log.exp) == ()
    assert BUNDLE.has_log(make_origin())
    assert not BUNDLE.has_log(make_origin("la-207"))


def test_each_role_has_its_active_key():
    http, log, agreeing = BUNDLE.active_http(NOW), BUNDLE.active_log(NOW), BUNDLE.active_agreement_sign(NOW)
    assert http is not None
    assert http.role is Role.HTTP
    assert log is not None
    assert log.origin == make_origin()
    assert agreeing is not None
    assert agreeing.kids == AGREEING
    assert BUNDLE.active_http(ISSUED - 1) is None


def test_marks_hold_every_key_its_bytes_and_both_root_pairs():
    kem = BUNDLE.keys[0].public
    assert {kem.kid, kem.raw, kem.x25519_half} <= BUNDLE.marks
    assert {*BUNDLE.roots.kids, *BUNDLE.next_roots, BUNDLE.roots.ed.raw, BUNDLE.roots.ml.raw} <= BUNDLE.marks


def test_bundle_does_not_show_its_bytes():
    assert repr(BUNDLE.jws) not in repr(BUNDLE)
