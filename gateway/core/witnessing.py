"""The typed commands about witnesses: what we remember of others' logs, who cosigned ours, and proofs of receipts.

Pure values, carried out by the store as those of `core.commands` are. Everything in them was verified before.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gateway.core.commands import Command, LogEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember(Command[bool]):
    """Keep the checkpoint of a partner's log that is about to be cosigned, if what is remembered of it is still
    (`before_size`, `before_root`) that it was judged against; False, changing nothing, where it is not.

    The comparison and the writing are one transaction: two requests at once never take a witness back. `note` is the
    text, the log's signature and our cosignature. Raises RowTamperedError where what is remembered fails its mac: then
    nothing is cosigned, for a witness that forgot would vouch for anything."""

    origin: str
    partner: str
    before_size: int
    before_root: bytes
    size: int
    root: bytes
    note: bytes
    at: int

    def touches(self) -> frozenset[str]:
        return frozenset({f"witnessed:{self.origin}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepConflict(Command[bool]):
    """Keep a partner's signed checkpoint that contradicts the one remembered (one size, two roots), and log it: evidence.
    False where one of this size is kept already (that proves the lie: a third root proves no more), or so many of this log."""

    origin: str
    size: int
    root: bytes
    note: bytes
    at: int
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({f"conflict:{self.origin}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignatureRow:
    """A verified cosignature of our own checkpoint of `size`: the witness's verifier key, its time in seconds, its line."""

    size: int
    witness: str
    at: int
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCosignatures(Command[int]):
    """Keep cosignatures of our checkpoints; the first of a size and witness stays. Answers how many were new."""

    rows: tuple[CosignatureRow, ...]

    def touches(self) -> frozenset[str]:
        return frozenset(f"cosignature:{row.witness}" for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepProof(Command[bool]):
    """Keep the proof (C2SP tlog-proof) that the entry a receipt is bound to is in its issuer's log; the first stays.
    False where there is no such receipt, or it is proven already."""

    leaf: bytes
    proof: bytes = dataclasses.field(repr=False)

    def touches(self) -> frozenset[str]:
        return frozenset({f"proof:{self.leaf.hex()}"})
