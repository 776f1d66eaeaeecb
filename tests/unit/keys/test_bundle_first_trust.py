"""Where a newcomer begins, and what keeps an agreement's root satisfied."""

from __future__ import annotations

import pytest

from keys.bundle import first_trust, reissue_bundle, roots_chain
from keys.errors import BundleError
from keys.fingerprint import fingerprint
from keys.listed import DAY
from tests.support.keys import NOW, ORG, accept, follow, make_bundle, make_jws, make_roots

FIRST = make_bundle()
SECOND = make_bundle(history=(FIRST,))
CHANGED = accept(make_jws(follow(SECOND), generation=2, old_generation=1), history=(FIRST, SECOND))
AGAIN = accept(reissue_bundle(CHANGED, make_roots(generation=2)), history=(FIRST, SECOND, CHANGED))
HISTORY = (FIRST, SECOND, CHANGED, AGAIN)
PUBLISHED = [bundle.jws for bundle in HISTORY]


def of(generation: int, org: str = ORG) -> bytes:
    return fingerprint(org, make_roots(generation=generation).public)


def begin(published: list[bytes], compared: bytes | None, *, now: int = NOW) -> list[int]:
    trusted = first_trust(published, org=ORG, foreign=(), now=now, fingerprint=compared)
    return [bundle.seq for bundle in trusted]


def test_newcomer_begins_at_the_newest_bundle_of_the_roots_compared():
    assert begin(PUBLISHED, of(2)) == [4]


def test_newcomer_who_compared_the_old_roots_follows_the_root_change():
    assert begin(PUBLISHED, of(1)) == [2, 3, 4]


def test_newcomer_follows_a_root_change_that_is_not_issued_again_yet():
    assert begin(PUBLISHED[:3], of(1)) == [2, 3]


def test_newcomer_does_not_begin_at_a_four_signature_bundle():
    with pytest.raises(BundleError) as caught:
        begin(PUBLISHED[:3], of(2))
    assert caught.value.code == "bundle.fingerprint"


def test_newcomer_who_compared_nothing_yet_begins_at_the_newest_of_two_signatures():
    assert begin(PUBLISHED, None) == [4]
    assert begin(PUBLISHED[:3], None) == [2, 3]


def test_fingerprint_of_no_bundle_is_refused():
    with pytest.raises(BundleError) as caught:
        begin(PUBLISHED, of(3))
    assert caught.value.code == "bundle.fingerprint"


def test_fingerprint_for_another_organisation_is_refused():
    with pytest.raises(BundleError) as caught:
        begin(PUBLISHED, of(1, org="la-207"))
    assert caught.value.code == "bundle.fingerprint"


def test_nothing_published_is_nothing_to_trust():
    with pytest.raises(BundleError) as caught:
        begin([], None)
    assert caught.value.code == "bundle.fingerprint"


def test_expired_history_is_no_first_trust():
    with pytest.raises(BundleError) as caught:
        begin(PUBLISHED, of(1), now=NOW + 90 * DAY)
    assert caught.value.code == "bundle.expired"


def test_key_of_another_organisation_is_no_first_trust():
    with pytest.raises(BundleError) as caught:
        first_trust(PUBLISHED, org=ORG, foreign={FIRST.keys[0].kid}, now=NOW, fingerprint=of(1))
    assert caught.value.code == "bundle.foreign-key"


def test_single_bundle_with_other_roots_than_compared_is_refused():
    with pytest.raises(BundleError) as caught:
        accept(FIRST.jws, fingerprint=of(2))
    assert caught.value.code == "bundle.fingerprint"
    assert accept(FIRST.jws, fingerprint=of(1)).seq == 1


def test_fingerprint_compared_before_a_root_change_still_holds_after_it():
    assert accept(AGAIN.jws, history=HISTORY[:3], fingerprint=of(1)).seq == 4


def test_chain_of_roots_names_each_once_from_the_first():
    assert roots_chain(HISTORY) == (of(1), of(2))


def test_chain_of_a_newcomer_does_not_reach_back():
    trusted = first_trust(PUBLISHED, org=ORG, foreign=(), now=NOW, fingerprint=of(2))
    assert roots_chain(trusted) == (of(2),)
