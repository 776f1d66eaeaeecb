"""Partners and key bundles in the tables: rows that were tampered with, and the alarm.

What the ports show is in `tests.conformance`.
"""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core import deciding
from gateway.core.commands import AddBundle, PutPartner
from gateway.core.errors import StoreChangedError
from gateway.ports import Partner
from gateway.store.partners import UNREADABLE
from gateway.store.rows import TAMPERED
from keys.bundle import KeyBundle
from tests.support.keys import make_bundle, make_revocation
from tests.support.store import PARTNER, Lab, make_entry, tamper


def put(*, verified_by: tuple[str, ...] = ("one", "two")) -> PutPartner:
    said: dict[str, Any] = {
        "org": PARTNER,
        "name": "Council B",
        "root": "sha256:" + "00" * 32,
        "verified_by": verified_by,
        "route": "peer",
        "duty_number": "020 7946 0000",
    }
    return PutPartner(
        fetched_at=100,
        entry=make_entry("partner-verified", partner=PARTNER, rows=deciding.of_partner(**said)),
        **said,
    )


def add(bundle: KeyBundle) -> AddBundle:
    return AddBundle(
        org=bundle.org,
        seq=bundle.seq,
        jws=bundle.jws,
        fetched_at=200,
        entry=make_entry(
            "key-bundle", partner=bundle.org, rows=deciding.of_bundle(org=bundle.org, seq=bundle.seq, jws=bundle.jws)
        ),
    )


async def held(lab: Lab) -> Partner:
    partner = await lab.open.read.partners.get(PARTNER)
    assert partner is not None
    return partner


async def test_a_partner_changed_in_the_database_counts_as_absent(lab: Lab) -> None:
    await lab.open.store.write(put(verified_by=()))
    tamper(lab.path, """UPDATE partner SET verified_by = '["one", "two"]'""")
    assert await lab.open.read.partners.get(PARTNER) is None
    assert lab.alarms.raised == [(TAMPERED, {"table": "partner", "row": PARTNER})]
    with pytest.raises(StoreChangedError):
        await lab.open.store.write(put())
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
    with pytest.raises(StoreChangedError):
        await lab.open.store.write(add(first))
    assert await lab.open.store.write(add(first)) is True  # fetched again
    assert (await held(lab)).bundles == (first,)


async def test_a_partner_whose_bundles_are_no_history_raises_the_alarm(lab: Lab) -> None:
    first = make_bundle(PARTNER)
    revoking = make_bundle(PARTNER, history=(first,), revoked=(make_revocation(first.keys[0].kid),))
    forgetting = make_bundle(PARTNER, seq=3, prev=revoking.digest)
    await lab.open.store.write(put())
    for bundle in (first, revoking, forgetting):
        await lab.open.store.write(add(bundle))
    for _ in range(3):  # and once only
        assert await lab.open.read.partners.get(PARTNER) is None
    assert lab.alarms.raised == [(UNREADABLE, {"org": PARTNER, "cause": "bundle.revoked"})]
