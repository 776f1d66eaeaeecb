"""Aim: give one message two sets of bytes, so that its digests, receipts and the rule "once for ever" no longer bind.

Held off by one wire form: what is read is written again and compared, on the outside, in both headers, in the signed
statement and in P. Most of these are made by a sender who holds its true keys, and so signs and encrypts the odd bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.document import read_wire
from contracts.errors import DocumentError
from gateway.core.errors import EnvelopeRejectedError
from tests.support import independent
from tests.support.messages import A, altered, insider, make_members, open_it, seal_it, signer_of

P = independent.wire(make_members())
Change = Callable[[bytes], bytes]


def refuse(envelope: bytes) -> str:
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(envelope)
    assert refused.value.code == "unreadable"
    return refused.value.step


def signed(payload: bytes) -> bytes:
    """An envelope whose P is exactly these bytes, truly signed."""
    return insider().envelope(inner=signer_of(A).sign(payload, independent.MESSAGE))


def swap(old: bytes, new: bytes) -> Change:
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return change


def into_first_text(new: bytes) -> Change:
    """Puts bytes at the start of the first member's text."""
    return swap(b'":"', b'":"' + new)


def escape_first_character(data: bytes) -> bytes:
    place = data.index(b'":"') + 3
    return data[:place] + b"\\u%04x" % data[place] + data[place + 1 :]


ODD_JSON = {
    "space after a colon": swap(b'":', b'": '),
    "space after a comma": swap(b',"', b', "'),
    "line break at the end": lambda data: data + b"\n",
    "space at the start": lambda data: b" " + data,
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "needless escape": escape_first_character,
    "surrogate escape": into_first_text(b"\\ud83d\\ude00"),
    "lone surrogate": into_first_text(b"\\ud83d"),
    "not UTF-8": into_first_text(b"\xff"),
    "overlong UTF-8": into_first_text(b"\xc0\xaf"),
    "comment": lambda data: data[:-1] + b"/**/}",
    "trailing comma": lambda data: data[:-1] + b",}",
    "two documents": lambda data: data + data,
    "single quotes": lambda data: data.replace(b'"', b"'"),
}


def test_p_without_a_change_opens() -> None:
    assert open_it(signed(P)).payload.typ == "cme.transfer"


@pytest.mark.parametrize("change", ODD_JSON.values(), ids=ODD_JSON.keys())
def test_p_in_another_form_is_refused(change: Change) -> None:
    assert refuse(signed(change(P))) == "9"


@pytest.mark.parametrize("change", ODD_JSON.values(), ids=ODD_JSON.keys())
def test_envelope_in_another_form_is_refused(change: Change) -> None:
    assert refuse(change(seal_it().envelope)) in {"2", "3", "4"}


@pytest.mark.parametrize("change", ODD_JSON.values(), ids=ODD_JSON.keys())
def test_protected_header_in_another_form_is_refused(change: Change) -> None:
    assert refuse(insider().envelope(header=lambda header: change(independent.wire(header)))) == "4"


@pytest.mark.parametrize("change", ODD_JSON.values(), ids=ODD_JSON.keys())
def test_signed_statement_in_another_form_is_refused(change: Change) -> None:
    assert refuse(insider().envelope(inner=change(insider().inner(make_members())))) == "9"


@pytest.mark.parametrize(
    "data", ["outer", "recipient", "recipient header", "header", "inner", "signature", "p", "body"]
)
def test_duplicate_member_is_refused(data: str) -> None:
    """Every JSON parser keeps one of the two silently, and not every one the same."""
    double = {
        "outer": lambda: seal_it().envelope.replace(b'{"protected":', b'{"tag":"","protected":', 1),
        "recipient": lambda: seal_it().envelope.replace(b'{"header":', b'{"encrypted_key":"","header":', 1),
        "recipient header": lambda: seal_it().envelope.replace(b'{"alg":', b'{"alg":"dir","alg":', 1),
        "header": lambda: insider().envelope(
            header=lambda honest: independent.wire(honest).replace(b'{"enc":', b'{"enc":"none","enc":', 1)
        ),
        "inner": lambda: insider().envelope(
            inner=insider().inner(make_members()).replace(b'{"payload":', b'{"payload":"","payload":', 1)
        ),
        "signature": lambda: insider().envelope(
            inner=insider().inner(make_members()).replace(b'{"protected":', b'{"signature":"","protected":', 1)
        ),
        "p": lambda: signed(P.replace(b'{"v":1,', b'{"v":2,"v":1,', 1)),
        "body": lambda: signed(P.replace(b'{"reference":', b'{"status":"open","reference":', 1)),
    }
    assert refuse(double[data]()) in {"2", "4", "9"}


def reversed_members(value: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(list(value.items())))


def reverse_entry(recipients: list[dict[str, Any]]) -> None:
    recipients[0] = reversed_members(recipients[0])


def test_members_in_another_order_are_refused_everywhere() -> None:
    honest = seal_it().envelope
    assert refuse(independent.wire(reversed_members(json.loads(honest)))) == "2"
    assert refuse(insider().envelope(recipients=reverse_entry)) == "2"
    assert refuse(insider().envelope(header=lambda header: independent.wire(reversed_members(header)))) == "4"
    inner = json.loads(insider().inner(make_members()))
    assert refuse(insider().envelope(inner=independent.wire(reversed_members(inner)))) == "9"
    for place in ("from", "agreement"):
        members = make_members()
        members[place] = reversed_members(members[place])
        assert refuse(insider().envelope(members)) == "9"
    assert refuse(insider().envelope(reversed_members(make_members()))) == "9"


def test_order_inside_body_is_the_senders() -> None:
    members = make_members()
    members["body"] = reversed_members(members["body"])
    assert list(open_it(insider().envelope(members)).payload.body) == list(members["body"])


BASE64 = {
    "padding": lambda text: text + "=" * (-len(text) % 4 or 4),
    "white space": lambda text: text[:4] + " " + text[4:],
    "line break": lambda text: text + "\n",
    "plus for minus": lambda text: "+" + text[1:],
    "slash for underscore": lambda text: "/" + text[1:],
    "one character too many": lambda text: text + "A",
    "one character too few": lambda text: text[:-1],
    "not ASCII": lambda text: "é" + text[1:],
}
PLACES: dict[str, Callable[[Any], tuple[Any, str]]] = {
    "protected": lambda whole: (whole, "protected"),
    "iv": lambda whole: (whole, "iv"),
    "ciphertext": lambda whole: (whole, "ciphertext"),
    "tag": lambda whole: (whole, "tag"),
    "encrypted_key": lambda whole: (whole["recipients"][0], "encrypted_key"),
    "kid": lambda whole: (whole["recipients"][0]["header"], "kid"),
    "ek": lambda whole: (whole["recipients"][0]["header"], "ek"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", BASE64)
def test_text_that_is_not_canonical_base64url_is_refused(how: str, place: str) -> None:
    def change(whole: Any) -> None:
        inside, name = PLACES[place](whole)
        inside[name] = BASE64[how](inside[name])

    # The ciphertext alone has no length of its own: with one character more it may be base64url of something else.
    assert refuse(altered(seal_it().envelope, change)) in ({"3", "8"} if place == "ciphertext" else {"3"})


@pytest.mark.parametrize("place", ["tag", "kid", "ek"])
def test_left_over_bits_that_are_not_zero_are_refused(place: str) -> None:
    """The same bytes, written with another last character: what lenient decoders cannot tell apart."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    def change(whole: Any) -> None:
        inside, name = PLACES[place](whole)
        inside[name] = inside[name][:-1] + alphabet[alphabet.index(inside[name][-1]) + 1]

    assert refuse(altered(seal_it().envelope, change)) == "3"


def test_non_canonical_base64url_inside_the_signed_statement_is_refused() -> None:
    for path in (("payload",), ("signatures", 0, "signature"), ("signatures", 1, "protected")):

        def pad(statement: Any, path: tuple[Any, ...] = path) -> None:
            inside = statement
            for step in path[:-1]:
                inside = inside[step]
            inside[path[-1]] += "=="

        assert refuse(insider().envelope(inner=altered(insider().inner(make_members()), pad))) == "9"


def test_hash_over_the_recipients_must_be_theirs() -> None:
    assert (
        refuse(
            insider().envelope(header=lambda header: independent.wire({**header, "rh": independent.b64u(bytes(32))}))
        )
        == "4"
    )


NUMBERS = {
    "float": b"1800000000.0",
    "exponent": b"18e8",
    "negative": b"-1",
    "negative zero": b"-0",
    "leading zero": b"01800000000",
    "plus": b"+1800000000",
    "2^53": b"9007199254740992",
    "huge": b"9" * 400,
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "hexadecimal": b"0x6b49d200",
    "text": b'"1800000000"',
    "true": b"true",
    "null": b"null",
}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS.keys())
def test_number_in_another_form_is_refused(number: bytes) -> None:
    assert refuse(signed(P.replace(b'"iat":1800000000', b'"iat":' + number, 1))) == "9"


@pytest.mark.parametrize("number", [NUMBERS[name] for name in ("float", "exponent", "negative zero", "2^53", "NaN")])
def test_number_in_another_form_inside_the_body_is_refused(number: bytes) -> None:
    assert refuse(signed(P.replace(b'"status":"open"', b'"status":' + number, 1))) == "9"


def test_null_and_unknown_members_of_p_are_refused() -> None:
    assert refuse(signed(P.replace(b',"facts":', b',"thread":null,"facts":', 1))) == "9"
    assert refuse(signed(P.replace(b'"facts":', b'"extra":1,"facts":', 1))) == "9"
    assert refuse(signed(P.replace(b'"status":"open"', b'"status":null', 1))) == "9"


@pytest.mark.parametrize("name", ["Status", "stätus", "a b", "", "_a", "1a", "a" * 65, "a-b", "__proto__"])
def test_member_name_of_another_form_inside_the_body_is_refused(name: str) -> None:
    assert refuse(insider().envelope(make_members(body={name: 1}))) == "9"
    assert refuse(insider().envelope(make_members(body={"case": [{name: 1}]}))) == "9"


@pytest.mark.parametrize(("levels", "taken"), [(14, True), (15, False), (5000, False)])
def test_nesting_beyond_sixteen_is_refused_before_it_is_parsed(levels: int, taken: bool) -> None:
    deep = b'{"a":' + b"[" * levels + b"]" * levels + b"}"  # P is level 1, body level 2
    payload = P.replace(independent.wire(make_members()["body"]), deep, 1)
    if taken:
        assert open_it(signed(payload)).payload.typ == "cme.transfer"
    else:
        assert refuse(signed(payload)) == "9"


def test_payload_larger_than_a_payload_can_be_is_refused() -> None:
    assert refuse(insider().envelope(make_members(body={"a": "x" * (256 * 1024)}))) == "9"


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    text = '[{"' * 40
    with pytest.raises(DocumentError):
        read_wire(b'"' + b"[" * 40, limit=100)
    assert read_wire(independent.wire({"a": text}), limit=1000) == {"a": text}
