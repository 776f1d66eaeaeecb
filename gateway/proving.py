"""What leaves the exchange log for whoever must be convinced: a proof of one entry, and the leave to export all of it.

Proofs: entry asked for -> proven to the newest checkpoint. Exports: entry 'export' -> checkpoint signed that covers it.
Writing the export's files is `auditing`'s; nothing here shows a body or a name.
"""

from __future__ import annotations

from gateway import entries
from gateway.core.commands import Record
from gateway.core.errors import LogInconsistentError, NotYetError, SubmissionRefusedError
from gateway.ports import Exchange, Inclusion
from gateway.tlog.checkpoint import parse_note
from gateway.tlog.entry import parse
from gateway.tlog.proof_text import ClaimedProof, with_entry

_LISTED = 1_000  # entries of one message


async def prove(index: int, exchange: Exchange) -> Inclusion:
    """Return the proof of one entry. Raises SubmissionRefusedError (no such entry), NotYetError (not signed yet)."""
    proven = await exchange.log.proof(index)
    if proven is not None:
        return proven
    if not 0 <= index < (await exchange.overview.counts())["log.size"]:
        raise SubmissionRefusedError("log.no-entry", "index", "no entry has this index")
    raise NotYetError("no signed checkpoint reaches this entry yet", retry_after=2)


async def prove_leaf(leaf: bytes, exchange: Exchange) -> Inclusion:
    """As `prove`, for the entry of a leaf hash: what a receipt names."""
    index = await exchange.log.index_of_leaf(leaf)
    if index is None:
        raise SubmissionRefusedError("log.no-entry", "leaf", "no entry has this leaf hash")
    return await prove(index, exchange)


async def prove_message(message_id: str, exchange: Exchange, *, kind: str | None) -> Inclusion:
    """As `prove`, for the first entry that names a message, or the first of one kind."""
    named = await exchange.log.entries_of(message_id, _LISTED)
    for entry in named:
        if kind in (None, parse(entry.data).kind):
            return await prove(entry.index, exchange)
    raise SubmissionRefusedError("log.no-entry", "message", "no entry of this kind names this message")


def text_of(proven: Inclusion) -> bytes:
    """Return the proof as a file that stands alone (C2SP tlog-proof, the entry in it)."""
    note = parse_note(proven.checkpoint.note)
    return with_entry(ClaimedProof(index=proven.entry.index, hashes=proven.hashes, note=note), proven.entry.data)


async def allow_export(exchange: Exchange, *, openings: bool, by: str | None) -> int:
    """Log that the log is taken out, and have that signed; return the size of the checkpoint that covers it."""
    what = entries.Circumstance(outcome="with-openings" if openings else "entries", by=by)
    entry = entries.about_own(exchange.journal, "export", exchange.clock(), what)
    index = await exchange.store.write(Record(entry=entry))
    await exchange.sign_log()
    signed = await exchange.log.checkpoint()
    if signed is None or signed.size <= index:
        raise LogInconsistentError("no checkpoint could be signed: safehand log verify says why")
    return signed.size
