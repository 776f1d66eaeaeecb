"""Which own secret key is in force for a job at an instant."""

from __future__ import annotations

import pytest

from keys.keyset import StoredKey
from keys.listed import DAY, Role
from keys.ring import KeyRing, KeyUnavailableError
from tests.support.keys import (
    NOW,
    ed25519,
    make_bundle,
    make_entries,
    make_entry,
    make_origin,
    make_pair,
    make_revocation,
    make_ring,
    make_secrets,
    x_wing,
)

RING = make_ring()
KEM = x_wing("la-850 message-kem 1")
YEAR_ON = RING.bundle.keys[5].retire


def ring_without(role: Role) -> KeyRing:
    return KeyRing(bundle=RING.bundle, secrets=tuple(key for key in make_secrets() if key.role != role))


def test_messages_are_signed_with_the_active_pair_and_its_end_is_told():
    signing = RING.signing(NOW)
    assert signing.pair.kids == make_pair("la-850 message-sign").kids
    assert signing.exp == YEAR_ON + 30 * DAY


def test_agreements_are_signed_with_their_own_pair():
    assert RING.agreement(NOW).pair.kids == make_pair("la-850 agreement-sign").kids


def test_requests_and_checkpoints_have_keys_of_their_own():
    assert RING.http(NOW) == ed25519("la-850 http")
    assert RING.log(NOW).key == ed25519("la-850 log")
    assert RING.log(NOW).origin == make_origin()


def test_ring_speaks_for_the_organisation_of_its_bundle():
    assert RING.org == "la-850"


@pytest.mark.parametrize(
    ("role", "ask"),
    [
        (Role.MESSAGE_SIGN, KeyRing.signing),
        (Role.AGREEMENT_SIGN, KeyRing.agreement),
        (Role.HTTP, KeyRing.http),
        (Role.LOG, KeyRing.log),
    ],
)
def test_missing_key_is_named_by_its_role(role: Role, ask: object):
    assert callable(ask)
    for ring, now in ((ring_without(role), NOW), (RING, YEAR_ON), (RING, RING.bundle.iat - 1)):
        with pytest.raises(KeyUnavailableError, match=role) as caught:
            ask(ring, now)
        assert caught.value.role is role


def test_half_a_pair_signs_nothing():
    secrets = tuple(key for key in make_secrets() if key.kid != make_pair("la-850 message-sign").kids[1])
    ring = KeyRing(bundle=RING.bundle, secrets=secrets)
    assert ring.missing(NOW) == (Role.MESSAGE_SIGN,)
    with pytest.raises(KeyUnavailableError):
        ring.signing(NOW)


def test_revoked_pair_signs_nothing():
    revoked = make_revocation(make_pair("la-850 message-sign").kids[0])
    with pytest.raises(KeyUnavailableError):
        make_ring(bundle=make_bundle(revoked=(revoked,))).signing(NOW)


def test_newest_active_pair_that_is_held_signs():
    newer = make_pair("newer")
    listed = (*make_entries(), *(make_entry(Role.MESSAGE_SIGN, secret, nbf=NOW) for secret in newer.signers))
    bundle = make_bundle(keys=listed)
    assert make_ring(bundle=bundle).signing(NOW).pair.kids == make_pair("la-850 message-sign").kids
    held = (*make_secrets(), *(StoredKey(Role.MESSAGE_SIGN, secret) for secret in newer.signers))
    assert KeyRing(bundle=bundle, secrets=held).signing(NOW).pair.kids == newer.kids


def test_secret_kept_for_another_job_is_not_used():
    secrets = tuple(StoredKey(Role.LOG, key.secret) if key.role == Role.HTTP else key for key in make_secrets())
    with pytest.raises(KeyUnavailableError):
        KeyRing(bundle=RING.bundle, secrets=secrets).http(NOW)


@pytest.mark.parametrize(
    ("shift", "opens"),
    [(-10 * DAY - 301, False), (-10 * DAY - 300, True), (0, True), (51 * DAY - 1, True), (51 * DAY, False)],
)
def test_kem_key_opens_from_five_minutes_early_until_it_expires(shift: int, opens: bool):
    assert RING.opening(KEM.public.kid, NOW + shift) == (KEM if opens else None)


def test_revoked_kem_key_opens_nothing():
    bundle = make_bundle(revoked=(make_revocation(KEM.public.kid),))
    assert make_ring(bundle=bundle).opening(KEM.public.kid, NOW) is None


def test_kem_key_without_its_seed_opens_nothing():
    assert ring_without(Role.MESSAGE_KEM).opening(KEM.public.kid, NOW) is None


def test_key_that_is_not_ours_or_no_kem_key_opens_nothing():
    assert RING.opening(x_wing("theirs").public.kid, NOW) is None
    assert RING.opening(ed25519("la-850 http").public.kid, NOW) is None
    assert RING.opening("", NOW) is None


def test_full_ring_misses_nothing():
    assert RING.missing(NOW) == ()
    assert RING.not_held() == ()


@pytest.mark.parametrize("role", [Role.HTTP, Role.LOG, Role.MESSAGE_SIGN, Role.MESSAGE_KEM])
def test_role_without_a_secret_is_missing(role: Role):
    ring = ring_without(role)
    assert ring.missing(NOW) == (role,)
    assert {key.role for key in ring.not_held()} == {role}


def test_serving_needs_no_pair_for_agreements():
    ring = ring_without(Role.AGREEMENT_SIGN)
    assert ring.missing(NOW) == ()
    assert len(ring.not_held()) == 2


def test_everything_is_missing_under_an_expired_bundle():
    assert len(RING.missing(RING.bundle.exp)) == 4


def test_kem_key_whose_time_has_not_come_is_missing():
    listed = tuple(key for key in make_entries() if key.role is not Role.MESSAGE_KEM or key.nbf > NOW)
    assert make_ring(bundle=make_bundle(keys=listed)).missing(NOW) == (Role.MESSAGE_KEM,)


def test_ring_shows_no_secret():
    shown = repr(RING)
    assert not any(key.secret.seed.hex() in shown or repr(key.secret.seed) in shown for key in RING.secrets)
    assert "StoredKey" not in shown
