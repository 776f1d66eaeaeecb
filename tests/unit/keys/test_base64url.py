import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.base64url import decode, encode
from keys.errors import Base64Error


@given(st.binary(max_size=200))
def test_every_value_has_one_text_and_comes_back(data: bytes) -> None:
    text = encode(data)
    assert decode(text) == data
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@given(st.text(alphabet="ABab01-_+/=\n é", max_size=12))
def test_whatever_decodes_encodes_to_the_same_text(text: str) -> None:
    try:
        data = decode(text)
    except Base64Error:
        return
    assert encode(data) == text


@pytest.mark.parametrize(
    "text",
    ["QQ==", "QQ=", "QR", "Q", "QUI=", "QUJ", "QQ\n", " QQ", "Q Q", "QQ.", "+/+/", "QÉ", "\ud800AAA", "QUJD=", "="],
)
def test_text_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(Base64Error):
        decode(text)


def test_value_of_another_length_is_refused() -> None:
    assert decode(encode(bytes(16)), 16) == bytes(16)
    with pytest.raises(Base64Error):
        decode(encode(bytes(15)), 16)


@pytest.mark.parametrize("value", [None, 7, b"QQ", ["QQ"]])
def test_what_is_not_text_is_refused(value: object) -> None:
    with pytest.raises(Base64Error):
        decode(value)  # type: ignore[arg-type]
