"""P: one declaration is reader, writer and published schema, and nothing but its exact wire form is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import DocumentError
from gateway.core.payload import PAYLOAD_LIMIT, encode_payload, read_payload
from tests.support import independent
from tests.support.messages import MESSAGE_ID, make_members
from tests.support.schemas import SCHEMAS, published, written

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.from_regex(r"[a-z][a-z0-9_.]{0,63}", fullmatch=True)
values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


def wire(**changes: Any) -> bytes:
    return independent.wire(make_members(**changes))


def refuse(data: bytes) -> DocumentError:
    with pytest.raises(DocumentError) as refused:
        read_payload(data)
    return refused.value


@settings(max_examples=60)
@given(body=st.dictionaries(names, values, max_size=4), facts=st.dictionaries(names, texts | st.booleans(), max_size=3))
def test_payload_with_any_body_reads_and_writes_to_the_same_bytes(body: dict[str, Any], facts: dict[str, Any]) -> None:
    data = wire(body=body, facts=facts)
    payload = read_payload(data)
    assert encode_payload(payload) == data
    assert (payload.body, payload.facts) == (body, facts)


def test_every_control_character_has_one_form() -> None:
    """As JSON.stringify writes them: short escapes where there are some, else lower-case \\u00xx; DEL and U+2028 raw."""
    text = "".join(map(chr, range(0x20))) + '"\\/\x7f\u2028\u2029é\U0001f600'
    data = wire(body={"a": text})
    assert b"\\b\\t\\n\\u000b\\f\\r" in data
    assert read_payload(data).body == {"a": text}


def test_optional_members_are_read_in_their_places() -> None:
    members = make_members()
    ordered: dict[str, Any] = {}
    for name, value in members.items():
        ordered[name] = value
        if name == "exp":
            ordered |= {"thread": MESSAGE_ID, "replaces": MESSAGE_ID}
    ordered["from"] = {"org": "la-207", "for": "la-213", **{n: v for n, v in members["from"].items() if n != "org"}}
    ordered["to"] = [{"org": "la-850", "for": "la-851", "enc": members["to"][0]["enc"]}]
    payload = read_payload(independent.wire(ordered))
    assert (payload.thread, payload.replaces, payload.from_.for_) == (MESSAGE_ID, MESSAGE_ID, "la-213")
    assert encode_payload(payload) == independent.wire(ordered)


@pytest.mark.parametrize("name", list(make_members()))
def test_every_member_is_required(name: str) -> None:
    refuse(wire(**{name: None}))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "019bbd3c-8ac0-4abc-8def-0123456789ab"},
        {"id": MESSAGE_ID.upper()},
        {"id": MESSAGE_ID + "\n"},
        {"typ": "cme"},
        {"typ": "CME.transfer"},
        {"typ": "cme." + "a" * 80},
        {"salt": "A" * 21},
        {"salt": "A" * 21 + "B"},
        {"from__org": "LA-207"},
        {"from__org": "-a"},
        {"from__org": "a" * 64},
        {"from__org": ""},
        {"from__sig": ["A" * 43]},
        {"from__sig": ["A" * 43, "A" * 42 + "B"]},
        {"from__bundle": "sha256:" + "A" * 64},
        {"from__bundle": "a" * 64},
        {"to": []},
        {"iat": -1},
        {"exp": 2**53},
        {"agreement__version": 0},
        {"agreement__heads": ["sha256:" + "0" * 64]},
        {"agreement__id": "x"},
        {"facts": []},
        {"facts": {"urgency": ["routine"]}},
        {"body": []},
        {"att": {}},
    ],
    ids=str,
)
def test_member_of_another_form_is_refused(change: dict[str, Any]) -> None:
    refuse(wire(**change))


def test_recipients_are_sixteen_at_most() -> None:
    entry = make_members()["to"][0]
    assert len(read_payload(wire(to=[entry] * 16)).to) == 16
    refuse(wire(to=[entry] * 17))


def test_payload_has_256_kb_and_not_one_byte_more() -> None:
    room = PAYLOAD_LIMIT - len(wire(body={"a": ""}))
    assert len(read_payload(wire(body={"a": "x" * room})).body["a"]) == room
    refuse(wire(body={"a": "x" * (room + 1)}))


def test_refusal_says_the_place_and_never_what_stands_there() -> None:
    assert refuse(wire(from__org="Quillfeather!")).place == "from.org"
    for error in (refuse(wire(facts={"a": [1]})), refuse(wire(body={"Quillfeather": 1})), refuse(wire(extra=1))):
        assert "Quillfeather" not in str(error)
        assert "extra" not in str(error)
        assert not error.place.startswith(("facts", "body"))


# --- the published schemas (docs/schemas)


@pytest.mark.parametrize("name", SCHEMAS)
def test_published_schema_is_what_the_code_says(name: str) -> None:
    """`python -m tests.support.schemas` writes them anew."""
    assert published(name) == written(name)


def test_published_schema_takes_an_honest_payload() -> None:
    jsonschema_rs.validator_for(json.loads(published("payload"))).validate(make_members())


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.pop("att"),
        lambda members: members.update(extra=1),
        lambda members: members.update(thread=None),
        lambda members: members["from"].update(sig=["A" * 43]),
        lambda members: members["to"].clear(),
        lambda members: members.update(suite="sh2"),
        lambda members: members["agreement"].update(version="1"),
    ],
)
def test_published_schema_refuses_what_the_reader_refuses(change: Change) -> None:
    members = make_members()
    change(members)
    assert not jsonschema_rs.validator_for(json.loads(published("payload"))).is_valid(members)
    refuse(independent.wire(members))
