"""Three independent answers agree: the fast path, the explaining walk, and a JSON Schema checked by other software."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.agreement import read_agreement
from contracts.compiled import CompiledAgreement, CompiledMessage, compile_agreement
from contracts.conditions import evaluate
from contracts.facts import derived_facts
from contracts.library import template_names
from contracts.register import vocabulary
from contracts.vocabulary import present_fields
from contracts.walk import missing, walk
from tests.support.agreements import DAY, lab_toml, library, verdict
from tests.support.json_schema import holds, schema, validator
from tests.support.records import WRONG, mutant, record

MUTANTS = 24_000
VALUES: dict[str, list[Any]] = {
    "urgency": ["routine", "priority", "immediate_risk"],
    "consent.state": ["given", "withdrawn"],
    "consent.by": ["parent", "young_person"],
    "consent.scope": ["youth-support-other-information"],
    "consent.in_date": [True, False],
    "request.verified": [True, False],
    "request.by_telephone": [True, False],
    "request.authorised_rank": ["none", "inspector_or_above", "senior_manager"],
}


def some_facts(named: frozenset[str], random: Random) -> dict[str, Any]:
    return {name: random.choice(VALUES[name]) for name in sorted(named) if random.random() < 0.85}


def test_check_and_json_schema_agree_on_every_mutated_record() -> None:
    random = Random(20261201)  # noqa: S311 - a repeatable walk through mutants, no secret
    messages = [
        (library(name.removesuffix(".toml")), index)
        for name in template_names()
        for index in range(len(library(name.removesuffix(".toml")).agreement.messages))
    ]
    validators: dict[str, Any] = {}
    allowed = 0
    for turn in range(MUTANTS):
        compiled, index = messages[turn % len(messages)]
        message, conditions = compiled.agreement.messages[index], compiled.agreement.conditions
        facts = some_facts(compiled.messages[message.type, message.sender].facts_named, random)
        paths = [path for grant in message.grants for path in grant.fields if random.random() < 0.9]
        body = mutant(record(paths, items=random.choice((1, 2))), random) if turn % 9 else record(paths)
        known = facts | derived_facts(body, DAY)
        document = schema(message, conditions, known)
        key = json.dumps(document)
        if key not in validators:
            validators[key] = validator(document)
        expected = validators[key].is_valid(body) and all(holds(n, conditions, known) is True for n in message.require)
        found = verdict(compiled, body, type=message.type, sender=message.sender, facts=facts, sending=False)
        assert (not found) == expected, (message.type, body, facts, found)
        allowed += expected
    assert MUTANTS / 20 < allowed < MUTANTS * 19 / 20


# Agreements and bodies made up by Hypothesis

PATHS = sorted(vocabulary().fields)
CODED = {path: sorted(f.type.codes) for path, f in vocabulary().fields.items() if f.type.codes is not None}


@st.composite
def grants(draw: st.DrawFn, need: tuple[str, ...] = ("required", "expected", "optional")) -> str:
    paths = draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=6, unique=True))
    chosen = draw(st.sampled_from(need))
    if chosen == "required":
        fields = vocabulary().fields
        paths = [path for path in paths if not (fields[path].locates or fields[path].past)] or ["case.reference"]
    lines = [f'need = "{chosen}"', f"fields = {json.dumps(paths)}"]
    if draw(st.booleans()):
        lines.append(draw(st.sampled_from(['when = ["at_risk"]', 'when = ["teenager", "consented"]'])))
    coded = [path for path in paths if path in CODED]
    if coded and draw(st.booleans()):
        only = draw(st.lists(st.sampled_from(CODED[coded[0]]), min_size=1, max_size=2, unique=True))
        lines.append(f'only = {{ "{coded[0]}" = {json.dumps(only)} }}')
    return "\n".join(lines)


FACTS = st.fixed_dictionaries(
    {"urgency": st.sampled_from(["routine", "immediate_risk"])},
    optional={"consent.state": st.sampled_from(["given", "refused"])},
)
SEEDS = st.integers(0, 2**32)


def compile_grants(parts: list[str]) -> CompiledAgreement:
    # Every condition stands in `require` of no message but in a grant, so that each fact may always be stated.
    every = 'when = ["at_risk", "teenager", "consented"]\nfields = ["attainment.key_stage_2"]'
    return compile_agreement(read_agreement(lab_toml(every, *parts), file="lab"), vocabulary())


def body_for(parts: list[str], seed: int) -> dict[str, Any]:
    random = Random(seed)  # noqa: S311
    granted = [path for part in parts for path in json.loads(part.splitlines()[1].removeprefix("fields = "))]
    body = record([path for path in granted if random.random() < 0.95], items=random.choice((1, 2)))
    return mutant(body, random) if seed % 3 else body


def explained(message: CompiledMessage, body: dict[str, Any], facts: dict[str, Any]) -> tuple[Any, bool]:
    truths = evaluate(message.conditions, facts | derived_facts(body, DAY))
    plan = message.plan(truths)
    breaches = walk(plan, body, lambda _: "rule") + missing(plan, body)
    return plan.present_in(body), bool(breaches)


@given(st.lists(grants(), min_size=1, max_size=4), FACTS, SEEDS)
@settings(max_examples=250, deadline=None)
def test_fast_path_and_explaining_walk_have_the_same_verdict(
    parts: list[str], facts: dict[str, Any], seed: int
) -> None:
    message = compile_grants(parts).messages["lab.message", "a"]
    body = body_for(parts, seed)
    present, refused = explained(message, body, facts)
    assert (present is None) == refused
    if present is not None:
        assert present == present_fields(vocabulary().tree, body)


JSON = st.recursive(
    st.sampled_from(WRONG) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["child", "name", "family", "contacts", "services", "address", "lines", "sex", "Robin E."])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["child", "contacts", "services", "case", "é"]), JSON, max_size=4))
@settings(max_examples=250, deadline=None)
def test_fast_path_and_walk_agree_on_any_json(body: dict[str, Any]) -> None:
    fields = '["child.name.family", "child.sex", "contacts[].name.family", "contacts[].address.lines"]'
    message = compile_grants([f'need = "optional"\nfields = {fields}']).messages["lab.message", "a"]
    present, refused = explained(message, body, {})
    assert (present is None) == refused


@given(st.lists(grants(), min_size=1, max_size=3), grants(need=("optional", "expected")), FACTS, SEEDS)
@settings(max_examples=250, deadline=None)
def test_a_further_grant_that_requires_nothing_never_refuses_what_was_allowed(
    parts: list[str], further: str, facts: dict[str, Any], seed: int
) -> None:
    body = body_for(parts, seed)
    if not verdict(compile_grants(parts), body, facts=facts):
        assert not verdict(compile_grants([*parts, further]), body, facts=facts)


@given(st.lists(grants(), min_size=1, max_size=3), FACTS, SEEDS, st.sets(st.sampled_from(["location", "identity"])))
@settings(max_examples=150, deadline=None)
def test_protection_and_requests_only_take_away(
    parts: list[str], facts: dict[str, Any], seed: int, protected: set[Any]
) -> None:
    compiled, body = compile_grants(parts), body_for(parts, seed)
    free = verdict(compiled, body, facts=facts, sending=False)
    assert free <= verdict(compiled, body, facts=facts, protected=protected)
    assert verdict(compiled, body, facts=facts, protected=protected, sending=False) == free
