"""Partners and key bundles as stored."""

from __future__ import annotations

import pytest

from gateway.core.commands import AddBundle, PutPartner
from gateway.core.errors import ConflictError
from gateway.ports import Partner
from gateway.store.partners import UNREADABLE
from gateway.store.rows import TAMPERED
from keys.bundle import KeyBundle
from tests.support.keys import make_bundle, make_revocation
from tests.support.store import OWN, PARTNER, Lab, at, make_entry, rows, tamper


def put(*, verified_by: tuple[str, ...] = ("one", "two"), fetched_at: int = 100) -> PutPartner:
    return PutPartner(
        org=PARTNER,
        name="Council B",
        root="sha256:" + "00" * 32,
        verified_by=verified_by,
        route="peer",
        duty_number="020 7946 0000",
        fetched_at=fetched_at,
        entry=make_entry("partner-verified", partner=PARTNER),
    )


def add(bundle: KeyBundle, *, fetched_at: int = 200, broadcast_to: tuple[str, ...] = ()) -> AddBundle:
    return AddBundle(
        org=bundle.org,
        seq=bundle.seq,
        jws=bundle.jws,
        fetched_at=fetched_at,
        entry=make_entry("key-bundle", partner=bundle.org),
        broadcast_to=broadcast_to,
    )


async def held(lab: Lab) -> Partner:
    partner = await lab.open.read.partners.get(PARTNER)
    assert partner is not None
    return partner


async def test_a_partner_is_read_back_with_its_bundles_ascending(lab: Lab) -> None:
    first = make_bundle(PARTNER)
    second = make_bundle(PARTNER, history=(first,))
    await lab.open.store.write(put())
    assert await lab.open.store.write(add(first)) is True
    assert await lab.open.store.write(add(second)) is True
    partner = await held(lab)
    assert partner.bundles == (first, second)
    assert partner.newest == second
    assert (partner.verified_by, partner.route, partner.duty_number) == (("one", "two"), "peer", "020 7946 0000")
    assert await lab.open.read.partners.all() == (partner,)
    assert await lab.open.read.partners.get("la-903") is None


async def test_own_bundles_are_no_partners(lab: Lab) -> None:
    own = make_bundle(OWN)
    await lab.open.store.write(add(own))
    assert await lab.open.read.partners.own_bundles() == (own,)
    assert await lab.open.read.partners.all() == ()


async def test_a_bundle_held_already_only_counts_as_fetched(lab: Lab) -> None:
    bundle = make_bundle(PARTNER)
    await lab.open.store.write(put(fetched_at=100))
    await lab.open.store.write(add(bundle, fetched_at=200))
    before = rows(lab.path, "SELECT count(*) FROM log_entry")
    assert await lab.open.store.write(add(bundle, fetched_at=300)) is False
    assert rows(lab.path, "SELECT count(*) FROM log_entry") == before
    assert (await held(lab)).fetched_at == 300


async def test_another_bundle_with_a_known_seq_is_refused(lab: Lab) -> None:
    await lab.open.store.write(add(make_bundle(PARTNER)))
    with pytest.raises(ConflictError):
        await lab.open.store.write(add(make_bundle(PARTNER, name="Another Council")))


async def test_an_own_new_bundle_is_owed_to_partners(lab: Lab) -> None:
    own = make_bundle(OWN)
    await lab.open.store.write(add(own, broadcast_to=(PARTNER, "la-903")))
    owed = await lab.open.read.outbox.owed(at(0), 10)
    assert [(item.partner, item.kind, item.ref, item.data) for item in owed] == [
        (PARTNER, "bundle", own.digest, own.jws),
        ("la-903", "bundle", own.digest, own.jws),
    ]


async def test_a_partner_changed_in_the_database_counts_as_absent(lab: Lab) -> None:
    await lab.open.store.write(put(verified_by=()))
    tamper(lab.path, """UPDATE partner SET verified_by = '["one", "two"]'""")
    assert await lab.open.read.partners.get(PARTNER) is None
    assert lab.alarms.raised == [(TAMPERED, {"table": "partner", "row": PARTNER})]
    await lab.open.store.write(put())  # a person writes it anew
    assert (await held(lab)).verified_by == ("one", "two")


async def test_a_bundle_swapped_in_the_database_counts_as_absent(lab: Lab) -> None:
    first = make_bundle(PARTNER)
    await lab.open.store.write(put())
    await lab.open.store.write(add(first))
    assert (await held(lab)).bundles == (first,)
    planted = make_bundle(PARTNER, name="Another Council").jws.hex()
    tamper(lab.path, f"UPDATE bundle SET jws = x'{planted}'")  # noqa: S608 - hex
    assert (await held(lab)).bundles == ()
    assert lab.alarms.raised[-1] == (TAMPERED, {"table": "bundle", "row": f"{PARTNER} 1"})
    assert await lab.open.store.write(add(first)) is True  # fetched again
    assert (await held(lab)).bundles == (first,)


async def test_a_partner_whose_bundles_are_no_history_counts_as_absent(lab: Lab) -> None:
    first = make_bundle(PARTNER)
    revoking = make_bundle(PARTNER, history=(first,), revoked=(make_revocation(first.keys[0].kid),))
    forgetting = make_bundle(PARTNER, seq=3, prev=revoking.digest)
    await lab.open.store.write(put())
    for bundle in (first, revoking, forgetting):
        await lab.open.store.write(add(bundle))
    assert await lab.open.read.partners.get(PARTNER) is None
    assert lab.alarms.raised == [(UNREADABLE, {"org": PARTNER, "cause": "bundle.revoked"})]
