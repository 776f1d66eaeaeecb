"""What leaves the exchange log for whoever must be convinced: a proof of one entry, and the leave to export all of it.

Proofs: entry asked for -> proven to the newest checkpoint. Exports: entry 'export' -> checkpoint signed that covers it.
Writing the export's files is `auditing`'s; nothing here shows a body or a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway import entries, quorum
from gateway.core.commands import Record
from gateway.core.errors import LogInconsistentError, NotYetError, SubmissionRefusedError
from gateway.ports import Exchange, Inclusion
from gateway.tlog.checkpoint import parse_note
from gateway.tlog.entry import parse
from gateway.tlog.policy import Policy
from gateway.tlog.proof_text import ClaimedProof, with_entry

_LISTED: Final = 1_000  # entries of one message
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_LEAF: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedExport:
    """How far an export reaches at least, and who is to have cosigned what is in it."""

    size: int
    policy: Policy


async def prove(index: int, exchange: Exchange) -> Inclusion:
    """Return the proof of one entry, to the newest checkpoint that a quorum of witnesses cosigned where that reaches it,
    else to the newest of all. Raises SubmissionRefusedError (no such entry), NotYetError (not signed yet).
    """
    witnessed = await quorum.standing(exchange, exchange.clock())
    proven = await exchange.log.proof(index, witnessed.size if index < witnessed.size else None)
    if proven is not None:
        return proven
    if not 0 <= index < (await exchange.overview.counts())["log.size"]:
        raise SubmissionRefusedError("log.no-entry", "index", "no entry has this index")
    raise NotYetError("no signed checkpoint reaches this entry yet", retry_after=2)


def index_of(text: str) -> int:
    """Return the index that somebody typed. Raises SubmissionRefusedError."""
    if not _INDEX.fullmatch(text):
        raise SubmissionRefusedError("argument.malformed", "index", "a whole number from 0")
    return int(text)


async def index_of_leaf(text: str, exchange: Exchange) -> int:
    """Return the index of the entry with this leaf hash (hex): what a receipt names. Raises SubmissionRefusedError."""
    if not _LEAF.fullmatch(text):
        raise SubmissionRefusedError("argument.malformed", "leaf", "64 lower-case hexadecimal digits")
    index = await exchange.log.index_of_leaf(bytes.fromhex(text))
    if index is None:
        raise SubmissionRefusedError("log.no-entry", "leaf", "no entry has this leaf hash")
    return index


async def index_of_message(message_id: str, exchange: Exchange, *, kind: str | None) -> int:
    """Return the index of the first entry that names a message, or of the first of one kind. Raises SubmissionRefusedError."""
    for entry in await exchange.log.entries_of(message_id, _LISTED):
        if kind in (None, parse(entry.data).kind):
            return entry.index
    raise SubmissionRefusedError("log.no-entry", "message", "no entry of this kind names this message")


async def text_of(proven: Inclusion, exchange: Exchange) -> bytes:
    """Return the proof as a file that stands alone (C2SP tlog-proof): the entry in it, every cosignature under it."""
    note = parse_note(await quorum.cosigned_note(proven.checkpoint, exchange))
    return with_entry(ClaimedProof(index=proven.entry.index, hashes=proven.hashes, note=note), proven.entry.data)


async def allow_export(exchange: Exchange, *, openings: bool, by: str | None) -> AllowedExport:
    """Log that the log is taken out, and have that signed. Raises LogInconsistentError where the signer refuses."""
    what = entries.Circumstance(outcome="with-openings" if openings else "entries", by=by)
    entry = entries.about_own(exchange.journal, "export", exchange.clock(), what)
    index = await exchange.store.write(Record(entry=entry))
    await exchange.sign_log()
    signed = await exchange.log.checkpoint()
    if signed is None or signed.size <= index:
        raise LogInconsistentError("no checkpoint could be signed: safehand log verify says why")
    return AllowedExport(size=signed.size, policy=await quorum.policy(exchange, exchange.clock()))
