"""Aim: use a key that is stolen, revoked, expired, somebody else's or not yet there.

Held off by the sender's NEWEST bundle deciding, at `iat` and now: a revoked key is refused whatever a message says of its
age, and a bundle that lists another organisation's key is refused whole.
"""

from __future__ import annotations

import pytest

from contracts.events import Action
from gateway import agreements, governing, partner_keys
from gateway.core.errors import EnvelopeRejectedError, NotYetError
from gateway.core.receipt import read_receipt
from keys.listed import DAY, Role
from keys.ring import KeyRing
from tests.support import independent
from tests.support.exchange import Town, make_message, make_town_in_force
from tests.support.keys import (
    ISSUED,
    NOW,
    ed25519,
    follow,
    make_bundle,
    make_entries,
    make_entry,
    make_jws,
    make_revocation,
    make_secrets,
    ml_dsa_65,
    seed,
)
from tests.support.messages import MESSAGE_ID, A, B, C, Forger, bundle_of, kem_of, make_members, opener_of, signer_of

NEW_LABEL = f"{A} second message-sign"
NEW = independent.Signer(seed(f"{NEW_LABEL} ed25519"), seed(f"{NEW_LABEL} ml-dsa-65"))


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


def rotated(*, retire: int | None = None, exp: int | None = None) -> bytes:
    """The next bundle of la-207, with a second message-sign pair beside the first."""
    pair = [
        make_entry(Role.MESSAGE_SIGN, secret, nbf=ISSUED, retire=retire, exp=exp)
        for secret in (ed25519(NEW_LABEL), ml_dsa_65(NEW_LABEL))
    ]
    return make_jws(follow(bundle_of(A), keys=(*bundle_of(A).keys, *pair)))


def nothing_kept(town: Town) -> bool:
    return not town.b.memory.arrived


async def test_revoked_signing_key_is_refused_whatever_the_message_says_of_its_age(town: Town) -> None:
    revoked = (make_revocation(bundle_of(A).pairs[0].kids[0], since=NOW - 3600),)
    assert bundle_of(A).pairs[0].role is Role.MESSAGE_SIGN
    town.b.memory.bundles[A].append(make_bundle(A, history=(bundle_of(A),), revoked=revoked).jws)
    for iat in (NOW, NOW - 7200, NOW - 5 * DAY):  # also long before the revocation
        with pytest.raises(EnvelopeRejectedError) as refused:
            await town.b.accept(await make_message(town, iat=iat), A, MESSAGE_ID)
        assert refused.value.step == "10"
    assert nothing_kept(town)


async def test_revoked_key_that_is_listed_no_more_is_refused_and_not_asked_for(town: Town) -> None:
    """A bundle forgets a key, never its revocation: no newer bundle could heal this."""
    bundle = bundle_of(A)
    left = tuple(key for key in bundle.keys if key.kid not in signer_of(A).kids)
    revoked = tuple(make_revocation(kid) for kid in bundle.pairs[0].kids)
    town.b.memory.bundles[A].append(make_jws(follow(bundle, keys=left, revoked=revoked)))
    with pytest.raises(EnvelopeRejectedError) as refused:
        await town.b.accept(await make_message(town), A, MESSAGE_ID)
    assert refused.value.step == "10"


async def test_revoked_opening_key_opens_nothing(town: Town) -> None:
    revoked = (make_revocation(kem_of(B).public.kid),)
    town.b.ring = KeyRing(bundle=make_bundle(B, revoked=revoked), secrets=make_secrets(B))
    with pytest.raises(EnvelopeRejectedError) as refused:
        await town.b.accept(await make_message(town), A, MESSAGE_ID)
    assert refused.value.step == "5"


async def test_expired_opening_key_opens_nothing(town: Town) -> None:
    envelope = await make_message(town, exp=NOW + 49 * DAY)
    town.clock.forward(days=51)  # the key: 30 days active from ten days ago, then 31 more
    with pytest.raises(EnvelopeRejectedError) as refused:
        await town.b.accept(envelope, A, MESSAGE_ID)
    assert refused.value.step == "5"


async def test_opening_key_of_tomorrow_opens_from_five_minutes_before(town: Town) -> None:
    soon = ISSUED + 30 * DAY  # la-850's second key becomes active
    sealed_to_next = Forger(signer_of(A), (opener_of(B, 2),))
    kid = opener_of(B, 2).kid
    envelope = await make_message(town, sealed_to_next, iat=soon, exp=soon + DAY, to=[{"org": B, "enc": kid}])
    town.clock.forward(seconds=soon - NOW - 301)
    with pytest.raises(EnvelopeRejectedError):
        await town.b.accept(envelope, A, MESSAGE_ID)
    town.clock.forward(seconds=1)
    assert read_receipt(await town.b.accept(envelope, A, MESSAGE_ID)).payload.event == "checked"


async def test_message_dated_before_its_signing_key_began_is_refused(town: Town) -> None:
    """A key stolen today cannot sign the past."""
    with pytest.raises(EnvelopeRejectedError) as refused:
        await town.b.accept(await make_message(town, iat=ISSUED - 1, exp=NOW + DAY), A, MESSAGE_ID)
    assert refused.value.step == "10"


async def test_signing_key_past_its_end_is_refused_though_it_was_good_when_the_message_was_dated(town: Town) -> None:
    end = ISSUED + 20 * DAY
    town.b.memory.bundles[A].append(rotated(retire=end - DAY, exp=end))
    town.clock.forward(days=10)
    envelope = await make_message(
        town, Forger(NEW, (opener_of(B),)), from__sig=list(NEW.kids), iat=end - 60, exp=end - 30
    )
    with pytest.raises(EnvelopeRejectedError) as refused:
        await town.b.accept(envelope, A, MESSAGE_ID)
    assert refused.value.step == "10"


async def test_keys_that_are_not_known_yet_are_fetched(town: Town) -> None:
    town.a.memory.bundles[A].append(rotated())
    town.clock.forward(seconds=120)
    envelope = await make_message(town, Forger(NEW, (opener_of(B),)), from__sig=list(NEW.kids))
    assert read_receipt(await town.b.accept(envelope, A, MESSAGE_ID)).payload.event == "checked"
    assert town.b.wire.fetches == ["/exchange/v1/bundles?after=1"]
    assert "key-bundle-accepted" in town.b.kinds()


async def test_unknown_keys_are_no_refusal_and_asked_for_at_most_once_a_minute(town: Town) -> None:
    town.clock.forward(seconds=120)
    envelope = await make_message(town, Forger(NEW, (opener_of(B),)), from__sig=list(NEW.kids))
    for _ in range(3):
        with pytest.raises(NotYetError):
            await town.b.accept(envelope, A, MESSAGE_ID)
    assert town.b.wire.fetches == ["/exchange/v1/bundles?after=1"]
    town.clock.forward(seconds=60)
    with pytest.raises(NotYetError):
        await town.b.accept(envelope, A, MESSAGE_ID)
    assert len(town.b.wire.fetches) == 2
    assert nothing_kept(town)


async def test_unknown_bundle_named_by_a_message_is_fetched_too(town: Town) -> None:
    town.clock.forward(seconds=120)
    with pytest.raises(NotYetError):
        await town.b.accept(await make_message(town, from__bundle="sha256:" + "5" * 64), A, MESSAGE_ID)
    assert town.b.wire.fetches == ["/exchange/v1/bundles?after=1"]


async def test_expired_bundle_of_the_sender_lets_nothing_in_until_there_is_a_newer_one(town: Town) -> None:
    town.clock.forward(days=81)  # the bundle lives 90 days from ten days ago
    at = NOW + 81 * DAY
    third = opener_of(B, 3)
    forger = Forger(signer_of(A), (third,))
    envelope = await make_message(town, forger, iat=at, exp=at + DAY, to=[{"org": B, "enc": third.kid}])
    town.b.ring = KeyRing(bundle=make_bundle(B, iat=at, exp=at + 90 * DAY), secrets=make_secrets(B))
    with pytest.raises(NotYetError):
        await town.b.accept(envelope, A, MESSAGE_ID)
    town.a.memory.bundles[A].append(make_bundle(A, history=(bundle_of(A),), iat=at, exp=at + 90 * DAY).jws)
    town.clock.forward(seconds=60)
    assert read_receipt(await town.b.accept(envelope, A, MESSAGE_ID)).payload.event == "checked"


async def test_bundle_that_lists_another_organisations_key_is_refused_whole(town: Town) -> None:
    """la-207 lists la-919's signing keys as its own, to pass off what la-919 signed."""
    town.b.know(C)
    stolen = [key for key in make_entries(C) if key.role is Role.MESSAGE_SIGN]
    town.a.memory.bundles[A].append(make_jws(follow(bundle_of(A), keys=(*bundle_of(A).keys, *stolen))))
    town.clock.forward(seconds=120)
    claimed = await make_message(town, Forger(signer_of(C), (opener_of(B),)), from__sig=list(signer_of(C).kids))
    with pytest.raises(NotYetError):
        await town.b.accept(claimed, A, MESSAGE_ID)
    assert town.b.alarms == ["bundle-refused"]
    assert town.b.memory.bundles[A] == [bundle_of(A).jws]
    # What la-207 signs with its own keys still arrives.
    assert read_receipt(await town.b.accept(await make_message(town), A, MESSAGE_ID)).payload.event == "checked"


async def test_keys_of_another_job_are_refused_and_not_asked_for(town: Town) -> None:
    label = f"{A} agreement-sign"
    agreeing = independent.Signer(seed(f"{label} ed25519"), seed(f"{label} ml-dsa-65"))
    town.clock.forward(seconds=120)
    envelope = await make_message(town, Forger(agreeing, (opener_of(B),)), from__sig=list(agreeing.kids))
    with pytest.raises(EnvelopeRejectedError) as refused:
        await town.b.accept(envelope, A, MESSAGE_ID)
    assert refused.value.step == "10"
    assert town.b.wire.fetches == []


async def test_keys_of_two_pairs_are_no_pair(town: Town) -> None:
    town.b.memory.bundles[A].append(rotated())
    mixed = independent.Signer(seed(f"{A} message-sign ed25519"), seed(f"{NEW_LABEL} ml-dsa-65"))
    envelope = await make_message(town, Forger(mixed, (opener_of(B),)), from__sig=list(mixed.kids))
    with pytest.raises(EnvelopeRejectedError) as refused:
        await town.b.accept(envelope, A, MESSAGE_ID)
    assert refused.value.step == "10"


@pytest.mark.parametrize("verified", [False, None])
async def test_nothing_is_accepted_from_who_was_not_verified(town: Town, verified: bool | None) -> None:
    if verified is None:
        del town.b.memory.partner_rows[A]
    else:
        town.b.know(A, verified=False)
    held = make_members()
    with pytest.raises(EnvelopeRejectedError) as refused:
        await town.b.accept(Forger(signer_of(A), (opener_of(B),)).envelope(held), A, MESSAGE_ID)
    assert refused.value.step == "10"
    assert nothing_kept(town)


@pytest.mark.parametrize("days", [-20, 400], ids=["before-its-time", "after-its-time"])
async def test_agreement_key_outside_its_time_says_nothing_new(days: int) -> None:
    """A pair that was thrown away after its year, and found: what it signs, back-dated or not, is refused at the door."""
    town = await make_town_in_force()
    ring, signed_at = town.b.ring, int(town.clock().timestamp())
    signer = agreements.Signer(org=B, bundle=ring.bundle.digest, pair=ring.agreement(signed_at).pair)
    held = await governing.load(town.a.exchange, town.digest, town.clock())
    assert held is not None
    act = agreements.prepare(held, B, Action.SUSPEND, "dpo")
    at = signed_at if days > 0 else signed_at + days * DAY
    jws = agreements.write_event(act, signer, event_id="01938e7c-1111-7abc-8def-0123456789ab", at=at)
    if days > 0:
        town.clock.forward(days=days)
    before = len(town.a.memory.events)
    with pytest.raises(governing.EventRejectedError, match="outside its time"):
        await partner_keys.keep_event(jws, from_org=B, exchange=town.a.exchange)
    assert len(town.a.memory.events) == before
