"""A gateway is lost and comes back from a backup taken under load: nothing comes twice, no receipt differs, no log forks.

Real processes, as the demonstration starts them. Everything happens once, in the fixture; the tests are claims about how it
ended. Between the backup and the loss, messages that were waiting were delivered, and the agreement was suspended and
resumed: all of that the restored gateway must find out, and its partner must see none of it twice.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from gateway.demo import records
from gateway.demo.stage import Council, wait_for
from gateway.demo.story import AGREEMENT, Story
from gateway.demo.tls import Authority
from gateway.home import Home
from tests.support.store import rows

WAITING = 5


class Unwitnessed(Story):
    """Councils that do not ask each other to witness: with a witness ahead of the backup the log's next epoch comes first,
    which is the story of `tests.journeys.test_epoch`."""

    def _make_home(self, council: Council, authority: Authority) -> None:
        super()._make_home(council, authority)
        config = council.home.config.read_text()
        assert "without = []" in config
        council.home.config.write_text(config.replace("without = []", 'without = ["la-207", "la-850"]'))


@dataclass(slots=True)
class Loss:
    """What was seen before the loss, and what is there after it."""

    story: Story
    ids: list[str] = field(default_factory=list)  # in the order of submission
    waiting: set[str] = field(default_factory=set)  # queued when the backup was made
    receipts: dict[str, bytes] = field(default_factory=dict)  # what the lost gateway held in the end
    arrived: dict[str, bytes] = field(default_factory=dict)  # what the partner held then
    size: int = 0  # entries in the backup
    verified: str = ""
    left: int = 0  # entries in a database put back by hand, after all that was tried on it
    behind: list[subprocess.CompletedProcess[str]] = field(default_factory=list)

    @property
    def lost(self) -> Council:
        return self.story.kc

    @property
    def partner(self) -> Council:
        return self.story.hants

    @property
    def backup(self) -> Path:
        return self.story.folder / "backup"

    def submit(self, number: int) -> None:
        answer = self.lost.act(
            "send",
            partner=self.partner.org,
            type="cme.enquiry",
            facts={"urgency": "routine"},
            body=orjson.dumps(records.enquiry(number)).decode(),
            key=f"enquiry-{number}",
        )
        self.ids.append(answer["id"])

    def state(self, message: str) -> str:
        return str(self.lost.act("message.show", id=message)["state"])

    def all_delivered(self) -> bool:
        return all(message["state"] == "delivered" for message in self.lost.act("outbox.list"))

    def back_up_under_load(self) -> None:
        """The partner is away; messages come in while the backup is made."""
        for number in range(WAITING):
            self.submit(number + 100)
        self.waiting = set(self.ids[-WAITING:])
        stop = threading.Event()

        def load() -> None:
            number = 200
            while not stop.wait(0.1):
                self.submit(number)
                number += 1

        client = threading.Thread(target=load)
        client.start()
        try:
            self.lost.run("backup", "--out", "backup", "--with-secrets", *self.lost.secret)
        finally:
            stop.set()
            client.join()
        self.size = orjson.loads((self.backup / "manifest.json").read_bytes())["log"]["size"]

    def go_on(self) -> None:
        """All of this the backup does not know."""
        self.partner.start()
        wait_for("everything is delivered", self.all_delivered)
        for council in self.story.both:
            council.run("agreement", "suspend", AGREEMENT, "--role", "dpo")
        for council in self.story.both:
            council.run("agreement", "resume", AGREEMENT, *council.secret)
        wait_for("in force again", lambda: all(in_force(council) for council in self.story.both))
        self.receipts = held_receipts(self.lost)
        self.arrived = made_receipts(self.partner)

    def lose_and_restore(self) -> None:
        self.lost.kill()
        self.lost.home.path.rename(self.lost.folder / "lost")
        self.lost.run("restore", "backup", *self.lost.secret)
        for name in ("tls.crt", "tls.key", "ca.crt"):
            shutil.copy(self.lost.folder / "lost" / "secrets" / name, self.lost.home.secrets)
        self.lost.start()
        wait_for("what was waiting is delivered again", self.all_delivered)
        wait_for("the partner has answered", lambda: not self.lost.home.restored.exists())

    def put_back_by_hand(self) -> None:
        """What an operator in a hurry does: the old database file beside the signer's newer memory, in a copy here."""
        copy = Home(self.lost.folder / "hurry")
        self.lost.stop()
        shutil.copytree(self.lost.home.path, copy.path)
        for path in copy.database.parent.glob("safehand.db*"):
            path.unlink()
        shutil.copy(self.backup / "data/safehand.db", copy.database)
        for command in (("serve",), ("partner", "verify", self.partner.org, "--words", "x", "--by", "y")):
            self.behind.append(process(copy, *command))
        self.left = rows(copy.database, "SELECT size FROM log_head")[0][0]


def process(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "--home", str(home.path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def in_force(council: Council) -> bool:
    return str(council.act("agreement.list")[0]["state"]) == "in-force"


def held_receipts(council: Council) -> dict[str, bytes]:
    return dict(rows(council.home.database, "SELECT message_id, bytes FROM receipt_in WHERE event = 'checked'"))


def made_receipts(council: Council) -> dict[str, bytes]:
    return dict(rows(council.home.database, "SELECT message_id, receipt FROM inbox"))


def counts(council: Council, kind: str) -> dict[str, int]:
    statement = f"SELECT message_id, count(*) FROM log_entry WHERE kind = '{kind}' GROUP BY message_id"  # noqa: S608
    return dict(rows(council.home.database, statement))


@pytest.fixture(scope="module")
def loss() -> Iterator[Loss]:
    with tempfile.TemporaryDirectory(prefix="sh-", dir="/tmp") as name:
        loss = Loss(Unwitnessed(Path(name), Console(quiet=True)))
        try:
            loss.story.set_up()
            loss.story.introduce()
            loss.story.agree()
            for number in range(3):
                loss.submit(number)
            wait_for("the first are delivered", loss.all_delivered)
            loss.partner.stop()
            loss.back_up_under_load()
            loss.go_on()
            loss.lose_and_restore()
            loss.verified = loss.lost.run("log", "verify")
            loss.partner.run("log", "verify")
            loss.put_back_by_hand()
            yield loss
        finally:
            for council in loss.story.both:
                council.stop()


def known(loss: Loss) -> set[str]:
    """The messages that the restored gateway knows: those in the backup."""
    return {own for (own,) in rows(loss.lost.home.database, "SELECT id FROM message WHERE direction = 'out'")}


def test_backup_held_what_was_acknowledged_before_it_and_not_all_that_came_after(loss: Loss) -> None:
    assert set(loss.ids[: 3 + WAITING]) <= known(loss) < set(loss.ids)


def test_what_was_delivered_after_the_backup_is_answered_with_the_identical_receipts(loss: Loss) -> None:
    again = held_receipts(loss.lost)
    assert again.keys() == known(loss)
    assert again == {own: loss.receipts[own] for own in again}
    assert loss.waiting <= again.keys()


def test_partner_has_every_message_once_and_has_made_no_other_receipt(loss: Loss) -> None:
    assert made_receipts(loss.partner) == loss.arrived
    assert counts(loss.partner, "received") == dict.fromkeys(loss.ids, 1)
    came = [own for (own,) in rows(loss.partner.home.database, "SELECT message_id FROM handoff")]
    assert sorted(came) == sorted(loss.ids)


def test_each_message_of_the_backup_has_one_delivery_and_one_entry_for_each_step(loss: Loss) -> None:
    once = dict.fromkeys(known(loss), 1)
    assert counts(loss.lost, "submitted") == once
    assert counts(loss.lost, "delivered") == once
    deliveries = "SELECT message_id, count(*) FROM delivery WHERE state = 'done' GROUP BY message_id"
    assert dict(rows(loss.lost.home.database, deliveries)) == once


def test_log_of_the_restored_gateway_verifies_and_says_where_it_was_restored(loss: Loss) -> None:
    assert "are as they were written" in loss.verified
    restored = rows(loss.lost.home.database, "SELECT idx FROM log_entry WHERE kind = 'restored'")
    assert restored == [(loss.size,)]


def test_own_events_that_only_the_partner_still_held_are_back(loss: Loss) -> None:
    """Suspended and resumed after the backup: without them our next event would fork our chain."""
    chains = "SELECT org, n, hash FROM agreement_event ORDER BY org, n"
    assert rows(loss.lost.home.database, chains) == rows(loss.partner.home.database, chains)


def test_old_database_beside_a_newer_memory_is_neither_served_nor_written_to(loss: Loss) -> None:
    served, written = loss.behind
    assert served.returncode == written.returncode == 3
    assert "went back from" in served.stderr
    assert "went back from" in written.stderr
    assert loss.left == loss.size
