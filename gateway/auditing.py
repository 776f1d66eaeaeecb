"""The exchange log of a home: verified in the live database, and written out as an export.

Brings the log's rules (origin, macs, the log keys of the own bundles) to `store.verify`, and the settings to `store.export`;
decides nothing. Judging an export needs no home: `evidence`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.app import Running, open_readonly_exchange
from gateway.core.deciding import RefusedRow
from gateway.home import Home
from gateway.quorum import verify as verify_note
from gateway.store import states
from gateway.store.comparison import Compared, RowComparison
from gateway.store.export import Exported
from gateway.store.export import export_log as write_export
from gateway.store.log import entry_mac, epochs_of
from gateway.store.rows import OTHER, Refusals, RowSeal
from gateway.store.vault import Vault
from gateway.store.verify import LogRules, verify_live
from gateway.tlog.checkpoint import NoteKey
from gateway.tlog.fsck import CheckpointRow, Problem
from gateway.tlog.policy import parse_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What `safehand log verify` found: how many entries there are, and every fault."""

    entries: int
    problems: tuple[Problem, ...]


async def verify_log(home: Home) -> LogReport:
    """Verify the exchange log in the live database (log.md A5), beside a running server or alone."""
    async with open_readonly_exchange(home) as running:
        held, origin = running.keys.gateway.secrets, running.settings.log_origin
        bundles, epochs = running.keys.bundles, epochs_of(home.database, origin)

        def log_keys(row: CheckpointRow) -> tuple[NoteKey, ...]:
            at, name = row.signed_at, epochs.of_size(row.size)
            publics = {key.raw for bundle in bundles for key in bundle.log_keys_for(name, at)}
            return tuple(NoteKey(name=name, public=raw) for raw in publics)

        rules = LogRules(
            own=running.settings.org,
            origin=origin,
            mac=entry_mac(held["append"], epochs),
            log_keys=log_keys,
            verify=verify_note,
            vault=Vault(held["kek"]),
            ended=epochs.ended,
        )
        problems = await asyncio.to_thread(lambda: tuple(_verify(home, running, rules)))
        counts = await running.exchange.overview.counts()
        return LogReport(entries=counts["log.size"], problems=problems)


def altered(report: LogReport) -> Refusals:
    """The tables in which rows of messages are not as their entries say, each to be logged once."""
    found = Refusals()
    for table in sorted({problem.column.partition(".")[0] for problem in report.problems} & states.TABLES):
        found.add(RefusedRow(table=table, cause=OTHER, org=None))
    return found


def compare_rows(home: Home, running: Running) -> Compared:
    """The rows that decide, compared with what the log says of them; nobody is told. Blocks."""
    held, epochs = running.keys.gateway.secrets, epochs_of(home.database, running.settings.log_origin)
    silent = RowSeal(key=held["store"], alarm=lambda _code, _details: None)
    mac = entry_mac(held["append"], epochs)
    return RowComparison(home.database, mac=mac, seal=silent, vault=Vault(held["kek"])).look()


def _verify(home: Home, running: Running, rules: LogRules) -> Iterator[Problem]:
    """The log, then the rows that decide; what was told of an entry is not told again."""
    told = set()
    for problem in verify_live(home.database, rules):
        told.add(problem.index)
        yield problem
    yield from (problem for problem in _rows(home, running) if problem.index < 0 or problem.index not in told)


def _rows(home: Home, running: Running) -> Iterator[Problem]:
    """What the comparison found; at no index, for a row has none."""
    found = compare_rows(home, running)
    for fault in found.log:
        yield Problem(index=fault.index, column="rows", rule=fault.rule)
    for one in found.rows:
        yield Problem(index=-1, column=one.table, rule=f"{one.cause}: {one.row}".rstrip(": "))


def export_log(home: Home, out: Path, policy: bytes, *, openings: bool) -> Exported:
    """Write the log into an empty folder, beside a running server or alone; the gateway keystore is opened for openings only.

    `policy` is as the act `log.export` answered it.
    """
    settings = home.settings()
    vault = Vault(home.keystore("gateway").load().secrets["kek"]) if openings else None
    return write_export(
        home.database,
        out,
        own=settings.org,
        origin=settings.log_origin,
        witnesses=parse_policy(policy),
        openings=vault,
    )
