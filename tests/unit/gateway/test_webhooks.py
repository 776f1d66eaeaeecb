"""The driver of webhooks: in order, at least once, each receiver for itself, and never past what did not arrive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from adapters.port import DeliveryError, DeliveryRefusedError, Handover
from gateway import webhooks
from gateway.core.lifecycle import State
from gateway.core.webhook import PutWebhookCursor, new_secret, read_secret
from gateway.ports import Exchange, MessageEvent
from gateway.webhooks import Target, Webhooks, event_post
from tests.support.exchange import Gateway, make_town
from tests.support.memory import Memory
from tests.support.store import make_event, make_receive

SECRET = new_secret(b"k" * 32)


@dataclass
class Listener:
    """A receiver in memory: answers what it is told to, 204 else, and keeps what it took."""

    answers: list[int | DeliveryError] = field(default_factory=list)
    retry_after: int | None = None
    asked: int = 0
    taken: list[tuple[str, str]] = field(default_factory=list)  # (webhook-id, message)
    types: list[str] = field(default_factory=list)

    async def post(self, headers: Mapping[str, str], body: bytes) -> Handover:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, DeliveryError):
            raise answer
        if answer < 300:
            said = json.loads(body)
            self.taken.append((headers["webhook-id"], said["data"]["message"]))
            self.types.append(said["type"])
        return Handover(status=answer, body=b"", retry_after=self.retry_after)


def make_target(listener: Listener, name: str = "case-system", types: frozenset[str] = frozenset()) -> Target:
    return Target(name=name, types=types, secret=read_secret(SECRET), receiver=listener)


async def make_gateway(events: int = 3) -> tuple[Gateway, list[str]]:
    """A gateway that so many messages have come to, and their ids; the receiver's cursor stands before them."""
    gateway = make_town().a
    await gateway.memory.write(make_event())
    await gateway.memory.write(PutWebhookCursor(name="case-system", position=0))
    return gateway, [await receive(gateway.memory) for _ in range(events)]


async def receive(memory: Memory) -> str:
    command = make_receive(when=memory.clock())
    await memory.write(command)
    return command.message.id


@asynccontextmanager
async def running(exchange: Exchange, *targets: Target) -> AsyncIterator[Webhooks]:
    driver = Webhooks(targets, exchange)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(driver.run())
        yield driver
        driver.stop()


async def until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return
        await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "POLL", 0.01)


async def test_everything_after_the_cursor_is_posted_in_order_and_the_cursor_follows() -> None:
    gateway, messages = await make_gateway(120)  # more than two pages
    listener = Listener()
    async with running(gateway.exchange, make_target(listener)):
        await until(lambda: gateway.memory.cursors["case-system"] == len(gateway.memory.log))
    assert [message for _, message in listener.taken] == messages


async def test_a_new_receiver_begins_with_what_happens_from_now_on() -> None:
    gateway, _ = await make_gateway()
    listener = Listener()
    async with running(gateway.exchange, make_target(listener, "newcomer")):
        await until(lambda: "newcomer" in gateway.memory.cursors)
        later = await receive(gateway.memory)
        await until(lambda: bool(listener.taken))
    assert [message for _, message in listener.taken] == [later]


async def test_only_the_types_asked_for_are_posted_and_the_cursor_passes_the_others() -> None:
    gateway, _ = await make_gateway(1)
    await gateway.memory.write(make_receive(refused=True))
    listener = Listener()
    async with running(gateway.exchange, make_target(listener, types=frozenset({"message.refused"}))):
        await until(lambda: gateway.memory.cursors["case-system"] == len(gateway.memory.log))
    assert listener.types == ["message.refused"]


@pytest.mark.parametrize("failure", [500, 302, 404, DeliveryError("time-out")])
async def test_what_did_not_arrive_is_posted_again_and_nothing_overtakes_it(failure: int | DeliveryError) -> None:
    gateway, messages = await make_gateway()
    listener = Listener(answers=[204, failure, failure])
    async with running(gateway.exchange, make_target(listener)):
        for attempts in (2, 3):
            await until(lambda attempts=attempts: listener.asked == attempts)
            assert [message for _, message in listener.taken] == messages[:1]
            gateway.clock.forward(hours=6)
        await until(lambda: len(listener.taken) == 3)
    assert [message for _, message in listener.taken] == messages


async def test_no_attempt_is_made_before_its_time() -> None:
    gateway, _ = await make_gateway()
    listener = Listener(answers=[503], retry_after=3600)
    async with running(gateway.exchange, make_target(listener)) as driver:
        await until(lambda: listener.asked == 1)
        gateway.clock.forward(minutes=59)
        for _ in range(3):
            driver.wake()
            await asyncio.sleep(0.02)
        assert listener.asked == 1
        gateway.clock.forward(minutes=1)
        await until(lambda: len(listener.taken) == 3)


async def test_one_receiver_that_fails_holds_up_no_other() -> None:
    gateway, messages = await make_gateway()
    await gateway.memory.write(PutWebhookCursor(name="other", position=0))
    broken, other = Listener(answers=[DeliveryError("no-connection")] * 9), Listener()
    async with running(gateway.exchange, make_target(broken), make_target(other, "other")):
        await until(lambda: len(other.taken) == 3)
    assert [message for _, message in other.taken] == messages
    assert broken.taken == []


async def test_how_long_a_receiver_is_behind_is_told_until_it_has_everything() -> None:
    gateway, _ = await make_gateway()
    at = int(gateway.clock().timestamp())
    broken, never = Listener(answers=[DeliveryError("no-connection")]), Listener()
    await gateway.memory.write(PutWebhookCursor(name="other", position=3))
    async with running(gateway.exchange, make_target(broken), make_target(never, "other")) as driver:
        await until(lambda: broken.asked == 1)
        assert driver.waiting_since() == {"case-system": at, "other": None}
        gateway.clock.forward(hours=2)
        await until(lambda: len(broken.taken) == 3)
        assert driver.waiting_since() == {"case-system": None, "other": None}


async def test_gone_ends_it_until_the_gateway_starts_again_and_is_told() -> None:
    gateway, messages = await make_gateway()
    listener = Listener(answers=[410])
    async with running(gateway.exchange, make_target(listener)):
        await until(lambda: "webhook-gone" in gateway.alarms)
        gateway.clock.forward(days=2)
        await asyncio.sleep(0.05)
    assert listener.asked == 1
    async with running(gateway.exchange, make_target(listener)):
        await until(lambda: len(listener.taken) == 3)
    assert [message for _, message in listener.taken] == messages


async def test_after_a_day_a_person_is_told_once_a_day_and_it_is_tried_on() -> None:
    gateway, _ = await make_gateway()
    listener = Listener(answers=[500] * 7)
    async with running(gateway.exchange, make_target(listener)):
        for attempts in range(1, 8):
            await until(lambda attempts=attempts: listener.asked == attempts)
            gateway.clock.forward(hours=8)
        await until(lambda: len(listener.taken) == 3)
    # attempts at 0, 8, .. 48 hours: the one at 24 tells, and the one at 48
    assert gateway.alarms == ["webhook-failing"] * 2


async def test_an_address_that_may_not_be_connected_to_is_told_at_once() -> None:
    gateway, _ = await make_gateway()
    listener = Listener(answers=[DeliveryRefusedError("address-not-allowed")] * 9)
    async with running(gateway.exchange, make_target(listener)):
        await until(lambda: gateway.alarms == ["webhook-failing"])


async def test_who_is_killed_before_the_cursor_is_stored_posts_again_under_the_same_ids() -> None:
    gateway, messages = await make_gateway()

    class Dying(Memory):
        """Carries out nothing any more."""

        async def write(self, command: object) -> None:
            raise OSError

    listener = Listener()
    store = Dying(gateway.own, gateway.clock)
    async with running(replace(gateway.exchange, store=store), make_target(listener)):
        await until(lambda: len(listener.taken) == 3)
    async with running(gateway.exchange, make_target(listener)):
        await until(lambda: len(listener.taken) == 6)
    assert [message for _, message in listener.taken] == messages * 2
    assert listener.taken[:3] == listener.taken[3:]


async def test_a_stop_lets_the_attempt_under_way_end_and_begins_no_other() -> None:
    gateway, messages = await make_gateway()
    entered, leave = asyncio.Event(), asyncio.Event()

    class Slow(Listener):
        async def post(self, headers: Mapping[str, str], body: bytes) -> Handover:
            entered.set()
            await leave.wait()
            return await super().post(headers, body)

    listener = Slow()
    async with running(gateway.exchange, make_target(listener)) as driver:
        await entered.wait()
        driver.stop()
        leave.set()
    assert [message for _, message in listener.taken] == messages[:1]
    index = next(i for i, entry in enumerate(gateway.memory.log) if entry.message_id == messages[0])
    assert gateway.memory.cursors["case-system"] == index + 1


async def test_what_is_posted_is_signed_with_the_targets_secret_at_the_time_of_the_attempt() -> None:
    gateway, _ = await make_gateway(1)
    seen: list[tuple[bytes, dict[str, str]]] = []

    class Keeping(Listener):
        async def post(self, headers: Mapping[str, str], body: bytes) -> Handover:
            seen.append((body, dict(headers)))
            return await super().post(headers, body)

    async with running(gateway.exchange, make_target(Keeping())):
        await until(lambda: bool(seen))
    body, headers = seen[0]
    now = gateway.clock()
    assert headers["webhook-timestamp"] == str(int(now.timestamp()))
    assert headers["webhook-signature"] == Verifier(SECRET.decode()).sign(headers["webhook-id"], now, body.decode())


def test_a_target_does_not_show_its_secret() -> None:
    assert "kkkk" not in repr(make_target(Listener()))


# --- what is told


def make_told(**changes: Any) -> MessageEvent:
    members: dict[str, Any] = {
        "index": 7,
        "at_us": 1_000_000,
        "kind": "delivered",
        "dir": "out",
        "message_id": "019bbd3c-8ac0-7abc-8def-0123456789ab",
        "partner": "la-850",
        "thread": "019bbd3c-8ac0-7abc-8def-0123456789ab",
        "state": State.DELIVERED,
    }
    return MessageEvent(**{**members, **changes})


def test_an_event_is_ids_and_codes() -> None:
    assert json.loads(event_post(make_told(), "log/1").body) == {
        "type": "message.delivered",
        "timestamp": "1970-01-01T00:00:01Z",
        "data": {
            "message": "019bbd3c-8ac0-7abc-8def-0123456789ab",
            "partner": "la-850",
            "thread": "019bbd3c-8ac0-7abc-8def-0123456789ab",
            "direction": "out",
            "index": 7,
            "state": "delivered",
        },
    }


@pytest.mark.parametrize(
    "change",
    [{"index": 8}, {"at_us": 2}, {"message_id": "019bbd3c-8ac0-7abc-8def-0123456789ac"}, {"state": State.REJECTED}],
    ids=lambda change: next(iter(change)),
)
def test_another_event_has_another_id_even_at_an_index_given_again(change: dict[str, Any]) -> None:
    assert event_post(make_told(**change), "log/1").id != event_post(make_told(), "log/1").id
    assert event_post(make_told(), "log/2").id != event_post(make_told(), "log/1").id
