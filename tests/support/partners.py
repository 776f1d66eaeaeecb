"""Partners and bundles on plain dictionaries: the fake of `ports.Partners`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gateway.core import commands, deciding
from gateway.core.commands import Command
from gateway.core.errors import ConflictError
from gateway.ports import Partner
from keys.bundle import KeyBundle
from keys.errors import BundleError
from tests.support.clock import EPOCH
from tests.support.keys import payload_of
from tests.support.rows import check_stated

if TYPE_CHECKING:
    from tests.support.memory import Memory


def add_bundle(memory: Memory, command: commands.AddBundle) -> bool:
    held = memory.bundles.setdefault(command.org, [])
    if any(jws != command.jws and payload_of(jws)["seq"] == command.seq for jws in held):
        raise ConflictError("another bundle has this seq")
    now = EPOCH + timedelta(microseconds=command.entry.at_us)
    memory.fetched_at[command.org] = max(command.fetched_at, memory.fetched_at.get(command.org, 0))
    memory.look_again(now, lambda row: row.partner == command.org)
    if command.jws in held:
        return False
    check_stated(deciding.of_bundle(org=command.org, seq=command.seq, jws=command.jws), command.entry)
    held.append(command.jws)
    memory._append(command.entry)
    ref = f"sha256:{hashlib.sha256(command.jws).hexdigest()}"
    for org in command.broadcast_to:
        memory.owe(org, "bundle", ref, command.jws, now)
    return True


def put_partner(memory: Memory, command: commands.PutPartner) -> None:
    row = deciding.of_partner(
        org=command.org,
        name=command.name,
        root=command.root,
        verified_by=command.verified_by,
        route=command.route,
        duty_number=command.duty_number,
    )
    check_stated(row, command.entry)
    memory.partner_rows[command.org] = command
    memory.fetched_at[command.org] = command.fetched_at
    memory._append(command.entry)
    memory.look_again(EPOCH + timedelta(microseconds=command.entry.at_us), lambda row: row.partner == command.org)


HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
    commands.AddBundle: add_bundle,
    commands.PutPartner: put_partner,
}


@dataclass(frozen=True)
class MemoryPartners:
    memory: Memory

    async def get(self, org: str) -> Partner | None:
        row, bundles = self.memory.partner_rows.get(org), _history(self.memory, org)
        if row is None or bundles is None:
            return None
        return Partner(
            org=org,
            name=row.name,
            root=row.root,
            verified_by=row.verified_by,
            route=row.route,
            duty_number=row.duty_number,
            fetched_at=self.memory.fetched_at[org],
            bundles=bundles,
        )

    async def all(self) -> tuple[Partner, ...]:
        found = [await self.get(org) for org in sorted(self.memory.partner_rows)]
        return tuple(partner for partner in found if partner is not None)

    async def own_bundles(self) -> tuple[KeyBundle, ...]:
        return _history(self.memory, self.memory.own) or ()


def _history(memory: Memory, org: str) -> tuple[KeyBundle, ...] | None:
    """None where the bundles are no history: the organisation counts as absent."""
    try:
        return memory.history(org)
    except BundleError:
        return None
