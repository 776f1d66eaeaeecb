"""Witnessing: what this gateway vouches for of its partners' logs (C2SP tlog-witness; log A4).

Request -> the partner whose log it is -> its signature -> what is remembered of that log -> consistent -> cosigned and kept
in one transaction -> answered. Anybody may ask, for the checkpoint proves itself; a partner's log alone is witnessed.
What contradicts what is remembered under the log's own signature is kept as evidence, logged, and told.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gateway import entries, quorum
from gateway.core.envelope import digest
from gateway.core.errors import BusyError
from gateway.core.witnessing import KeepConflict, Remember
from gateway.ports import Exchange, Partner, WitnessedLog
from gateway.tlog.checkpoint import ClaimedNote, NoteKey, NoteSignature, parse_checkpoint, parse_note
from gateway.tlog.cosignature import CosignerKey, cosign, verify_cosignatures
from gateway.tlog.errors import NoteError
from gateway.tlog.witness import (
    NOTHING,
    SIZE_TYPE,
    STATUS,
    AddCheckpoint,
    Decision,
    Grown,
    Refusal,
    Refused,
    Seen,
    decide,
    parse_request,
    told_size,
)
from keys.ring import WitnessSigning

TEXT: Final = "text/plain"
MOST_TEXT: Final = 1024  # bytes: the three lines of a checkpoint and some more; what we cosign, or accuse by, is kept
_TRIES: Final = 3  # another request for the same log may come first; three in a row are a flood
_STILL_GOOD: Final = timedelta(seconds=60)  # a checkpoint asked for again within this gets the cosignature it has


@dataclass(frozen=True, slots=True)
class Answer:
    """What the one who asked is told."""

    status: int
    body: bytes = b""
    media: str = TEXT


async def add_checkpoint(data: bytes, exchange: Exchange) -> Answer:
    """Request -> judged against what is remembered -> remembered -> cosigned. Raises BusyError, RowTamperedError."""
    now = exchange.clock()
    signing = exchange.ring().witness(int(now.timestamp()))
    try:
        request = parse_request(data)
        if len(request.note.text.encode()) > MOST_TEXT:
            return Answer(400)
        origin = parse_checkpoint(request.note.text).origin
    except NoteError:
        return Answer(400)
    for _ in range(_TRIES):
        held = await exchange.witnesses.log(origin)
        owner, decision = await _judged(request, origin, held, now, exchange)
        if signing is None or owner is None:  # who has no witness key witnesses nobody
            return Answer(STATUS[Refusal.UNKNOWN_LOG])
        if isinstance(decision, Refused):
            await _note_refusal(decision, request, owner, now, exchange)
            body = told_size(request, decision)
            return Answer(STATUS[decision.refusal]) if body is None else Answer(409, body, SIZE_TYPE)
        line = await _vouched(decision, request, owner, held, signing, now, exchange)
        if line is not None:
            return Answer(200, line)
    raise BusyError("another checkpoint of this log came first")


async def last_note(origin_hash: str, exchange: Exchange) -> bytes | None:
    """Return the note that was cosigned last of the log with this SHA-256 (hex) of its origin."""
    for held in await exchange.witnesses.logs():
        if hashlib.sha256(held.origin.encode()).hexdigest() == origin_hash:
            return held.note
    return None


async def _judged(
    request: AddCheckpoint, origin: str, held: WitnessedLog | None, now: datetime, exchange: Exchange
) -> tuple[Partner | None, Decision]:
    """Whose log it is (None: nobody's we know), and the decision. An origin that several partners list is the one's under
    whose key it was cosigned first."""
    at = int(now.timestamp())
    owner: Partner | None = None
    decision: Decision = Refused(Refusal.UNKNOWN_LOG)
    for partner in await exchange.partners.all():
        listed = partner.verified_by and partner.newest.has_log(origin) and partner.newest.current_at(at)
        if not listed or (held is not None and held.partner != partner.org):
            continue
        keys = [NoteKey(origin, public.raw) for public in partner.newest.log_keys_for(origin, at)]
        seen = NOTHING if held is None else Seen(held.size, held.root)
        owner, decision = partner, decide(request, keys, seen, quorum.verify)
        if not (isinstance(decision, Refused) and decision.refusal is Refusal.BAD_SIGNATURE):
            break
    return owner, decision


async def _vouched(
    grown: Grown,
    request: AddCheckpoint,
    owner: Partner,
    held: WitnessedLog | None,
    signing: WitnessSigning,
    now: datetime,
    exchange: Exchange,
) -> bytes | None:
    """Return our signature line, once what it vouches for is on the disk; None where another request came first."""
    checkpoint, key = grown.checkpoint, CosignerKey(signing.name, signing.key.public.raw)
    before = NOTHING if held is None else Seen(held.size, held.root)
    if held is not None and checkpoint.size == held.size:
        line = _line_given(held, key, now)
        if line is not None:  # asked again: nothing is signed or written that anybody could ask for without end
            return line
    cosignature = cosign(request.note.text, key, signing.key.sign, int(now.timestamp()))
    note = _by_the_log(request.note, owner, now)
    note = replace(note, signatures=(*note.signatures, cosignature))
    kept = await exchange.store.write(
        Remember(
            origin=checkpoint.origin,
            partner=owner.org,
            before_size=before.size,
            before_root=before.root,
            size=checkpoint.size,
            root=checkpoint.root,
            note=note.to_bytes(),
            at=int(now.timestamp()),
        )
    )
    return cosignature.line().encode() if kept else None


def _line_given(held: WitnessedLog, key: CosignerKey, now: datetime) -> bytes | None:
    """The line that we answered for the very same checkpoint a moment ago."""
    given = verify_cosignatures(parse_note(held.note), [key], quorum.verify)
    recent = [one for one in given if 0 <= int(now.timestamp()) - one.timestamp < _STILL_GOOD.total_seconds()]
    return recent[-1].line.encode() if recent else None


def _by_the_log(note: ClaimedNote, owner: Partner, now: datetime) -> ClaimedNote:
    """The note under the log's own signatures, one of each key: what else was written there is not kept."""
    origin = note.text.partition("\n")[0]
    publics = owner.newest.log_keys_for(origin, int(now.timestamp()))
    ids = {(origin, NoteKey(origin, public.raw).id) for public in publics}
    first: dict[tuple[str, bytes], NoteSignature] = {}
    for one in note.signatures:
        if (one.name, one.key_id) in ids:
            first.setdefault((one.name, one.key_id), one)
    return replace(note, signatures=tuple(first.values()))


async def _note_refusal(
    refused: Refused, request: AddCheckpoint, owner: Partner, now: datetime, exchange: Exchange
) -> None:
    """What the log signed against what it signed before is evidence; a proof that fails only may be."""
    checkpoint = refused.checkpoint
    if checkpoint is None:
        return
    about = {"partner": owner.org, "size": str(checkpoint.size)}  # its log's name is the partner's own words
    if refused.refusal is Refusal.SPLIT_VIEW:
        note = _by_the_log(request.note, owner, now).to_bytes()
        what = entries.Circumstance(outcome="split-view", receipt=digest(note))
        kept = await exchange.store.write(
            KeepConflict(
                origin=checkpoint.origin,
                size=checkpoint.size,
                root=checkpoint.root,
                note=note,
                at=int(now.timestamp()),
                entry=entries.about_own(exchange.journal, "witness-conflict", now, what, partner=owner.org),
            )
        )
        if kept:
            exchange.alarm("split-view", about)
    elif refused.refusal is Refusal.NO_EXTENSION:
        exchange.tell("log-not-extended", checkpoint.origin, about, now)
