"""Being witnessed: our newest checkpoint is brought to every witness, and what they answer is verified and kept.

Checkpoint -> consistency proof from what the witness saw last -> asked -> its cosignature verified -> kept. A witness that
remembers a longer log than ours, or another, says that our log went back in time or was rewritten: that is an alarm, and at
the start of the gateway a refusal (log A4). A witness that cannot be reached stops nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from adapters.port import DeliveryError, Handover
from gateway import quorum
from gateway.core.errors import LogBehindError
from gateway.core.message import CLOCK_SKEW
from gateway.core.witnessing import CosignatureRow, KeepCosignatures
from gateway.ports import Exchange, SignedCheckpoint
from gateway.quorum import Witness
from gateway.tlog.checkpoint import Checkpoint, parse_checkpoint, parse_note, verify_note
from gateway.tlog.cosignature import verify_cosignatures, with_lines
from gateway.tlog.errors import NoteError, ProofError
from gateway.tlog.proof import verify_consistency
from gateway.tlog.witness import SIZE_TYPE, AddCheckpoint, answered_size

WARN_AFTER: Final = timedelta(hours=1)
AT_ONCE: Final = 8
FIRST_PAUSE: Final = timedelta(seconds=60)  # of a witness that did not cosign, doubling
LONGEST_PAUSE: Final = timedelta(minutes=15)
START_WITHIN: Final = 10.0  # seconds that witnesses have to answer before the gateway starts without them


@dataclass(frozen=True, slots=True)
class Remembered:
    """The last checkpoint of our log that a witness holds, under our own signature, and the note itself."""

    witness: str
    checkpoint: Checkpoint
    note: bytes


class Rounds:
    """Asks the witnesses, round by round; one for each running gateway. What was cosigned is read from the store."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._pauses: dict[str, tuple[timedelta, datetime]] = {}

    async def round(self) -> None:
        """Bring the newest checkpoint to each witness that has not cosigned it; tell where the quorum is long overdue."""
        exchange, now = self._exchange, self._exchange.clock()
        if exchange.ring().witness(int(now.timestamp())) is None:
            exchange.tell("no-witness-key", "", {"rule": "safehand keys request makes one"}, now)
        asked = await quorum.witnesses(exchange, now)
        if not asked:
            exchange.tell("log-has-no-witness", "", {"rule": "nobody could tell if this log were rewritten"}, now)
        newest = await exchange.log.checkpoint()
        if newest is not None:
            places = asyncio.Semaphore(AT_ONCE)
            async with asyncio.TaskGroup() as tasks:
                for witness in asked:
                    if witness.id not in self._pauses or self._pauses[witness.id][1] <= now:
                        tasks.create_task(self._ask(witness, newest, places), name=f"witness:{witness.id}")
        found = await quorum.look(exchange, exchange.clock())
        waited = quorum.unwitnessed_for(found, now)
        if waited >= WARN_AFTER:
            details = {"count": str(found.needed), "size": str(found.size), "after": str(int(waited.total_seconds()))}
            exchange.tell("log-unwitnessed", "", details, now)

    async def _ask(self, witness: Witness, newest: SignedCheckpoint, places: asyncio.Semaphore) -> None:
        async with places:
            cosigned, retry_after = await bring(witness, newest, self._exchange)
        if cosigned:
            self._pauses.pop(witness.id, None)
            return
        last = self._pauses.get(witness.id)
        pause = FIRST_PAUSE if last is None else min(last[0] * 2, LONGEST_PAUSE)
        wait = max(pause, timedelta(seconds=min(retry_after or 0, int(LONGEST_PAUSE.total_seconds()))))
        self._pauses[witness.id] = (pause, self._exchange.clock() + wait)


async def bring(witness: Witness, newest: SignedCheckpoint, exchange: Exchange) -> tuple[bool, int | None]:
    """Ask one witness to cosign one checkpoint of ours; whether it has, and when it wants to be asked again (seconds)."""
    old = await exchange.witnesses.last_cosigned(witness.vkeys)
    if old == newest.size:
        return True, None
    if old > newest.size:  # of an earlier epoch of the log, or from before it went back in time: the witness will tell
        old = 0
    try:
        reply = await _show(witness, newest, old, exchange)
        told = _told(reply)
        if told is not None and told != old and told <= newest.size:
            old = told
            reply = await _show(witness, newest, old, exchange)
            told = _told(reply)
    except DeliveryError:
        return False, None
    if reply.status == 200:
        return await _keep(witness, newest, reply, exchange), reply.retry_after
    if told is not None and told > newest.size:
        await _tell_behind(witness, exchange)
    elif reply.status == 422 or (reply.status == 409 and told in (None, old)):
        # What it remembers, it says, is no beginning of what we showed it: one of the two was rewritten.
        details = {"witness": witness.id, "size": str(newest.size), "status": str(reply.status)}
        exchange.tell("log-contradicted", witness.id, details, exchange.clock())
    return False, reply.retry_after


async def _show(witness: Witness, newest: SignedCheckpoint, old: int, exchange: Exchange) -> Handover:
    """Show a witness our checkpoint as the continuation of the first `old` entries."""
    hashes = await exchange.log.consistency(old, newest.size) if old else ()
    request = AddCheckpoint(old=old, proof=hashes or (), note=parse_note(newest.note))
    return await exchange.witness_line.add_checkpoint(witness.prefix, request.to_bytes())


def _told(reply: Handover) -> int | None:
    """The size that a witness says it remembers, where it refuses for another one's sake."""
    media = (reply.media or "").partition(";")[0].strip()
    return answered_size(reply.body) if reply.status == 409 and media == SIZE_TYPE else None


async def _keep(witness: Witness, newest: SignedCheckpoint, reply: Handover, exchange: Exchange) -> bool:
    """Verify what a witness answered; what it signed for another time or text than ours is not kept."""
    now = int(exchange.clock().timestamp())
    try:
        note = with_lines(parse_note(newest.note).text, reply.body)
        good = verify_cosignatures(note, witness.keys, quorum.verify)
    except NoteError:
        good = ()
    rows = [
        CosignatureRow(size=newest.size, witness=one.key.vkey(), at=one.timestamp, line=one.line)
        for one in good
        if one.timestamp <= now + CLOCK_SKEW
    ]
    if not rows:
        exchange.tell("cosignature-refused", witness.id, {"witness": witness.id}, exchange.clock())
        return False
    await exchange.store.write(KeepCosignatures(rows=tuple(rows)))
    return True


async def _tell_behind(witness: Witness, exchange: Exchange) -> None:
    """A witness says that it saw more of our log than there is: that counts where it can show our signature."""
    try:
        remembered = await last_remembered(witness, exchange)
    except DeliveryError:
        remembered = None
    size = await _size(exchange)
    if remembered is not None and remembered.checkpoint.size > size:
        details = {"witness": witness.id, "size": str(remembered.checkpoint.size)}
        exchange.tell("log-behind-witness", witness.id, details, exchange.clock())


# --- at the start


async def last_remembered(witness: Witness, exchange: Exchange) -> Remembered | None:
    """Ask a witness for the last checkpoint of our log that it cosigned; None where it shows none that we signed.

    Raises DeliveryError where it cannot be asked, or does not answer the question.
    """
    origin = exchange.journal.origin
    reply = await exchange.witness_line.last_checkpoint(witness.prefix, hashlib.sha256(origin.encode()).hexdigest())
    if reply.status == 404:
        return None
    if reply.status != 200:
        raise DeliveryError("answer")
    keys = [log.key for log in (await quorum.policy(exchange, exchange.clock())).logs]
    try:
        checkpoint = parse_checkpoint(verify_note(parse_note(reply.body), keys, quorum.verify).text)
    except NoteError:
        return None  # nobody but us signs our checkpoints
    return Remembered(witness.id, checkpoint, reply.body) if checkpoint.origin == origin else None


async def all_remembered(exchange: Exchange) -> tuple[Remembered, ...]:
    """What every witness that answers in time remembers of our log; an alarm for each that does not."""
    asked = await quorum.witnesses(exchange, exchange.clock())
    found: list[Remembered] = []
    answered: set[str] = set()

    async def ask(witness: Witness) -> None:
        try:
            remembered = await last_remembered(witness, exchange)
        except DeliveryError:
            return
        answered.add(witness.id)
        found.extend([remembered] if remembered else [])

    try:
        async with asyncio.timeout(START_WITHIN), asyncio.TaskGroup() as tasks:
            for witness in asked:
                tasks.create_task(ask(witness), name=f"witness:{witness.id}")
    except TimeoutError:
        pass  # who has answered has answered
    for witness in asked:
        if witness.id not in answered:
            exchange.alarm("witness-unreachable", {"witness": witness.id})
    return tuple(found)


async def check_at_start(exchange: Exchange) -> None:
    """Compare our log with what its witnesses remember of it, before anything is done.

    Raises LogBehindError where a witness holds a checkpoint of ours that is larger than our log, or no beginning of it.
    """
    found = await find_behind(exchange)
    if found is not None:
        raise LogBehindError(found.witness, found.checkpoint.size, await _size(exchange))


async def find_behind(exchange: Exchange) -> Remembered | None:
    """Return the largest checkpoint of ours that a witness holds and that our log does not continue; None where it
    continues all of them."""
    remembered = await all_remembered(exchange)
    largest = max(remembered, key=lambda one: one.checkpoint.size, default=None)
    if largest is None or largest.checkpoint.size == 0:
        return None
    if largest.checkpoint.size > await _size(exchange):
        return largest
    newest = await exchange.log.checkpoint()
    if newest is None or newest.size < largest.checkpoint.size:
        await exchange.sign_log()
        newest = await exchange.log.checkpoint()
    if newest is None:
        return largest
    return await not_continued(remembered, newest.size, newest.root, exchange)


async def not_continued(
    remembered: Sequence[Remembered], size: int, root: bytes, exchange: Exchange
) -> Remembered | None:
    """The first of these, largest first, that is no beginning of our log of this size and root."""
    for one in sorted(remembered, key=lambda one: one.checkpoint.size, reverse=True):
        if one.checkpoint.size > size:
            return one
        if one.checkpoint.size == 0:
            continue
        hashes = await exchange.log.consistency(one.checkpoint.size, size)
        try:
            verify_consistency(one.checkpoint.size, one.checkpoint.root, size, root, hashes or ())
        except ProofError:
            return one
    return None


async def _size(exchange: Exchange) -> int:
    return (await exchange.overview.counts())["log.size"]
