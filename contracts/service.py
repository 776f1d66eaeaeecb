"""Service messages: eight fixed bodies that need no grant, travel under every signed agreement, and hold no free text.

Pure. The bodies are data (`BODIES`): whoever can read the table can build them. What a body names (a message, a thread)
is looked up by the flows, which know what was exchanged; here its form is checked, the same at both ends, and every breach
is named at once without any value. A value of a record travels in one place only: in `values` of a correction, where the
type of the corrected message grants the path now (agreements section 2, "Service messages").

Where the design is silent, this module decides:
- `values` is a part of a body, nested as the body is: a list of objects stands whole, as it should have been;
- every path in `values` is named in `paths`; a path without a value says only that what was sent there is wrong;
- a day that something happened on is not after the day the message was made, a day to do something by not before it;
- `reason` of an acknowledgement is there exactly where something was not done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Any, Final, Literal

from contracts.breach import Breach, BreachCode, ContractBreachError
from contracts.check import Part, ProtectedKind, check_part, sound_facts
from contracts.checked import PROOF, CheckedBody
from contracts.compiled import CompiledAgreement, facts_named
from contracts.document import write_wire
from contracts.facts import URGENCY
from contracts.field_types import is_date
from contracts.names import SERVICE_TYPES, MessageType, Party, is_safe_key
from contracts.vocabulary import Vocabulary

QUESTION: Final = "exchange.question"
WITHDRAWAL: Final = "exchange.withdrawal"
CORRECTION: Final = "exchange.correction"
ACK: Final = "exchange.ack"
RIGHTS: Final = "rights.notice"
CLOSED: Final = "case.closed"
BREACH: Final = "breach.notice"
DESTROYED: Final = "destruction.receipt"

MOST_MESSAGES: Final = 100  # that one destruction receipt names
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")  # a message id: UUIDv7

Kind = Literal["message-id", "message-ids", "past-day", "day-ahead", "yes-no", "code", "paths", "values"]

_LABELS: Final[Mapping[Kind, str]] = {
    "message-id": "message id",
    "message-ids": f"list of 1 to {MOST_MESSAGES} different message ids",
    "past-day": "day that is not after the day the message was made",
    "day-ahead": "day that is not before the day the message was made",
    "yes-no": "yes or no",
    "code": "code of this member",
    "paths": "list of different field paths of the vocabulary, one at least",
    "values": "part of a body",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What one member of a fixed body may be; `codes` with kind `code`."""

    kind: Kind
    codes: tuple[str, ...] = ()
    needed: bool = True


def _code(*codes: str, needed: bool = True) -> Form:
    return Form(kind="code", codes=codes, needed=needed)


_MESSAGE, _PATHS, _PAST = Form(kind="message-id"), Form(kind="paths"), Form(kind="past-day")

BODIES: Final[Mapping[str, Mapping[str, Form]]] = MappingProxyType(
    {
        QUESTION: {"message": _MESSAGE, "paths": _PATHS, "reason": _code("missing", "unclear", "mismatch")},
        WITHDRAWAL: {
            "message": _MESSAGE,
            "reason": _code("wrong-recipient", "wrong-child", "in-error", "child-found"),
        },
        CORRECTION: {"message": _MESSAGE, "paths": _PATHS, "values": Form(kind="values")},
        ACK: {
            "message": _MESSAGE,
            "done": Form(kind="yes-no"),
            "reason": _code(
                "not-held", "already-done", "duty-to-keep", "legal-hold", "disputed", "exempt", "cannot-say",
                needed=False,
            ),
            "on": _PAST,
        },
        RIGHTS: {
            "message": _MESSAGE,
            "right": _code("rectify", "erase", "restrict"),
            "paths": _PATHS,
            "by": Form(kind="day-ahead"),
        },
        CLOSED: {
            "on": _PAST,
            "status": _code(
                "located", "in-education", "ehe", "left-uk", "closed-other-la", "closed-over-age", "child-died",
                "withdrawn",
            ),
        },
        BREACH: {
            "message": _MESSAGE,
            "found_on": _PAST,
            "kind": _code(
                "wrong-recipient", "wrong-child", "beyond-agreement", "unauthorised-access", "lost", "stolen", "altered",
                "published", "other",
            ),
            "paths": _PATHS,
        },
        DESTROYED: {
            "messages": Form(kind="message-ids"),
            "on": _PAST,
            "how": _code("keys-destroyed", "deleted", "anonymised", "returned"),
        },
    }
)  # fmt: skip
"""Every service message: its members in the order in which we write them, and what each may be."""

if BODIES.keys() != SERVICE_TYPES:
    raise AssertionError("a service type without a body, or a body without a type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The message that a correction corrects, as this end holds it: its type, its body (empty where that was destroyed), and
    the paths that the request it answers asked for (None: none is held)."""

    type: str
    body: Mapping[str, Any] = field(repr=False)
    requested: frozenset[str] | None


def check_service(
    body: Any,
    *,
    type: str,  # noqa: A002 - the wire's own word
    compiled: CompiledAgreement,
    sender: Party,
    facts: Mapping[str, object],
    issued: date,
    on: date,
    in_force: bool,
    original: Original | None,
    protected: frozenset[ProtectedKind],
    sending: bool,
) -> CheckedBody:
    """Return the body of a service message as checked, or raise ContractBreachError with every breach at once.

    `issued` is the civil day in London of the message's `iat`; `on` the same, but at hand-over the day of now. `original` is
    the message that a correction names, None for every other type. `in_force`, `protected`, `sending`: as for `check`, of
    the agreement of the thread; they matter to a correction's values alone.
    """
    forms = BODIES.get(type)
    if forms is None:
        raise ContractBreachError((Breach(BreachCode.MESSAGE_NOT_IN_AGREEMENT, "", "not a service message"),))
    breaches = _shape(body, forms, issued, compiled.vocabulary)
    if original is not None and _has_values(body):
        values, stated_as = body["values"], facts_named(compiled, original.type, sender) or frozenset({URGENCY})
        if in_force:
            part = _values(values, original, compiled, sender, facts, on, protected, sending=sending)
            breaches += part.breaches + _unnamed(body, part)
        else:
            part = _facts_alone(stated_as, facts)
            rule = "no value travels while the agreement is not in force"
            breaches += (*part.breaches, Breach(BreachCode.AGREEMENT_NOT_IN_FORCE, "", rule))
    else:
        part = _facts_alone(frozenset({URGENCY}), facts)
        breaches += part.breaches
    if breaches:
        raise ContractBreachError(tuple(dict.fromkeys(breaches)))
    agreement = compiled.agreement
    return CheckedBody(
        wire=write_wire(body),
        type=MessageType(type),
        sender=sender,
        agreement_id=agreement.id,
        agreement_version=agreement.version,
        agreement_digest=agreement.digest,
        paths=part.paths,
        conditions=part.conditions,
        bases=part.bases,
        facts=part.facts,
        proof=PROOF,
    )


def named_in(body: Any, type: str) -> tuple[str, ...] | None:  # noqa: A002 - the wire's own word
    """Return the ids of the messages that a body of this type names, none for a type that names none; None where what
    stands there is no id: then there is nothing to look up, and `check_shape` says what is wrong."""
    forms = BODIES[type]
    if not isinstance(body, dict):
        return None
    if "messages" in forms:
        listed: Any = body.get("messages")
        return tuple(listed) if _all_different(listed, MOST_MESSAGES) and all(map(_is_id, listed)) else None
    if "message" in forms:
        return (body["message"],) if _is_id(body.get("message")) else None
    return ()


def check_shape(body: Any, *, type: str, issued: date, vocabulary: Vocabulary) -> None:  # noqa: A002 - as above
    """Raise ContractBreachError for a body that is not of its fixed form; the part of `check_service` that needs no lookup."""
    breaches = _shape(body, BODIES[type], issued, vocabulary)
    if breaches:
        raise ContractBreachError(breaches)


def overlay(whole: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with the values of a correction in their places; a list stands whole. Neither argument is changed."""
    merged = dict(whole)
    for name, value in part.items():
        held = merged.get(name)
        both = isinstance(held, Mapping) and isinstance(value, Mapping)
        merged[name] = overlay(held, value) if both and isinstance(held, Mapping) else value
    return merged


def carries_values(body: Mapping[str, Any]) -> bool:
    """Whether a body that passed the check carries values of a record: then its agreement must be in force."""
    return bool(body.get("values"))


def _has_values(body: Any) -> bool:
    values = body.get("values") if isinstance(body, dict) else None
    return isinstance(values, dict) and bool(values)


def _shape(body: Any, forms: Mapping[str, Form], issued: date, vocabulary: Vocabulary) -> tuple[Breach, ...]:
    """Every breach of the fixed body itself, in the order of what is there, then of what is missing."""
    found: list[Breach] = []
    members = body if isinstance(body, dict) else {}
    if not isinstance(body, dict):
        found.append(Breach(BreachCode.FIELD_TYPE, "", "an object was expected here"))
    for position, (name, value) in enumerate(members.items(), start=1):
        form = forms.get(name)
        if form is None:
            shown = name if is_safe_key(name) else f"?{position}"
            found.append(Breach(BreachCode.FIELD_UNKNOWN, shown, "not a member of this message"))
        elif form.kind == "values" and not isinstance(value, dict):
            found.append(Breach(BreachCode.FIELD_TYPE, name, "an object was expected here"))
        elif not _accepts(form, value, issued, vocabulary):
            found.append(Breach(BreachCode.FIELD_VALUE, name, f"not a {_LABELS[form.kind]}"))
    needed = [name for name, form in forms.items() if form.needed]
    if members.get("done") is False:
        needed.append("reason")
    elif members.get("done") is True and "reason" in members:
        found.append(Breach(BreachCode.FIELD_NOT_ALLOWED, "reason", "only where it was not done"))
    found += [Breach(BreachCode.FIELD_MISSING, name, "required") for name in needed if name not in members]
    return tuple(found)


def _accepts(form: Form, value: Any, issued: date, vocabulary: Vocabulary) -> bool:
    match form.kind:
        case "message-id":
            return _is_id(value)
        case "message-ids":
            return _all_different(value, MOST_MESSAGES) and all(map(_is_id, value))
        case "past-day":
            return is_date(value) and date.fromisoformat(value) <= issued
        case "day-ahead":
            return is_date(value) and date.fromisoformat(value) >= issued
        case "yes-no":
            return type(value) is bool
        case "code":
            return type(value) is str and value in form.codes
        case "paths":
            return _all_different(value, len(vocabulary.fields)) and vocabulary.fields.keys() >= set(value)
        case "values":
            return True  # judged against the grants, not here


def _is_id(value: Any) -> bool:
    return type(value) is str and _ID.fullmatch(value) is not None


def _all_different(value: Any, most: int) -> bool:
    """Whether it is a list of 1 to `most` texts, none of them twice."""
    return (
        type(value) is list
        and 1 <= len(value) <= most
        and all(type(item) is str for item in value)
        and len(set(value)) == len(value)
    )


def _values(
    values: dict[str, Any],
    original: Original,
    compiled: CompiledAgreement,
    sender: Party,
    facts: Mapping[str, object],
    on: date,
    protected: frozenset[ProtectedKind],
    *,
    sending: bool,
) -> Part:
    """What the grants of the corrected message's type say of the values, each breach below `values`."""
    part = check_part(
        values,
        whole=overlay(original.body, values),
        compiled=compiled,
        type=original.type,
        sender=sender,
        facts=facts,
        on=on,
        requested=original.requested,
        protected=protected,
        sending=sending,
    )
    placed = tuple(
        Breach(b.code, f"values.{b.path}", b.rule) if b.code.startswith("field.") else b for b in part.breaches
    )
    return Part(breaches=placed, paths=part.paths, conditions=part.conditions, bases=part.bases, facts=part.facts)


def _unnamed(body: Mapping[str, Any], part: Part) -> tuple[Breach, ...]:
    paths = body.get("paths")
    named = set(filter(lambda path: isinstance(path, str), paths)) if isinstance(paths, list) else set()
    rule = "not among the paths that are corrected"
    return tuple(
        Breach(BreachCode.FIELD_NOT_ALLOWED, f"values.{path}", rule) for path in part.paths if path not in named
    )


def _facts_alone(named: frozenset[str], facts: Mapping[str, object]) -> Part:
    stated, breaches = sound_facts(named, facts, {})
    return Part(breaches=breaches, facts=stated)
