"""What the exchange log says of one own message, with why it must be believed: entries, inclusion proofs, one checkpoint.

All proofs lead to the same checkpoint, with every cosignature under it, so that whoever keeps it can check them offline: the
newest that a quorum of witnesses cosigned where that reaches every entry, else the newest of all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from gateway import quorum
from gateway.core.errors import NotYetError
from gateway.ports import Exchange, Inclusion, LoggedEntry, SignedCheckpoint
from gateway.tlog.entry import Entry, parse

_MOST: Final = 100  # entries about one message: a submission, each time it was held or sent again, its receipts
_TRIES: Final = 3  # how often a new checkpoint may be signed between two readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """An entry, and its inclusion in the tree of the checkpoint; None while it is younger."""

    logged: LoggedEntry
    entry: Entry
    hashes: tuple[bytes, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageProof:
    """The entries about one message, oldest first, and the checkpoint that their proofs lead to."""

    entries: tuple[Proven, ...]
    checkpoint: SignedCheckpoint | None


async def of_own_message(message_id: str, exchange: Exchange) -> MessageProof:
    """Entries -> proof of each to one checkpoint. Raises LogInconsistentError where the log is not what was written."""
    logged = [
        (entry, parsed)
        for entry in await exchange.log.entries_of(message_id, _MOST)
        if (parsed := parse(entry.data)).dir == "out"  # a partner may have used the same id for a message of its own
    ]
    witnessed = (await quorum.standing(exchange, exchange.clock())).size
    size = witnessed if logged and logged[-1][0].index < witnessed else None
    for _ in range(_TRIES):
        proofs = [await exchange.log.proof(entry.index, size) for entry, _ in logged]
        signed = {proof.checkpoint.size: proof.checkpoint for proof in proofs if proof is not None}
        if len(signed) <= 1:
            checkpoint = next(iter(signed.values()), None)
            if checkpoint is not None:
                checkpoint = replace(checkpoint, note=await quorum.cosigned_note(checkpoint, exchange))
            return MessageProof(
                entries=tuple(_proven(*pair, proof) for pair, proof in zip(logged, proofs, strict=True)),
                checkpoint=checkpoint,
            )
    raise NotYetError("the log grows faster than it is read", retry_after=1)


def _proven(logged: LoggedEntry, entry: Entry, proof: Inclusion | None) -> Proven:
    return Proven(logged=logged, entry=entry, hashes=None if proof is None else proof.hashes)
