"""Content at rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.vault import INNER, Sealed, Vault, VaultError

KEK = b"k" * 32


def seal(data: bytes = b"a record") -> Sealed:
    return Vault(KEK).seal("m-1", {INNER: data})


@given(st.binary(max_size=200))
def test_what_was_sealed_opens(data: bytes) -> None:
    sealed = seal(data)
    assert Vault(KEK).open("m-1", sealed.key_row["wrapped"], sealed.rows[0]) == data


def test_the_row_holds_no_plain_text() -> None:
    assert b"a record" not in b"".join([seal().rows[0]["ciphertext"], seal().key_row["wrapped"]])


def test_content_moved_to_another_message_does_not_open() -> None:
    sealed = seal()
    with pytest.raises(VaultError):
        Vault(KEK).open("m-2", sealed.key_row["wrapped"], sealed.rows[0])


def test_content_moved_to_another_part_does_not_open() -> None:
    sealed = seal()
    with pytest.raises(VaultError):
        Vault(KEK).open("m-1", sealed.key_row["wrapped"], {**sealed.rows[0], "part": "envelope"})


def test_content_under_another_key_encryption_key_does_not_open() -> None:
    sealed = seal()
    with pytest.raises(VaultError):
        Vault(b"x" * 32).open("m-1", sealed.key_row["wrapped"], sealed.rows[0])


def test_content_does_not_open_with_another_messages_key() -> None:
    sealed, other = seal(), seal()
    with pytest.raises(VaultError):
        Vault(KEK).open("m-1", other.key_row["wrapped"], sealed.rows[0])


def test_an_opening_opens_at_its_own_place_only() -> None:
    vault = Vault(KEK)
    sealed = vault.seal_detail(7, "by", "value", b"officer.one")
    assert vault.open_detail(7, "by", "value", sealed) == b"officer.one"
    for place in [(8, "by", "value"), (7, "case", "value"), (7, "by", "salt")]:
        with pytest.raises(VaultError):
            vault.open_detail(*place, sealed)


def test_a_key_encryption_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(b"short")
