"""Proofs of receipts: that the entry a receipt is bound to stands in its issuer's log, where witnesses can see it.

Receipt without a proof -> asked of its issuer -> leaf, checkpoint and our own cosignature verified -> kept beside the receipt.
Within 24 hours (envelope section 4); after that its absence is an alarm: the partner said that it had logged what it received.
Both sides are here: asking, and answering what partners ask of us.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

from msgspec import UNSET

from adapters.port import DeliveryError
from gateway import quorum
from gateway.core import receipt
from gateway.core.errors import NotYetError, ReceiptRejectedError
from gateway.core.witnessing import KeepProof
from gateway.ports import Exchange, Partner, UnprovenReceipt
from gateway.tlog.checkpoint import Checkpoint, NoteKey, parse_note
from gateway.tlog.cosignature import CosignerKey, verify_cosignatures
from gateway.tlog.entry import parse_shape
from gateway.tlog.errors import TlogError
from gateway.tlog.proof_text import ClaimedProof, parse_proof, verify_entry
from keys.listed import Role

WITHIN: Final = timedelta(hours=24)
A_ROUND: Final = 100  # receipts of one partner
AT_ONCE: Final = 4  # partners
_COUNTED: Final = 1_000


class UnprovenError(Exception):
    """An answer that does not prove it; `cause` names the rule. `final` where waiting would not help."""

    def __init__(self, cause: str, *, final: bool) -> None:
        self.cause = cause
        self.final = final
        super().__init__(cause)


# --- asking


class Rounds:
    """Asks the partners, round by round; one for each running gateway.

    Each round goes on behind the last receipt that the one before looked at, and begins anew behind the newest: receipts
    that can never be proven do not keep the others from their turn.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._looked_at: dict[str, int] = {}  # number of the last receipt, by partner

    async def round(self) -> None:
        """Ask each partner for the proofs of its receipts, so many a round; tell of those that are overdue."""
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for org in await self._exchange.witnesses.unproven_from():
                tasks.create_task(self._fetch_from(org, places), name=f"proofs:{org}")

    async def _fetch_from(self, org: str, places: asyncio.Semaphore) -> None:
        exchange = self._exchange
        async with places:
            partner = await exchange.partners.get(org)
            if partner is None or not partner.verified_by:
                return
            waiting = await self._next(org)
            left = len(waiting)
            for one in waiting:
                self._looked_at[org] = one.number
                try:
                    if await _fetch(one, partner, exchange):
                        left -= 1
                except DeliveryError:
                    break  # nobody is there: the others would not be answered either
            if left:
                await _tell_overdue(org, exchange)

    async def _next(self, org: str) -> tuple[UnprovenReceipt, ...]:
        """So many behind the last one looked at; from the oldest on where none is left there."""
        witnesses, after = self._exchange.witnesses, self._looked_at.get(org, 0)
        return await witnesses.unproven(org, A_ROUND, after=after) or await witnesses.unproven(org, A_ROUND)


async def _fetch(one: UnprovenReceipt, partner: Partner, exchange: Exchange) -> bool:
    """Ask for one proof, verify it and keep it; False where there is none yet. Raises DeliveryError."""
    path = f"/exchange/v1/log/proof?leaf={one.leaf.hex()}"
    reply = await exchange.peer.fetch(partner.org, partner.url, path, signed=True)
    if reply.status != 200:
        return False
    now = exchange.clock()
    try:
        await verify(reply.body, one.leaf, partner, now, exchange)
    except UnprovenError as error:
        if error.final:
            details = {"partner": partner.org, "message_id": one.message_id, "cause": error.cause}
            exchange.tell("receipt-proof-refused", partner.org, details, now)
        return False
    return await exchange.store.write(KeepProof(leaf=one.leaf, proof=reply.body))


async def verify(data: bytes, leaf: bytes, partner: Partner, now: datetime, exchange: Exchange) -> Checkpoint:
    """Return the checkpoint of the partner's log that this proves the entry to be in. Raises UnprovenError.

    Where we witness that log, the checkpoint is one that we cosigned: so it belongs to the one history that we were shown,
    and what it proves nobody can take back.
    """
    at = int(now.timestamp())
    try:
        claimed = parse_proof(data)
        origin = claimed.note.text.partition("\n")[0]
        # 1 the log's signature, by a key that the partner lists for this log; 2 the way from the leaf to the root
        keys = [NoteKey(origin, public.raw) for public in partner.newest.log_keys_for(origin, at)]
        checkpoint = verify_entry(claimed, leaf, keys, quorum.verify)
        # 3 the history that we witness
        held = await exchange.witnesses.log(origin)
        if held is None or held.partner != partner.org:
            return checkpoint
        if held.size == checkpoint.size:
            if held.root != checkpoint.root:
                raise UnprovenError("another history than the one we witnessed", final=True)
            return checkpoint
        cosigned = verify_cosignatures(claimed.note, await _own_witness_keys(exchange), quorum.verify)
    except TlogError as error:
        raise UnprovenError(str(error), final=True) from None
    if not cosigned:
        raise UnprovenError("a checkpoint that we did not witness", final=False)
    return checkpoint


async def _own_witness_keys(exchange: Exchange) -> tuple[CosignerKey, ...]:
    found = {
        (key.name or "", key.public.raw)
        for bundle in await exchange.partners.own_bundles()
        for key in bundle.keys
        if key.role is Role.WITNESS
    }
    return tuple(CosignerKey(name, raw) for name, raw in sorted(found))


async def _tell_overdue(org: str, exchange: Exchange) -> None:
    now = exchange.clock()
    late = await overdue(org, now, exchange)
    if late:
        exchange.tell("receipt-unproven", org, {"partner": org, "count": str(late)}, now)


async def overdue(org: str, now: datetime, exchange: Exchange) -> int:
    """Return how many receipts of a partner should have been proven by now, as far as they are counted.

    A receipt is not older than its message, so those for messages of today are not even read: there are most of them.
    """
    before = int((now - WITHIN).timestamp())
    waiting = await exchange.witnesses.unproven(org, _COUNTED, sent_by=before)
    return sum(_given_at(one) <= before for one in waiting)


def _given_at(one: UnprovenReceipt) -> int:
    try:
        return receipt.read_receipt(one.data).payload.at
    except ReceiptRejectedError:
        return 0  # it was verified when it came: whatever this is now, a person must look


# --- answering


async def proof_for(org: str, leaf: bytes, exchange: Exchange) -> bytes | None:
    """Return the proof that an entry about `org` is in our log; None for every other leaf.

    In the tree of the largest checkpoint that `org` itself cosigned where that reaches so far, else of the newest. Raises
    NotYetError where no checkpoint does.
    """
    index = await exchange.log.index_of_leaf(leaf)
    if index is None:
        return None
    partner = await exchange.partners.get(org)
    at = int(exchange.clock().timestamp())
    vkeys = {key.vkey() for key in quorum.cosigner_keys(partner.newest.witness_keys(at))} if partner else set()
    cosigned = await exchange.witnesses.last_cosigned(vkeys)
    found = await exchange.log.proof(index, cosigned) if cosigned > index else await exchange.log.proof(index)
    if found is None:
        raise NotYetError("no checkpoint has this entry yet", retry_after=5)
    entry = parse_shape(found.entry.data)
    if entry.partner is UNSET or entry.partner != org:
        return None
    note = parse_note(await quorum.cosigned_note(found.checkpoint, exchange))
    return ClaimedProof(index=index, hashes=found.hashes, note=note).to_bytes()
