"""Who cosigns our log, and whether more than half of them have: shared by the lines of the story.

By default every verified partner whose newest bundle has a witness key and an address for it; further ones, and those left
out, by configuration. More than half of those are the quorum (log A4). Without any the log runs on, unwitnessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.core.errors import LogInconsistentError
from gateway.core.witnessing import CosignatureRow
from gateway.ports import Exchange, QuorumStanding, SignedCheckpoint
from gateway.tlog.checkpoint import NoteKey, parse_note
from gateway.tlog.cosignature import CosignerKey, verify_cosignatures, with_lines
from gateway.tlog.entry import parse
from gateway.tlog.errors import EntryError, NoteError
from gateway.tlog.policy import Policy, PolicyLog, PolicyWitness, majority, majority_policy
from keys.errors import KeysError
from keys.key import Ed25519Public
from keys.listed import Role

PREFIX: Final = "/witness/v1"  # below a partner's `endpoints.witness`, which has no path
GOOD_FOR: Final = timedelta(seconds=10)  # a look at the quorum serves this long
UNWITNESSED: Final = "log.unwitnessed"

_LOOKS_BACK: Final = 1_000  # sizes that are tried: at one in 20 s, more than the hours after which messages are held


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """One witness: a partner's organisation id, or the key name of another; where it is asked; its keys in force."""

    id: str
    prefix: str
    keys: tuple[CosignerKey, ...]

    @property
    def vkeys(self) -> frozenset[str]:
        return frozenset(key.vkey() for key in self.keys)


async def witnesses(exchange: Exchange, now: datetime) -> tuple[Witness, ...]:
    """Return those who are asked now. A key that two of them have, or that is our own, witnesses for neither."""
    at, settings = int(now.timestamp()), exchange.witness_settings
    found = [
        Witness(id=partner.org, prefix=f"{partner.newest.endpoints.witness}{PREFIX}", keys=keys)
        for partner in await exchange.partners.all()
        if partner.bundles
        and partner.verified_by
        and partner.org not in settings.without
        and partner.newest.endpoints.witness is not None
        if partner.newest.current_at(at) and (keys := cosigner_keys(partner.newest.witness_keys(at)))
    ]
    found += [Witness(id=point.key.name, prefix=point.url, keys=(point.key,)) for point in settings.further]
    own = await exchange.partners.own_bundles()
    taken = {public.raw for bundle in own for _, public in bundle.witness_keys(at)}
    names: set[tuple[str, bytes]] = set()  # name and id, by which a note tells who signed
    distinct = []
    for witness in found:
        keys = tuple(key for key in witness.keys if key.public not in taken and (key.name, key.id) not in names)
        taken.update(key.public for key in keys)
        names.update((key.name, key.id) for key in keys)
        if keys:
            distinct.append(Witness(id=witness.id, prefix=witness.prefix, keys=keys))
    return tuple(distinct)


async def standing(exchange: Exchange, now: datetime) -> QuorumStanding:
    """Return how far the quorum vouches for our log, as of a moment ago at most."""
    origin = exchange.journal.origin
    known = exchange.standing.get(origin)
    if known is None or not timedelta(0) <= now - known.looked_at <= GOOD_FOR:
        known = await look(exchange, now)
    return known


async def look(exchange: Exchange, now: datetime) -> QuorumStanding:
    """As `standing`, looked up now."""
    asked = await witnesses(exchange, now)
    needed = majority(len(asked)) if asked else 0
    size = await _quorum_size(asked, needed, exchange) if asked else 0
    ahead = await exchange.witnesses.first_above(size) if asked else None
    found = QuorumStanding(
        witnesses=len(asked),
        needed=needed,
        size=size,
        since=None if ahead is None else await _waiting_since(size, ahead, exchange),
        looked_at=now,
    )
    exchange.standing[exchange.journal.origin] = found
    return found


async def _waiting_since(size: int, ahead: SignedCheckpoint, exchange: Exchange) -> int:
    """When the first entry was made that no quorum has seen, as the entry itself says, proven to be under `ahead`: the row of
    a checkpoint has a time beside what is signed, and whoever can write to the database would choose it."""
    try:
        first = await exchange.log.proof(size, ahead.size)
        return ahead.signed_at if first is None else parse(first.entry.data).at // 1_000_000
    except (LogInconsistentError, EntryError):  # the signer and `log verify` tell of that
        return ahead.signed_at


def unwitnessed_for(found: QuorumStanding, now: datetime) -> timedelta:
    """Return how long the log has been ahead of what a quorum cosigned; nothing where it is not, or nobody is asked."""
    return timedelta(0) if found.since is None else timedelta(seconds=max(0, int(now.timestamp()) - found.since))


async def holds_routine(exchange: Exchange, now: datetime) -> bool:
    """Whether new routine messages wait for witnesses: never where none is asked."""
    hold_after = timedelta(hours=exchange.witness_settings.hold_after_hours)
    return unwitnessed_for(await standing(exchange, now), now) >= hold_after


async def cosigned_note(signed: SignedCheckpoint, exchange: Exchange) -> bytes:
    """Return a checkpoint of ours as it is published: our signature, then every cosignature kept."""
    lines = [row.line.encode() for row in await exchange.witnesses.cosignatures(signed.size)]
    return signed.note + b"".join(lines)


async def policy(exchange: Exchange, now: datetime) -> Policy:
    """Return by whose keys our checkpoints are to be believed (C2SP tlog-policy): our log's, and more than half of the witnesses."""
    origin = exchange.journal.origin
    logs = {
        key.public.raw: PolicyLog(NoteKey(origin, key.public.raw))
        for bundle in await exchange.partners.own_bundles()
        for key in bundle.keys
        if key.role is Role.LOG and key.origin == origin and not bundle.is_revoked(key.kid)
    }
    named = []
    for witness in await witnesses(exchange, now):
        names = [witness.id, *(f"{witness.id}.{number}" for number in range(2, len(witness.keys) + 1))]
        named.append([PolicyWitness(name, key, witness.prefix) for name, key in zip(names, witness.keys, strict=True)])
    return majority_policy(tuple(logs.values()), named)


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """The Ed25519 of notes: the strictest in use (envelope section 5)."""
    try:
        Ed25519Public(public).verify(signature, message)
    except KeysError:
        return False
    return True


async def _quorum_size(asked: Sequence[Witness], needed: int, exchange: Exchange) -> int:
    """The largest size that so many of those asked have cosigned, from the newest down; 0 where `_LOOKS_BACK` fell short."""
    by_key = {vkey: witness.id for witness in asked for vkey in witness.vkeys}
    at_most: int | None = None
    for _ in range(_LOOKS_BACK):
        newest = await exchange.witnesses.newest_cosigned(by_key, at_most)
        reached: dict[str, int] = {}
        for vkey, size in newest.items():
            reached[by_key[vkey]] = max(size, reached.get(by_key[vkey], 0))
        if len(reached) < needed:
            return 0
        candidate = sorted(reached.values(), reverse=True)[needed - 1]  # no larger size can have so many
        rows = [row for row in await exchange.witnesses.cosignatures(candidate) if row.witness in by_key]
        if len({by_key[row.witness] for row in rows}) >= needed:
            good = await _really_cosigned(candidate, rows, asked, exchange)
            if len({by_key[vkey] for vkey in good}) >= needed:
                return candidate
        at_most = candidate - 1
    return 0


async def _really_cosigned(
    size: int, rows: Sequence[CosignatureRow], asked: Sequence[Witness], exchange: Exchange
) -> frozenset[str]:
    """The verifier keys whose lines hold under our checkpoint: rows are not believed, whoever writes to the database could
    plant one."""
    signed = await exchange.witnesses.first_above(size - 1)
    if signed is None or signed.size != size:
        return frozenset()
    good: set[str] = set()
    for row in rows:
        keys = [key for witness in asked for key in witness.keys if key.vkey() == row.witness]
        try:
            note = with_lines(parse_note(signed.note).text, row.line.encode())
            good.update(one.key.vkey() for one in verify_cosignatures(note, keys, verify))
        except NoteError:
            continue
    return frozenset(good)


def cosigner_keys(listed: Sequence[tuple[str, Ed25519Public]]) -> tuple[CosignerKey, ...]:
    """Those of a bundle's witness keys that a note can name: a bundle allows any text."""
    found = []
    for name, public in listed:
        try:
            found.append(CosignerKey(name, public.raw))
        except NoteError:
            continue
    return tuple(found)
