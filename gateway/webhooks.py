"""Webhooks: every receiver follows the exchange log at its own pace. Drives, decides nothing.

Cursor -> the next events of the log -> one POST each, in order -> what `core.webhook` makes of the answer -> cursor. There is
no queue: an event waits in the log, so nothing is written twice and nothing is lost. The cursor is stored after the events
that it passes have arrived; who is killed in between posts them again under the same ids. Receivers know nothing of each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, assert_never

import structlog

from adapters.port import DeliveryError, DeliveryRefusedError, Receiver
from gateway.core.happened import event_type
from gateway.core.webhook import (
    Arrived,
    Post,
    PutWebhookCursor,
    Stopped,
    TryAgain,
    after_attempt,
    given_up,
    make_post,
)
from gateway.ports import Exchange, MessageEvent
from gateway.worker import guarded

POLL: Final = 1.0  # seconds
PAGE: Final = 50  # events, between two storings of the cursor at most
ALARM_EVERY: Final = timedelta(days=1)
_MICROSECONDS: Final = 1_000_000

log = structlog.get_logger("safehand.webhooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A receiver as configured: the types it wants (empty: all), its secret, and the way to it."""

    name: str
    types: frozenset[str]
    secret: bytes = field(repr=False)
    receiver: Receiver


class Webhooks:
    """Owns a task for each target; `run` returns when `stop` was called and the attempts under way have ended."""

    def __init__(self, targets: tuple[Target, ...], exchange: Exchange) -> None:
        self._followers = tuple(_Follower(target, exchange) for target in targets)

    def wake(self) -> None:
        """Look at once: something changed."""
        for follower in self._followers:
            follower.wake()

    def stop(self) -> None:
        """Begin no further attempt."""
        for follower in self._followers:
            follower.stop()

    def waiting_since(self) -> Mapping[str, int | None]:
        """Of each receiver, when (in seconds) the oldest event happened that it has not taken; None where it has everything."""
        return {follower.name: follower.waiting_since for follower in self._followers}

    async def run(self) -> None:
        """Follow the log until stopped."""
        async with asyncio.TaskGroup() as tasks:
            for follower in self._followers:
                tasks.create_task(follower.run(), name=f"webhook:{follower.name}")


class _Follower:
    """One target's way through the log. `_position` is the index before which it has everything."""

    def __init__(self, target: Target, exchange: Exchange) -> None:
        self.name = target.name
        self._target = target
        self._exchange = exchange
        self._wake = asyncio.Event()
        self._stopping = False
        self._position: int | None = None
        self._attempts = 0
        self._not_before: datetime | None = None
        self._alarmed_at: datetime | None = None
        self.waiting_since: int | None = None

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            if self._not_before is None or self._exchange.clock() >= self._not_before:
                await guarded("webhook", self._catch_up)
            try:
                async with asyncio.timeout(POLL):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _catch_up(self) -> None:
        """Post what waits, until nothing does or one event does not arrive."""
        if self._position is None:
            self._position = await self._begin()
        while True:
            stored = self._position
            page = await self._exchange.events.after(self._position - 1, PAGE)
            for event in page:
                if self._stopping or not await self._hand_over(event):
                    break
                self._position = event.index + 1
            if self._position > stored:
                await self._exchange.store.write(PutWebhookCursor(name=self.name, position=self._position))
            if len(page) < PAGE or self._position <= page[-1].index:
                return

    async def _begin(self) -> int:
        """Where the target stands; a new one begins with what happens from now on, which is stored before anything is posted."""
        position = await self._exchange.webhooks.position(self.name)
        if position is None:
            position = (await self._exchange.overview.counts())["log.size"]
            await self._exchange.store.write(PutWebhookCursor(name=self.name, position=position))
        return position

    async def _hand_over(self, event: MessageEvent) -> bool:
        """Whether the target has the event, or does not want it; else what comes next is settled here."""
        if self._target.types and event_type(event.state) not in self._target.types:
            return True
        exchange = self._exchange
        self.waiting_since = event.at_us // _MICROSECONDS
        self._attempts += 1
        told = await post_once(self._target, event_post(event, exchange.journal.origin), exchange.clock())
        now = exchange.clock()
        upcoming = after_attempt(
            told.status, told.retry_after, attempts=self._attempts, now=now, jitter=exchange.jitter()
        )
        match upcoming:
            case Arrived():
                self._attempts, self._not_before, self.waiting_since = 0, None, None
                return True
            case TryAgain(at=at):
                self._not_before = at
                self._tell_failure(event, told, now)
            case Stopped():
                self._stopping = True
                exchange.alarm("webhook-gone", {"webhook": self.name})
            case _:
                assert_never(upcoming)
        return False

    def _tell_failure(self, event: MessageEvent, told: Told, now: datetime) -> None:
        """To the log at every attempt; to a person at once where only a person can mend it, and once a day while events wait."""
        log.warning("webhook-failed", webhook=self.name, cause=told.cause, attempt=self._attempts)
        pressing = told.not_allowed or given_up(event.at_us, now)
        if pressing and (self._alarmed_at is None or now - self._alarmed_at >= ALARM_EVERY):
            self._alarmed_at = now
            self._exchange.alarm("webhook-failing", {"webhook": self.name, "cause": told.cause})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came of one attempt: the status (None: no answer), what was asked for, and a code that names it."""

    status: int | None
    retry_after: int | None
    cause: str
    not_allowed: bool = False


async def post_once(target: Target, post: Post, now: datetime) -> Told:
    """Sign and post; whatever comes of it is an answer."""
    try:
        answer = await target.receiver.post(post.headers(target.secret, int(now.timestamp())), post.body)
    except DeliveryError as error:
        not_allowed = isinstance(error, DeliveryRefusedError)
        return Told(status=None, retry_after=None, cause=error.code, not_allowed=not_allowed)
    return Told(status=answer.status, retry_after=answer.retry_after, cause=f"answered.{answer.status}")


def event_post(event: MessageEvent, origin: str) -> Post:
    """Return what is sent of an event of the log `origin`: ids and codes.

    An index is given a second time where a database was put back from a backup; the message, its state and the time are not.
    """
    kind = event_type(event.state)
    data = {
        "message": event.message_id,
        "partner": event.partner,
        "thread": event.thread,
        "direction": event.dir,
        "index": event.index,
        "state": event.state.value,
    }
    return make_post(
        kind, event.at_us, data, told=f"{origin} {event.index} {event.at_us} {event.dir} {event.message_id} {kind}"
    )
