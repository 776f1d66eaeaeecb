"""Verifying the exchange log: on the live database of a home.

Brings the log's rules (origin, macs, the log keys of the own bundles) to `store.verify`; decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.app import open_readonly_exchange
from gateway.home import Home
from gateway.store.comparison import RowComparison
from gateway.store.rows import RowSeal
from gateway.store.vault import Vault
from gateway.store.verify import LogRules, verify_live
from gateway.tlog.checkpoint import NoteKey
from gateway.tlog.entry import row_mac
from gateway.tlog.fsck import CheckpointRow, Problem
from keys.errors import KeysError
from keys.key import Ed25519Public


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What `safehand log verify` found: how many entries there are, and every fault."""

    entries: int
    problems: tuple[Problem, ...]


async def verify_log(home: Home) -> LogReport:
    """Verify the exchange log in the live database (log.md A5), beside a running server or alone."""
    async with open_readonly_exchange(home) as running:
        held, origin = running.keys.gateway.secrets, running.settings.log_origin
        bundles = running.keys.bundles

        def log_keys(row: CheckpointRow) -> tuple[NoteKey, ...]:
            at = row.signed_at
            publics = {key.raw for bundle in bundles for key in bundle.log_keys_for(origin, at)}
            return tuple(NoteKey(name=origin, public=raw) for raw in publics)

        rules = LogRules(
            origin=origin,
            mac=lambda index, data: row_mac(held["append"], origin, index, data),
            log_keys=log_keys,
            verify=_verify_note,
            vault=Vault(held["kek"]),
        )
        problems = await asyncio.to_thread(lambda: (*verify_live(home.database, rules), *_rows(home, rules, held)))
        counts = await running.exchange.overview.counts()
        return LogReport(entries=counts["log.size"], problems=problems)


def _rows(home: Home, rules: LogRules, held: Mapping[str, bytes]) -> Iterator[Problem]:
    """The rows that decide, compared with what the log says of them; at no index, for a row has none."""
    silent = RowSeal(key=held["store"], alarm=lambda _code, _details: None)
    found = RowComparison(home.database, mac=rules.mac, seal=silent, vault=rules.vault).look()
    for fault in found.log:
        yield Problem(index=fault.index, column="rows", rule=fault.rule)
    for one in found.rows:
        yield Problem(index=-1, column=one.table, rule=f"{one.cause}: {one.row}".rstrip(": "))


def _verify_note(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519Public(public).verify(signature, message)
    except KeysError:
        return False
    return True
