"""Whether a running gateway can do its work now: one word and one code for each thing it needs. Pure.

`failing` takes the gateway out of service (503); `late` is for a person, and no reason to refuse a partner: a gateway that
cannot deliver must still receive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from gateway.condition import Condition

Level = Literal["ok", "late", "failing"]

CLOCK_STEP: Final = 300  # seconds: what partners allow two honest clocks to differ
CLOCK_DOUBT: Final = 60  # seconds
VERIFIED_WITHIN: Final = 60  # seconds: the signer looks every two
QUEUED_LATE: Final = int(timedelta(hours=1).total_seconds())
WEBHOOK_LATE: Final = int(timedelta(hours=1).total_seconds())
URGENT_LATE: Final = int(timedelta(minutes=15).total_seconds())  # flows section 1: then somebody telephones


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What only the running process knows. `drift` is by how many seconds the clock has moved against the steady one since
    the start; `verified_at` when the signer last found the log as it was written, `intact` False where it did not;
    `free` and `floor` in bytes, `writes` that wait; `certificate_ends` in seconds, None where it cannot be read. `webhooks`: of
    each receiver, when (in seconds) the oldest event happened that it has not taken, None where it has everything."""

    revision: str
    stopping: bool
    drift: int
    verified_at: int | None
    intact: bool
    free: int
    floor: int
    writes: int
    certificate_ends: int | None
    webhooks: Mapping[str, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at: `code` says what was found, `words` the same for people."""

    name: str
    level: Level
    code: str
    words: str


def checks(condition: Condition | None, process: Process, at: int) -> tuple[Check, ...]:
    """Look at everything; `condition` is None where the database did not answer."""
    return (
        _serving(process),
        *_database(condition, process),
        *([_keys(condition), _clock(condition, process), _queue(condition)] if condition else []),
        _log(process, at),
        _webhooks(process, at),
        _space(process),
    )


def is_ready(found: tuple[Check, ...]) -> bool:
    """Whether requests should come here."""
    return all(check.level != "failing" for check in found)


def _serving(process: Process) -> Check:
    if process.stopping:
        return _failing("serving", "stopping", "it was asked to stop")
    return _ok("serving", "serving", "it takes requests")


def _database(condition: Condition | None, process: Process) -> Iterator[Check]:
    if condition is None:
        yield _failing("database", "unanswered", "the database does not answer")
        return
    yield _ok("database", "answers", "the database answers")
    if condition.revision == process.revision:
        yield _ok("migrations", "at-head", "the database is at the program's revision")
    else:
        yield _failing("migrations", "behind", "the database is at another revision than the program")


def _keys(condition: Condition) -> Check:
    if condition.missing:
        return _failing("keys", "missing", f"no active key for {', '.join(condition.missing)}")
    return _ok("keys", "active", "a key of every role that serving needs is loaded and in force")


def _clock(condition: Condition, process: Process) -> Check:
    if condition.log_at - condition.at > CLOCK_STEP:
        return _failing("clock", "behind-log", "the newest entry of the log is later than the clock")
    if abs(process.drift) > CLOCK_STEP:
        return _failing("clock", "stepped", "the clock was moved while the gateway ran")
    if abs(process.drift) > CLOCK_DOUBT:
        return _late("clock", "drifting", "the clock moves against the machine's steady one")
    return _ok("clock", "sane", "the clock agrees with the log and with the machine's steady one")


def _queue(condition: Condition) -> Check:
    ages = [
        (oldest is not None and condition.at - oldest > patience)
        for oldest, patience in (
            (condition.oldest("out", "queued", "sending", urgent=True), URGENT_LATE),
            (condition.oldest("out", "queued", "sending", urgent=False), QUEUED_LATE),
        )
    ]
    if any(ages):
        return _late("queue", "waiting", "a message has waited too long to be delivered")
    return _ok("queue", "moving", "nothing has waited too long")


def _log(process: Process, at: int) -> Check:
    if not process.intact:
        return _failing("log", "inconsistent", "the signer found the log other than it was written: nothing is signed")
    if process.verified_at is None or at - process.verified_at > VERIFIED_WITHIN:
        return _failing("log", "unverified", "the signer has not looked at the log lately")
    return _ok("log", "verified", "the signer found the log as it was written")


def _webhooks(process: Process, at: int) -> Check:
    if any(since is not None and at - since > WEBHOOK_LATE for since in process.webhooks.values()):
        return _late("webhooks", "waiting", "a webhook's receiver has not taken an event for too long")
    return _ok("webhooks", "moving", "no receiver is long behind")


def _space(process: Process) -> Check:
    if process.free < process.floor:
        return _failing("space", "full", "below the floor of free space nothing is written")
    if process.free < 2 * process.floor:
        return _late("space", "low", "free space is near the floor below which nothing is written")
    return _ok("space", "enough", "there is room")


def _ok(name: str, code: str, words: str) -> Check:
    return Check(name=name, level="ok", code=code, words=words)


def _late(name: str, code: str, words: str) -> Check:
    return Check(name=name, level="late", code=code, words=words)


def _failing(name: str, code: str, words: str) -> Check:
    return Check(name=name, level="failing", code=code, words=words)
