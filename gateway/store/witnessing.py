"""Witnesses in the tables: what we remember of others' logs, the cosignatures of ours, the proofs of receipts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Text, column, func, select, update, values

from gateway.core.errors import RowTamperedError
from gateway.core.witnessing import CosignatureRow, KeepConflict, KeepCosignatures, KeepProof, Remember
from gateway.ports import SignedCheckpoint, UnprovenReceipt, WitnessedLog
from gateway.store.cells import as_text
from gateway.store.readers import Reader
from gateway.store.schema import checkpoint, cosignature, message, receipt_in, witness_conflict, witness_state
from gateway.store.transaction import Transaction
from gateway.tlog.witness import NOTHING

CONFLICTS_KEPT: Final = 100  # of one log: two prove that it lied


# --- commands


def remember(tx: Transaction, remember: Remember) -> bool:
    """Compare with what is remembered and replace it."""
    mine = witness_state.c.origin == remember.origin
    held = tx.read_sealed(witness_state, mine)
    if not held and tx.read(select(witness_state.c.origin).where(mine)):
        raise RowTamperedError("witness_state")
    before = (held[0]["size"], held[0]["root"]) if held else (NOTHING.size, NOTHING.root)
    if before != (remember.before_size, remember.before_root):
        return False
    row = {
        "origin": remember.origin,
        "partner": remember.partner,
        "size": remember.size,
        "root": remember.root,
        "note": remember.note,
        "updated_at": remember.at,
    }
    if held:
        tx.change(update(witness_state).where(mine).values(tx.seal.sealed(witness_state, row)))
    else:
        tx.insert_sealed(witness_state, **row)
    return True


def keep_conflict(tx: Transaction, keep: KeepConflict) -> bool:
    """Keep the contradicting note beside its entry, the first of each size."""
    mine = witness_conflict.c.origin == keep.origin
    same = mine & (witness_conflict.c.size == keep.size)
    if tx.read(select(witness_conflict.c.size).where(same)):
        return False
    if tx.read(select(func.count().label("n")).select_from(witness_conflict).where(mine))[0].n >= CONFLICTS_KEPT:
        return False
    tx.insert(witness_conflict, origin=keep.origin, size=keep.size, root=keep.root, note=keep.note, seen_at=keep.at)
    tx.append(keep.entry)
    return True


def keep_cosignatures(tx: Transaction, keep: KeepCosignatures) -> int:
    """Keep those that are new."""
    kept = 0
    for row in keep.rows:
        same = (cosignature.c.size == row.size) & (cosignature.c.witness == row.witness)
        if not tx.read(select(cosignature.c.size).where(same)):
            tx.insert(cosignature, size=row.size, witness=row.witness, ts=row.at, line=row.line)
            kept += 1
    return kept


def keep_proof(tx: Transaction, keep: KeepProof) -> bool:
    """Note the proof beside the receipt it is of."""
    waiting = (receipt_in.c.leaf == keep.leaf) & receipt_in.c.proof.is_(None)
    return tx.change(update(receipt_in).where(waiting).values(proof=keep.proof)) == 1


# --- reading


class StoredWitnesses:
    """`ports.Witnesses` on the tables."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def log(self, origin: str) -> WitnessedLog | None:
        rows = await self._reader.rows(select(witness_state).where(witness_state.c.origin == origin))
        return self._logs(rows)[0] if rows else None

    async def logs(self) -> tuple[WitnessedLog, ...]:
        return self._logs(await self._reader.rows(select(witness_state).order_by(witness_state.c.origin)))

    async def cosignatures(self, size: int) -> tuple[CosignatureRow, ...]:
        mine = select(cosignature).where(cosignature.c.size == size).order_by(cosignature.c.witness)
        return tuple(map(_cosignature, await self._reader.rows(mine)))

    async def newest_cosigned(self, witnesses: Collection[str], at_most: int | None) -> Mapping[str, int]:
        if not witnesses:
            return {}
        # One step into the index for each key; `max` over a group, or over IN, would read every cosignature of each.
        asked = values(column("witness", Text), name="asked").data([(key,) for key in sorted(witnesses)]).cte("asked")
        largest = select(func.max(cosignature.c.size)).where(cosignature.c.witness == asked.c.witness)
        if at_most is not None:
            largest = largest.where(cosignature.c.size <= at_most)
        rows = await self._reader.rows(select(asked.c.witness, largest.scalar_subquery().label("size")))
        return {row["witness"]: row["size"] for row in rows if row["size"] is not None}

    async def last_cosigned(self, witnesses: Collection[str]) -> int:
        return max((await self.newest_cosigned(witnesses, None)).values(), default=0)

    async def first_above(self, size: int) -> SignedCheckpoint | None:
        rows = await self._reader.rows(
            select(checkpoint).where(checkpoint.c.size > size).order_by(checkpoint.c.size).limit(1)
        )
        return _checkpoint(rows[0]) if rows else None

    async def unproven_from(self) -> tuple[str, ...]:
        partners = select(message.c.partner).distinct().select_from(_RECEIVED).where(_UNPROVEN)
        return tuple(row["partner"] for row in await self._reader.rows(partners.order_by(message.c.partner)))

    async def unproven(
        self, partner: str, limit: int, *, after: int = 0, sent_by: int | None = None
    ) -> tuple[UnprovenReceipt, ...]:
        waiting = (
            select(receipt_in.c.id, receipt_in.c.message_id, receipt_in.c.bytes, receipt_in.c.leaf)
            .select_from(_RECEIVED)
            .where(_UNPROVEN, message.c.partner == partner, receipt_in.c.id > after)
            .order_by(receipt_in.c.id)
            .limit(limit)
        )
        if sent_by is not None:
            waiting = waiting.where(message.c.created_at <= sent_by)
        return tuple(
            UnprovenReceipt(number=row["id"], message_id=row["message_id"], data=row["bytes"], leaf=row["leaf"])
            for row in await self._reader.rows(waiting)
        )

    async def proof(self, leaf: bytes) -> bytes | None:
        rows = await self._reader.rows(select(receipt_in.c.proof).where(receipt_in.c.leaf == leaf))
        return rows[0]["proof"] if rows else None

    def _logs(self, rows: Sequence[Mapping[str, Any]]) -> tuple[WitnessedLog, ...]:
        """A row whose mac fails is no absent one here: whoever forgets what it saw vouches for anything."""
        held = self._reader.seal.checked(witness_state, rows)
        if len(held) < len(rows):
            raise RowTamperedError("witness_state")
        return tuple(
            WitnessedLog(
                origin=row["origin"],
                partner=row["partner"],
                size=row["size"],
                root=row["root"],
                note=row["note"],
                updated_at=row["updated_at"],
            )
            for row in held
        )


_RECEIVED: Final = receipt_in.join(
    message, (message.c.sender == receipt_in.c.sender) & (message.c.id == receipt_in.c.message_id)
)
_UNPROVEN: Final = receipt_in.c.proof.is_(None)


def _cosignature(row: Mapping[str, Any]) -> CosignatureRow:
    return CosignatureRow(size=row["size"], witness=row["witness"], at=row["ts"], line=as_text(row["line"]))


def _checkpoint(row: Mapping[str, Any]) -> SignedCheckpoint:
    return SignedCheckpoint(
        size=row["size"], root=row["root"], note=as_text(row["note"]).encode(), signed_at=row["signed_at"]
    )
