"""The receipts of an export: signed by whom they say, for what they say, and bound to entries that are there.

A receipt given is held to the entry of this log that stands in it. A receipt received stands beside the entry that names
its digest; the entry inside it is its issuer's, whose log is not here. Bytes of messages are not here either: digests are
compared with digests.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from msgspec import UNSET

from gateway.core.errors import ReceiptRejectedError
from gateway.core.receipt import ENTRY_KINDS, RECEIPT_LIMIT, ClaimedReceipt, LogBinding, read_receipt
from gateway.evidence.files import RECEIPTS, EvidenceError, ExportFolder, read_capped
from gateway.evidence.organisations import Organisations
from gateway.tlog.blocks import Digest
from gateway.tlog.entry import Entry, leaf_hash, parse
from gateway.tlog.errors import EntryError
from gateway.tlog.fsck import Problem
from keys.bundle import KeyBundle
from keys.errors import KeysError
from keys.listed import ListedPair
from keys.statement import verify_statement
from keys.suite import RECEIPT_TYPE

_NAME: Final = re.compile(r"([0-9a-f]{64})\.jws")
_SECOND: Final = 1_000_000  # microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldReceipt:
    """What is kept of a receipt whose signatures hold, until the entries were read; `revoked_from` of its keys, if ever."""

    name: str
    issuer: str
    msg: str
    env: str
    jws: str
    at: int
    revoked_from: int | None


@dataclass(slots=True)
class ReceiptCheck:
    """Receipts on one side, entries on the other, as they are read; `end` compares."""

    own: str
    origin: str
    organisations: Organisations
    given: dict[bytes, HeldReceipt] = field(default_factory=dict)  # by the leaf hash of the entry inside
    received: dict[str, HeldReceipt] = field(default_factory=dict)  # by digest
    elsewhere: int = 0  # bound to another log of ours, or to no log of ours
    entered: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # leaf of a given one -> index, at
    named: dict[str, list[tuple[int, Entry]]] = field(default_factory=dict)  # digest of a received one -> entries

    def see(self, index: int, entry: Entry, leaf: bytes) -> None:
        """Note what an entry says of a receipt."""
        if leaf in self.given:
            self.entered[leaf] = index, entry.at
        if entry.receipt is not UNSET and entry.receipt in self.received:
            self.named.setdefault(entry.receipt, []).append((index, entry))

    def pick(self, digest: Digest) -> Iterator[int]:
        """Which entries of a block say something of a receipt, as how far they stand behind the first."""
        yield from (offset for offset, named in digest.receipts.items() if named in self.received)
        if self.given:
            for offset in range(digest.length):
                if digest.leaf(offset) in self.given:
                    yield offset

    def read(self, folder: ExportFolder, problems: list[Problem]) -> None:
        """Read the export's own receipts."""
        for name in folder.names(RECEIPTS):
            column = f"{RECEIPTS}/{name}"
            try:
                data = folder.read(column, RECEIPT_LIMIT)
                _check_name(name, data)
                self._hold(column, data)
            except (EvidenceError, ReceiptRejectedError, OSError) as error:
                problems.append(Problem(index=-1, column=column, rule=str(error)))

    def read_others(self, folder: Path, problems: list[Problem]) -> int:
        """Read receipts of ours that somebody else kept; return how many there were. What is not ours is passed over."""
        count = 0
        for path in sorted(folder.glob("*.jws")):
            try:
                data = read_capped(path, RECEIPT_LIMIT)
                if read_receipt(data).payload.from_ == self.own:
                    self._hold(path.name, data)
                    count += 1
            except (EvidenceError, ReceiptRejectedError, OSError) as error:
                problems.append(Problem(index=-1, column=path.name, rule=str(error)))
        return count

    def _hold(self, column: str, data: bytes) -> None:
        claimed = read_receipt(data)
        payload = claimed.payload
        if self.own not in (payload.from_, payload.to) or payload.from_ == payload.to:
            raise EvidenceError("neither given nor received by this organisation")
        bundle, pair = self._signers(claimed)
        try:
            verify_statement(claimed.statement, RECEIPT_TYPE, pair.public.publics)
        except KeysError as error:
            raise EvidenceError(error.rule) from None
        if not pair.valid_at(payload.at):
            raise EvidenceError("signed outside the time of its keys")
        origin = _check_binding(claimed)
        if origin not in self.organisations.log_origins(payload.from_):
            raise EvidenceError("bound to no log of its issuer")
        held = HeldReceipt(
            name=column,
            issuer=payload.from_,
            msg=payload.msg,
            env=payload.env,
            jws=payload.jws,
            at=payload.at,
            revoked_from=min((revoked.since for revoked in bundle.revoked if revoked.kid in pair.kids), default=None),
        )
        if payload.from_ != self.own:
            self.received[f"sha256:{hashlib.sha256(data).hexdigest()}"] = held
        elif origin == self.origin:
            self.given[leaf_hash(claimed.entry)] = held
        else:
            self.elsewhere += 1

    def _signers(self, claimed: ClaimedReceipt) -> tuple[KeyBundle, ListedPair]:
        """The newest bundle of the issuer, and its pair as the newest bundle that still has it lists it."""
        history = self.organisations.histories.get(claimed.payload.from_, ())
        for bundle in reversed(history):
            pair = bundle.message_sign_pair_for(claimed.payload.sig)
            if pair is not None:
                return history[-1], pair
        raise EvidenceError("no bundle of its issuer has the keys it names")

    def end(self, problems: list[Problem]) -> None:
        """Compare, once every entry was seen."""
        problems += self._given()
        problems += self._received()

    def _given(self) -> Iterator[Problem]:
        for leaf, held in self.given.items():
            if leaf not in self.entered:
                yield Problem(index=-1, column=held.name, rule=f"message {held.msg}: its entry is not in the log")
                continue
            index, at = self.entered[leaf]
            yield from _revoked(held, index, max(held.at, at // _SECOND))

    def _received(self) -> Iterator[Problem]:
        for digest, held in self.received.items():
            for index, entry in self.named.get(digest, []):
                if (entry.msg, entry.env, entry.jws, entry.partner) != (held.msg, held.env, held.jws, held.issuer):
                    yield Problem(
                        index=index, column=held.name, rule="the entry names it for another message or partner"
                    )
                yield from _revoked(held, index, max(held.at, entry.at // _SECOND))

    @property
    def unnamed(self) -> int:
        """Received ones that no entry names: kept as evidence although nothing changed by them any more."""
        return sum(digest not in self.named for digest in self.received)


def _revoked(held: HeldReceipt, index: int, at: int) -> Iterator[Problem]:
    if held.revoked_from is not None and at >= held.revoked_from:
        yield Problem(index=index, column=held.name, rule="its keys were revoked before it was logged")


def _check_name(name: str, data: bytes) -> None:
    match = _NAME.fullmatch(name)
    if match is None or hashlib.sha256(data).hexdigest() != match[1]:
        raise EvidenceError("not named by the SHA-256 of its bytes")


def _check_binding(claimed: ClaimedReceipt) -> str:
    """Return the log it is bound to; the entry inside speaks of the same act on the same bytes. Raises EvidenceError."""
    payload = claimed.payload
    origin = payload.log.origin if isinstance(payload.log, LogBinding) else ""
    try:
        entry = parse(claimed.entry)
    except EntryError:
        raise EvidenceError("its log entry is not in canonical form") from None
    expected = (ENTRY_KINDS[payload.event], payload.msg, payload.env, payload.jws)
    if (entry.kind, entry.msg, entry.env, entry.jws) != expected:
        raise EvidenceError("its log entry names another kind, message or digest")
    if entry.org not in (UNSET, payload.from_) or entry.origin not in (UNSET, origin):
        raise EvidenceError("its log entry names another organisation or log")
    return origin
