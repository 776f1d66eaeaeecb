"""Which bundle may follow which: the refusals of envelope section 5 that need the bundles accepted before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.bundle import KeyBundle, UnsignedBundle, accept_bundles, issue_bundle, reissue_bundle, replay_history
from keys.errors import BundleError
from keys.key import XWingPublic
from keys.listed import DAY, Role
from tests.support.keys import (
    ISSUED,
    NOW,
    ORG,
    accept,
    ed25519,
    follow,
    make_bundle,
    make_entries,
    make_entry,
    make_jws,
    make_pair,
    make_request,
    make_revocation,
    make_roots,
    x_wing,
)

FIRST = make_bundle()
History = tuple[KeyBundle, ...]


def refusal(request: UnsignedBundle, history: History = (FIRST,), **signed: Any) -> str:
    """Return the code with which a properly issued bundle is refused after `history`."""
    jws = make_jws(request, **signed)
    with pytest.raises(BundleError) as caught:
        accept(jws, history=history)
    return caught.value.code


def change_roots(history: History = (FIRST,), **changes: Any) -> KeyBundle:
    """Return the four-signature bundle after `history`, whose roots are of the first generation."""
    return accept(make_jws(follow(history[-1], **changes), generation=2, old_generation=1), history=history)


# --- the clock


def test_expired_bundle_is_refused():
    with pytest.raises(BundleError) as caught:
        accept(FIRST.jws, now=FIRST.exp)
    assert caught.value.code == "bundle.expired"
    assert accept(FIRST.jws, now=FIRST.exp - 1).seq == 1


def test_bundle_from_more_than_five_minutes_ahead_is_refused():
    with pytest.raises(BundleError) as caught:
        accept(FIRST.jws, now=FIRST.iat - 301)
    assert caught.value.code == "bundle.future"
    assert accept(FIRST.jws, now=FIRST.iat - 300).seq == 1


# --- seq and prev


def test_next_bundle_is_accepted():
    assert accept(make_jws(follow(FIRST)), history=(FIRST,)).seq == 2


def test_same_bytes_again_return_the_bundle_held():
    second = make_bundle(history=(FIRST,))
    assert accept(second.jws, history=(FIRST, second)) is second
    assert accept(FIRST.jws, history=(FIRST, second), now=FIRST.exp) is FIRST


def test_same_seq_with_other_bytes_is_refused():
    assert refusal(replace(FIRST.content, name="Another Name")) == "bundle.conflict"


def test_older_seq_with_other_bytes_is_refused():
    second = make_bundle(history=(FIRST,))
    assert refusal(replace(FIRST.content, name="Another Name"), (FIRST, second)) == "bundle.conflict"


def test_same_content_signed_again_is_other_bytes():
    assert refusal(FIRST.content) == "bundle.conflict"  # ML-DSA signatures are hedged


def test_seq_not_above_the_last_is_refused():
    third = make_bundle(history=(FIRST,), seq=3)
    assert refusal(follow(FIRST), (FIRST, third)) == "bundle.seq"


def test_next_bundle_with_a_wrong_prev_is_refused():
    assert refusal(follow(FIRST, prev="sha256:" + "0" * 64)) == "bundle.prev"


def test_seq_may_jump_while_the_roots_are_unchanged():
    assert make_bundle(history=(FIRST,), seq=9, prev="sha256:" + "0" * 64).seq == 9


def test_forged_bundle_of_the_same_seq_raises_no_conflict():
    forged = issue_bundle(replace(FIRST.content, name="Forged"), make_pair("thief"), make_pair("thief 2").public.kids)
    with pytest.raises(BundleError) as caught:
        accept(forged, history=(FIRST,))
    assert caught.value.code == "bundle.roots"


# --- root change


def test_root_change_with_four_signatures_is_accepted():
    changed = change_roots()
    assert changed.changes_roots
    assert changed.roots == make_roots(generation=2).public


def test_four_signatures_without_the_predecessor_are_refused():
    jws = make_jws(follow(FIRST), generation=2, old_generation=1)
    with pytest.raises(BundleError) as caught:
        accept(jws)
    assert caught.value.code == "bundle.roots"


def test_root_change_over_a_missing_bundle_is_refused():
    assert refusal(follow(FIRST, seq=3), generation=2, old_generation=1) == "bundle.roots"


def test_root_change_with_a_wrong_prev_is_refused():
    assert refusal(follow(FIRST, prev="sha256:" + "0" * 64), generation=2, old_generation=1) == "bundle.prev"


def test_root_change_with_two_signatures_is_refused():
    assert refusal(follow(FIRST), generation=2) == "bundle.roots"


def test_root_change_to_roots_that_were_not_announced_is_refused():
    assert refusal(follow(FIRST), generation=3, old_generation=1) == "bundle.roots"


def test_root_change_of_one_half_is_refused():
    old, new = make_roots(), make_roots(generation=2)
    mixed = type(old)(new.ed, old.ml)
    jws = issue_bundle(follow(FIRST), mixed, make_pair("later").public.kids, old_roots=old)
    with pytest.raises(BundleError) as caught:
        accept(jws, history=(FIRST,))
    assert caught.value.code == "bundle.roots"


def test_root_change_signed_by_other_old_roots_is_refused():
    jws = issue_bundle(
        follow(FIRST), make_roots(generation=2), make_roots(generation=3).public.kids, old_roots=make_pair("thief")
    )
    with pytest.raises(BundleError) as caught:
        accept(jws, history=(FIRST,))
    assert caught.value.code == "bundle.signature"


def test_four_signatures_without_a_root_change_are_refused():
    assert refusal(follow(FIRST), generation=1, old_generation=1) == "bundle.roots"


def test_root_change_is_not_made_from_an_older_bundle():
    second = make_bundle(history=(FIRST,))
    assert refusal(follow(FIRST), (FIRST, second), generation=2, old_generation=1) == "bundle.conflict"


def test_old_roots_sign_nothing_after_a_root_change():
    history = (FIRST, change_roots())
    assert refusal(follow(history[-1]), history) == "bundle.roots"


def test_same_content_follows_a_root_change_with_two_signatures():
    history = (FIRST, change_roots())
    again = accept(reissue_bundle(history[-1], make_roots(generation=2)), history=history)
    assert (again.seq, again.changes_roots) == (3, False)
    assert (again.keys, again.next_roots) == (history[-1].keys, history[-1].next_roots)


def test_other_content_right_after_a_root_change_is_refused():
    history = (FIRST, change_roots())
    assert refusal(follow(history[-1], name="Another Name"), history, generation=2) == "bundle.roots"


def test_second_root_change_right_after_the_first_is_refused():
    history = (FIRST, change_roots())
    assert refusal(follow(history[-1]), history, generation=3, old_generation=2) == "bundle.roots"


# --- keys over time


def test_known_key_with_another_nbf_is_refused():
    keys = tuple(replace(key, nbf=key.nbf + 1) if key.role is Role.HTTP else key for key in FIRST.keys)
    assert refusal(follow(FIRST, keys=keys)) == "bundle.key-changed"


def test_known_key_with_a_later_exp_is_refused():
    keys = tuple(replace(key, exp=key.exp + 1) if key.role is Role.HTTP else key for key in FIRST.keys)
    assert refusal(follow(FIRST, keys=keys)) == "bundle.key-changed"


def test_known_key_with_an_earlier_exp_is_accepted():
    keys = tuple(replace(key, exp=key.exp - 1) if key.role is Role.HTTP else key for key in FIRST.keys)
    assert make_bundle(history=(FIRST,), keys=keys).keys == keys


def test_key_known_from_an_older_bundle_comes_back_unchanged_or_not_at_all():
    without = tuple(key for key in FIRST.keys if key.role is not Role.HTTP)
    history = (FIRST, make_bundle(history=(FIRST,), keys=without))
    assert make_bundle(history=history, keys=FIRST.keys).keys == FIRST.keys
    later = tuple(replace(key, exp=key.exp + 1) if key.role is Role.HTTP else key for key in FIRST.keys)
    assert refusal(follow(history[-1], keys=later), history) == "bundle.key-changed"


def test_known_key_with_another_role_is_refused():
    keys = tuple(
        make_entry(Role.LOG, ed25519(f"{ORG} http")) if key.role is Role.HTTP else key
        for key in FIRST.keys
        if key.role is not Role.LOG
    )
    assert refusal(follow(FIRST, keys=keys)) == "bundle.two-roles"


def test_former_root_listed_as_a_key_is_refused():
    history = (FIRST, change_roots())
    again = accept(reissue_bundle(history[-1], make_roots(generation=2)), history=history)
    keys = (*again.keys, make_entry(Role.HTTP, make_roots(generation=1).ed))
    assert refusal(follow(again, keys=keys), (*history, again), generation=2) == "bundle.two-roles"


def test_key_listed_before_is_not_announced_as_a_root():
    announced = (ed25519(f"{ORG} http").public.kid, make_roots(generation=2).public.kids[1])
    keys = tuple(key for key in FIRST.keys if key.role is not Role.HTTP)
    jws = issue_bundle(follow(FIRST, keys=keys), make_roots(), announced)
    with pytest.raises(BundleError) as caught:
        accept(jws, history=(FIRST,))
    assert caught.value.code == "bundle.two-roles"


def test_x25519_half_of_an_older_kem_key_is_refused_in_a_new_one():
    old, new = x_wing(f"{ORG} message-kem 1").public, x_wing("new").public
    mixed = replace(
        make_entry(Role.MESSAGE_KEM, x_wing("new")), public=XWingPublic.from_raw(new.raw[:1184] + old.x25519_half)
    )
    keys = (*(key for key in FIRST.keys if key.kid != old.kid), mixed)
    assert refusal(follow(FIRST, keys=keys)) == "bundle.duplicate"


# --- revocations


def test_dropped_revocation_is_refused():
    revoked = make_bundle(history=(FIRST,), revoked=(make_revocation(FIRST.keys[0].kid),))
    assert refusal(follow(revoked, revoked=()), (FIRST, revoked)) == "bundle.revoked"


@pytest.mark.parametrize("change", [{"since": NOW - 1}, {"reason": "found"}])
def test_changed_revocation_is_refused(change: dict[str, Any]):
    entry = make_revocation(FIRST.keys[0].kid)
    revoked = make_bundle(history=(FIRST,), revoked=(entry,))
    assert refusal(follow(revoked, revoked=(replace(entry, **change),)), (FIRST, revoked)) == "bundle.revoked"


def test_further_revocation_is_accepted_in_any_place():
    entries = [make_revocation(key.kid) for key in FIRST.keys[:2]]
    revoked = make_bundle(history=(FIRST,), revoked=(entries[0],))
    assert len(make_bundle(history=(FIRST, revoked), revoked=(entries[1], entries[0])).revoked) == 2


# --- keys of others


@pytest.mark.parametrize("place", range(9))
@pytest.mark.parametrize("form", ["kid", "raw"])
def test_key_that_another_organisation_held_is_refused(place: int, form: str):
    mark = getattr(FIRST.keys[place].public, form)
    with pytest.raises(BundleError) as caught:
        accept(FIRST.jws, foreign={mark})
    assert caught.value.code == "bundle.foreign-key"


def test_kem_key_with_the_x25519_half_of_another_organisation_is_refused():
    theirs, ours = x_wing("theirs").public, x_wing("ours").public
    mixed = replace(
        make_entry(Role.MESSAGE_KEM, x_wing("ours")), public=XWingPublic.from_raw(ours.raw[:1184] + theirs.x25519_half)
    )
    other = make_bundle("la-207", keys=(make_entry(Role.MESSAGE_KEM, x_wing("theirs")),))
    with pytest.raises(BundleError) as caught:
        accept(make_jws(make_request(keys=(mixed,))), foreign=other.marks)
    assert caught.value.code == "bundle.foreign-key"


@pytest.mark.parametrize("generation", [1, 2])
def test_key_that_is_a_root_of_another_organisation_is_refused(generation: int):
    other = make_bundle("la-207")
    stolen = make_entry(Role.HTTP, make_roots("la-207", generation).ed)
    with pytest.raises(BundleError) as caught:
        accept(make_jws(make_request(keys=(*make_entries(), stolen))), foreign=other.marks)
    assert caught.value.code == "bundle.foreign-key"


def test_announced_root_that_another_organisation_announced_is_refused():
    other = make_bundle("la-207")
    jws = issue_bundle(make_request(), make_roots(), other.next_roots)
    with pytest.raises(BundleError) as caught:
        accept(jws, foreign=other.marks)
    assert caught.value.code == "bundle.foreign-key"


def test_organisations_of_their_own_do_not_disturb_each_other():
    assert accept(FIRST.jws, foreign=make_bundle("la-207").marks).org == ORG


# --- several at once


def make_chain(steps: list[str]) -> list[bytes]:
    """Return the published bytes of a first bundle and of what follows by each step, ninety days apart."""
    history: History = (FIRST,)
    generation = 1
    for step in steps:
        newest = history[-1]
        times = {"iat": newest.iat + 89 * DAY, "exp": newest.iat + 179 * DAY}
        if step == "roots":
            changed = make_jws(follow(newest, **times), generation=generation + 1, old_generation=generation)
            generation += 1
            history = (*history, accept(changed, history=history, now=times["iat"]))
            again = reissue_bundle(history[-1], make_roots(generation=generation))
            history = (*history, accept(again, history=history, now=times["iat"]))
        else:
            jws = make_jws(follow(newest, **times), generation=generation)
            history = (*history, accept(jws, history=history, now=times["iat"]))
    return [bundle.jws for bundle in history]


STEPS = st.lists(st.sampled_from(["keys", "roots"]), max_size=4)


@settings(max_examples=10, deadline=None)
@given(STEPS)
def test_whole_history_is_accepted_at_its_end_and_replayed(steps: list[str]):
    chain = make_chain(steps)
    end = ISSUED + 89 * DAY * len(steps)
    grown = accept_bundles(chain, org=ORG, history=(), foreign=(), now=end)
    assert [bundle.jws for bundle in grown] == chain
    assert replay_history(chain, org=ORG) == grown
    assert accept_bundles(chain, org=ORG, history=grown, foreign=(), now=end) is grown


@settings(max_examples=15, deadline=None)
@given(STEPS.filter(lambda steps: "roots" in steps), st.data())
def test_history_without_a_root_change_or_its_predecessor_is_refused(steps: list[str], data: st.DataObject):
    chain = make_chain(steps)
    changes = [bundle.seq for bundle in replay_history(chain, org=ORG) if bundle.changes_roots]
    missing = data.draw(st.sampled_from(changes)) - data.draw(st.integers(0, 1))
    del chain[missing - 1]
    with pytest.raises(BundleError):
        replay_history(chain, org=ORG)


def test_expired_bundles_on_the_way_are_accepted_and_an_expired_last_is_not():
    chain = make_chain(["keys", "keys"])
    end = ISSUED + 89 * DAY * 2
    assert len(accept_bundles(chain, org=ORG, history=(), foreign=(), now=end)) == 3
    with pytest.raises(BundleError) as caught:
        accept_bundles(chain[:2], org=ORG, history=(), foreign=(), now=end + DAY)
    assert caught.value.code == "bundle.expired"


def test_nothing_new_is_accepted_at_any_time():
    assert accept_bundles([FIRST.jws], org=ORG, history=(FIRST,), foreign=(), now=FIRST.exp) == (FIRST,)
