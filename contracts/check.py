"""The check: may this body travel, under this agreement, with these facts, on this day?

Pure: no clock, no store. Closed world: a path travels only if a grant of the one governing agreement lists it and every
condition named on that grant is TRUE. Nothing is stripped; a breach refuses the whole message, and every breach is named
at once, without any value. Finding the agreement that governs, and whether it is in force, is the flow's part (step 2 of
agreements section 2); here the steps are:

1. the bytes are strict JSON of one object;
3. message type and direction are in the agreement;
4. and 5. together: facts, conditions for the whole message, every path, requests, the protection list.

Where the design is silent, this module decides:
- a body that is no object is `field.type` at `""`, and holds nothing: what is required is missing;
- a breach of facts (`message.fact`) is reported with 4 and 5, the fact itself counting as unknown;
- an absent fact is unknown, `urgency` too: that a signed message states it is the envelope's schema to demand;
- a date of birth after the day of the check leaves the age unknown;
- `field.not-requested` is looked for only in a body in which the walk found nothing wrong, but whatever else is;
- `field.protected` goes by every marked path that is present, granted or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from typing import Any, Final, Literal, TypeAlias

import orjson

from contracts.breach import Breach, BreachCode, ContractBreachError
from contracts.checked import PROOF
from contracts.checked import CheckedBody as CheckedBody
from contracts.compiled import CompiledAgreement, CompiledMessage
from contracts.conditions import Truth, evaluate, truth_text
from contracts.document import MAX_DEPTH, check_size_and_depth, write_wire
from contracts.errors import DocumentError
from contracts.facts import FACTS, FactValue, derived_facts
from contracts.names import Party
from contracts.plan import Plan
from contracts.vocabulary import Field, present_fields
from contracts.walk import missing, walk

ProtectedKind: TypeAlias = Literal["location", "identity"]

MAX_BODY = 256 * 1024  # bytes: the whole payload around it may have no more (envelope section 1)
ALWAYS_ANSWERABLE: Final = "response.refusal_reason"  # exempt from limit_to_request beside the required paths
_PROTECTED_PATH = ("child", "address", "protection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a body as judged by `check_part`; all but `breaches` are those of a `CheckedBody`."""

    breaches: tuple[Breach, ...]
    paths: tuple[str, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)
    bases: tuple[str, ...] = ()
    facts: Mapping[str, FactValue] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """Everything the answer depends on, gathered once."""

    message: CompiledMessage
    body: dict[str, Any]
    facts: Mapping[str, FactValue]
    fact_breaches: tuple[Breach, ...]
    truths: Mapping[str, Truth]
    plan: Plan
    requested: frozenset[str] | None
    hidden: frozenset[ProtectedKind]


def check(
    body: dict[str, Any] | bytes,
    *,
    compiled: CompiledAgreement,
    type: str,  # noqa: A002 - the wire's own word
    sender: Party,
    facts: Mapping[str, object],
    on: date,
    requested: frozenset[str] | None,
    protected: frozenset[ProtectedKind],
    sending: bool,
    released: bool = False,
    recorded: Mapping[str, FactValue] | None = None,
) -> CheckedBody:
    """Return the body as checked, or raise ContractBreachError with every breach at once.

    `body` is wire JSON bytes, or the value that a strict reader returned. `on` is the civil day in London of the
    message's `iat` (at hand-over: of now). `requested` holds the generic paths of the stored request, None where no
    request is held. `protected` holds the kinds under which the child is listed; it applies only when `sending`, and not
    where a senior manager `released` this one message to this one recipient. `recorded` is what the receiver itself
    holds on record: a stated fact that differs is a breach. Raises DocumentError for bytes that are not wire JSON.
    """
    value = _read_body(body) if isinstance(body, bytes) else body
    message = compiled.message(type, sender)
    if message is None:
        raise ContractBreachError((_not_in_agreement(),))
    apply = sending and not released
    question = _ask(message, value, facts, on, requested, _hidden(value, protected) if apply else frozenset(), recorded)
    present = question.plan.present_in(value)
    if present is None or not _is_allowed(question, present):
        raise ContractBreachError(_explain(question))
    return _checked_body(question, present, compiled, body if isinstance(body, bytes) else None)


def check_part(
    part: dict[str, Any],
    *,
    whole: dict[str, Any],
    compiled: CompiledAgreement,
    type: str,  # noqa: A002 - the wire's own word
    sender: Party,
    facts: Mapping[str, object],
    on: date,
    requested: frozenset[str] | None,
    protected: frozenset[ProtectedKind],
    sending: bool,
) -> Part:
    """Judge values that stand beside a body of this type: as `check`, but nothing need be there.

    `whole` is the body as it then stands: derived facts, and what it says of the child's own protection, are read there.
    """
    message = compiled.message(type, sender)
    if message is None:
        return Part(breaches=(_not_in_agreement(),))
    hidden = _hidden(whole, protected) if sending else frozenset()
    question = replace(_ask(message, whole, facts, on, requested, hidden, None), body=part)
    breaches = _explain(question, complete=False)
    paths = () if breaches else tuple(sorted(f.path for f in present_fields(message.vocabulary.tree, part)))
    return Part(
        breaches=breaches,
        paths=paths,
        conditions={name: truth_text(truth) for name, truth in question.truths.items()},
        bases=question.plan.bases(paths),
        facts=question.facts,
    )


def _not_in_agreement() -> Breach:
    rule = "the agreement has no such message in this direction"
    return Breach(BreachCode.MESSAGE_NOT_IN_AGREEMENT, "", rule)


def _read_body(data: bytes) -> Any:
    """Parse wire JSON. Floats, nulls and great numbers are left to the walk, which allows none of them anywhere."""
    check_size_and_depth(data, limit=MAX_BODY, depth=MAX_DEPTH - 1)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise DocumentError("not JSON in UTF-8") from None
    if orjson.dumps(value) != data:
        raise DocumentError("not in wire form (white space, a duplicate member or a needless escape)")
    return value


def _ask(
    message: CompiledMessage,
    body: dict[str, Any],
    facts: Mapping[str, object],
    on: date,
    requested: frozenset[str] | None,
    hidden: frozenset[ProtectedKind],
    recorded: Mapping[str, FactValue] | None,
) -> _Question:
    stated, breaches = sound_facts(message.facts_named, facts, recorded or {})
    truths = evaluate(message.conditions, stated | derived_facts(body, on)) if message.conditions else {}
    return _Question(
        message=message,
        body=body,
        facts=stated,
        fact_breaches=breaches,
        truths=truths,
        plan=message.plan(truths),
        requested=requested if message.limit_to_request else None,
        hidden=hidden,
    )


def sound_facts(
    named: frozenset[str], facts: Mapping[str, object], recorded: Mapping[str, FactValue]
) -> tuple[dict[str, FactValue], tuple[Breach, ...]]:
    """Return the facts that count, and a breach for each that may not be stated; `named` are those that are asked for."""
    stated: dict[str, FactValue] = {}
    breaches = []
    for name, value in facts.items():
        fact = FACTS.get(name)
        if fact is None:
            breaches.append(Breach(BreachCode.MESSAGE_FACT, "?", "not a known fact"))
        elif name not in named:
            breaches.append(Breach(BreachCode.MESSAGE_FACT, name, "no condition of this message asks for it"))
        elif not fact.accepts(value):
            breaches.append(Breach(BreachCode.MESSAGE_FACT, name, "not a value of this fact"))
        elif name in recorded and recorded[name] != value:
            breaches.append(Breach(BreachCode.MESSAGE_FACT, name, "differs from what the receiver recorded"))
        elif isinstance(value, str | int):
            stated[name] = value
    return stated, tuple(breaches)


def _hidden(body: dict[str, Any], protected: frozenset[ProtectedKind]) -> frozenset[ProtectedKind]:
    """The kinds under which the child counts as listed: a body that says `protected` itself lists it for location."""
    inner: Any = body
    for name in _PROTECTED_PATH:
        inner = inner.get(name) if type(inner) is dict else None
    return protected | {"location"} if inner == "protected" else protected


def _is_allowed(question: _Question, present: set[Field]) -> bool:
    """Whether a body in which every path passes may go: facts, conditions, the request and the protection list."""
    return (
        not question.fact_breaches
        and all(question.truths[name] is True for name in question.message.require)
        and not _not_requested(question, present)
        and not _protected(question, present)
    )


def _explain(question: _Question, *, complete: bool = True) -> tuple[Breach, ...]:
    """Return every breach, in the order of the steps; each (code, path, rule) once."""
    present = present_fields(question.message.vocabulary.tree, question.body)
    found = [*question.fact_breaches, *_unmet(question)]
    inside = walk(question.plan, question.body, cache(lambda path: _reason(question, path)))
    found += inside
    found += missing(question.plan, question.body) if complete else []
    if not inside:
        rule = "the request does not ask for it"
        found += [Breach(BreachCode.FIELD_NOT_REQUESTED, p, rule) for p in _not_requested(question, present)]
    rule = "would show where a protected child is, or who the child was"
    found += [Breach(BreachCode.FIELD_PROTECTED, path, rule) for path in _protected(question, present)]
    return tuple(dict.fromkeys(found))


def _unmet(question: _Question) -> list[Breach]:
    """Step 4: one breach for each name in `require` that is not TRUE."""
    message = question.message
    return [
        Breach(BreachCode.MESSAGE_CONDITION, "", f"only when {message.condition(name).says}")
        for name in message.require
        if question.truths[name] is not True
    ]


def _not_requested(question: _Question, present: set[Field]) -> list[str]:
    """The granted paths present that the request does not name; empty where the message is not limited to one."""
    if question.requested is None:
        return []
    exempt = {*question.plan.required, ALWAYS_ANSWERABLE}
    return sorted(f.path for f in present if f.path not in question.requested and f.path not in exempt)


def _protected(question: _Question, present: set[Field]) -> list[str]:
    """The paths present that lead to a listed child; for `identity` also those that tie it to who it was."""
    if not question.hidden:
        return []
    past_too = "identity" in question.hidden
    return sorted(f.path for f in present if f.locates or (past_too and f.past))


def _reason(question: _Question, path: str) -> str:
    """Why a path is not granted: the conditions that would allow it, in the agreement's own words."""
    message, truths = question.message, question.truths
    ways = []
    for grant in message.grants:
        if any(granted.path == path for granted in grant.fields):
            unmet = [message.condition(name).says for name in grant.when if truths[name] is not True]
            ways.append(" and ".join(unmet))
    return "only when " + ", or when ".join(dict.fromkeys(ways)) if ways else "no grant of this message lists it"


def _checked_body(
    question: _Question, present: set[Field], compiled: CompiledAgreement, wire: bytes | None
) -> CheckedBody:
    agreement, paths = compiled.agreement, sorted([f.path for f in present])
    return CheckedBody(
        wire=write_wire(question.body) if wire is None else wire,
        type=question.message.type,
        sender=question.message.sender,
        agreement_id=agreement.id,
        agreement_version=agreement.version,
        agreement_digest=agreement.digest,
        paths=tuple(paths),
        conditions={name: truth_text(truth) for name, truth in question.truths.items()},
        bases=question.plan.bases(paths),
        facts=question.facts,
        proof=PROOF,
    )
