"""The document that is served: whole, referring to itself alone, and judging without repeating."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from gateway.core.lifecycle import InboundState, State
from gateway.core.tokens import Scope
from gateway.web.api.description import MOST_FAULTS, check_body, document, fits, operations
from gateway.web.api.refusals import RequestRefusedError
from tests.support.messages import B, make_body

DESCRIBED = json.loads(document())
SCHEMAS = DESCRIBED["components"]["schemas"]
CANARY = "Zebulonia"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_leads_somewhere_and_everything_shared_is_used() -> None:
    found = set(references(DESCRIBED))
    for reference in found:
        place: Any = DESCRIBED
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
    for kind in ("schemas", "responses", "parameters"):
        unused = {f"#/components/{kind}/{name}" for name in DESCRIBED["components"][kind]} - found
        assert unused <= {"#/components/schemas/Scope"}, unused


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one(name: str) -> None:
    jsonschema_rs.meta.validate(SCHEMAS[name])


def test_lists_of_the_document_are_those_of_the_code() -> None:
    assert SCHEMAS["State"]["enum"] == list(State)
    assert SCHEMAS["InboundState"]["enum"] == list(InboundState)
    assert SCHEMAS["Scope"]["enum"] == list(Scope)
    assert {one.scope for one in operations().values()} == {None, *Scope}


def test_every_post_has_a_key_and_no_get_has_one() -> None:
    assert all(one.keyed == (one.method == "POST") for one in operations().values())


def test_every_object_of_a_request_or_an_answer_is_closed_but_the_record_s_own() -> None:
    open_ones = {"Body", "Child", "Facts"}
    for name, schema in SCHEMAS.items():
        if schema.get("type") == "object" and name not in open_ones:
            assert schema.get("additionalProperties") is False, name


def test_the_document_names_no_software_but_ours() -> None:
    assert not re.search(rb"aiohttp|python|sqlite|sqlalchemy", document(), re.IGNORECASE)


def test_fault_is_told_by_its_place_and_never_by_its_value() -> None:
    body = {"partner": CANARY, "type": "cme.transfer", "facts": {CANARY: 1}, "body": make_body(), CANARY: CANARY}
    with pytest.raises(RequestRefusedError) as refused:
        check_body(operations()["sendMessage"], body)
    assert CANARY not in str(refused.value)
    assert {path for path, _ in refused.value.places} == {"", "partner", "facts.?", "facts.urgency"}


def test_a_hundred_faults_are_enough() -> None:
    body = {"partners": [str(number) + "-" for number in range(50)], "facts": {}, "body": []}
    body["facts"] = {f"f{number}": None for number in range(500)}
    with pytest.raises(RequestRefusedError) as refused:
        check_body(operations()["enquire"], body)
    assert len(refused.value.places) <= MOST_FAULTS


def test_body_as_described_passes() -> None:
    body = {"partner": B, "type": "cme.transfer", "facts": {"urgency": "routine"}, "body": make_body()}
    check_body(operations()["sendMessage"], body)


@pytest.mark.parametrize("key", ["é", "k\udcff", "clé"])
def test_a_key_that_is_no_ascii_is_refused_and_not_a_fault(key: str) -> None:
    assert not fits(operations()["sendMessage"], "header", "Idempotency-Key", key)
