"""Rows that decide, as the exchange log states them (log A6): which tables, which columns, and the digest of one row.

Pure. A mac says that we wrote a row; only the log says that the row still stands. So every change of such a row is part
of an entry: its `rows` commitment opens to a list of changes, each of which says how one row stands after the act. Said
again, a change changes nothing; replayed in the order of the log the changes give the rows that the tables must hold.

A table is registered once, in `TABLES`. What is not compared is named there too, with the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from contracts.document import canonical, read_wire
from contracts.errors import DocumentError
from gateway.core.commands import AgreementFile, EventRow
from gateway.core.errors import SafehandError
from gateway.core.halves import Half
from gateway.core.tokens import Token

ROWS: Final = "rows"  # the field of the commitment in an entry
_LIMIT: Final = 16 * 1024 * 1024  # bytes of one list of changes: 100,000 rows

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """A table whose rows decide. `compared` are the columns whose values are in the digest besides the key; `org` is the
    key column that names the organisation a row is about, where there is one. `few`: so few rows stand that all of them
    are kept in memory, and one that is not among them is refused whenever it is read, not only once it was compared."""

    key: tuple[str, ...]
    compared: tuple[str, ...]
    org: str | None = None
    few: bool = False


TABLES: Final[Mapping[str, Deciding]] = {
    # Everything else in the row follows from `canonical`, whose digest is the key; `toml` is for drafting and decides nothing.
    "agreement": Deciding(key=("digest",), compared=("canonical",)),
    "agreement_event": Deciding(key=("digest", "org", "n", "hash"), compared=("jws", "received_at"), org="org"),
    "bundle": Deciding(key=("org", "seq"), compared=("jws",), org="org"),
    # A half has a random key and is written once: whose it is (`by`, encrypted) cannot be that of an older row.
    "intention": Deciding(key=("id",), compared=("act", "stated_at"), few=True),
    # `fetched_at` moves each time the partner is asked, too often for a log; an old one put back only stops us sooner.
    "partner": Deciding(key=("org",), compared=("name", "root", "verified_by", "route", "duty_number"), org="org"),
    # That the row is there decides; when it was added does not.
    "protection": Deciding(key=("tag", "kind"), compared=()),
    "token": Deciding(
        key=("id",), compared=("name", "role", "scopes", "hash", "created_at", "expires_at", "revoked_at")
    ),
}
NOT_COMPARED: Final[Mapping[str, str]] = {
    "witness_state": "moves with every checkpoint of a partner, whose log the partner and we can compare",
    "log_entry": "the log itself: its mac is the append key's",
}


class RowsError(SafehandError):
    """A list of changes that is none, or a change of a deciding row that no entry states."""

    code = "rows.unlogged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one row stands after an act: `digest` of what it holds, or None where it is gone."""

    table: str
    key: Key
    digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A row that was found not to be ours, or not as the log says: what an entry may say of it. `cause` is a code."""

    table: str
    cause: str
    org: str | None
    message: str | None = None


def key_of(table: str, row: Mapping[str, Any]) -> Key:
    """The key of a row in the form of a change: texts and whole numbers; of bytes (a child's tag) the digest alone."""
    return tuple(_plain(row[name]) for name in TABLES[table].key)


def digest_of(table: str, row: Mapping[str, Any]) -> str:
    """The digest of what is compared of a row: table, key and columns in canonical JSON, without those that are null."""
    held = {name: _plain(row[name]) for name in TABLES[table].compared if row[name] is not None}
    said = canonical({"k": list(key_of(table, row)), "r": held, "t": str(table)})
    return digest_of_bytes(said)


def put(table: str, **row: Any) -> Change:
    """The change that leaves this row; `row` names the key and every compared column."""
    return Change(table=table, key=key_of(table, row), digest=digest_of(table, row))


def gone(table: str, **key: Any) -> Change:
    """The change that leaves no row of this key."""
    return Change(table=table, key=key_of(table, key), digest=None)


def to_text(changes: Iterable[Change]) -> str:
    """What the commitment binds: canonical JSON, each row once, in the order of table and key."""
    listed = sorted(set(changes), key=lambda change: (change.table, [(str(type(k)), k) for k in change.key]))
    return canonical(
        [{"t": c.table, "k": list(c.key)} | ({} if c.digest is None else {"d": c.digest}) for c in listed]
    ).decode()


def from_text(text: str) -> tuple[Change, ...]:
    """Return the changes of a list that `to_text` wrote. Raises RowsError."""
    try:
        listed = read_wire(text.encode(), limit=_LIMIT)
        changes = tuple(Change(table=c["t"], key=tuple(c["k"]), digest=c.get("d")) for c in listed)
    except (DocumentError, KeyError, TypeError, AttributeError):
        raise RowsError("not a list of changes") from None
    if to_text(changes) != text:
        raise RowsError("not a list of changes in its one form")
    return changes


# --- the rows of each act


def of_partner(
    *, org: str, name: str, root: str, verified_by: tuple[str, ...], route: str, duty_number: str
) -> tuple[Change, ...]:
    """A partner's row as `PutPartner` leaves it."""
    names = people(verified_by)
    return (put("partner", org=org, name=name, root=root, verified_by=names, route=route, duty_number=duty_number),)


def people(names: tuple[str, ...]) -> str:
    """The column `partner.verified_by`."""
    return json.dumps(names)


def of_bundle(*, org: str, seq: int, jws: bytes) -> tuple[Change, ...]:
    """A bundle's row as `AddBundle` leaves it."""
    return (put("bundle", org=org, seq=seq, jws=jws),)


def of_event(file: AgreementFile | None, event: EventRow) -> tuple[Change, ...]:
    """The rows of an event, and of its agreement where that is new, as `RecordEvent` leaves them."""
    files = () if file is None else (put("agreement", digest=file.digest, canonical=file.canonical),)
    row = put(
        "agreement_event",
        digest=event.digest,
        org=event.org,
        n=event.n,
        hash=event.hash,
        jws=event.jws,
        received_at=event.received_at,
    )
    return (*files, row)


def of_protection(tags: Iterable[bytes], kinds: Iterable[str], *, add: bool) -> tuple[Change, ...]:
    """Every tag under every kind, listed or taken off: those too that stood so before."""
    change = put if add else gone
    named = sorted(kinds)
    return tuple(change("protection", tag=tag, kind=kind) for tag in sorted(tags) for kind in named)


def of_halves(kept: Half | None, used: Iterable[str]) -> tuple[Change, ...]:
    """The halves of acts as `KeepHalves` leaves them: one that waits from now on, and those that do no more."""
    stated = () if kept is None else (put("intention", id=kept.id, act=kept.act, stated_at=kept.stated_at),)
    return (*stated, *(gone("intention", id=one) for one in sorted(used)))


def of_token(token: Token) -> tuple[Change, ...]:
    """A token's row as `CreateToken` and `RevokeToken` leave it."""
    row = put(
        "token",
        id=token.id,
        name=token.name,
        role=token.role,
        scopes=" ".join(sorted(token.scopes)),
        hash=token.digest,
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
    )
    return (row,)


# --- what the log says, replayed


@dataclass(slots=True)
class Standing:
    """The rows that must be there, by the changes replayed so far; `seen` takes those away that the tables hold."""

    rows: dict[tuple[str, Key], str] = field(default_factory=dict)

    def replay(self, changes: Iterable[Change]) -> None:
        """Take in the changes of one entry; in the order of the log."""
        for change in changes:
            if change.digest is None:
                self.rows.pop((change.table, change.key), None)
            else:
                self.rows[change.table, change.key] = change.digest


def digest_of_bytes(data: bytes) -> str:
    """How bytes stand in a change: no tag of a child lies in an opening, not even encrypted."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _plain(value: Any) -> Any:
    return digest_of_bytes(value) if isinstance(value, bytes) else value
