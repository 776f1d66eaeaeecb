"""Keys over the months, by a moved clock: one KEM key at a time, seeds destroyed on their day, a ceremony that was missed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.port import DeliveryError, Handover, Parcel
from gateway import delivery, destruction
from gateway.core.commands import Command, Record
from gateway.core.lifecycle import State
from gateway.expiries import Told, tell
from keys.errors import KeystoreError, UnwrapError
from keys.key import Kid, XWingPublic, XWingSecret
from keys.keyset import StoredKey
from keys.listed import DAY, Role
from tests.support.ceremonies import active_kems, hold_ceremony, publish, request_keys
from tests.support.exchange import Gateway, Town, make_gateway, make_town_in_force
from tests.support.keys import ISSUED, NOW, make_revocation
from tests.support.memory import Clock
from tests.support.messages import A, B, submission

INFO = b"an envelope"
HOUR = 3600


@dataclass(frozen=True)
class Captured:
    """What somebody on the line keeps of an envelope: the wrapped content key, and how long the message lives."""

    kid: Kid
    ek: bytes
    wrapped: bytes
    sealed_at: int
    exp: int

    def opens_with(self, *secrets: StoredKey) -> bool:
        for key in secrets:
            if isinstance(key.secret, XWingSecret):
                try:
                    return len(key.secret.unwrap(self.ek, self.wrapped, INFO)) == 32
                except UnwrapError:
                    continue
        return False


def alone() -> Gateway:
    return make_gateway(A, {}, Clock())


def seconds(gateway: Gateway) -> int:
    return int(gateway.clock().timestamp())


def move_to(gateway: Gateway, at: int) -> None:
    gateway.clock.now = datetime.fromtimestamp(at, tz=UTC)


def capture(gateway: Gateway) -> Captured:
    """A partner seals to the one key that there is to seal to."""
    at = seconds(gateway)
    (listed,) = active_kems(gateway.ring.bundle, at)
    assert isinstance(listed.public, XWingPublic)
    ek, wrapped = listed.public.wrap(b"k" * 32, INFO)
    exp = min(at + 30 * DAY, listed.retire + 30 * DAY)
    return Captured(kid=listed.kid, ek=ek, wrapped=wrapped, sealed_at=at, exp=exp)


def destroyed(gateway: Gateway) -> list[str]:
    """The keys that the log says are destroyed."""
    return [json.loads(e.data)["receipt"] for e in gateway.memory.log if e.kind == destruction.KIND]


async def test_two_hundred_days_of_sealing_opening_and_destroying() -> None:
    gateway = alone()
    ceremonies = iter((ISSUED + 70 * DAY, ISSUED + 145 * DAY, ISSUED + 10_000 * DAY))
    ceremony = next(ceremonies)
    held: list[Captured] = []
    first_kems = {key.kid for key in gateway.ring.bundle.keys if key.role is Role.MESSAGE_KEM}
    for day in range(201):
        move_to(gateway, NOW + day * DAY)
        if seconds(gateway) >= ceremony:
            ceremony = next(ceremonies)
            await hold_ceremony(gateway)
        await destruction.destroy_closed(gateway.exchange)
        held.append(capture(gateway))
        at, ring = seconds(gateway), gateway.ring
        ends = {key.kid: key.exp for b in gateway.memory.history(A) for key in b.keys if key.role is Role.MESSAGE_KEM}
        for one in held:
            secret = ring.opening(one.kid, at)
            if at < one.exp:
                assert secret is not None, "a message that lives is opened"
                assert one.opens_with(StoredKey(Role.MESSAGE_KEM, secret))
            if at >= ends[one.kid]:
                assert secret is None, "a key past its last day opens nothing"
                assert ring.secrets
                assert one.kid not in {key.kid for key in ring.secrets}, "and is not held"
    ended = [one for one in held if ends[one.kid] <= at]
    assert {one.kid for one in ended} >= first_kems
    assert not any(one.opens_with(*gateway.ring.secrets) for one in ended)
    in_order = sorted({one.kid for one in ended}, key=lambda kid: ends[kid])
    assert destroyed(gateway) == [destruction.digest_of(kid) for kid in in_order]


@pytest.mark.parametrize("delay", [0, 4 * DAY])
async def test_at_every_instant_there_is_one_kem_key_whatever_is_replaced_or_revoked(delay: int) -> None:
    gateway = alone()
    acts: tuple[tuple[int, dict[str, Any]], ...] = (
        (70, {}),
        (90, {"early": {Role.MESSAGE_KEM}}),
        (95, {"early": {Role.MESSAGE_SIGN, Role.HTTP, Role.LOG}}),
        (120, {"revoke": 0}),  # the active one
        (150, {"revoke": 1}),  # one that is to come
        (200, {}),
    )
    now = ISSUED
    for day, act in acts:
        request_at = ISSUED + day * DAY
        await check_one_at_a_time(gateway, now, request_at + delay)
        move_to(gateway, request_at)
        kems = [key for key in gateway.ring.bundle.keys if key.role is Role.MESSAGE_KEM and key.retire > request_at]
        revoke = [make_revocation(kems[act["revoke"]].kid, since=request_at)] if "revoke" in act else []
        jws = request_keys(gateway, early=act.get("early", frozenset()), revoke=revoke)
        now = request_at + delay
        move_to(gateway, now)
        await publish(gateway, jws)
    await check_one_at_a_time(gateway, now, ISSUED + 290 * DAY)


async def check_one_at_a_time(gateway: Gateway, start: int, end: int) -> None:
    ring = gateway.ring
    edges = {key.nbf for key in ring.bundle.keys} | {key.retire for key in ring.bundle.keys}
    instants = {edge + shift for edge in edges for shift in (-1, 0, 1)} | set(range(start, end, 6 * HOUR))
    for at in sorted(instant for instant in instants if start <= instant < min(end, ring.bundle.exp)):
        assert len(active_kems(ring.bundle, at)) == 1, (at - ISSUED) / DAY
        assert ring.missing(at) == ()


async def test_kem_key_replaced_early_is_sealed_to_for_seven_days_more_and_opens_all_of_it() -> None:
    gateway = alone()
    before = capture(gateway)
    jws = request_keys(gateway, early={Role.MESSAGE_KEM})
    gateway.clock.forward(days=4)
    meanwhile = capture(gateway)  # by a bundle that does not say so yet
    await publish(gateway, jws)
    gateway.clock.forward(days=3)
    after = capture(gateway)
    assert before.kid == meanwhile.kid != after.kid
    retire = gateway.ring.bundle.find(before.kid)
    assert retire is not None
    assert retire.retire == NOW + 7 * DAY
    assert meanwhile.exp <= retire.retire + 30 * DAY
    move_to(gateway, meanwhile.exp - 1)
    assert gateway.ring.opening(before.kid, seconds(gateway)) is not None


async def test_revoked_kem_seed_is_destroyed_when_the_bundle_is_published() -> None:
    gateway = alone()
    captured = capture(gateway)
    jws = request_keys(gateway, revoke=[make_revocation(captured.kid)])
    assert await destruction.destroy_closed(gateway.exchange) == ()
    await publish(gateway, jws)
    assert await destruction.destroy_closed(gateway.exchange) == (captured.kid,)
    assert not captured.opens_with(*gateway.ring.secrets)
    assert capture(gateway).kid != captured.kid


async def test_signing_keys_replaced_early_sign_at_once_and_the_old_ones_are_read_as_long_as_before() -> None:
    gateway = alone()
    old = gateway.ring.signing(NOW)
    listed = gateway.ring.bundle.message_sign_pair_for(old.pair.kids)
    assert listed is not None
    gateway.clock.forward(hours=1)
    bundle = await hold_ceremony(gateway, early={Role.MESSAGE_SIGN})
    at = seconds(gateway)
    assert gateway.ring.signing(at).pair.kids != old.pair.kids
    still = bundle.message_sign_pair_for(old.pair.kids)
    assert still is not None
    assert (still.retire, still.exp) == (at, listed.exp)
    assert bundle.trusts(still, NOW, at)


# --- destruction: repeated, killed in between, and where the keystore cannot be written


async def test_destruction_is_logged_once_and_repeating_it_changes_nothing() -> None:
    gateway = alone()
    kem = gateway.ring.bundle.active_message_kem(NOW)
    assert kem is not None
    move_to(gateway, kem.exp - 1)
    assert await destruction.destroy_closed(gateway.exchange) == ()
    move_to(gateway, kem.exp)
    assert await destruction.destroy_closed(gateway.exchange) == (kem.kid,)
    assert await destruction.destroy_closed(gateway.exchange) == ()
    assert destroyed(gateway) == [destruction.digest_of(kem.kid)]


async def test_seed_destroyed_by_a_process_that_was_killed_before_logging_it_is_logged_by_the_next() -> None:
    gateway = alone()
    kem = gateway.ring.bundle.active_message_kem(NOW)
    assert kem is not None
    move_to(gateway, kem.exp)

    class Killed(BaseException):
        pass

    class Dying:
        async def write(self, command: Command[Any]) -> Any:
            assert isinstance(command, Record)
            raise Killed

    with pytest.raises(Killed):
        await destruction.destroy_closed(replace(gateway.exchange, store=Dying()))
    assert destroyed(gateway) == []
    assert kem.kid not in {key.kid for key in gateway.ring.secrets}
    assert await destruction.destroy_closed(gateway.exchange) == ()  # nothing was left to destroy
    assert destroyed(gateway) == [destruction.digest_of(kem.kid)]


async def test_nothing_is_logged_while_the_keystore_cannot_be_written() -> None:
    gateway = alone()
    kem = gateway.ring.bundle.active_message_kem(NOW)
    assert kem is not None
    move_to(gateway, kem.exp)

    class Stuck:
        def held(self) -> frozenset[Kid]:
            return frozenset()

        def destroy(self, kids: object) -> frozenset[Kid]:
            raise KeystoreError("keystore.io", "cannot be written")

        async def logged(self) -> frozenset[str]:
            return frozenset()

    with pytest.raises(KeystoreError):
        await destruction.destroy_closed(replace(gateway.exchange, seeds=Stuck()))
    assert destroyed(gateway) == []


# --- a ceremony that is missed


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


async def keep_in_touch(town: Town) -> None:
    """The other council goes on: its bundle is renewed, fetched and fresh."""
    bundle = await hold_ceremony(town.b)
    town.a.memory.bundles[B] = [*town.b.memory.bundles[B]]
    town.a.memory.fetched_at[B] = bundle.iat


async def test_alarms_come_fourteen_seven_and_one_day_before_the_end_and_when_it_has_come() -> None:
    gateway, told, heard = alone(), Told(), list[tuple[float, str, str]]()
    end = gateway.ring.bundle.exp
    exchange = replace(
        gateway.exchange, alarm=lambda name, told: heard.append(((end - seconds(gateway)) / DAY, name, told["kind"]))
    )
    for hour in range(92 * 24):
        move_to(gateway, NOW + hour * HOUR)
        await tell(told, [], exchange)
        if (end - seconds(gateway)) < -2 * DAY:
            break
    own = [(days, name) for days, name, what in heard if what == "own-bundle"]
    assert own[:4] == [(14, "expiring"), (7, "expiring"), (1, "expiring"), (0, "expired")]
    assert [days for days, _ in own[4:]] == pytest.approx([-d for d in range(1, len(own) - 3)], abs=1)
    kem = [(days, name) for days, name, what in heard if what == "own-key"]
    assert kem[:4] == own[:4]  # the last KEM key retires when the bundle ends


async def test_a_ceremony_quietens_the_alarms(town: Town) -> None:
    told = Told()
    town.clock.forward(days=70)
    assert {found.name for found in await tell(told, [], town.a.exchange)} == {A, B, "message-kem"}
    await hold_ceremony(town.a)
    await keep_in_touch(town)
    assert await tell(told, [], town.a.exchange) == ()


async def test_sending_stops_without_using_up_an_attempt_and_goes_on_after_the_ceremony(town: Town) -> None:
    town.clock.forward(days=79, hours=23)
    await keep_in_touch(town)
    message = (await submission(town.a.exchange))["id"]
    town.clock.forward(hours=2)  # the bundle ended in between
    town.a.wire.parcels.clear()
    for _ in range(20):
        await town.a.run()
        town.clock.forward(minutes=5)
    sent = town.a.memory.sent[message]
    assert (sent.state, sent.held_for, sent.attempts) == (State.HELD, ("own.keys-missing",), 0)
    assert town.a.wire.parcels == []
    assert town.a.kinds().count("held") == 1

    await hold_ceremony(town.a)
    town.clock.forward(minutes=2)
    await town.a.run(2)
    assert town.a.memory.sent[message].state is State.DELIVERED
    assert len(town.b.memory.arrived) == 1


async def test_message_signed_with_a_key_that_we_revoked_waits_for_a_person(town: Town) -> None:
    message = (await submission(town.a.exchange))["id"]
    kid = town.a.ring.signing(NOW).pair.kids[0]
    await hold_ceremony(town.a, revoke=[make_revocation(kid)])
    await town.a.run()
    assert town.a.memory.sent[message].held_for == ("own.key-revoked",)
    assert town.b.memory.arrived == {}


async def test_what_was_under_way_when_the_keys_ended_is_tried_again(town: Town) -> None:
    """The bundle ends between the check and the connection: the lease is given back, nothing is settled."""
    message = (await submission(town.a.exchange))["id"]

    (candidate,) = await town.a.exchange.outbox.due(town.clock(), 1)
    wire = town.a.wire

    class Keyless:
        async def deliver(self, parcel: Parcel) -> Handover:
            town.a.ring.http(NOW + 4000 * DAY)
            raise DeliveryError("unreached")

        async def fetch(self, partner: str, url: str, path: str, *, signed: bool) -> Handover:
            return await wire.fetch(partner, url, path, signed=signed)

    with pytest.raises(Exception, match="http"):
        await delivery.hand_over(candidate, replace(town.a.exchange, peer=Keyless()))
    assert town.a.memory.sent[message].state is State.QUEUED
    await town.a.run()
    assert town.a.memory.sent[message].state is State.DELIVERED
