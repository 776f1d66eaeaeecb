import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys import base64url, suite
from keys.errors import StatementError
from keys.key import Ed25519Public, Ed25519Secret, MlDsa65Public, MlDsa65Secret, SigningPair
from keys.statement import check_headers, read_statement, sign_statement, verify_statement

PAIR = SigningPair(Ed25519Secret.from_seed(bytes(32)), MlDsa65Secret.from_seed(bytes(32)))
OTHER = SigningPair(Ed25519Secret.from_seed(b"\1" * 32), MlDsa65Secret.from_seed(b"\1" * 32))
TYPE = suite.RECEIPT_TYPE
PAYLOAD = b'{"v":1,"note":"invented"}'
LIMIT = 64 * 1024
SIGNED = sign_statement(PAYLOAD, TYPE, PAIR.signers)

Publics = tuple[Ed25519Public | MlDsa65Public, ...]


def read_and_verify(data: bytes, typ: str = TYPE, publics: Publics = PAIR.public.publics, limit: int = LIMIT) -> bytes:
    return verify_statement(read_statement(data, limit=limit), typ, publics)


def wire(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    value = json.loads(SIGNED)
    result = change(value)
    return wire(value if result is None else result)


def refused(data: bytes, code: str, **arguments: Any) -> None:
    with pytest.raises(StatementError) as caught:
        read_and_verify(data, **arguments)
    assert caught.value.code == code


def test_signed_payload_comes_back_and_has_the_form_of_the_format_page() -> None:
    assert read_and_verify(SIGNED) == PAYLOAD
    value = json.loads(SIGNED)
    assert wire(value) == SIGNED
    assert list(value) == ["payload", "signatures"]
    for entry, alg, kid, size in zip(value["signatures"], ("Ed25519", "ML-DSA-65"), PAIR.kids, (64, 3309), strict=True):
        assert list(entry) == ["protected", "signature"]
        assert base64url.decode(entry["protected"]) == wire({"alg": alg, "kid": kid, "typ": TYPE})
        assert len(base64url.decode(entry["signature"])) == size


def test_signatures_cover_header_and_payload_as_rfc_7515_says() -> None:
    value = json.loads(SIGNED)
    publics: Publics = PAIR.public.publics
    for entry, public in zip(value["signatures"], publics, strict=True):
        signed = f"{entry['protected']}.{value['payload']}".encode()
        public.verify(base64url.decode(entry["signature"]), signed)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300))
def test_every_payload_comes_back(payload: bytes) -> None:
    assert read_and_verify(sign_statement(payload, TYPE, PAIR.signers)) == payload


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_change_of_any_byte_is_refused(position: int, difference: int) -> None:
    data = bytearray(SIGNED)
    data[position] ^= difference
    with pytest.raises(StatementError):
        read_and_verify(bytes(data))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(SIGNED)), st.sampled_from([b" ", b"\n", b"A", b"=", b"\0", b"\xef\xbb\xbf", b'"', b","]))
def test_insertion_anywhere_is_refused(position: int, inserted: bytes) -> None:
    with pytest.raises(StatementError):
        read_and_verify(SIGNED[:position] + inserted + SIGNED[position:])


@given(st.integers(0, len(SIGNED) - 1))
def test_cut_statement_is_refused(length: int) -> None:
    with pytest.raises(StatementError):
        read_and_verify(SIGNED[:length])


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,payloadsignatures01', max_size=60).map(str.encode))
def test_other_bytes_are_refused(data: bytes) -> None:
    refused(data, "statement.malformed")


def _signature(value: dict[str, Any], index: int) -> dict[str, Any]:
    entry: dict[str, Any] = value["signatures"][index]
    return entry


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["signatures"].pop(),
        lambda v: v["signatures"].pop(0),
        lambda v: v["signatures"].clear(),
        lambda v: v["signatures"].append(_signature(v, 0)),
        lambda v: v["signatures"].reverse(),
        lambda v: v["signatures"].__setitem__(1, _signature(v, 0)),
        lambda v: v["signatures"].__setitem__(0, _signature(v, 1)),
        lambda v: v.update(signatures={"0": _signature(v, 0)}),
        lambda v: v.update(extra="x"),
        lambda v: _signature(v, 0).update(header={"kid": "x"}),
        lambda v: {"signatures": v["signatures"], "payload": v["payload"]},
        lambda v: {"payload": v["payload"], **_signature(v, 0)},  # flattened serialisation
        lambda v: v.pop("payload") and None,
        lambda v: _signature(v, 1).pop("signature") and None,
        lambda v: v.update(payload=v["payload"] + "="),
        lambda v: v.update(payload=7),
        lambda v: _signature(v, 0).update(signature=""),
        lambda v: _signature(v, 0).update(signature=[_signature(v, 0)["signature"]]),
        lambda v: _signature(v, 1).update(signature=_signature(v, 1)["signature"][:-4]),
        lambda v: _signature(v, 0).update(protected=None),
        lambda v: [v],
        lambda v: v["payload"],
    ],
)
def test_statement_stripped_doubled_reordered_or_enlarged_is_malformed(change: Callable[[dict[str, Any]], Any]) -> None:
    refused(changed(change), "statement.malformed")


def test_both_signatures_twice_are_refused() -> None:
    refused(changed(lambda v: v["signatures"].extend(v["signatures"])), "statement.header")


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    "header",
    [
        lambda h: {**h, "crit": ["exp"]},
        lambda h: {**h, "jku": "https://keys.example"},
        lambda h: {**h, "jwk": {}},
        lambda h: {**h, "zip": "DEF"},
        lambda h: {**h, "b64": False},
        lambda h: {**h, "alg": "none"},
        lambda h: {**h, "alg": "EdDSA"},
        lambda h: {**h, "typ": suite.MESSAGE_TYPE},
        lambda h: {**h, "kid": OTHER.kids[0]},
        lambda h: {"kid": h["kid"], "alg": h["alg"], "typ": h["typ"]},
        lambda h: {"alg": h["alg"], "kid": h["kid"]},
    ],
)
def test_header_that_is_not_the_expected_bytes_is_refused(index: int, header: Callable[[Any], Any]) -> None:
    def change(value: dict[str, Any]) -> None:
        entry = _signature(value, index)
        protected = wire(header(json.loads(base64url.decode(entry["protected"]))))
        entry["protected"] = base64url.encode(protected)
        signature = PAIR.signers[index].sign(f"{entry['protected']}.{value['payload']}".encode())
        entry["signature"] = base64url.encode(signature)  # signed anew, so that only the header is wrong

    refused(changed(change), "statement.header")


def test_header_with_white_space_is_refused() -> None:
    def change(value: dict[str, Any]) -> None:
        entry = _signature(value, 0)
        entry["protected"] = base64url.encode(base64url.decode(entry["protected"]).replace(b",", b", "))

    refused(changed(change), "statement.header")


@pytest.mark.parametrize("index", [0, 1])
def test_one_false_signature_of_two_is_refused(index: int) -> None:
    def change(value: dict[str, Any]) -> None:
        signature = OTHER.signers[index].sign(b"another text")
        _signature(value, index)["signature"] = base64url.encode(signature)

    refused(changed(change), "statement.signature")


def test_statement_with_the_payload_of_another_is_refused() -> None:
    refused(changed(lambda v: v.update(payload=base64url.encode(b'{"v":2}'))), "statement.signature")


def test_statement_of_other_keys_or_another_type_is_refused() -> None:
    refused(SIGNED, "statement.header", publics=OTHER.public.publics)
    refused(SIGNED, "statement.header", publics=(PAIR.public.ed, OTHER.public.ml))
    refused(SIGNED, "statement.header", typ=suite.EVENT_TYPE)


def test_statement_above_the_limit_is_refused_and_at_the_limit_read() -> None:
    assert read_and_verify(SIGNED, limit=len(SIGNED)) == PAYLOAD
    refused(SIGNED, "statement.malformed", limit=len(SIGNED) - 1)


def test_duplicate_member_is_refused() -> None:
    refused(SIGNED.replace(b'{"payload"', b'{"payload":"e30","payload"', 1), "statement.malformed")


def test_root_change_has_four_signatures_and_all_are_needed() -> None:
    four = sign_statement(PAYLOAD, suite.BUNDLE_TYPE, (*PAIR.signers, *OTHER.signers))
    publics = (*PAIR.public.publics, *OTHER.public.publics)
    assert read_and_verify(four, suite.BUNDLE_TYPE, publics) == PAYLOAD
    refused(four, "statement.header", typ=suite.BUNDLE_TYPE, publics=PAIR.public.publics)
    refused(four, "statement.header", typ=suite.BUNDLE_TYPE, publics=(*publics[2:], *publics[:2]))
    two = sign_statement(PAYLOAD, suite.BUNDLE_TYPE, PAIR.signers)
    refused(two, "statement.header", typ=suite.BUNDLE_TYPE, publics=publics)
    value = json.loads(four)
    for index in range(4):
        bad = json.loads(four)
        bad["signatures"][index]["signature"] = value["signatures"][index - 2]["signature"]
        refused(wire(bad), "statement.signature", typ=suite.BUNDLE_TYPE, publics=publics)


def test_headers_can_be_checked_before_the_keys_are_known() -> None:
    claimed = read_statement(SIGNED, limit=LIMIT)
    check_headers(claimed, TYPE, PAIR.kids)
    for kids in [(), PAIR.kids[:1], PAIR.kids[::-1], OTHER.kids, PAIR.kids * 2]:
        with pytest.raises(StatementError):
            check_headers(claimed, TYPE, kids)


@pytest.mark.parametrize(
    "signers", [(), PAIR.signers[:1], PAIR.signers[::-1], (PAIR.ed, PAIR.ed), (*PAIR.signers, PAIR.ed)]
)
def test_signing_with_anything_but_whole_pairs_is_an_error(signers: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="pair"):
        sign_statement(PAYLOAD, TYPE, signers)
    with pytest.raises(ValueError, match="pair"):
        verify_statement(read_statement(SIGNED, limit=LIMIT), TYPE, [signer.public for signer in signers])


def test_claimed_statement_does_not_show_its_payload() -> None:
    claimed = read_statement(sign_statement(b"Invented Child", TYPE, PAIR.signers), limit=LIMIT)
    assert "Invented" not in repr(claimed)
