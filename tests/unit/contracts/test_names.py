"""Grammars of identifiers, whole text only."""

from __future__ import annotations

import pytest

from contracts import names


@pytest.mark.parametrize("text", ["la-207", "a", "9", "home-office-x", "a" + "-" * 61 + "b"])
def test_organisation_id(text: str) -> None:
    assert names.is_organisation(text)
    assert names.is_template_organisation(text.upper())


@pytest.mark.parametrize("text", ["", "-a", "a-", "la_207", "La-207", "a" * 64, "la-207\n", "é", "la.207"])
def test_no_organisation_id(text: str) -> None:
    assert not names.is_organisation(text)


@pytest.mark.parametrize("text", ["cme.transfer", "la.cme_outcome", "home-office.request", "a.b.c", "0.0"])
def test_message_type(text: str) -> None:
    assert names.is_message_type(text)


@pytest.mark.parametrize("text", ["", "cme", ".a", "a.", "a..b", "a_b.c", "Cme.transfer", "a.b\n", "a." + "b" * 80])
def test_no_message_type(text: str) -> None:
    assert not names.is_message_type(text)


@pytest.mark.parametrize("text", ["child", "child.name.family", "contacts[].address.lines", "contacts[]"])
def test_field_path(text: str) -> None:
    assert names.is_field_path(text)


@pytest.mark.parametrize(
    "text", ["", "child.*", "*", "child.", ".child", "a[0].b", "a[][].b", "A", "a b", "a.b\n", "a[]b"]
)
def test_no_field_path(text: str) -> None:
    assert not names.is_field_path(text)


def test_safe_key_is_short_and_has_no_dot() -> None:
    assert names.is_safe_key("key_stage_2")
    assert not names.is_safe_key("a.b")
    assert not names.is_safe_key("a" * 41)
    assert not names.is_safe_key(5)


def test_digest_text() -> None:
    assert names.is_digest("sha256:" + "0a" * 32)
    assert not names.is_digest("sha256:" + "0A" * 32)
    assert not names.is_digest("0a" * 32)
