"""Aim: let a message live longer than anyone agreed to, or give it a date that suits.

Held off by step 13, in its order: id, time, lifetime; what fails it earns a signed refusal, so that an honest sender with
a wrong clock learns of it, and a future date is no refusal, because then the wrong clock may be ours.
"""

from __future__ import annotations

import pytest

from gateway.core.errors import NotYetError
from gateway.core.receipt import ReceiptPayload, read_receipt
from keys.listed import DAY, Role
from tests.support import independent
from tests.support.exchange import Town, make_message, make_town_in_force
from tests.support.keys import ISSUED, NOW, ed25519, follow, make_entry, make_jws, ml_dsa_65, seed
from tests.support.messages import MESSAGE_ID, A, B, Forger, bundle_of, opener_of, signer_of


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


async def said(town: Town, forger: Forger | None = None, **changes: object) -> ReceiptPayload:
    return read_receipt(await town.b.accept(await make_message(town, forger, **changes), A, MESSAGE_ID)).payload


@pytest.mark.parametrize(("ago", "code"), [(300, "expired"), (299, None)])
async def test_message_is_late_from_five_minutes_after_its_end(town: Town, ago: int, code: str | None) -> None:
    payload = await said(town, iat=NOW - DAY, exp=NOW - ago)
    assert (payload.event, payload.code or None) == (("rejected", code) if code else ("checked", None))


@pytest.mark.parametrize(("lifetime", "taken"), [(30 * DAY, True), (30 * DAY + 1, False), (120 * DAY, False)])
async def test_message_lives_thirty_days_at_most(town: Town, lifetime: int, taken: bool) -> None:
    payload = await said(town, iat=NOW, exp=NOW + lifetime)
    assert payload.event == ("checked" if taken else "rejected")
    assert taken or payload.code == "lifetime"


@pytest.mark.parametrize("before", [0, 1, 200])
async def test_message_that_ends_before_it_begins_is_refused_for_its_lifetime(town: Town, before: int) -> None:
    payload = await said(town, iat=NOW + 100, exp=NOW + 100 - before)
    assert (payload.event, payload.code) == ("rejected", "lifetime")


async def test_expiry_is_told_before_lifetime(town: Town) -> None:
    payload = await said(town, iat=NOW - 5, exp=NOW - 5 - DAY)
    assert payload.code == "expired"


@pytest.mark.parametrize(("number", "taken"), [(1, True), (0, False)])
async def test_message_does_not_outlive_its_signing_key(town: Town, number: int, taken: bool) -> None:
    label, end = f"{A} short", NOW + DAY
    pair = [
        make_entry(Role.MESSAGE_SIGN, key, nbf=ISSUED, retire=end - 60, exp=end)
        for key in (ed25519(label), ml_dsa_65(label))
    ]
    town.b.memory.bundles[A].append(make_jws(follow(bundle_of(A), keys=(*bundle_of(A).keys, *pair))))
    short = independent.Signer(seed(f"{label} ed25519"), seed(f"{label} ml-dsa-65"))
    payload = await said(town, Forger(short, (opener_of(B),)), from__sig=list(short.kids), exp=end + 1 - number)
    assert payload.event == ("checked" if taken else "rejected")
    assert taken or payload.code == "lifetime"


@pytest.mark.parametrize(("late", "taken"), [(0, True), (1, False)])
async def test_message_does_not_outlive_the_key_it_is_sealed_to(town: Town, late: int, taken: bool) -> None:
    """After `retire` + 30 days the seed is destroyed within a day; a message must not be owed then."""
    retire = ISSUED + 30 * DAY
    town.clock.forward(seconds=retire + 5 * DAY - NOW)  # sealed to a retiring key, five days after it retired
    payload = await said(
        town, Forger(signer_of(A), (opener_of(B),)), iat=retire + 5 * DAY, exp=retire + 30 * DAY + late
    )
    assert payload.event == ("checked" if taken else "rejected")
    assert taken or payload.code == "lifetime"


async def test_message_five_minutes_ahead_is_taken(town: Town) -> None:
    assert (await said(town, iat=NOW + 300, exp=NOW + DAY)).event == "checked"


@pytest.mark.parametrize("ahead", [301, 20 * DAY])
async def test_message_further_ahead_is_no_refusal_and_leaves_no_trace(town: Town, ahead: int) -> None:
    with pytest.raises(NotYetError):
        await said(town, iat=NOW + ahead, exp=NOW + ahead + DAY)
    assert not town.b.memory.arrived
    assert "refused-inbound" not in town.b.kinds()
