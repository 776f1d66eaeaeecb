"""What the exchange log says of each act: builds entries for the flows. Pure, but for the entropy it is handed.

An entry holds field names, codes, digests and organisations, never a value, a person or a case (log.md A3). Who acted
goes in as a commitment whose opening is kept apart and can be erased.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast, get_args

from msgspec import UNSET, UnsetType, structs

from contracts.breach import Breach, BreachCode
from contracts.check import CheckedBody
from gateway.core import deciding, tags
from gateway.core.commands import LogEntry, Opening
from gateway.tlog.entry import (
    NONCE_LENGTH,
    SALT_LENGTH,
    AgreementRef,
    BreachRef,
    Entry,
    commitment,
    encode,
    leaf_hash,
    nonce_text,
)

MOST_BREACHES = 100  # an entry has 32 KiB and a receipt 64 KB; who breaks a hundred rules need not hear of the rest
_NAME = r"(?:[a-z][a-z0-9_]{0,39}|\?[0-9]{0,5})(?:\[[0-9]{0,5}\])?"
_PATH = re.compile(rf"(?=.{{0,200}}\Z)(?:{_NAME}(?:\.{_NAME})*)?")  # as a breach names a place

Urgency = Literal["routine", "priority", "immediate_risk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """Whose log it is: organisation, log origin, and where nonces and salts come from."""

    org: str
    origin: str
    entropy: Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The message that an entry is about; digests in text form."""

    dir: Literal["in", "out"]
    msg: str | None
    partner: str | None
    type: str | None
    agreement: AgreementRef | None
    env: str | None
    jws: str | None
    thread: str | None
    urgency: Urgency | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstance:
    """What else an act says: its outcome (a code), the role of who acted, the digest of a receipt, the breaches found.

    `by` (who acted) becomes a commitment; `tags` are the child's keyed search tags, kept beside the entry, which
    commits to their digest. `rows` are the deciding rows that the act changes: every such change is in an entry, as a commitment too (`core.deciding`). `erased`
    names what was erased, likewise.
    """

    outcome: str | None = None
    role: str | None = None
    receipt: str | None = None
    breaches: tuple[BreachRef, ...] = ()
    checked: CheckedBody | None = None
    by: str | None = None
    tags: frozenset[bytes] = frozenset()
    rows: tuple[deciding.Change, ...] = ()
    erased: str | None = None


def about_message(journal: Journal, kind: str, now: datetime, about: About, what: Circumstance) -> LogEntry:
    """Return the entry of an act on one message."""
    return _make(
        journal,
        kind,
        now,
        what,
        Entry(
            v=1,
            kind=kind,
            at=microseconds(now),
            nonce=nonce_text(journal.entropy(NONCE_LENGTH)),
            agreement=about.agreement or UNSET,
            dir=about.dir,
            env=about.env or UNSET,
            jws=about.jws or UNSET,
            msg=about.msg or UNSET,
            partner=about.partner or UNSET,
            thread=about.thread or UNSET,
            type=about.type or UNSET,
            urgency=about.urgency or UNSET,
        ),
    )


def about_own(
    journal: Journal,
    kind: str,
    now: datetime,
    what: Circumstance,
    *,
    partner: str | None = None,
    agreement: AgreementRef | None = None,
    msg: str | None = None,
) -> LogEntry:
    """Return the entry of an act that is not about a message: keys, partners, agreements, protection, a search."""
    return _make(
        journal,
        kind,
        now,
        what,
        Entry(
            v=1,
            kind=kind,
            at=microseconds(now),
            nonce=nonce_text(journal.entropy(NONCE_LENGTH)),
            dir="own",
            msg=msg or UNSET,
            partner=partner or UNSET,
            agreement=agreement or UNSET,
        ),
    )


def microseconds(now: datetime) -> int:
    """Microseconds since 1970 of an aware datetime, without passing through a float."""
    return int(now.timestamp()) * 1_000_000 + now.microsecond


def _make(journal: Journal, kind: str, now: datetime, what: Circumstance, entry: Entry) -> LogEntry:
    checked = what.checked
    bound = {
        "by": what.by,
        deciding.ROWS: deciding.to_text(what.rows) if what.rows else None,
        "erased": what.erased,
        tags.SUBJECTS: tags.text_of(what.tags) if what.tags else None,
    }
    openings = tuple(
        Opening(field=name, salt=journal.entropy(SALT_LENGTH), value=text.encode())
        for name, text in bound.items()
        if text is not None
    )
    members = {
        "org": journal.org,
        "origin": journal.origin,
        "outcome": what.outcome,
        "role": what.role,
        "receipt": what.receipt,
        "breaches": what.breaches,
        "paths": checked.paths if checked else (),
        "basis": checked.bases if checked else (),
        "conditions": dict(checked.conditions) if checked else {},
        "commit": {o.field: commitment(o.salt, o.field, o.value.decode()) for o in openings},
    }
    entry = structs.replace(entry, **{name: value for name, value in members.items() if value})
    data = encode(entry)
    return LogEntry(
        kind=kind,
        at_us=entry.at,
        data=data,
        leaf=leaf_hash(data),
        message_id=_text(entry.msg),
        partner=_text(entry.partner),
        dir=_text(entry.dir),
        type=_text(entry.type),
        agreement=None if isinstance(entry.agreement, UnsetType) else entry.agreement.id,
        outcome=what.outcome,
        role=what.role,
        paths=checked.paths if checked else (),
        tags=what.tags,
        openings=openings,
    )


def refs(breaches: Iterable[Breach]) -> tuple[BreachRef, ...]:
    """Return breaches as an entry names them: code and path, without the rule, each once, the first hundred."""
    named = sorted({(str(b.code), _logged(b)) for b in breaches})
    return tuple(BreachRef(code=code, path=path) for code, path in named[:MOST_BREACHES])


def _logged(breach: Breach) -> str:
    """The path, without a last name that the vocabulary does not have: it could be anybody's, and an entry stays for ever."""
    if breach.code is not BreachCode.FIELD_UNKNOWN:
        return breach.path
    before, dot, name = breach.path.rpartition(".")
    return f"{before}{dot}{name if name.startswith('?') else '?'}"


def refs_told(breaches: Iterable[tuple[str, str]]) -> tuple[BreachRef, ...]:
    """As `refs`, of what a partner wrote (code, path): a path that is none is not repeated, it could be anything."""
    told = sorted({(code, path if _PATH.fullmatch(path) else "") for code, path in breaches})
    return tuple(BreachRef(code=code, path=path) for code, path in told[:MOST_BREACHES])


def codes(names: Iterable[str]) -> tuple[BreachRef, ...]:
    """Return codes that belong to the whole message."""
    return tuple(BreachRef(code=name, path="") for name in sorted(set(names)))


def known_urgency(value: object) -> Urgency | None:
    """Return the urgency if it is one of the three codes, else None: what a partner wrote there is not repeated."""
    return cast(Urgency, value) if value in get_args(Urgency) else None


def _text(value: str | UnsetType) -> str | None:
    return None if isinstance(value, UnsetType) else value
