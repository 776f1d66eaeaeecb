"""What the doctor finds of the exchange log, of the rows that stand by it, of its witnesses and of the clock. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.condition import Condition
from gateway.doctor.facts import Facts
from gateway.doctor.kinds import HOUR, MINUTE, Finding, length, ok, or_ok, told
from gateway.readiness import CLOCK_DOUBT, CLOCK_STEP

UNSIGNED_LATE: Final = 10 * MINUTE
QUORUM_LATE: Final = HOUR


def log(facts: Facts, condition: Condition) -> list[Finding]:
    found, memory = [], facts.memory
    if memory is not None:
        if memory.rule is not None:
            found.append(told("log.memory-unreadable", memory.rule))
        elif memory.size is None:
            if condition.log_size:
                found.append(told("log.memory-absent", "data/log-signer is not there: the whole log is read again"))
        elif memory.size > condition.log_size:
            found.append(
                told("log.went-back", f"the signer saw {memory.size} entries, the log has {condition.log_size}")
            )
        elif memory.size == condition.checkpoint_size and memory.root != condition.checkpoint_root:
            found.append(told("log.differs", f"another root at {memory.size} entries than the checkpoint signed"))
    signed = condition.checkpoint_size or 0
    age = condition.at - (condition.signed_at or condition.log_at)
    if signed < condition.log_size and condition.at - condition.log_at > UNSIGNED_LATE:
        found.append(told("log.unsigned", f"{condition.log_size - signed} entries are under no checkpoint"))
    if condition.differences:
        found.append(told("statements.differ", f"{condition.differences} differences between statements and the log"))
    words = f"{condition.log_size} entries; the newest checkpoint has {signed}, and is {length(age)} old"
    return or_ok(found, "log", words if condition.log_size else "the log is empty")


def start(facts: Facts) -> Iterator[Finding]:
    """What `serve` would find as it starts, where it was looked at."""
    looked = facts.start
    if looked is None:
        return
    if looked.log_name is not None:
        yield told("log.other-name", f"the database holds the log {looked.log_name}")
    if looked.other_epoch:
        yield told("keys.other-epoch", "the log key in force is another epoch's")
    yield from (told("log.unreadable", words) for words in looked.entries)
    yield from (told("rows.tampered", words) for words in looked.rows)
    yield from (told("triggers.not-ours", words) for words in looked.triggers)
    if looked.behind is not None:
        witness, size = looked.behind
        yield told(
            "log.behind-witness", f"{witness} holds a checkpoint of {size} entries that the log does not continue"
        )
    yield from (told("witness.unreachable", f"{witness} does not answer") for witness in looked.unreachable)


def witnesses(condition: Condition) -> Iterator[Finding]:
    if not condition.witnesses:
        yield told("witness.none", "the log is witnessed by nobody")
    elif condition.unwitnessed_since is not None and condition.at - condition.unwitnessed_since > QUORUM_LATE:
        since = length(condition.at - condition.unwitnessed_since)
        yield told(
            "witness.no-quorum", f"{condition.witnesses} witnesses; for {since} the log is ahead of their quorum"
        )
    else:
        yield ok("witnesses", f"{condition.witnesses} witnesses, and a quorum lately")


def clock(condition: Condition) -> list[Finding]:
    found = []
    if condition.log_at - condition.at > CLOCK_STEP:
        found.append(told("clock.behind-log", f"the newest entry is {length(condition.log_at - condition.at)} ahead"))
    for partner in condition.partners:
        if partner.ahead is not None and abs(partner.ahead) > CLOCK_DOUBT:
            way = "ahead of" if partner.ahead > 0 else "behind"
            found.append(told("clock.partners", f"{partner.org}'s clock is {abs(partner.ahead)} s {way} ours"))
    return or_ok(found, "clock", "the clock agrees with the log and with partners' receipts")
