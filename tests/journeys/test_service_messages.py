"""Two real gateways over HTTPS say things about a child's record: withdrawn and destroyed, asked and answered, a right exercised.

Told once, in the fixture, with commands as an operator types them; the tests are claims about how it ended.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from rich.console import Console

from gateway.app import now_utc
from gateway.cli.main import main
from gateway.demo import records
from gateway.demo.stage import Council, wait_for
from gateway.demo.story import Story
from tests.support.store import rows

GIVEN = "child.name.given"
NEW_NAME = "Marigoldine"  # travels in one correction, and may stand nowhere but in its body


@dataclass(slots=True)
class Told:
    """What was sent and seen on the way."""

    story: Story
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def kc(self) -> Council:
        return self.story.kc

    @property
    def values(self) -> Path:
        return self.story.folder / "values.json"

    @property
    def hants(self) -> Council:
        return self.story.hants

    def transfer(self) -> str:
        answer = self.kc.act(
            "send",
            partner=self.hants.org,
            type="cme.transfer",
            facts={"urgency": "routine"},
            body=orjson.dumps(records.transfer()).decode(),
        )
        own = str(answer["id"])
        reaches(self.kc, own, "delivered")
        return own

    def say(self, council: Council, *command: str) -> str:
        """Type a command that sends a service message; return its id once it arrived."""
        answer = ask(council, "service", *command)
        reaches(council, answer["id"], "delivered")
        return str(answer["id"])

    def arrived(self, council: Council, message_type: str) -> str:
        """The newest message of a type that came in."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [one for one in council.act("inbox.list") if one["type"] == message_type]
            return bool(found)

        wait_for(f"{message_type} arrives", look)
        return str(found[0]["id"])

    def open_duties(self, council: Council) -> list[tuple[str, str]]:
        return [(one["direction"], one["type"]) for one in council.act("service.list")]

    # --- the story

    def withdraw_unread(self) -> None:
        own = self.transfer()
        self.say(self.kc, "withdraw", own, "--reason", "in-error", "--by", "officer")
        self.seen["withdrawn"] = ask(self.hants, "inbox", "show", own)
        self.seen["not opened"] = run(self.hants, "inbox", "open", own, "--role", "officer", expect=4)
        receipt = self.arrived(self.kc, "destruction.receipt")  # by itself
        self.say(self.kc, "ack", receipt, "--done", "--by", "officer")

    def withdraw_read(self) -> None:
        own = self.transfer()
        run(self.hants, "inbox", "open", own, "--role", "officer")
        withdrawal = self.say(self.kc, "withdraw", own, "--reason", "wrong-child", "--by", "officer")
        self.seen["still here"] = ask(self.hants, "inbox", "show", own)
        self.seen["status"] = {council.org: ask(council, "status") for council in self.story.both}
        self.seen["status in words"] = run(self.hants, "status")
        run(self.hants, "service", "ack", withdrawal, "--done", expect=4)
        destroyed = ask(self.hants, "inbox", "destroy", own, "--by", "officer")
        reaches(self.hants, destroyed["receipt"], "delivered")
        self.say(self.kc, "ack", destroyed["receipt"], "--done", "--by", "officer")
        self.seen["destroyed"] = ask(self.hants, "inbox", "show", own)
        self.seen["decided"] = ask(
            self.kc, "breach", "decide", withdrawal, "--outcome", "reported", "--by", "data protection officer"
        )

    def ask_and_answer(self) -> None:
        own = self.transfer()
        question = self.say(self.hants, "question", own, "--path", GIVEN, "--reason", "mismatch")
        self.values.write_text(json.dumps({"child": {"name": {"given": NEW_NAME}}}))
        correction = self.say(self.kc, "correct", own, "--path", GIVEN, "--values", str(self.values))
        self.say(self.kc, "ack", question, "--done", "--by", "officer")
        self.values.write_text(json.dumps({"child": {"ethnicity": "WBRI"}}))
        self.seen["refused"] = run(
            self.kc, "service", "correct", own, "--path", "child.ethnicity", "--values", str(self.values), expect=4
        )
        self.seen["corrected"] = ask(self.hants, "inbox", "show", own)
        self.seen["correction"] = correction
        self.seen["read"] = ask(self.hants, "inbox", "open", correction, "--role", "officer")
        self.say(self.hants, "ack", correction, "--done", "--by", "officer")

    def exercise_a_right(self) -> None:
        own = self.transfer()
        until = (now_utc().date() + timedelta(days=28)).isoformat()
        notice = self.say(self.kc, "rights", own, "--right", "restrict", "--path", GIVEN, "--until", until)
        self.seen["owed"] = ask(self.hants, "service", "list")
        self.say(self.hants, "ack", notice, "--not-done", "legal-hold", "--by", "officer")
        self.seen["told"] = [one for one in ask(self.kc, "service", "list", "--all") if one["id"] == notice]

    def end(self) -> None:
        """The agreement ends; what was said under it can still be spoken of."""
        own = self.transfer()
        run(self.kc, "agreement", "terminate", "rbkc-hants-cme-transfer", "--role", "dpo")
        wait_for("the end arrives", lambda: self.hants.act("agreement.list")[0]["state"] == "terminated")
        today = now_utc().date().isoformat()
        closed = self.say(self.kc, "close", own, "--on", today, "--status", "in-education")
        self.say(self.hants, "ack", closed, "--done")
        breach = self.say(
            self.hants, "breach", own, "--found-on", today, "--kind", "lost", "--path", GIVEN, "--by", "officer"
        )
        self.say(self.kc, "ack", breach, "--done")


def run(council: Council, *command: str, expect: int = 0) -> str:
    """Type a command beside the running gateway, in this process: that costs no start of Python."""
    result = CliRunner().invoke(main, ["--home", str(council.home.path), *command])
    assert result.exit_code == expect, result.output
    return result.output


def ask(council: Council, *command: str) -> Any:
    return json.loads(run(council, *command, "--json"))


def reaches(council: Council, own: str, state: str) -> None:
    wait_for(f"the message is {state}", lambda: council.act("message.show", id=own)["state"] == state)


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    with tempfile.TemporaryDirectory(prefix="sh-", dir="/tmp") as name:
        story = Story(Path(name), Console(quiet=True))
        try:
            story.set_up()
            story.introduce()
            story.agree()
            made = Told(story)
            chapters: tuple[Callable[[], None], ...] = (
                made.withdraw_unread, made.withdraw_read, made.ask_and_answer, made.exercise_a_right, made.end,
            )  # fmt: skip
            for chapter in chapters:
                chapter()
            yield made
        finally:
            for council in story.both:
                council.stop()


def test_unread_message_is_destroyed_by_its_withdrawal_alone(told: Told) -> None:
    assert told.seen["withdrawn"]["state"] == "withdrawn"
    assert [one["type"] for one in told.seen["withdrawn"]["said_of_it"]] == ["exchange.withdrawal"]
    assert "was withdrawn" in told.seen["not opened"]


def test_message_that_was_read_waits_for_a_person_to_destroy_it(told: Told) -> None:
    assert told.seen["still here"]["state"] == "collected"
    assert told.seen["destroyed"]["state"] == "destroyed"
    types = {one["type"]: one["state"] for one in told.seen["destroyed"]["said_of_it"]}
    assert types == {"exchange.withdrawal": "done", "destruction.receipt": "done"}


def test_breach_shows_its_deadline_in_the_status_of_both_until_it_is_decided(told: Told) -> None:
    for status in told.seen["status"].values():
        (breach,) = status["breaches"]
        assert (breach["code"], breach["state"], breach["overdue"]) == ("wrong-child", "open", False)
    assert "wrong-child" in told.seen["status in words"]
    assert told.seen["decided"]["state"] == "reported"
    states = {council.org: [one["state"] for one in ask(council, "breach", "list")] for council in told.story.both}
    assert states[told.kc.org] == ["reported", "open"]


def test_correction_stands_beside_the_message_and_carries_what_a_grant_allows(told: Told) -> None:
    said = {one["type"]: one for one in told.seen["corrected"]["said_of_it"]}
    assert said["exchange.correction"]["id"] == told.seen["correction"]
    assert told.seen["read"]["body"]["values"] == {"child": {"name": {"given": NEW_NAME}}}
    assert "values.child.ethnicity" in told.seen["refused"]


def test_notice_of_a_right_is_owed_and_its_answer_is_told(told: Told) -> None:
    assert [(one["direction"], one["type"]) for one in told.seen["owed"]] == [("owed", "rights.notice")]
    (answered,) = told.seen["told"]
    assert (answered["state"], answered["answer_code"]) == ("declined", "legal-hold")


def test_nothing_is_owed_or_awaited_in_the_end(told: Told) -> None:
    for council in told.story.both:
        assert told.open_duties(council) == []


def test_log_has_an_entry_for_everything_and_verifies(told: Told) -> None:
    kinds = [kind for (kind,) in rows(told.hants.home.database, "SELECT kind FROM log_entry")]
    assert (kinds.count("withdrawn"), kinds.count("destroyed"), kinds.count("breach-opened")) == (1, 1, 2)
    for council in told.story.both:
        run(council, "log", "verify")


def test_no_name_stands_in_a_log_or_the_database(told: Told) -> None:
    for council in told.story.both:
        files = [council.folder / "gateway.log", *sorted((council.home.path / "data").glob("*"))]
        held = b"".join(path.read_bytes() for path in files if path.is_file())
        for name in (NEW_NAME, records.FAMILY):
            assert name.encode() not in held
