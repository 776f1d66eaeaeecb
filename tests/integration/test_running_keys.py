"""A running gateway and its keys: published ones are taken up without a restart, ended ones are gone from memory and files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from gateway import destruction, serving
from gateway.app import Keys, Running
from gateway.home import Home
from keys.errors import UnwrapError
from keys.key import XWingPublic, XWingSecret
from keys.keyset import KeySet
from keys.listed import DAY, Role
from tests.support.homes import cheap_keystores, make_home, request_keys, running_at, take_up
from tests.support.keys import NOW, make_revocation
from tests.support.memory import Clock
from tests.support.store import rows

ORG = "la-207"
INFO = b"an envelope"
SERVED = (Role.MESSAGE_SIGN, Role.HTTP, Role.LOG)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    cheap_keystores(monkeypatch)
    with make_home(ORG) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


def move_to(clock: Clock, at: int) -> None:
    clock.now = datetime.fromtimestamp(at, tz=UTC)


def in_use(running: Running, at: int) -> dict[str, str]:
    """The keys that the server, its worker, its signer and its partners' envelopes meet at an instant."""
    ring = running.exchange.ring()
    kem = ring.bundle.active_message_kem(at)
    assert kem is not None
    assert ring.opening(kem.kid, at) is not None
    return {
        "message-sign": ring.signing(at).pair.kids[0],
        "http": ring.http(at).public.kid,
        "log": ring.log(at).key.public.kid,
        "message-kem": kem.kid,
    }


def opens(held: KeySet, ek: bytes, wrapped: bytes) -> bool:
    for key in held.keys:
        if isinstance(key.secret, XWingSecret):
            try:
                return len(key.secret.unwrap(ek, wrapped, INFO)) == 32
            except UnwrapError:
                continue
    return False


async def test_keys_switch_at_their_instants_in_a_server_that_is_not_restarted(home: Home, clock: Clock) -> None:
    async with running_at(home, clock) as running:
        bundle = await take_up(running, request_keys(home, None, NOW))
        first = in_use(running, NOW)
        for day in (70, 140, 210, 280, 350):
            move_to(clock, NOW + day * DAY)
            bundle = await take_up(running, request_keys(home, bundle, NOW + day * DAY))
        at = NOW + 350 * DAY
        for role in SERVED:
            assert in_use(running, at)[role.value] == first[role.value]
            old = next(key for key in bundle.keys if key.kid == first[role.value])
            before, after = in_use(running, old.retire - 1)[role.value], in_use(running, old.retire)[role.value]
            assert before == old.kid != after
            assert after in {key.kid for key in bundle.keys}
        kems = [key for key in bundle.keys if key.role is Role.MESSAGE_KEM]
        for one, following in pairwise(kems):
            assert one.retire == following.nbf
            assert in_use(running, following.nbf - 1)["message-kem"] == one.kid
            assert in_use(running, following.nbf)["message-kem"] == following.kid


async def test_revoked_key_is_used_no_more_from_publication_on(home: Home, clock: Clock) -> None:
    async with running_at(home, clock) as running:
        bundle = await take_up(running, request_keys(home, None, NOW))
        before = in_use(running, NOW)
        http = running.exchange.ring().http(NOW).public.kid
        ceremony = request_keys(home, bundle, NOW, revoke=(make_revocation(http),))
        assert in_use(running, NOW) == before  # a request changes nothing
        await take_up(running, ceremony)
        after = in_use(running, NOW)
        assert after["http"] != before["http"]
        assert {role: kid for role, kid in after.items() if role != "http"} == {
            role: kid for role, kid in before.items() if role != "http"
        }


async def test_captured_envelope_is_opened_by_nobody_after_the_last_day_of_its_key(home: Home, clock: Clock) -> None:
    async with running_at(home, clock) as running:
        bundle = await take_up(running, request_keys(home, None, NOW))
        kem = bundle.active_message_kem(NOW)
        assert kem is not None
        assert isinstance(kem.public, XWingPublic)
        ek, wrapped = kem.public.wrap(b"k" * 32, INFO)
        move_to(clock, kem.exp - 1)
        await serving.destroy_seeds(running.exchange)
        assert opens(running.keys.gateway, ek, wrapped)
        assert opens(Keys.load(home).gateway, ek, wrapped)

        move_to(clock, kem.exp)
        assert running.exchange.ring().opening(kem.kid, kem.exp) is None  # the hour until the job comes
        await serving.destroy_seeds(running.exchange)
        assert not opens(running.keys.gateway, ek, wrapped)
        assert not opens(Keys.load(home).gateway, ek, wrapped)
        assert len(logged(home)) == 1
        await serving.destroy_seeds(running.exchange)
        assert len(logged(home)) == 1


async def test_destruction_cut_off_before_its_entry_is_logged_after_the_next_start(home: Home, clock: Clock) -> None:
    async with running_at(home, clock) as running:
        bundle = await take_up(running, request_keys(home, None, NOW))
        kem = bundle.active_message_kem(NOW)
        assert kem is not None
        move_to(clock, kem.exp)

        class Cut(BaseException):
            pass

        class Dying:
            async def write(self, command: Any) -> Any:
                raise Cut

        with pytest.raises(Cut):
            await destruction.destroy_closed(replace(running.exchange, store=Dying()))
        assert logged(home) == []
    async with running_at(home, clock) as again:
        assert kem.kid not in {key.kid for key in again.keys.gateway.keys}
        assert await destruction.destroy_closed(again.exchange) == ()
        assert len(logged(home)) == 1


async def test_seed_that_a_restored_keystore_brings_back_is_destroyed_at_the_next_start(
    home: Home, clock: Clock
) -> None:
    async with running_at(home, clock) as running:
        bundle = await take_up(running, request_keys(home, None, NOW))
        kem = bundle.active_message_kem(NOW)
        assert kem is not None
        kept = (home.secrets / "gateway.keystore").read_bytes()
        move_to(clock, kem.exp)
        await serving.destroy_seeds(running.exchange)
    (home.secrets / "gateway.keystore").write_bytes(kept)
    async with running_at(home, clock) as again:
        assert again.exchange.ring().opening(kem.kid, kem.exp) is None
        assert await destruction.destroy_closed(again.exchange) == (kem.kid,)
    assert kem.kid not in {key.kid for key in Keys.load(home).gateway.keys}


async def test_keystore_that_cannot_be_written_is_told_and_memory_is_emptied_all_the_same(
    home: Home, clock: Clock
) -> None:
    async with running_at(home, clock) as running:
        bundle = await take_up(running, request_keys(home, None, NOW))
        kem = bundle.active_message_kem(NOW)
        assert kem is not None
        move_to(clock, kem.exp)
        heard: list[str] = []
        exchange = replace(running.exchange, alarm=lambda name, _: heard.append(name))
        whole, broken = home.secrets / "gateway.keystore", home.secrets / "away"
        whole.rename(broken)
        await serving.destroy_seeds(exchange)
        assert heard == ["seeds-not-destroyed"]
        assert kem.kid not in {key.kid for key in running.keys.gateway.keys}
        assert logged(home) == []
        broken.rename(whole)
        await serving.destroy_seeds(exchange)
        assert len(logged(home)) == 1
        assert kem.kid not in {key.kid for key in Keys.load(home).gateway.keys}


def logged(home: Home) -> list[Any]:
    return rows(home.database, "SELECT entry FROM log_entry WHERE kind = 'key-destroyed'")
