"""The payload of an agreement event: exactly one form of bytes, and nothing of them in an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DocumentError
from contracts.events import Action, AgreementName, EventPayload, read_event, write_event

D = "sha256:" + "ab" * 32
KIDS = ("A" * 43, "B" * 42 + "A")
FIRST = (
    '{"v":1,"id":"018f3a5e-7b1c-7def-8abc-0123456789ab","org":"la-850","sig":["' + KIDS[0] + '","' + KIDS[1] + '"],'
    '"bundle":"' + D + '","agreement":{"id":"rbkc-hants-cme-transfer","version":1,"digest":"' + D + '"},'
    '"action":"sign","at":1764547200,"actor_role":"dpo","n":1}'
).encode()

digests = st.binary(min_size=32, max_size=32).map(lambda raw: "sha256:" + raw.hex())


@st.composite
def payloads(draw: st.DrawFn) -> EventPayload:
    n = draw(st.integers(1, 50))
    return EventPayload(
        v=1,
        id=str(draw(st.uuids(version=4))),
        org=draw(st.sampled_from(["la-207", "la-850", "afc"])),
        sig=KIDS,
        bundle=draw(digests),
        agreement=AgreementName(id="some-agreement", version=draw(st.integers(1, 9)), digest=draw(digests)),
        action=draw(st.sampled_from(Action)),
        at=draw(st.integers(0, 2**53 - 1)),
        actor_role=draw(st.sampled_from(["dpo", "senior manager", "Team-Lead"])),
        n=n,
        prev=draw(digests) if n > 1 else None,
        seen=draw(st.none() | digests),
        ref=tuple(draw(st.lists(digests, max_size=3, unique=True))),
        diff=draw(st.none() | digests),
    )


def changed(**members: Any) -> bytes:
    return json.dumps(json.loads(FIRST) | members, separators=(",", ":")).encode()


def test_first_event_has_exactly_the_published_form() -> None:
    payload = read_event(FIRST)
    assert (payload.n, payload.prev, payload.seen, payload.ref, payload.diff) == (1, None, None, (), None)
    assert write_event(payload) == FIRST


@given(payloads())
def test_every_event_written_reads_back_as_itself(payload: EventPayload) -> None:
    assert read_event(write_event(payload)) == payload


@pytest.mark.parametrize(
    ("place", "data"),
    [
        ("v", changed(v=2)),
        ("v", changed(v=True)),
        ("id", changed(id="018F3A5E-7B1C-7DEF-8ABC-0123456789AB")),
        ("org", changed(org="LA-850")),
        ("org", changed(org="la-850\n")),
        ("sig[1]", changed(sig=[KIDS[0], "B" * 43])),
        ("sig", changed(sig=[KIDS[0]])),
        ("sig", changed(sig=[*KIDS, KIDS[0]])),
        ("bundle", changed(bundle="sha256:" + "AB" * 32)),
        ("agreement.version", changed(agreement={"id": "xy", "version": 0, "digest": D})),
        ("action", changed(action="revive")),
        ("at", changed(at=-1)),
        ("actor_role", changed(actor_role="")),
        ("n", changed(n=0)),
        ("prev", changed(prev=D)),
        ("prev", changed(n=2)),
        ("", changed(surname="Example")),
        ("", changed(ref=[])),
        ("ref", changed(ref=[D, D])),
        ("", FIRST.replace(b'{"v":1,', b"{").replace(b'"n":1}', b'"n":1,"v":1}')),
    ],
)
def test_other_payloads_are_refused_naming_the_place_only(place: str, data: bytes) -> None:
    with pytest.raises(DocumentError) as refusal:
        read_event(data)
    assert refusal.value.place == place
    for value in ("surname", "Example", "revive", "LA-850", "AB" * 32):
        assert value not in str(refusal.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        FIRST + b" ",
        FIRST.replace(b'"n":1', b'"n":1,"n":1'),
        FIRST.replace(b'"n":1', b'"n":1.0'),
        FIRST[:-1] + b',"prev":null}',
        b"[" * 70_000,
    ],
)
def test_bytes_outside_the_wire_form_are_refused(data: bytes) -> None:
    with pytest.raises(DocumentError):
        read_event(data)


@given(st.integers(0, len(FIRST) - 1), st.integers(0, 255))
def test_any_changed_byte_is_refused_or_reads_as_another_event(at: int, byte: int) -> None:
    data = FIRST[:at] + bytes([byte]) + FIRST[at + 1 :]
    try:
        payload = read_event(data)
    except DocumentError:
        return
    assert write_event(payload) == data
    assert (payload == read_event(FIRST)) == (data == FIRST)
