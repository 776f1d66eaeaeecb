"""What the exchange log says of each act: builds entries for the flows. Pure, but for the entropy it is handed.

An entry holds field names, codes, digests and organisations, never a value, a person or a case (log.md A3). Who acted
goes in as a commitment whose opening is kept apart and can be erased.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, cast, get_args

from msgspec import UNSET, UnsetType, structs

from contracts.breach import Breach, BreachCode
from contracts.check import CheckedBody
from contracts.facts import FACTS
from contracts.service import BODIES
from contracts.vocabulary import Vocabulary
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
UNKNOWN_CODE: Final = "code.unknown"
_CODES: Final = frozenset(code.value for code in BreachCode)
_INDEX: Final = re.compile(r"\[[0-9]{1,5}\]")

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

    `by` (who acted) becomes a commitment; `tags` are the child's keyed search tags, kept beside the entry, which commits to their
    digest. `rows` are the
    deciding rows that the act changes: every such change is in an entry, as a commitment too (`core.deciding`). `erased`
    names what was erased, likewise. Conditions and legal bases are named in the agreement's own words: not (`names_terms`)
    where its partner alone wrote and signed those.
    """

    outcome: str | None = None
    role: str | None = None
    receipt: str | None = None
    breaches: tuple[BreachRef, ...] = ()
    checked: CheckedBody | None = None
    names_terms: bool = True
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
        "basis": checked.bases if checked and what.names_terms else (),
        "conditions": dict(checked.conditions) if checked and what.names_terms else {},
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


def refs_told(breaches: Iterable[tuple[str, str]], vocabulary: Vocabulary) -> tuple[BreachRef, ...]:
    """As `refs`, of what a partner wrote (code, path): of its words those alone that stand in our own tables too.

    A number in brackets goes (a few of them are a date of birth), and for a code or a place that nobody here knows stands
    that it was none.
    """
    said = tuple(breaches)
    places = _places(vocabulary) if said else frozenset()
    told = {(code if code in _CODES else UNKNOWN_CODE, _known_place(path, places)) for code, path in said}
    return tuple(BreachRef(code=code, path=path) for code, path in sorted(told)[:MOST_BREACHES])


def _known_place(path: str, places: frozenset[str]) -> str:
    generic = _INDEX.sub("[]", path)
    if generic in places:
        return generic
    above = generic.rpartition(".")[0]
    return f"{above}.?" if above and above in places else "?"


def _places(vocabulary: Vocabulary) -> frozenset[str]:
    """Every place that a breach can name: of a record, of a correction's values, of a service message, and each fact."""
    record = frozenset({"", *vocabulary.fields, *vocabulary.containers()})
    values = {f"values.{path}" for path in record if path}
    members = {member for body in BODIES.values() for member in body}
    items = {f"{path}[]" for path in (*record, *members) if path and not path.endswith("[]")}
    return record | values | members | items | FACTS.keys() | {"thread"}


def codes(names: Iterable[str]) -> tuple[BreachRef, ...]:
    """Return codes that belong to the whole message."""
    return tuple(BreachRef(code=name, path="") for name in sorted(set(names)))


def known_urgency(value: object) -> Urgency | None:
    """Return the urgency if it is one of the three codes, else None: what a partner wrote there is not repeated."""
    return cast(Urgency, value) if value in get_args(Urgency) else None


def _text(value: str | UnsetType) -> str | None:
    return None if isinstance(value, UnsetType) else value
