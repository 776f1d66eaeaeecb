"""Agreements and the event chains on them: what was signed, in the bytes that were signed, each row with its mac.

Events are stored unverified as far as this module knows: who signed what is the flows' to decide, on every reading.
An agreement with an event that the log knows and the table lost counts as absent: it may be the one that suspends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import BindParameter, Select, bindparam, or_, select

from contracts.document import read_loose
from contracts.names import ZERO_DIGEST
from gateway.core.commands import AgreementFile, EventRow, RecordEvent
from gateway.core.errors import ConflictError, HeadsMovedError
from gateway.ports import AgreementRecord
from gateway.store import lanes, owed
from gateway.store.readers import Reader
from gateway.store.schema import agreement, agreement_event, message
from gateway.store.times import micros
from gateway.store.transaction import Transaction

_FILE_LIMIT: Final = 1024 * 1024  # bytes of canonical JSON; the wire allows 640 KB

_AT: Final[BindParameter[str]] = bindparam("at")
_FILES: Final = select(agreement).order_by(agreement.c.id, agreement.c.version)
_EVENTS: Final = select(agreement_event).order_by(agreement_event.c.org, agreement_event.c.n, agreement_event.c.hash)
_ONE: Final = _FILES.where(agreement.c.digest == _AT)
_EVENTS_OF_ONE: Final = _EVENTS.where(agreement_event.c.digest == _AT)
_IS_THEIRS: Final = or_(agreement.c.party_a == _AT, agreement.c.party_b == _AT)
_THEIRS: Final = _FILES.where(_IS_THEIRS)
_EVENTS_OF_THEIRS: Final = _EVENTS.where(agreement_event.c.digest.in_(select(agreement.c.digest).where(_IS_THEIRS)))


def record_event(tx: Transaction, record: RecordEvent) -> bool:
    """Keep the event (and its agreement), owe it to the other party, look at held messages again.

    Raises ConflictError where another file has this id and version between the same parties, HeadsMovedError where our
    chain is not the one that our event was written after.
    """
    event = record.event
    same = (
        (agreement_event.c.digest == event.digest)
        & (agreement_event.c.org == event.org)
        & (agreement_event.c.n == event.n)
        & (agreement_event.c.hash == event.hash)
    )
    held = bool(tx.read_sealed(agreement_event, same))
    if not held and record.own_head is not None:
        _check_chain(tx, event, record.own_head)
    if record.file is not None:
        _keep_file(tx, record.file, restore=held)
    elif not tx.read_sealed(agreement, agreement.c.digest == event.digest):
        raise ConflictError("an event on an agreement that is not held")
    if held:
        return False
    tx.put_sealed(
        agreement_event,
        digest=event.digest,
        org=event.org,
        n=event.n,
        hash=event.hash,
        jws=event.jws,
        received_at=event.received_at,
    )
    tx.forget_heads(event.digest)
    tx.append(record.entry)
    if record.push_to is not None:
        owed.owe(tx, record.push_to, owed.EVENT, event.hash, event.jws, micros(record.now))
    lanes.look_again(tx, micros(record.now), message.c.agreement == event.digest)
    return True


def _check_chain(tx: Transaction, event: EventRow, head: str) -> None:
    """Refuse an event of ours that would fork our chain, or lengthen one that is forked or broken already."""
    mine = (agreement_event.c.digest == event.digest) & (agreement_event.c.org == event.org)
    chain = sorted(tx.read_sealed(agreement_event, mine), key=lambda row: row["n"])
    tip = chain[-1]["hash"] if chain else ZERO_DIGEST
    if tip != head or [row["n"] for row in chain] != list(range(1, event.n)):
        raise HeadsMovedError(event.digest)


def _keep_file(tx: Transaction, file: AgreementFile, *, restore: bool) -> None:
    """Keep the agreement where its row is not held; `restore` where an event on it is, so that only the row was lost."""
    if tx.read_sealed(agreement, agreement.c.digest == file.digest):
        return
    parties = read_loose(file.canonical, limit=_FILE_LIMIT)["party"]
    row = {
        "digest": file.digest,
        "id": file.id,
        "version": file.version,
        "party_a": parties["a"]["id"],
        "party_b": parties["b"]["id"],
        "toml": file.toml,
        "canonical": file.canonical,
    }
    named = [agreement.c[name] == row[name] for name in ("id", "version", "party_a", "party_b")]
    if tx.read(select(agreement.c.digest).where(*named, agreement.c.digest != file.digest)):
        raise ConflictError("another agreement has this id and version between the same parties")
    keep = tx.restore_sealed if restore else tx.put_sealed
    keep(agreement, **row)


class StoredAgreements:
    """`ports.Agreements` on the tables."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def get(self, digest: str) -> AgreementRecord | None:
        found = await self._records(_ONE, _EVENTS_OF_ONE, at=digest)
        return found[0] if found else None

    async def all(self) -> tuple[AgreementRecord, ...]:
        return await self._records(_FILES, _EVENTS)

    async def between(self, partner: str) -> tuple[AgreementRecord, ...]:
        return await self._records(_THEIRS, _EVENTS_OF_THEIRS, at=partner)

    async def _records(self, which: Select[Any], whose: Select[Any], **at: str) -> tuple[AgreementRecord, ...]:
        files, chains = await self._reader.ask(lambda rows: (rows(which, **at), rows(whose, **at)))
        events = self._reader.seal.checked(agreement_event, chains)
        broken = {key[0] for key in self._reader.seal.lacks(agreement_event, events)}
        good = self._reader.seal.checked(agreement, files)
        return tuple(_record(file, events) for file in good if file["digest"] not in broken)


def _record(file: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> AgreementRecord:
    return AgreementRecord(
        file=AgreementFile(
            digest=file["digest"],
            id=file["id"],
            version=file["version"],
            toml=file["toml"],
            canonical=file["canonical"],
        ),
        events=tuple(
            EventRow(
                digest=event["digest"],
                org=event["org"],
                n=event["n"],
                hash=event["hash"],
                jws=event["jws"],
                received_at=event["received_at"],
            )
            for event in events
            if event["digest"] == file["digest"]
        ),
    )
