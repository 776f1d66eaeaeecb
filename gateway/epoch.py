"""Opening the next epoch of the log, where witnesses hold a checkpoint of ours that the log does not continue (log A4).

Witnesses asked -> the largest such checkpoint -> the log as it is verified -> in one transaction the old name ends and the
next one's first entry commits to that checkpoint -> configuration -> the signer begins anew. Then the ceremony of keys: a new
log key, named by the new origin, by `keys request`, `root sign` and `keys publish`. Interrupted, it is run again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway import entries, witnessed
from gateway.app import Running, open_exchange
from gateway.auditing import verify_log
from gateway.core.deciding import of_halves
from gateway.core.envelope import digest
from gateway.core.errors import LogInconsistentError, SafehandError, SubmissionRefusedError
from gateway.core.halves import Waiting
from gateway.entries import Journal
from gateway.home import Home
from gateway.store.epoch import epochs_in, open_epoch
from gateway.tlog.epochs import next_origin
from gateway.witnessed import Remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedEpoch:
    """The log's name from now on, how many entries it begins with, and which witness remembered how many."""

    origin: str
    left: int
    witness: str
    remembered: int


async def new_epoch(home: Home, *, by: str | None) -> OpenedEpoch:
    """Open the next epoch of the log of a home that nobody serves. Raises SubmissionRefusedError where there is no cause,
    LogInconsistentError where what is left of the log is not what was written."""
    settings = home.settings()
    after = next_origin(settings.log_origin)
    if after is None:
        raise SubmissionRefusedError("log.origin", "log_origin", "ends in no number: set the next name by hand")
    with home.locked():
        held = await asyncio.to_thread(epochs_in, home.database)
        if held.current == settings.log_origin:
            opened = await _open(home, settings.log_origin, after, by)
        elif held.current == after and held.ended and held.ended[-1][1] == settings.log_origin:
            opened = OpenedEpoch(
                origin=after, left=held.ended[-1][0], witness="", remembered=0
            )  # it was interrupted here
        else:
            raise LogInconsistentError("the database holds the log of another origin")
        home.forget_signer()  # it remembers the old name; the whole log is read again
        # INVARIANT: last; until then the configuration has the old name, and a second run mends it
        home.rename_log(after)
    return opened


async def _open(home: Home, before: str, after: str, by: str | None) -> OpenedEpoch:
    def fatal(error: BaseException) -> None:
        raise SafehandError("the writer stopped") from error

    async with open_exchange(home, fatal, behind=True) as running:
        found = await witnessed.find_behind(running.exchange)
        await asyncio.to_thread(running.comparison.run)
        waiting = await running.exchange.halves.waiting()
    if found is None:
        raise SubmissionRefusedError(
            "log.not-behind",
            "log",
            "no witness that answers holds more of this log, or another: there is nothing to mend",
        )
    report = await verify_log(home)
    if report.problems:
        raise LogInconsistentError("what is left of the log is not what was written: safehand log verify")
    left = await asyncio.to_thread(_write, home, running, before, after, found, waiting, by)
    return OpenedEpoch(origin=after, left=left, witness=found.witness, remembered=found.checkpoint.size)


def _write(
    home: Home, running: Running, before: str, after: str, found: Remembered, waiting: Waiting, by: str | None
) -> int:
    """The first entry of the epoch states every half of an act gone: one that waits may have been used in what was lost."""
    exchange, halves = running.exchange, waiting.ids | waiting.lost
    journal = Journal(org=exchange.own.id, origin=after, entropy=exchange.entropy)
    what = entries.Circumstance(
        outcome="behind-witness", receipt=digest(found.note), by=by, rows=of_halves(None, halves)
    )
    return open_epoch(
        home.database,
        own=exchange.own.id,
        keys=running.keys.store_keys(),
        before=before,
        after=after,
        note=found.note,
        entry=entries.about_own(journal, "epoch-opened", exchange.clock(), what),
        halves=halves,
        alarm=exchange.alarm,
    )
