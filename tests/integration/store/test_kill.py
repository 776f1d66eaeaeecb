"""Killed with -9 at any moment: nothing acknowledged is missing or doubled, and the log is whole (invariant I5)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

from tests.support.store import problems, rows

ROUNDS = 4
ROOT = Path(__file__).resolve().parents[3]


def run_and_kill(database: Path, after: float, *mutant: str) -> list[list[str]]:
    """Let the process work for `after` seconds, kill it, and return what it acknowledged."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.store.submitter", os.fspath(database), *mutant],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        killer = threading.Timer(after, child.kill)
        killer.start()
        lines = [line.split() for line in child.stdout if line.endswith("\n")]
        killer.join()
    return lines


def lost(database: Path, acknowledged: list[list[str]]) -> set[str]:
    """What was acknowledged and is not there, exactly once and in all its rows."""
    submitted = dict(
        rows(
            database,
            "SELECT m.id, count(*) FROM message m JOIN delivery d ON d.message_id = m.id JOIN log_entry e "
            "ON e.message_id = m.id AND e.kind = 'submitted' JOIN content c ON c.id = m.body_ref AND c.part = 'inner' "
            "GROUP BY m.id",
        )
    )
    received = {
        own: (count, digest)
        for own, count, digest in rows(
            database,
            "SELECT m.id, count(*), i.receipt_digest FROM message m JOIN inbox i ON i.message_id = m.id JOIN handoff h "
            "ON h.message_id = m.id JOIN log_entry e ON e.message_id = m.id AND e.kind = 'received' GROUP BY m.id",
        )
    }
    missing = set()
    for line in acknowledged:
        match line:
            case ["submitted", own]:
                there = submitted.get(own) == 1
            case ["received", own, digest]:
                there = received.get(own) == (1, f"sha256:{digest}")
            case _:
                raise AssertionError(line)
        missing |= set() if there else {line[1]}
    return missing


def test_what_was_acknowledged_survives_a_kill_at_any_moment(database: Path) -> None:
    acknowledged: list[list[str]] = []
    for _ in range(ROUNDS):
        acknowledged += run_and_kill(database, random.uniform(0.05, 0.6))  # noqa: S311 - a moment
        assert lost(database, acknowledged) == set()
        assert {column for _, column in problems(database)} <= {"inbox.receipt"}  # receipts here are no real ones
    assert len(acknowledged) > ROUNDS


def test_the_kills_catch_a_writer_that_answers_before_the_commit(database: Path) -> None:
    """A test of the test: a crash test that cannot fail proves nothing."""
    acknowledged: list[list[str]] = []
    for _ in range(3 * ROUNDS):
        acknowledged += run_and_kill(database, random.uniform(0.2, 0.4), "early")  # noqa: S311 - a moment
        if lost(database, acknowledged):
            return
    raise AssertionError("nothing was lost")
