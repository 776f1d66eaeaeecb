"""What a store owes partners and key bundles."""

from __future__ import annotations

import pytest

from gateway.core.errors import ConflictError
from gateway.ports import Partner
from tests.conformance.steps import THIRD, add, put
from tests.conformance.subject import Subject
from tests.support.keys import make_bundle, make_revocation
from tests.support.store import OWN, PARTNER, at


async def partner(subject: Subject) -> Partner:
    stored = await subject.partners.get(PARTNER)
    assert stored is not None
    return stored


async def test_a_partner_is_read_back_with_its_bundles_ascending(subject: Subject) -> None:
    first = make_bundle(PARTNER)
    second = make_bundle(PARTNER, history=(first,))
    await subject.store.write(put())
    assert (await partner(subject)).bundles == ()
    assert await subject.store.write(add(second)) is True
    assert await subject.store.write(add(first)) is True
    stored = await partner(subject)
    assert (stored.bundles, stored.newest) == ((first, second), second)
    assert (stored.name, stored.verified_by, stored.route) == ("Council B", ("one", "two"), "peer")
    assert (stored.duty_number, stored.root) == ("020 7946 0000", "sha256:" + "00" * 32)
    assert await subject.partners.all() == (stored,)
    assert await subject.partners.get(THIRD) is None
    assert [kind for kind, _ in subject.log()][1:] == ["partner-verified", "key-bundle", "key-bundle"]


async def test_a_partner_written_anew_is_as_written(subject: Subject) -> None:
    await subject.store.write(put(verified_by=(), fetched_at=300))
    await subject.store.write(put(fetched_at=100))
    stored = await partner(subject)
    assert (stored.verified_by, stored.fetched_at) == (("one", "two"), 100)
    assert len(await subject.partners.all()) == 1


async def test_a_bundle_alone_makes_no_partner(subject: Subject) -> None:
    own = make_bundle(OWN)
    for bundle in (own, make_bundle(PARTNER)):
        await subject.store.write(add(bundle))
    assert await subject.partners.own_bundles() == (own,)
    assert await subject.partners.all() == ()


async def test_a_bundle_held_already_only_counts_as_fetched(subject: Subject) -> None:
    bundle = make_bundle(PARTNER)
    await subject.store.write(put(fetched_at=100))
    await subject.store.write(add(bundle, fetched_at=200))
    before = subject.log()
    assert await subject.store.write(add(bundle, fetched_at=300, broadcast_to=(THIRD,))) is False
    assert (await partner(subject)).fetched_at == 300
    assert await subject.store.write(add(bundle, fetched_at=250)) is False
    assert (await partner(subject)).fetched_at == 300
    assert subject.log() == before
    assert await subject.outbox.owed(at(0), 10) == ()


async def test_another_bundle_with_a_known_seq_is_refused(subject: Subject) -> None:
    first = make_bundle(PARTNER)
    await subject.store.write(put())
    await subject.store.write(add(first))
    with pytest.raises(ConflictError):
        await subject.store.write(add(make_bundle(PARTNER, name="Another Council"), fetched_at=300))
    stored = await partner(subject)
    assert (stored.bundles, stored.fetched_at) == ((first,), 200)


async def test_a_partner_whose_bundles_are_no_history_counts_as_absent(subject: Subject) -> None:
    first = make_bundle(PARTNER)
    revoking = make_bundle(PARTNER, history=(first,), revoked=(make_revocation(first.keys[0].kid),))
    forgetting = make_bundle(PARTNER, seq=3, prev=revoking.digest)
    await subject.store.write(put())
    for bundle in (first, revoking, forgetting):
        await subject.store.write(add(bundle))
    assert await subject.partners.get(PARTNER) is None
    assert await subject.partners.all() == ()


async def test_an_own_new_bundle_is_owed_to_partners(subject: Subject) -> None:
    own = make_bundle(OWN)
    await subject.store.write(add(own, broadcast_to=(PARTNER, THIRD)))
    owed = await subject.outbox.owed(at(0), 10)
    assert [(item.partner, item.kind, item.ref, item.data) for item in owed] == [
        (PARTNER, "bundle", own.digest, own.jws),
        (THIRD, "bundle", own.digest, own.jws),
    ]
