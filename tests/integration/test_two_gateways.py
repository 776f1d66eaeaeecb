"""Two gateways, a bad line between them, and kill -9: nothing acknowledged is lost, nothing comes twice (I1 to I3, I5, I7).

Real processes, as the demonstration starts them. Everything happens once, in the fixture: each burst of messages meets its
own misfortune, and what must come of all of it is waited for at the end. A killed sender may leave leases of a minute
behind, so that killing comes first. The tests are claims about how it ended; the last three, about whether it was bad enough.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from gateway.demo import records
from gateway.demo.stage import Council, NotAsToldError
from gateway.demo.story import Story
from tests.support.faults import Fault, Line
from tests.support.store import rows

BURST = 25
PATIENCE = 180.0  # seconds until everything is confirmed; a lease has 60, a silent connection 30
GLANCE = 0.2
LOST = "the answer is lost"
FAULTS = (
    Fault(name="nothing passes", request=0),
    Fault(name="reset within the handshake", request=700),
    Fault(name="reset within the message", request=6_000),
    Fault(name=LOST, answer=0),
    Fault(name="a black hole", request=0, silent=True),
    Fault(name="slow", latency=0.2),
    Fault(name=LOST, answer=0),
    Fault(name="reset within the answer", answer=2_000),
    Fault(name="the answer falls into a black hole", answer=0, silent=True),
)


@dataclass(slots=True)
class BehindLine(Council):
    """A council that others know by the line's end."""

    door: int = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.door}"


class BadStory(Story):
    """The demonstration's two councils, with a line in front of the one that receives."""

    def __init__(self, folder: Path, line: Line) -> None:
        super().__init__(folder, Console(quiet=True))
        there = self.hants
        line.target = there.port
        self.hants = BehindLine(
            org=there.org,
            name=there.name,
            folder=there.folder,
            port=there.port,
            console=there.console,
            door=line.port,
        )


@dataclass(slots=True)
class Weather:
    """What was sent through all of it, and what was seen on the way."""

    story: BadStory
    line: Line
    ids: dict[str, str] = field(default_factory=dict)  # idempotency key -> id, as first acknowledged
    otherwise: set[str] = field(default_factory=set)  # keys that were later answered with another id
    forgotten: set[str] = field(default_factory=set)  # acknowledged, and not there after a kill
    unanswered: int = 0  # submissions that a kill left without an answer
    faults: list[str] = field(default_factory=list)  # what `log verify` said after the kills, and in the end
    kept: dict[str, bytes] = field(default_factory=dict)  # receipts whose delivery was cut off, as made then

    @property
    def sender(self) -> Council:
        return self.story.kc

    @property
    def receiver(self) -> Council:
        return self.story.hants

    def burst(self, name: str, *victims: Council) -> None:
        """Submit until the end, or until nobody answers; the victims are killed at a moment within it."""
        last_words = random.randrange(BURST - 10)  # noqa: S311 - a moment
        killer = threading.Timer(random.uniform(0.0, 0.03), kill, victims)  # noqa: S311 - a moment
        for number in range(BURST):
            if number == last_words:
                killer.start()
            if not self.submit(f"{name}-{number}", number):
                self.unanswered += 1
                break
        if killer.ident is not None:
            killer.join()

    def submit(self, key: str, number: int) -> bool:
        """Whether it was acknowledged; the body is that of the number, so that a repeat is one."""
        try:
            answer = self.sender.act(
                "send",
                partner=self.receiver.org,
                type="cme.enquiry",
                facts={"urgency": "routine"},
                body=orjson.dumps(records.enquiry(number)).decode(),
                key=key,
            )
        except (NotAsToldError, SystemExit):  # the socket is gone, or went while an answer was waited for
            return False
        if self.ids.setdefault(key, answer["id"]) != answer["id"]:
            self.otherwise.add(key)
        return True

    def kill_during(self, name: str, *victims: Council) -> None:
        """A burst with kill -9 in it; then everyone is started again, and the sender's client repeats all it asked."""
        self.burst(name, *victims)
        for victim in victims:
            victim.start()
        there = {own for (own,) in ask(self.sender, "SELECT id FROM message WHERE direction = 'out'")}
        self.forgotten |= set(self.ids.values()) - there
        assert all(self.submit(f"{name}-{number}", number) for number in range(BURST))

    def pass_through(self, *faults: Fault) -> None:
        """A burst over a line with these faults; the receipts that are lost are looked at where they were made."""
        self.line.meet(*faults)
        self.burst("line")
        wait(lambda: self.line.met[LOST] == sum(fault.name == LOST for fault in faults))
        open_ = self.unconfirmed()
        made = dict(ask(self.receiver, "SELECT message_id, receipt FROM inbox"))
        self.kept = {own: made[own] for own in open_ & set(made)}

    def verify(self) -> None:
        for council in self.story.both:
            try:
                council.run("log", "verify")
            except NotAsToldError as error:
                self.faults.append(f"{council.org}: {error}")

    def unconfirmed(self) -> set[str]:
        states = dict(ask(self.sender, "SELECT id, state FROM message WHERE direction = 'out'"))
        return {own for own in self.ids.values() if states.get(own) != "delivered"}


def ask(council: Council, statement: str) -> list[tuple[Any, ...]]:
    return rows(council.home.database, statement)


def kill(*victims: Council) -> None:
    for victim in victims:
        victim.kill()


def wait(look: Callable[[], bool]) -> None:
    """Until it is so, or patience ends: what is missing then is for the tests to say."""
    until = time.monotonic() + PATIENCE
    while not look() and time.monotonic() < until:
        time.sleep(GLANCE)


@pytest.fixture(scope="module")
def weather() -> Iterator[Weather]:
    with tempfile.TemporaryDirectory(prefix="sh-") as name, Line() as line:  # a short path: admin sockets lie below it
        story = BadStory(Path(name), line)
        try:
            story.set_up()
            story.introduce()
            story.agree()
            weather = Weather(story, line)
            weather.kill_during("sender killed", story.kc)
            weather.kill_during("both killed", story.kc, story.hants)
            weather.kill_during("receiver killed", story.hants)
            weather.pass_through(*FAULTS)
            weather.verify()
            wait(lambda: weather.unconfirmed() <= weather.forgotten)
            weather.verify()
            yield weather
        finally:
            for council in story.both:
                council.stop()


def counts(council: Council, kind: str) -> dict[str, int]:
    """How many entries of a kind each message has in the log."""
    return dict(
        ask(council, f"SELECT message_id, count(*) FROM log_entry WHERE kind = '{kind}' GROUP BY message_id")  # noqa: S608
    )


def once(weather: Weather) -> dict[str, int]:
    return dict.fromkeys(weather.ids.values(), 1)


def test_every_acknowledged_message_is_delivered(weather: Weather) -> None:
    assert len(weather.ids) == 4 * BURST
    assert weather.unconfirmed() == set()


def test_nothing_acknowledged_is_forgotten_by_a_kill(weather: Weather) -> None:
    assert weather.forgotten == set()


def test_submission_repeated_with_its_key_is_the_same_message(weather: Weather) -> None:
    assert weather.otherwise == set()
    assert len(set(weather.ids.values())) == len(weather.ids)
    sent = [own for (own,) in ask(weather.sender, "SELECT id FROM message WHERE direction = 'out'")]
    assert sorted(sent) == sorted(weather.ids.values())


def test_each_message_comes_in_once(weather: Weather) -> None:
    for table in ("inbox", "handoff"):
        came = [own for (own,) in ask(weather.receiver, f"SELECT message_id FROM {table}")]  # noqa: S608
        assert sorted(came) == sorted(weather.ids.values())


def test_each_log_has_one_entry_for_each_step_of_each_message(weather: Weather) -> None:
    assert counts(weather.sender, "submitted") == once(weather)
    assert counts(weather.sender, "delivered") == once(weather)
    assert counts(weather.receiver, "received") == once(weather)


def test_receipts_that_the_sender_holds_are_those_that_the_receiver_made(weather: Weather) -> None:
    held = dict(ask(weather.sender, "SELECT message_id, bytes FROM receipt_in"))
    assert held == dict(ask(weather.receiver, "SELECT message_id, receipt FROM inbox"))
    assert held.keys() == once(weather).keys()


def test_entry_in_each_receipt_stands_in_the_log_of_the_receiver(weather: Weather) -> None:
    leaves = {leaf for (leaf,) in ask(weather.receiver, "SELECT leaf_hash FROM log_entry WHERE kind = 'received'")}
    assert {leaf for (leaf,) in ask(weather.sender, "SELECT leaf FROM receipt_in")} == leaves


def test_message_sent_again_is_answered_with_the_receipt_that_was_lost(weather: Weather) -> None:
    held = dict(ask(weather.sender, "SELECT message_id, bytes FROM receipt_in"))
    assert {own: held[own] for own in weather.kept} == weather.kept


def test_logs_verify_after_the_kills_and_in_the_end(weather: Weather) -> None:
    assert weather.faults == []


def test_gateways_tell_of_no_fault_of_their_own(weather: Weather) -> None:
    for council in weather.story.both:
        told = (council.folder / "gateway.log").read_text()
        events = [orjson.loads(line) for line in told.splitlines()]  # each line is an event: no traceback
        assert [event for event in events if event["level"] in ("error", "critical")] == []


def test_what_each_side_stated_of_the_day_is_what_the_other_logged(weather: Weather) -> None:
    for council in weather.story.both:
        assert ask(council, "SELECT partner, n FROM statement WHERE dir = 'out'") != []
        assert ask(council, "SELECT difference, subject FROM statement_difference") == []


def test_every_fault_of_the_line_was_met(weather: Weather) -> None:
    assert set(weather.line.met) == {fault.name for fault in FAULTS}


def test_lost_answers_were_answers_to_messages_that_had_come_in(weather: Weather) -> None:
    attempts = dict(
        ask(
            weather.sender,
            "SELECT d.message_id, count(*) FROM attempt a JOIN delivery d ON d.id = a.delivery_id GROUP BY 1",
        )
    )
    again = [own for own in weather.kept if attempts[own] > 1]  # the others were on their way when we looked
    assert len(again) >= sum(fault.name == LOST for fault in FAULTS)


def test_kills_came_while_something_was_under_way(weather: Weather) -> None:
    again = ask(weather.sender, "SELECT count(*) FROM delivery WHERE attempts > 1")
    assert weather.unanswered > 0 or again[0][0] > len(FAULTS)
