"""Compiling an agreement against its vocabulary: what must be right before any message is checked with it.

Pure. Everything that would make the check unsafe or ambiguous is refused here, with the key path and the rule: unknown
fields and wildcards, conditions that are cyclic or ask for unknown facts, values outside code sets, a promise broken,
a required path that leads to a protected child. Whether the agreement is lawful and complete is the lint's question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from contracts.agreement import Agreement
from contracts.conditions import CompiledCondition, condition_faults, parts_first, reachable
from contracts.facts import FACTS, URGENCY, Trust
from contracts.names import SERVICE_TYPES, MessageType, Party, is_digest
from contracts.plan import CompiledGrant, Plan, make_plan
from contracts.strict import FileError, Problem, join
from contracts.terms import Basis, Grant, Message
from contracts.vocabulary import Field, Vocabulary

DEFAULT_MAX_ITEMS = 20
_MAX_CONDITIONS = 200  # a worked agreement has 14; a bound keeps compiling a hostile file cheap
_MAX_PLANS = 1024  # truth vectors remembered per message; beyond, the oldest are forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledMessage:
    """One message type in one direction. `conditions` are those reachable from `require` and any `when`, parts first;
    `facts_named` the asserted and recorded facts that a signed message of this type states."""

    type: MessageType
    sender: Party
    require: tuple[str, ...]
    conditions: tuple[CompiledCondition, ...]
    facts_named: frozenset[str]
    limit_to_request: bool
    grants: tuple[CompiledGrant, ...]
    max_items: Mapping[str, int]
    vocabulary: Vocabulary
    _plans: dict[tuple[bool, ...], Plan] = field(default_factory=dict, repr=False, compare=False)

    def plan(self, truths: Mapping[str, bool | None]) -> Plan:
        """Return what may travel while the conditions have these truths; made once for each set of TRUE grants."""
        live = tuple(all(truths[name] is True for name in grant.when) for grant in self.grants)
        plan = self._plans.get(live)
        if plan is None:
            granted = [grant for grant, is_true in zip(self.grants, live, strict=True) if is_true]
            plan = make_plan(granted, self.vocabulary.tree, self.max_items)
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[live] = plan
        return plan

    def condition(self, name: str) -> CompiledCondition:
        """Return one of its conditions."""
        return next(condition for condition in self.conditions if condition.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledAgreement:
    """An agreement that the check can use; made by `compile_agreement` alone."""

    agreement: Agreement
    vocabulary: Vocabulary
    messages: Mapping[tuple[str, Party], CompiledMessage] = field(repr=False)

    def message(self, message_type: str, sender: Party) -> CompiledMessage | None:
        """Return the rules for a type sent by a party, None where the agreement has none."""
        return self.messages.get((message_type, sender))


def compile_agreement(agreement: Agreement, vocabulary: Vocabulary, *, file: str | None = None) -> CompiledAgreement:
    """Return the agreement ready to check with. Raises FileError naming every problem found, by key path; `file` is
    what the error calls the agreement, by default its id and version."""
    problems = tuple(_problems(agreement, vocabulary))
    if problems:
        raise FileError(file or f"{agreement.id} version {agreement.version}", problems)
    order = parts_first(agreement.conditions)
    messages = {(m.type, m.sender): _compile_message(m, agreement, vocabulary, order) for m in agreement.messages}
    return CompiledAgreement(agreement=agreement, vocabulary=vocabulary, messages=MappingProxyType(messages))


def facts_named(compiled: CompiledAgreement, message_type: str, sender: Party) -> frozenset[str]:
    """Return the asserted and recorded facts that a message states where they are known; `urgency` always.

    Empty where the agreement has no such message.
    """
    message = compiled.message(message_type, sender)
    return frozenset() if message is None else message.facts_named


def _compile_message(
    message: Message, agreement: Agreement, vocabulary: Vocabulary, order: tuple[str, ...]
) -> CompiledMessage:
    used = reachable(agreement.conditions, _conditions_used(message))
    conditions = tuple(_compile_condition(name, agreement) for name in order if name in used)
    tests = [condition.test for condition in conditions if condition.test is not None]
    stated = {test.fact for test in tests if FACTS[test.fact].trust is not Trust.DERIVED}
    return CompiledMessage(
        type=MessageType(message.type),
        sender=message.sender,
        require=message.require,
        conditions=conditions,
        facts_named=frozenset(stated | {URGENCY}),
        limit_to_request=message.limit_to_request,
        grants=tuple(_compile_grant(grant, vocabulary) for grant in message.grants),
        max_items=MappingProxyType(
            {path: message.max_items.get(path, DEFAULT_MAX_ITEMS) for path in vocabulary.lists()}
        ),
        vocabulary=vocabulary,
    )


def _conditions_used(message: Message) -> list[str]:
    return [*message.require, *(name for grant in message.grants for name in grant.when)]


def _compile_condition(name: str, agreement: Agreement) -> CompiledCondition:
    condition = agreement.conditions[name]
    return CompiledCondition(
        name=name,
        says=condition.says or name.replace("_", " "),
        test=condition.test,
        all_of=condition.all_of,
        any_of=condition.any_of,
    )


def _compile_grant(grant: Grant, vocabulary: Vocabulary) -> CompiledGrant:
    return CompiledGrant(
        when=grant.when,
        need=grant.need,
        basis=grant.basis,
        fields=tuple(vocabulary.fields[path] for path in grant.fields),
        only=MappingProxyType({path: frozenset(values) for path, values in grant.only.items()}),
    )


def _problems(agreement: Agreement, vocabulary: Vocabulary) -> Iterator[Problem]:
    yield from _pin_problems(agreement, vocabulary)
    yield from _date_problems(agreement)
    if len(agreement.conditions) > _MAX_CONDITIONS:
        yield Problem(key="condition", rule=f"more than {_MAX_CONDITIONS} conditions")
        return
    for name, rules in condition_faults(agreement.conditions).items():
        yield from (Problem(key=f"condition.{name}", rule=rule) for rule in rules)
    promises = _promises(agreement, vocabulary)
    yield from (Problem(key=key, rule="unknown field or container") for key, found in promises.items() if not found)
    never = frozenset().union(*promises.values())
    seen: set[tuple[str, Party]] = set()
    for index, message in enumerate(agreement.messages):
        if (message.type, message.sender) in seen:
            yield Problem(key=f"message[{index}]", rule="this type and direction is given twice")
        seen.add((message.type, message.sender))
        yield from _message_problems(message, f"message[{index}]", agreement, vocabulary, never)


def _pin_problems(agreement: Agreement, vocabulary: Vocabulary) -> Iterator[Problem]:
    if agreement.vocabulary_id != vocabulary.id:
        yield Problem(key="vocabulary.id", rule="another vocabulary")
    if agreement.vocabulary_digest not in ("", vocabulary.digest):
        yield Problem(key="vocabulary.sha256", rule="pinned vocabulary digest does not match")
    schedule = agreement.mode == "unilateral"
    for letter, party in agreement.parties.items():
        if party.root is None:
            if not (schedule and letter == "b"):
                yield Problem(key=f"party.{letter}.root", rule="missing")
        elif party.root and not is_digest(party.root):
            yield Problem(key=f"party.{letter}.root", rule="must be sha256: and 64 hexadecimal digits")
    if agreement.parties["a"].id == agreement.parties["b"].id:
        yield Problem(key="party.b.id", rule="both parties are the same body")
    if agreement.parties["a"].root and agreement.parties["a"].root == agreement.parties["b"].root:
        yield Problem(key="party.b.root", rule="the parties share a root")


def _date_problems(agreement: Agreement) -> Iterator[Problem]:
    start, end, review = agreement.valid_from, agreement.valid_until, agreement.review_by
    for name, day in (("valid_from", start), ("valid_until", end)):
        if day is None:
            yield Problem(key=f"dates.{name}", rule="missing")
    if start is None or end is None:
        return
    if end <= start:
        yield Problem(key="dates.valid_until", rule="must be after valid_from")
    elif review is not None and not start <= review <= end:
        yield Problem(key="dates.review_by", rule="must fall inside the valid period")


def _promises(agreement: Agreement, vocabulary: Vocabulary) -> dict[str, frozenset[str]]:
    """Key path -> the field paths that the promise covers; a container covers all below it."""
    containers = vocabulary.containers()
    covered = {}
    for index, promise in enumerate(agreement.never):
        below = (f"{promise}.", f"{promise}[].")
        covered[f"never[{index}]"] = frozenset(
            path for path in vocabulary.fields if path == promise or (promise in containers and path.startswith(below))
        )
    return covered


def _message_problems(
    message: Message, key: str, agreement: Agreement, vocabulary: Vocabulary, never: frozenset[str]
) -> Iterator[Problem]:
    if message.type in SERVICE_TYPES:
        yield Problem(key=f"{key}.type", rule="reserved for service messages")
    yield from _names_problems(f"{key}.require", message.require, agreement.conditions, "unknown condition")
    carried = {path for grant in message.grants for path in grant.fields}
    for path in message.max_items:
        if not any(field_path.startswith(f"{path}[].") for field_path in carried):
            yield Problem(key=join(f"{key}.max_items", path), rule="limits a list this message does not carry")
    for index, grant in enumerate(message.grants):
        place = f"{key}.allow[{index}]"
        yield from _names_problems(f"{place}.when", grant.when, agreement.conditions, "unknown condition")
        yield from _basis_problems(place, grant, agreement.bases)
        for position, path in enumerate(grant.fields):
            rule = _field_rule(path, grant, vocabulary, never)
            if rule is not None:
                yield Problem(key=f"{place}.fields[{position}]", rule=rule)
        yield from _only_problems(place, grant, vocabulary)


def _names_problems(key: str, names: tuple[str, ...], known: Mapping[str, object], rule: str) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name not in known:
            yield Problem(key=f"{key}[{index}]", rule=rule)


def _basis_problems(place: str, grant: Grant, bases: Mapping[str, Basis]) -> Iterator[Problem]:
    if grant.basis not in bases:
        yield Problem(key=f"{place}.basis", rule="unknown basis")


def _field_rule(path: str, grant: Grant, vocabulary: Vocabulary, never: frozenset[str]) -> str | None:
    if "*" in path:
        return "a wildcard: an agreement lists paths"
    known = vocabulary.fields.get(path)
    if known is None:
        return "unknown field"
    if path in never:
        return "granted but promised never"
    if grant.need == "required" and (known.locates or known.past):
        return "required, but a protected child's message must be able to go without it"
    return None


def _only_problems(place: str, grant: Grant, vocabulary: Vocabulary) -> Iterator[Problem]:
    for path, values in grant.only.items():
        key = join(f"{place}.only", path)
        known: Field | None = vocabulary.fields.get(path)
        if path not in grant.fields or known is None:
            yield Problem(key=key, rule="not among this group's fields")
        elif known.type.codes is None:
            yield Problem(key=key, rule="narrows a field that has no code set")
        elif not known.type.codes.issuperset(values):
            yield Problem(key=key, rule="a value outside the code set")
