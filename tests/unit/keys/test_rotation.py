"""Which keys are made when, and what the request lists."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.bundle import KeyBundle, UnsignedBundle
from keys.errors import BundleError
from keys.keyset import StoredKey
from keys.listed import DAY, Holder, Role
from keys.ring import KeyRing
from keys.rotation import RotationPlan, closed_kems, covered_until, plan_request, witness_name
from tests.support.keys import (
    NOW,
    ORG,
    accept,
    ed25519,
    make_endpoints,
    make_entry,
    make_jws,
    make_makers,
    make_origin,
    make_revocation,
)


def plan(newest: KeyBundle | None = None, *, now: int = NOW, **changes: Any) -> RotationPlan:
    settings: dict[str, Any] = {
        "org": ORG,
        "name": "Invented Council",
        "endpoints": make_endpoints(),
        "origin": make_origin(),
        "newest": newest,
        "revoke": (),
        "now": now,
        "makers": make_makers(f"{now} {newest.seq if newest else 0}"),
    }
    return plan_request(**(settings | changes))


def publish(planned: RotationPlan, *history: KeyBundle) -> KeyBundle:
    return accept(make_jws(planned.request), history=history, now=planned.request.iat)


def roles(keys: tuple[StoredKey, ...]) -> list[str]:
    return [key.role for key in keys]


FIRST = plan()


def test_first_request_makes_every_key():
    assert roles(FIRST.gateway) == [*["message-kem"] * 3, "message-sign", "message-sign", "http", "log", "witness"]
    assert roles(FIRST.agreement) == ["agreement-sign", "agreement-sign"]


def test_every_key_made_is_listed_and_every_key_listed_was_made():
    assert {key.kid for key in (*FIRST.gateway, *FIRST.agreement)} == {key.kid for key in FIRST.request.keys}


def test_first_request_begins_the_history_now_for_ninety_days():
    request = FIRST.request
    assert (request.seq, request.prev, request.iat, request.exp) == (1, None, NOW, NOW + 90 * DAY)
    assert request.suites == ("sh1",)


def test_three_kem_keys_follow_each_other_for_ninety_days():
    kems = [key for key in FIRST.request.keys if key.role is Role.MESSAGE_KEM]
    assert [(key.nbf - NOW, key.retire - NOW, key.exp - NOW) for key in kems] == [
        (0, 30 * DAY, 61 * DAY),
        (30 * DAY, 60 * DAY, 91 * DAY),
        (60 * DAY, 90 * DAY, 121 * DAY),
    ]


def test_signing_keys_last_a_year_and_are_read_thirty_days_longer():
    for key in FIRST.request.keys:
        if key.role is not Role.MESSAGE_KEM:
            assert (key.nbf, key.retire, key.exp) == (NOW, NOW + 365 * DAY, NOW + 395 * DAY)


def test_log_key_carries_the_origin_and_every_key_is_the_gateways():
    assert [key.origin for key in FIRST.request.keys if key.role is Role.LOG] == [make_origin()]
    assert {key.holder for key in FIRST.request.keys} == {Holder.GATEWAY}


def test_request_is_accepted_once_it_is_signed():
    bundle = publish(FIRST)
    assert KeyRing(bundle=bundle, secrets=FIRST.gateway).missing(NOW) == ()


def test_request_goes_through_its_file():
    assert UnsignedBundle.from_bytes(FIRST.request.to_bytes()) == FIRST.request


def test_next_request_follows_the_newest_bundle():
    newest = publish(FIRST)
    request = plan(newest, now=NOW + 60 * DAY).request
    assert (request.seq, request.prev) == (2, newest.digest)
    assert publish(plan(newest, now=NOW + 60 * DAY), newest).seq == 2


def test_request_at_once_makes_no_key():
    again = plan(publish(FIRST))
    assert again.gateway == again.agreement == ()
    assert again.request.keys == FIRST.request.keys


def test_only_the_kem_periods_that_are_not_covered_are_made():
    later = plan(publish(FIRST), now=NOW + 60 * DAY)
    assert roles(later.gateway) == ["message-kem", "message-kem"]
    assert later.agreement == ()


def test_expired_keys_are_dropped_and_retiring_ones_are_not():
    later = plan(publish(FIRST), now=NOW + 61 * DAY)
    kept = {key.kid for key in later.request.keys}
    first, second, _ = (key for key in FIRST.request.keys if key.role is Role.MESSAGE_KEM)
    assert first.kid not in kept
    assert second.kid in kept


def test_signing_keys_are_announced_before_the_old_ones_retire():
    early = plan(publish(FIRST), now=NOW + 300 * DAY)
    assert roles(early.gateway)[-5:] == ["message-sign", "message-sign", "http", "log", "witness"]
    assert roles(early.agreement) == ["agreement-sign", "agreement-sign"]
    signing = [key for key in early.request.keys if key.role is Role.MESSAGE_SIGN]
    assert [key.nbf - NOW for key in signing] == [0, 0, 365 * DAY, 365 * DAY]
    assert signing[0].exp - signing[2].nbf == 30 * DAY


def test_revoked_key_is_replaced_from_now_and_stays_listed():
    newest = publish(FIRST)
    lost = next(key for key in newest.keys if key.role is Role.HTTP)
    later = plan(newest, revoke=(make_revocation(lost.kid),))
    assert roles(later.gateway) == ["http"]
    assert later.request.revoked[0].kid == lost.kid
    assert lost in later.request.keys
    active = publish(later, newest).active_http(NOW)
    assert active is not None
    assert active.kid == later.gateway[0].kid


@pytest.mark.parametrize("half", [0, 1])
def test_pair_with_a_revoked_half_is_replaced_whole(half: int):
    newest = publish(FIRST)
    lost = [key for key in newest.keys if key.role is Role.AGREEMENT_SIGN][half]
    later = plan(newest, revoke=(make_revocation(lost.kid),))
    assert roles(later.agreement) == ["agreement-sign", "agreement-sign"]
    assert later.gateway == ()


def test_revocations_are_kept_for_ever():
    newest = publish(FIRST)
    entry = make_revocation(newest.keys[0].kid)
    second = publish(plan(newest, revoke=(entry,)), newest)
    assert plan(second, now=NOW + 80 * DAY).request.revoked == (entry,)


def test_new_epoch_of_the_log_gets_a_new_key():
    later = plan(publish(FIRST), origin="safehand.la-850.example/exchange-log/2")
    assert roles(later.gateway) == ["log"]


def test_witness_key_is_named_after_the_organisation():
    assert [key.name for key in FIRST.request.keys if key.role is Role.WITNESS] == [f"safehand.{ORG}/witness/1"]
    witness = KeyRing(bundle=publish(FIRST), secrets=FIRST.gateway).witness(NOW)
    assert witness is not None
    assert witness.name == witness_name(ORG)


def test_a_bundle_from_before_there_were_witnesses_gets_a_witness_key_at_the_next_request():
    without = tuple(key for key in FIRST.request.keys if key.role is not Role.WITNESS)
    newest = accept(make_jws(replace(FIRST.request, keys=without)), now=NOW)
    assert KeyRing(bundle=newest, secrets=FIRST.gateway).witness(NOW) is None
    assert roles(plan(newest).gateway) == ["witness"]


def test_witness_key_is_kept_and_not_made_again():
    witness = make_entry(Role.WITNESS, ed25519("witness"), name="la-850 witness")
    without = tuple(key for key in FIRST.request.keys if key.role is not Role.WITNESS)
    newest = accept(make_jws(replace(FIRST.request, keys=(*without, witness))), now=NOW)
    assert witness in plan(newest).request.keys
    assert plan(newest).gateway == ()
    assert newest.witness_keys(NOW) == (("la-850 witness", witness.public),)


def test_settings_that_no_bundle_may_hold_are_refused_before_signing():
    with pytest.raises(BundleError):
        plan(name="")


def test_role_covered_by_nobody_is_covered_until_now_and_by_a_chain_of_keys_until_the_last_retires():
    bundle = publish(FIRST)
    assert covered_until(bundle, Role.MESSAGE_KEM, NOW) == NOW + 90 * DAY
    assert covered_until(bundle, Role.HTTP, NOW) == covered_until(bundle, Role.MESSAGE_SIGN, NOW) == NOW + 365 * DAY
    assert covered_until(bundle, Role.MESSAGE_KEM, NOW - 1) == NOW - 1


def test_key_for_a_gap_between_kem_keys_ends_where_the_next_one_begins():
    newest = publish(FIRST)
    lost = next(key for key in newest.keys if key.role is Role.MESSAGE_KEM)
    later = plan(newest, now=NOW + 10 * DAY, revoke=(make_revocation(lost.kid),))
    (made, *_) = (key for key in later.request.keys if key.kid in {one.kid for one in later.gateway})
    assert (made.nbf, made.retire, made.exp) == (NOW + 10 * DAY, NOW + 30 * DAY, NOW + 61 * DAY)


def test_kem_key_that_retires_within_seven_days_is_not_replaced_early():
    later = plan(publish(FIRST), now=NOW + 25 * DAY, early={Role.MESSAGE_KEM})
    first = next(key for key in later.request.keys if key.role is Role.MESSAGE_KEM)
    assert first.retire == NOW + 30 * DAY
    assert {key.nbf for key in later.request.keys if key.role is Role.MESSAGE_KEM} == {
        NOW,
        NOW + 30 * DAY,
        NOW + 60 * DAY,
        NOW + 90 * DAY,
    }


def test_plan_shows_no_secret():
    assert "StoredKey" not in repr(FIRST)


def test_kem_keys_past_their_end_are_to_be_destroyed():
    first = publish(FIRST)
    second = publish(plan(first, now=NOW + 60 * DAY), first)
    kems = [key for key in first.keys if key.role is Role.MESSAGE_KEM]
    assert closed_kems((first, second), NOW + 61 * DAY - 1) == ()
    assert closed_kems((first, second), NOW + 61 * DAY) == (kems[0].kid,)
    assert closed_kems((first, second), NOW + 91 * DAY) == (kems[0].kid, kems[1].kid)


def test_revoked_kem_key_is_to_be_destroyed_at_once():
    first = publish(FIRST)
    kem = next(key for key in first.keys if key.role is Role.MESSAGE_KEM)
    second = publish(plan(first, revoke=(make_revocation(kem.kid),)), first)
    assert closed_kems((first, second), NOW) == (kem.kid,)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 89), min_size=1, max_size=8))
def test_no_role_is_ever_without_a_key_while_bundles_are_renewed_in_time(days: list[int]):
    history: tuple[KeyBundle, ...] = (publish(FIRST),)
    secrets = FIRST.gateway + FIRST.agreement
    now = NOW
    for wait in days:
        until = now + wait * DAY
        ring = KeyRing(bundle=history[-1], secrets=secrets)
        edges = {key.nbf for key in history[-1].keys} | {key.retire for key in history[-1].keys}
        instants = {now, until - 1, *range(now, until, 7 * DAY), *edges, *(edge - 1 for edge in edges)}
        for instant in sorted(instant for instant in instants if now <= instant < until):
            assert ring.missing(instant) == ()
            assert len(history[-1].active_keys(Role.MESSAGE_KEM, instant)) == 1
            assert ring.agreement(instant).exp >= instant + 30 * DAY
        now = until
        planned = plan(history[-1], now=now)
        secrets += planned.gateway + planned.agreement
        history = (*history, publish(planned, *history))
    assert all(later.content.prev == earlier.digest for earlier, later in pairwise(history))
