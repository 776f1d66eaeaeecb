"""Whatever a body holds, the check answers, quickly, and no answer repeats what was in it."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.breach import ContractBreachError
from contracts.document import MAX_DEPTH, check_size_and_depth
from contracts.errors import DocumentError
from contracts.register import vocabulary
from tests.support.agreements import checked, library, verdict
from tests.support.records import mutant, record

CANARY = "Canaryname Zq"
KC = library("la-la-cme-transfer")
NAMES = sorted({step.removesuffix("[]") for path in vocabulary().fields for step in path.split(".")})
PATHS = sorted(vocabulary().fields)

JSON = st.recursive(
    st.sampled_from([None, True, 0, 1.5, 10**40, CANARY, "F", "\x00", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, CANARY, CANARY.lower(), "é", ""]), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(JSON, st.dictionaries(st.sampled_from(["urgency", CANARY, "consent.by"]), JSON, max_size=2), st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_json_makes_the_check_fail_or_repeat_it(body: Any, facts: dict[str, Any], sending: bool) -> None:
    try:
        checked(KC, body, type="cme.transfer", facts=facts, sending=sending, protected=["identity"])
    except ContractBreachError as error:
        told = str(error) + repr(error.breaches)
        assert "anaryname" not in told.lower()


def test_no_mutant_of_a_real_record_is_repeated_in_a_breach() -> None:
    random = Random(7)  # noqa: S311
    whole = record(path for message in KC.agreement.messages for grant in message.grants for path in grant.fields)
    text = json.dumps(whole).replace("Testchild", CANARY).replace("+44 20 7946 0000", "+44 20 0000 0001")
    for _ in range(500):
        body = mutant(json.loads(text), random)
        try:
            checked(KC, body, type="cme.enquiry", facts={})
        except ContractBreachError as error:
            told = str(error) + repr(error.breaches)
            assert not any(value in told for value in (CANARY, "0000 0001", "SO14", "B801200005001", "2012-02-29"))


def test_members_named_after_people_are_never_repeated() -> None:
    body = {f"Person {n} {CANARY}": n for n in range(30)} | {"services": [{f"{CANARY} {n}": n for n in range(30)}]}
    found = verdict(KC, body, type="cme.enquiry_answer", sender="b")
    unknown = {path for code, path in found if code == "field.unknown"}
    assert unknown == {f"?{n}" for n in range(1, 31)}
    assert {path for code, path in found if code == "field.not-allowed"} == {"services[0].?"}


def test_deep_value_is_not_followed_beyond_the_vocabulary() -> None:
    deep: Any = CANARY
    for _ in range(5000):
        deep = {"child": deep}
    assert ("field.unknown", "child.child") in verdict(KC, {"child": deep}, type="cme.enquiry")
    nested: Any = []
    for _ in range(5000):
        nested = [nested]
    assert ("field.not-allowed", "services[0]") in verdict(KC, {"services": nested}, type="cme.enquiry")


@given(st.lists(st.sampled_from(["[", "]", "{", "}", '"', "\\", "a", '""', '"[', "é"]), max_size=60).map("".join))
@settings(max_examples=400)
def test_depth_counts_brackets_outside_strings(text: str) -> None:
    deepest = level = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            in_string, escaped = (escaped or char != '"'), (not escaped and char == "\\")
        elif char == '"':
            in_string = True
        elif char in "[{":
            level += 1
            deepest = max(deepest, level)
        elif char in "]}":
            level -= 1
    for depth in range(1, 6):
        try:
            check_size_and_depth(text.encode(), limit=1000, depth=depth)
            refused = False
        except DocumentError:
            refused = True
        assert refused == (deepest > depth)
    check_size_and_depth(b'{"a":"' + b"[" * 50 + b'"}', limit=1000, depth=MAX_DEPTH)
