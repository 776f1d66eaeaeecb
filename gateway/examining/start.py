"""What `serve` looks at as it starts and would refuse, looked at while no server runs: nothing is written, nothing signed.

The log's name and the epoch of its key, the rows that decide against the log, triggers, and what witnesses remember. The order
is that of `serving` and `app.open_exchange`; what they refuse besides is found from the files, the keys and the condition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from gateway import auditing, condition, witnessed
from gateway.app import Running, now_utc, open_readonly_exchange
from gateway.condition import Condition
from gateway.core.errors import LogInconsistentError
from gateway.doctor import Start
from gateway.home import Home
from gateway.store import triggers
from gateway.store.log import head_of
from gateway.store.rows import Alarm
from gateway.store.sqlite import reader_engine
from gateway.tlog.errors import TreeError
from gateway.tlog.merkle import Frontier
from keys.errors import KeysError

_SHOWN: Final = 10  # of faults of one kind
_UNREACHABLE: Final = "witness-unreachable"


async def look(home: Home, alarm: Alarm, *, asking: bool) -> tuple[Condition, Start]:
    """Return the condition of a gateway that does not run, and what its start would find; `asking` the witnesses too.

    Raises what the store raises where the database does not answer.
    """
    unreachable = list[str]()

    def heard(code: str, details: Mapping[str, str]) -> None:
        if code == _UNREACHABLE:
            unreachable.append(details["witness"])
        else:
            alarm(code, details)

    async with open_readonly_exchange(home, heard, asking=asking) as running:
        known = await condition.read(running.exchange)
        try:
            head = await asyncio.to_thread(head_of, home.database)
        except TreeError as error:
            return known, Start(entries=(f"the head of the log: {error}",))
        faults = await asyncio.to_thread(_triggers, home)
        if head is None:
            return known, Start(triggers=faults)
        name, tree = head
        if name != running.settings.log_origin:
            return known, Start(log_name=name, triggers=faults)
        compared = await asyncio.to_thread(auditing.compare_rows, home, running)
        entries = [f"entry {fault.index}: {fault.rule}" for fault in compared.log]
        behind = None
        if asking and not known.missing and not entries:
            try:
                behind = await _behind(running, tree)
            except LogInconsistentError as error:
                entries.append(str(error))
        return known, Start(
            other_epoch=_other_epoch(running),
            entries=_some(entries),
            rows=_some([f"{one.table}: {one.cause}: {one.row}".rstrip(": ") for one in compared.rows]),
            triggers=faults,
            behind=behind,
            unreachable=tuple(unreachable),
        )


def _triggers(home: Home) -> tuple[str, ...]:
    with reader_engine(home.database).connect() as connection:
        return tuple(f"{fault.name}: {fault.rule}" for fault in triggers.differing(connection))


def _other_epoch(running: Running) -> bool:
    """Whether the log key in force is of another name; that there is none is told of the keys."""
    if not running.keys.bundles:
        return False
    try:
        return running.keys.ring().log(int(now_utc().timestamp())).origin != running.settings.log_origin
    except KeysError:
        return False


async def _behind(running: Running, tree: Frontier) -> tuple[str, int] | None:
    remembered = await witnessed.all_remembered(running.exchange)
    found = await witnessed.not_continued(remembered, tree.size, tree.root(), running.exchange)
    return None if found is None else (found.witness, found.checkpoint.size)


def _some(words: list[str]) -> tuple[str, ...]:
    more = len(words) - _SHOWN
    return tuple(words[:_SHOWN]) + ((f"and {more} more",) if more > 0 else ())
