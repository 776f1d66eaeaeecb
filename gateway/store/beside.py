"""What stands beside the log in a live database, held against the entries (log A2, A3): openings, search tags, receipts.

An entry says what belongs to it: a commitment has its opening, or an `erased` entry says why not; the search tags are those
that it commits to; the receipts that it names, or was answered with, are kept. So what was taken away, put in or moved is
found at the entry that it belongs to. In constant memory, but for the places that were erased.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import Connection, Select, and_, case, select

from gateway.core import erasure
from gateway.core.deciding import ROWS
from gateway.core.errors import ReceiptRejectedError
from gateway.core.lifecycle import ReceiptEvent
from gateway.core.receipt import read_receipt
from gateway.core.tags import SUBJECTS, text_of
from gateway.store import owed
from gateway.store.cells import as_blob, as_number, as_text
from gateway.store.log import SALT, VALUE
from gateway.store.schema import inbox, log_detail, log_entry, log_subject, outgoing, receipt_in
from gateway.store.vault import Vault, VaultError
from gateway.tlog.entry import Entry, commitment_opens, leaf_hash, parse_shape
from gateway.tlog.errors import EntryError
from gateway.tlog.fsck import Problem

PAGE: Final = 1_000  # rows held at a time
_COMMITS: Final = b'"commit":{'  # in the canonical bytes of every entry with a commitment
_NAMES_RECEIPT: Final = ("delivered", "taken", "collected", "rejected")
_ANSWERED: Final = ("received", "refused-inbound")
_ACKNOWLEDGED: Final[Mapping[str, ReceiptEvent]] = {
    "handed-over": ReceiptEvent.TAKEN,
    "collected": ReceiptEvent.COLLECTED,
}


def stream(connection: Connection, statement: Select[Any]) -> Iterator[Any]:
    """The rows of a statement, so many held at a time."""
    yield from connection.execute(statement.execution_options(yield_per=PAGE))


# --- openings and search tags


def check_openings(connection: Connection, vault: Vault) -> Iterator[Problem]:
    """Every commitment has its opening, or was erased; every entry has the search tags that it commits to, and no others.

    Logs are older than the commitment to tags: they count from the first entry that has it.
    """
    erased = _erased(connection, vault)
    details = _Beside(stream(connection, select(log_detail).order_by(log_detail.c.entry_idx, log_detail.c.field)))
    tags = _Beside(stream(connection, select(log_subject).order_by(log_subject.c.entry_idx, log_subject.c.tag)))
    bound = False
    for row in stream(connection, select(log_entry.c.idx, log_entry.c.entry).order_by(log_entry.c.idx)):
        index, data = as_number(row.idx), as_blob(row.entry)
        yield from _strays(details.before(index), tags.before(index))
        opened = {as_text(detail.field): _open(vault, detail) for detail in details.at(index)}
        tagged = [as_blob(tag.tag) for tag in tags.at(index)]
        if _COMMITS not in data and not opened and not (tagged and bound):
            continue
        entry = _read(data)
        if entry is None:
            yield from (_foreign(index, name) for name in opened)
            continue
        bound = bound or SUBJECTS in (entry.commit or {})
        yield from _check_openings(index, entry, opened, erased)
        if bound:
            yield from _check_tags(index, entry, opened.get(SUBJECTS), tagged, erased)
    yield from _strays(details.rest(), tags.rest())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """An opening as it decrypts: its salt and the text it holds."""

    salt: bytes = field(repr=False)
    text: str = field(repr=False)

    def opens(self, name: str, commitment: str) -> bool:
        try:
            return commitment_opens(commitment, self.salt, name, self.text)
        except EntryError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Erased:
    """What `erased` entries name: entries by index, messages with the place of the last erasure of each."""

    indexes: frozenset[int]
    messages: Mapping[str, int]

    def explains(self, index: int, entry: Entry) -> bool:
        if index in self.indexes:
            return True
        return entry.msg is not UNSET and index < self.messages.get(entry.msg, -1)


class _Beside:
    """Rows ordered by the entry they belong to, taken one entry after the other; SQLite sorts what is no number last."""

    def __init__(self, rows: Iterator[Any]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def before(self, index: int) -> list[Any]:
        """Those that belong to entries before this one, not taken yet."""
        return self._take(lambda row: isinstance(row.entry_idx, int) and row.entry_idx < index)

    def at(self, index: int) -> list[Any]:
        """Those of this entry."""
        return self._take(lambda row: bool(row.entry_idx == index))

    def rest(self) -> list[Any]:
        """All others."""
        return self._take(lambda _: True)

    def _take(self, wanted: Callable[[Any], bool]) -> list[Any]:
        taken = []
        while self._next is not None and wanted(self._next):
            taken.append(self._next)
            self._next = next(self._rows, None)
        return taken


def _erased(connection: Connection, vault: Vault) -> _Erased:
    """Read ahead: an erasure stands after what it erased."""
    indexes, messages = set[int](), dict[str, int]()
    mine = (log_detail.c.entry_idx == log_entry.c.idx) & (log_detail.c.field == erasure.ERASED)
    found = select(log_entry.c.idx, log_entry.c.entry, log_detail).outerjoin(log_detail, mine)
    for row in stream(connection, found.where(log_entry.c.kind == erasure.ERASED).order_by(log_entry.c.idx)):
        entry = _read(as_blob(row.entry))
        if entry is None or entry.commit is UNSET or erasure.ERASED not in entry.commit:
            continue
        opened = None if row.entry_idx is None else _open(vault, row)
        if opened is not None and opened.opens(erasure.ERASED, entry.commit[erasure.ERASED]):
            match erasure.named(opened.text):
                case erasure.AtEntry(index=index):
                    indexes |= {index} if index < row.idx else set()
                case erasure.OfMessage(message_id=message_id):
                    messages[message_id] = row.idx
                case None:
                    pass
        elif entry.msg is not UNSET:  # openings of `erased` were not always kept; the entry itself names the message
            messages[entry.msg] = row.idx
    return _Erased(indexes=frozenset(indexes), messages=messages)


def _open(vault: Vault, row: Any) -> _Opened | None:
    try:
        salt = vault.open_detail(row.entry_idx, row.field, SALT, as_blob(row.salt))
        return _Opened(salt=salt, text=vault.open_detail(row.entry_idx, row.field, VALUE, as_blob(row.value)).decode())
    except (VaultError, UnicodeDecodeError):
        return None


def _read(data: bytes) -> Entry | None:
    """The entry of these bytes; what is none is named where entries are checked."""
    try:
        return parse_shape(data)
    except EntryError:
        return None


def _check_openings(
    index: int, entry: Entry, opened: Mapping[str, _Opened | None], erased: _Erased
) -> Iterator[Problem]:
    commitments = entry.commit or {}
    for name, opening in opened.items():
        if opening is None or not opening.opens(name, commitments.get(name, "")):
            yield _foreign(index, name)
    explained = erased.explains(index, entry)
    for name in sorted(commitments.keys() - opened.keys()):
        kept = name == ROWS or (name == erasure.ERASED and entry.msg is UNSET)
        if kept or not explained:
            yield Problem(index=index, column=f"log_detail.{name}", rule="the opening is gone, and was not erased")


def _check_tags(
    index: int, entry: Entry, opened: _Opened | None, tagged: Sequence[bytes], erased: _Erased
) -> Iterator[Problem]:
    committed = SUBJECTS in (entry.commit or {})
    if committed and opened is None and not erased.explains(index, entry):
        return  # told already: without its opening nobody can say which tags there were
    if text_of(tagged) != opened.text if opened is not None else tagged:
        yield Problem(index=index, column="log_subject.tag", rule="not the search tags that were written")


def _foreign(index: int, name: str) -> Problem:
    return Problem(index=index, column=f"log_detail.{name}", rule="does not open the entry's commitment")


def _strays(details: Sequence[Any], tags: Sequence[Any]) -> Iterator[Problem]:
    for column, rows in (("log_detail.entry_idx", details), ("log_subject.entry_idx", tags)):
        for row in rows:
            yield Problem(index=as_number(row.entry_idx), column=column, rule="belongs to no entry")


# --- receipts


def check_receipts(connection: Connection, own: str) -> Iterator[Problem]:
    """Each receipt that this organisation gave is whole, its entry in the log; each that an entry speaks of is kept."""
    given = select(inbox.c.sender, inbox.c.message_id, inbox.c.envelope_digest, inbox.c.receipt, inbox.c.receipt_digest)
    for row in stream(connection, given.where(inbox.c.receipt.is_not(None))):
        receipt = as_blob(row.receipt)
        if f"sha256:{hashlib.sha256(receipt).hexdigest()}" != row.receipt_digest:
            yield _receipt_problem("inbox.receipt_digest", row.message_id, "not the digest of the receipt")
        yield from _check_receipt(connection, "inbox.receipt", receipt, row.message_id, row.envelope_digest)
    later = select(outgoing.c.ref, outgoing.c.bytes).where(outgoing.c.kind == owed.RECEIPT)
    for row in stream(connection, later):
        yield from _check_receipt(
            connection, "outgoing.bytes", as_blob(row.bytes), as_text(row.ref).partition("/")[0], None
        )
    yield from _check_given(connection)
    yield from _check_came(connection, own)


def _check_receipt(
    connection: Connection, column: str, receipt: bytes, message_id: str, env: str | None
) -> Iterator[Problem]:
    try:
        claimed = read_receipt(receipt)
    except ReceiptRejectedError as error:
        yield _receipt_problem(column, message_id, error.cause)
        return
    if claimed.payload.msg != message_id or env not in (None, claimed.payload.env):
        yield _receipt_problem(column, message_id, "a receipt for other bytes")
    leaf = leaf_hash(claimed.entry)
    if connection.execute(select(log_entry.c.idx).where(log_entry.c.leaf_hash == leaf)).first() is None:
        yield _receipt_problem(column, message_id, "its entry is not in the log")


def _check_given(connection: Connection) -> Iterator[Problem]:
    """The receipts that answered messages, and those that followed, one for each event. Nothing removes them."""
    answer = and_(inbox.c.sender == log_entry.c.partner, inbox.c.message_id == log_entry.c.message_id)
    answered = select(log_entry.c.idx).outerjoin(inbox, answer).where(inbox.c.receipt.is_(None))
    for row in stream(connection, answered.where(log_entry.c.kind.in_(_ANSWERED)).order_by(log_entry.c.idx)):
        yield Problem(index=row.idx, column="inbox.receipt", rule="the receipt that answered it is gone")
    event = case(*((log_entry.c.kind == kind, owed.receipt_ref("", event)) for kind, event in _ACKNOWLEDGED.items()))
    named = outgoing.c.ref == log_entry.c.message_id + event
    later = and_(outgoing.c.partner == log_entry.c.partner, outgoing.c.kind == owed.RECEIPT, named)
    followed = select(log_entry.c.idx).outerjoin(outgoing, later).where(outgoing.c.id.is_(None))
    inbound = (log_entry.c.kind.in_(_ACKNOWLEDGED)) & (log_entry.c.dir == "in")
    for row in stream(connection, followed.where(inbound).order_by(log_entry.c.idx)):
        yield Problem(index=row.idx, column="outgoing.bytes", rule="the receipt that followed it is gone")


def _check_came(connection: Connection, own: str) -> Iterator[Problem]:
    """Each entry that a partner's receipt led to names it; that receipt is kept. Nothing removes it."""
    of_message = and_(receipt_in.c.sender == own, receipt_in.c.message_id == log_entry.c.message_id)
    came = select(log_entry.c.idx, log_entry.c.entry, receipt_in.c.bytes).outerjoin(receipt_in, of_message)
    outbound = log_entry.c.kind.in_(_NAMES_RECEIPT) & (log_entry.c.dir == "out")
    for index, rows in groupby(
        stream(connection, came.where(outbound).order_by(log_entry.c.idx)), key=lambda row: row.idx
    ):
        held = list(rows)
        entry = _read(as_blob(held[0].entry))
        kept = {f"sha256:{hashlib.sha256(as_blob(row.bytes)).hexdigest()}" for row in held}
        if entry is not None and entry.receipt is not UNSET and entry.receipt not in kept:
            yield Problem(index=index, column="receipt_in.bytes", rule="the receipt that it names is gone")


def _receipt_problem(column: str, message_id: str, rule: str) -> Problem:
    return Problem(index=-1, column=column, rule=f"message {message_id}: {rule}")
