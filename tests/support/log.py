"""The exchange log of a gateway in memory: `ports.Log` over `Memory`, and its signer."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.commands import LogEntry, PutCheckpoint
from gateway.ports import Inclusion, LoggedEntry, SignedCheckpoint
from gateway.tlog.checkpoint import Checkpoint, NoteKey, sign_checkpoint
from gateway.tlog.merkle import root_of
from gateway.tlog.proof import consistency_proof, inclusion_proof
from keys.ring import KeyRing
from tests.support.memory import Memory


@dataclass(frozen=True)
class MemoryLog:
    memory: Memory

    async def checkpoint(self) -> SignedCheckpoint | None:
        if not self.memory.checkpoints:
            return None
        put = self.memory.checkpoints[max(self.memory.checkpoints)]
        return SignedCheckpoint(size=put.size, root=put.root, note=put.note.encode(), signed_at=put.signed_at)

    async def proof(self, index: int) -> Inclusion | None:
        signed = await self.checkpoint()
        if signed is None or not 0 <= index < signed.size:
            return None
        return Inclusion(
            entry=_entry(index, self.memory.log[index]),
            hashes=inclusion_proof(index, signed.size, self._node),
            checkpoint=signed,
        )

    async def consistency(self, size1: int, size2: int) -> tuple[bytes, ...] | None:
        if not 1 <= size1 <= size2 <= len(self.memory.log):
            return None
        return consistency_proof(size1, size2, self._node)

    async def index_of_leaf(self, leaf: bytes) -> int | None:
        found = [index for index, entry in enumerate(self.memory.log) if entry.leaf == leaf]
        return found[0] if found else None

    async def entries_of(self, message_id: str, limit: int) -> tuple[LoggedEntry, ...]:
        mine = [_entry(i, entry) for i, entry in enumerate(self.memory.log) if entry.message_id == message_id]
        return tuple(mine[:limit])

    def _node(self, level: int, index: int) -> bytes:
        """A complete subtree is a tree by itself."""
        return root_of(entry.leaf for entry in self.memory.log[index << level : (index + 1) << level])


def _entry(index: int, entry: LogEntry) -> LoggedEntry:
    return LoggedEntry(index=index, data=entry.data, leaf=entry.leaf)


async def sign(memory: Memory, ring: KeyRing) -> None:
    """Sign and keep a checkpoint of all there is."""
    at = int(memory.clock().timestamp())
    signing = ring.log(at)
    tree = Checkpoint(origin=signing.origin, size=len(memory.log), root=root_of(entry.leaf for entry in memory.log))
    note = sign_checkpoint(tree, NoteKey(signing.origin, signing.key.public.raw), signing.key.sign)
    await memory.write(PutCheckpoint(size=tree.size, root=tree.root, note=note.decode(), signed_at=at))
