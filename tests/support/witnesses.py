"""Witnesses in memory: the commands of `core.witnessing` on `Memory`, and `ports.Witnesses` over it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.core import witnessing
from gateway.core.commands import Command
from gateway.core.witnessing import CosignatureRow
from gateway.ports import SignedCheckpoint, UnprovenReceipt, WitnessedLog
from gateway.store.witnessing import CONFLICTS_KEPT
from gateway.tlog.witness import NOTHING

if TYPE_CHECKING:
    from tests.support.memory import Memory


def _remember(memory: Memory, command: witnessing.Remember) -> bool:
    held = memory.witnessed.get(command.origin)
    before = (held.size, held.root) if held else (NOTHING.size, NOTHING.root)
    if before != (command.before_size, command.before_root):
        return False
    memory.witnessed[command.origin] = command
    return True


def _keep_conflict(memory: Memory, command: witnessing.KeepConflict) -> bool:
    mine = [kept for kept in memory.conflicts if kept.origin == command.origin]
    if len(mine) >= CONFLICTS_KEPT or any(kept.size == command.size for kept in mine):
        return False
    memory.conflicts.append(command)
    memory.log.append(command.entry)
    return True


def _keep_cosignatures(memory: Memory, command: witnessing.KeepCosignatures) -> int:
    before = len(memory.cosigned)
    for row in command.rows:
        memory.cosigned.setdefault((row.size, row.witness), row)
    return len(memory.cosigned) - before


def _keep_proof(memory: Memory, command: witnessing.KeepProof) -> bool:
    leaves = {taken.leaf for sent in memory.sent.values() for taken in sent.receipts.values()}
    if command.leaf not in leaves or command.leaf in memory.proofs:
        return False
    memory.proofs[command.leaf] = command.proof
    return True


HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
    witnessing.Remember: _remember,
    witnessing.KeepConflict: _keep_conflict,
    witnessing.KeepCosignatures: _keep_cosignatures,
    witnessing.KeepProof: _keep_proof,
}


@dataclass(frozen=True)
class MemoryWitnesses:
    memory: Memory

    async def log(self, origin: str) -> WitnessedLog | None:
        held = self.memory.witnessed.get(origin)
        return None if held is None else _witnessed(held)

    async def logs(self) -> tuple[WitnessedLog, ...]:
        return tuple(_witnessed(self.memory.witnessed[origin]) for origin in sorted(self.memory.witnessed))

    async def cosignatures(self, size: int) -> tuple[CosignatureRow, ...]:
        rows = [row for row in self.memory.cosigned.values() if row.size == size]
        return tuple(sorted(rows, key=lambda row: row.witness))

    async def newest_cosigned(self, witnesses: Collection[str], at_most: int | None) -> Mapping[str, int]:
        largest: dict[str, int] = {}
        for row in self.memory.cosigned.values():
            if row.witness in witnesses and (at_most is None or row.size <= at_most):
                largest[row.witness] = max(row.size, largest.get(row.witness, 0))
        return largest

    async def last_cosigned(self, witnesses: Collection[str]) -> int:
        return max((row.size for row in self.memory.cosigned.values() if row.witness in witnesses), default=0)

    async def first_above(self, size: int) -> SignedCheckpoint | None:
        larger = [put for put in self.memory.checkpoints.values() if put.size > size]
        if not larger:
            return None
        put = min(larger, key=lambda put: put.size)
        return SignedCheckpoint(size=put.size, root=put.root, note=put.note.encode(), signed_at=put.signed_at)

    async def unproven_from(self) -> tuple[str, ...]:
        return tuple(sorted({partner for partner, _ in self._unproven()}))

    async def unproven(
        self, partner: str, limit: int, *, after: int = 0, sent_by: int | None = None
    ) -> tuple[UnprovenReceipt, ...]:
        mine = (receipt for org, receipt in self._unproven(sent_by) if org == partner and receipt.number > after)
        return tuple(mine)[:limit]

    async def proof(self, leaf: bytes) -> bytes | None:
        return self.memory.proofs.get(leaf)

    def _unproven(self, sent_by: int | None = None) -> list[tuple[str, UnprovenReceipt]]:
        kept = [(sent.row, taken) for sent in self.memory.sent.values() for taken in sent.receipts.values()]
        return [
            (row.partner, UnprovenReceipt(number=number, message_id=row.id, data=taken.data, leaf=taken.leaf))
            for number, (row, taken) in enumerate(kept, start=1)
            if taken.leaf not in self.memory.proofs and (sent_by is None or row.created_at <= sent_by)
        ]


def _witnessed(held: witnessing.Remember) -> WitnessedLog:
    return WitnessedLog(
        origin=held.origin, partner=held.partner, size=held.size, root=held.root, note=held.note, updated_at=held.at
    )
