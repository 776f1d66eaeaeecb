"""The search for canaries finds them in every form in which they could leave; a search that finds nothing proves nothing."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from tests.support.canary import CANARIES, CASE, FAMILY, by_chance, leaks


@pytest.mark.parametrize("canary", CANARIES)
def test_a_canary_is_found_in_every_form(canary: str) -> None:
    data = canary.encode()
    for form in (
        data,
        canary.upper().encode(),
        canary.lower().encode(),
        b"GET /" + quote(canary, safe="").encode() + b" HTTP/1.1",
        canary.replace(" ", "+").encode(),
        json.dumps({"name": canary}).encode(),
        data.hex().encode(),
        data.hex().upper().encode(),
        canary.encode("utf-16"),
    ):
        assert canary in leaks(b"before " + form + b" after"), form


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("before", range(4))
def test_a_canary_is_found_inside_base64_wherever_it_begins(canary: str, before: int) -> None:
    data = b"~" * before + canary.encode() + b'"}'
    assert canary in leaks(base64.b64encode(data))
    assert canary in leaks(base64.urlsafe_b64encode(data).rstrip(b"="))


@pytest.mark.parametrize("canary", CANARIES)
def test_a_canary_stands_in_no_signature_by_chance(canary: str) -> None:
    assert by_chance(canary) < 1e-11


def test_what_is_no_canary_is_not_found() -> None:
    assert leaks(f"{FAMILY[:5]} {CASE[:3]} la-207 child.name.family field.not-allowed".encode()) == set()
