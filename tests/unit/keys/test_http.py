"""The one form of HTTP signature between partners; the library http-message-signatures is the second opinion."""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, InvalidSignature, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st

from keys import base64url
from keys.errors import HttpSignatureError
from keys.http import ClaimedSignature, read_signature, sign_request, verify_request
from keys.key import Ed25519Public, Ed25519Secret
from tests.support.vectors import vectors

SECRET = Ed25519Secret.from_seed(bytes(range(32)))
OTHER = Ed25519Secret.from_seed(bytes(32))
NOW = 1_790_000_000
ORG = "la-850"
MESSAGE_ID = "01990000-0000-7000-8000-000000000001"
TARGET = "https://hants.example/exchange/v1/messages"
PAGE = "https://hants.example/exchange/v1/events?agreement=ab&org=la-850&after=0"
BODY = b'{"invented":true}'
KEY_ID = f"{ORG}#{SECRET.public.kid}"
POST_COMPONENTS = ("@method", "@target-uri", "content-type", "content-digest", "idempotency-key")
GET_COMPONENTS = ("@method", "@target-uri")


def make_post(**changes: Any) -> dict[str, str]:
    arguments: dict[str, Any] = {
        "method": "POST",
        "target_uri": TARGET,
        "body": BODY,
        "idempotency_key": MESSAGE_ID,
        "content_type": "application/jose+json",
        "created": NOW,
        "nonce": bytes(range(16)),
        "org": ORG,
        "secret": SECRET,
    }
    return sign_request(**{**arguments, **changes})


def make_get(**changes: Any) -> dict[str, str]:
    without_body = {"method": "GET", "target_uri": PAGE, "body": None, "idempotency_key": None, "content_type": None}
    return make_post(**{**without_body, **changes})


def receive(
    headers: dict[str, str] | list[tuple[str, str]],
    *,
    method: str = "POST",
    target_uri: str = TARGET,
    body: bytes = BODY,
    public: Ed25519Public = SECRET.public,
    now: int = NOW,
) -> ClaimedSignature:
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    claimed = read_signature(pairs, method=method, target_uri=target_uri)
    verify_request(claimed, body, public, now)
    return claimed


def refused(code: str, headers: dict[str, str] | list[tuple[str, str]], **arguments: Any) -> None:
    with pytest.raises(HttpSignatureError) as caught:
        receive(headers, **arguments)
    assert caught.value.code == code


def test_headers_of_a_post_are_those_of_the_format_page() -> None:
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    parameters = (
        '("@method" "@target-uri" "content-type" "content-digest" "idempotency-key");created=1790000000'
        f';nonce="AAECAwQFBgcICQoLDA0ODw";keyid="{KEY_ID}";alg="ed25519";tag="safehand-1"'
    )
    base = (
        f'"@method": POST\n"@target-uri": {TARGET}\n"content-type": application/jose+json\n'
        f'"content-digest": sha-256=:{digest}:\n"idempotency-key": {MESSAGE_ID}\n"@signature-params": {parameters}'
    )
    assert make_post() == {
        "Content-Type": "application/jose+json",
        "Content-Digest": f"sha-256=:{digest}:",
        "Idempotency-Key": MESSAGE_ID,
        "Signature-Input": f"safehand={parameters}",
        "Signature": f"safehand=:{base64.b64encode(SECRET.sign(base.encode())).decode()}:",
    }


def test_headers_of_a_get_are_two() -> None:
    headers = make_get()
    assert list(headers) == ["Signature-Input", "Signature"]
    assert headers["Signature-Input"].startswith('safehand=("@method" "@target-uri");created=')


def test_signed_request_is_accepted_and_tells_who_claims_what() -> None:
    claimed = receive(make_post())
    assert (claimed.org, claimed.kid, claimed.created) == (ORG, SECRET.public.kid, NOW)
    assert (claimed.nonce, claimed.idempotency_key) == (bytes(range(16)), MESSAGE_ID)
    assert receive(make_get(), method="GET", target_uri=PAGE, body=b"").idempotency_key is None
    assert receive(make_post(body=b""), body=b"").content_digest == hashlib.sha256(b"").digest()
    receive(make_post(method="PUT"), method="PUT")


def test_names_of_headers_have_no_case_and_other_headers_do_not_matter() -> None:
    pairs = [("Host", "elsewhere.example"), *((name.upper(), value) for name, value in make_post().items())]
    receive([*pairs, ("X-Forwarded-Host", "elsewhere.example"), ("X-Forwarded-Host", "twice.example")])


@pytest.mark.parametrize("shift", [-300, 0, 300])
def test_request_within_300_seconds_is_accepted(shift: int) -> None:
    receive(make_post(), now=NOW + shift)


@pytest.mark.parametrize("shift", [-301, 301, 10**6])
def test_request_outside_300_seconds_is_refused(shift: int) -> None:
    refused("http.window", make_post(), now=NOW + shift)


def test_signature_moved_to_another_request_is_refused() -> None:
    refused("http.content-digest", make_post(), body=BODY + b" ")
    refused("http.content-digest", make_post(), body=b"")
    refused("http.signature", make_post(), target_uri=TARGET + "?x=1")
    refused("http.signature", make_post(), target_uri=TARGET.replace("hants", "kc"))
    refused("http.signature", make_post(), method="PUT")
    refused("http.signature", {**make_post(), "Idempotency-Key": "another"})
    refused("http.signature", {**make_post(), "Content-Digest": make_post(body=b"x")["Content-Digest"]}, body=b"x")
    refused("http.signature", make_get(), method="GET", target_uri=PAGE + "0", body=b"")


def test_signature_of_a_get_is_none_for_a_post_or_the_other_way_round() -> None:
    refused("http.form", {**make_post(), **make_get(target_uri=TARGET)})
    refused("http.form", make_post(), method="GET")
    refused("http.header", make_get(target_uri=TARGET))


def test_body_that_no_digest_covers_is_refused() -> None:
    refused("http.body", make_get(), method="GET", target_uri=PAGE, body=b"x")


def test_another_key_or_organisation_than_the_one_named_is_refused() -> None:
    refused("http.key", make_post(), public=OTHER.public)
    refused("http.key", make_post(secret=OTHER))
    headers = make_post()
    headers["Signature-Input"] = headers["Signature-Input"].replace('"la-850#', '"la-207#')
    refused("http.signature", headers)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("safehand=(", "safehand= ("),
        ("safehand=", "sig1="),
        (";created=", "; created="),
        (";alg=", ";ALG="),
        ('alg="ed25519"', 'alg="hmac-sha256"'),
        (';alg="ed25519"', ""),
        (';tag="safehand-1"', ""),
        ('tag="safehand-1"', 'tag="safehand-2"'),
        (';tag="safehand-1"', ';tag="safehand-1";expires=1790000100'),
        ('"@method" "@target-uri"', '"@target-uri" "@method"'),
        (' "content-digest"', ""),
        (' "idempotency-key"', ' "idempotency-key" "date"'),
        ('"@target-uri"', '"@path"'),
        ('"content-type"', '"content-type";sf'),
        ("created=1790000000", "created=01790000000"),
        ("created=1790000000", "created=-1790000000"),
        ("created=1790000000", "created=1790000000.0"),
        ("created=1790000000", "created=\u0661790000000"),
        ("created=1790000000", "created=" + "9" * 16),
        ("created=1790000000;", ""),
        ('ODw";keyid', 'ODx";keyid'),
        ('ODw";keyid', 'ODw=";keyid'),
        ('ODw";keyid', 'OD";keyid'),
        ('"la-850#', '"LA-850#'),
        ('"la-850#', '"#'),
        ('"la-850#', '"-la-850#'),
        ('"la-850#', '"la-850##'),
        (SECRET.public.kid, SECRET.public.kid[:-1]),
        (SECRET.public.kid, SECRET.public.kid[:-1] + "B"),
    ],
)
def test_signature_input_in_any_other_form_is_refused(old: str, new: str) -> None:
    headers = make_post()
    assert old in headers["Signature-Input"]
    refused("http.form", {**headers, "Signature-Input": headers["Signature-Input"].replace(old, new)})


@pytest.mark.parametrize("ending", [",", ", x=()", " ", "\n", ";x", ', safehand=("@method");created=1790000000'])
@pytest.mark.parametrize("name", ["Signature-Input", "Signature", "Content-Digest"])
def test_second_member_or_anything_after_the_first_is_refused(name: str, ending: str) -> None:
    headers = make_post()
    code = "http.content-digest" if name == "Content-Digest" else "http.form"
    refused(code, {**headers, name: headers[name] + ending})


@pytest.mark.parametrize("name", ["Signature-Input", "Signature", "Content-Type", "Content-Digest", "Idempotency-Key"])
def test_header_that_is_missing_or_repeated_is_refused(name: str) -> None:
    pairs = list(make_post().items())
    refused("http.header", [pair for pair in pairs if pair[0] != name])
    refused("http.header", [*pairs, (name.lower(), dict(pairs)[name])])
    refused("http.header", [(name, ""), *pairs])


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("Signature", "safehand=::", "http.form"),
        ("Signature", "safehand=:AAAA:", "http.form"),
        ("Signature", "sig1=:" + "A" * 86 + "==:", "http.form"),
        ("Signature", "safehand=:" + "A" * 85 + "B==:", "http.form"),
        ("Signature", "safehand=:" + "-" * 86 + "==:", "http.form"),
        ("Signature", "safehand=:" + "é" * 86 + "==:", "http.form"),
        ("Signature", "safehand=" + "A" * 86 + "==", "http.form"),
        ("Content-Digest", "sha-256=:" + "A" * 42 + "B=:", "http.content-digest"),
        ("Content-Digest", "sha-512=:" + "A" * 43 + "=:", "http.content-digest"),
        ("Content-Digest", "sha-256=" + "A" * 43 + "=", "http.content-digest"),
        ("Content-Type", "application/jose+json; charset=utf-8", "http.content-type"),
        ("Content-Type", "application/json", "http.content-type"),
        ("Content-Type", "APPLICATION/JOSE+JSON", "http.content-type"),
        ("Idempotency-Key", f'"{MESSAGE_ID}"', "http.idempotency-key"),
        ("Idempotency-Key", "", "http.idempotency-key"),
        ("Idempotency-Key", "a b", "http.idempotency-key"),
        ("Idempotency-Key", "a\nb", "http.idempotency-key"),
        ("Idempotency-Key", "a" * 129, "http.idempotency-key"),
    ],
)
def test_header_in_any_other_form_is_refused(name: str, value: str, code: str) -> None:
    refused(code, {**make_post(), name: value})


@pytest.mark.parametrize("method", ["get", "DELETE", "HEAD", "PATCH", "POST ", ""])
def test_other_methods_are_refused(method: str) -> None:
    refused("http.method", make_post(), method=method)


@pytest.mark.parametrize("target", ["", "https://a b", "https://a/\n", "https://ä"])
def test_target_that_is_not_visible_ascii_is_refused(target: str) -> None:
    refused("http.target", make_post(), target_uri=target)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_change_of_any_character_of_any_header_is_refused(data: st.DataObject) -> None:
    headers = make_post()
    name = data.draw(st.sampled_from(list(headers)))
    position = data.draw(st.integers(0, len(headers[name]) - 1))
    character = data.draw(st.characters(max_codepoint=0x17F).filter(lambda c: c != headers[name][position]))
    value = headers[name][:position] + character + headers[name][position + 1 :]
    with pytest.raises(HttpSignatureError):
        receive({**headers, name: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GET"},
        {"body": None},
        {"body": None, "method": "GET"},
        {"method": "DELETE"},
        {"nonce": bytes(15)},
        {"org": "LA-850"},
        {"org": 'la"#'},
        {"target_uri": "https://a/\nx"},
        {"target_uri": "https://ä/"},
        {"content_type": "application/json"},
        {"content_type": None},
        {"idempotency_key": None},
        {"idempotency_key": "a b"},
        {"created": 0},
    ],
)
def test_request_that_a_partner_would_refuse_is_not_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        make_post(**changes)


def test_parameters_without_the_label_and_list_before_them_are_refused() -> None:
    headers = make_post()
    given = headers["Signature-Input"]
    for bare in (given[given.index(";created") :], given.removeprefix("safehand=")):
        refused("http.form", {**headers, "Signature-Input": bare})


def test_claim_shows_no_digest_nonce_or_signature() -> None:
    claimed = read_signature(tuple(make_post().items()), method="POST", target_uri=TARGET)
    assert ORG in repr(claimed)
    for name in ("nonce", "signature", "content_digest", "base"):
        assert f"{name}=" not in repr(claimed)


# The second opinion.


@dataclass
class Request:
    method: str
    url: str
    headers: dict[str, str]


class Resolver:
    def resolve_public_key(self, key_id: str) -> ed25519.Ed25519PublicKey:
        assert key_id == KEY_ID
        return ed25519.Ed25519PublicKey.from_public_bytes(SECRET.public.raw)

    def resolve_private_key(self, key_id: str) -> ed25519.Ed25519PrivateKey:
        assert key_id == KEY_ID
        return ed25519.Ed25519PrivateKey.from_private_bytes(SECRET.seed)


class OrderedSigner(HTTPMessageSigner):
    """The library's signer, with the parameters in the order of the fixed form."""

    def _build_signature_base(self, message: Any, *, signature_params: Any, **others: Any) -> Any:
        ordered = {name: signature_params[name] for name in ("created", "nonce", "keyid", "alg", "tag")}
        return super()._build_signature_base(message, signature_params=ordered, **others)


def library_verify(request: Request, components: tuple[str, ...], body: bytes | None) -> None:
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=Resolver())  # type: ignore[arg-type]
    (result,) = verifier.verify(
        request, max_age=None, expect_tag="safehand-1", require_components=components, body=body
    )
    assert tuple(json.loads(name) for name in result.covered_components) == (*components, "@signature-params")
    assert result.nonce == base64url.encode(bytes(range(16)))


def library_sign(signer: type[HTTPMessageSigner], request: Request, components: tuple[str, ...]) -> None:
    signer(signature_algorithm=algorithms.ED25519, key_resolver=Resolver()).sign(  # type: ignore[arg-type]
        request,
        key_id=KEY_ID,
        created=datetime.fromtimestamp(CREATED, tz=UTC),
        nonce=base64url.encode(bytes(range(16))),
        label="safehand",
        tag="safehand-1",
        covered_component_ids=components,
        use_existing_digest="content-digest" in components,
    )


CREATED = 1_700_000_000  # in the past: the library asks the real clock


def test_the_library_accepts_what_we_sign() -> None:
    post = Request("POST", TARGET, make_post(created=CREATED))
    library_verify(post, POST_COMPONENTS, BODY)
    library_verify(Request("GET", PAGE, make_get(created=CREATED)), GET_COMPONENTS, None)
    for changed in (Request("PUT", TARGET, post.headers), Request("POST", PAGE, post.headers)):
        with pytest.raises(InvalidSignature):
            library_verify(changed, POST_COMPONENTS, BODY)


def test_we_accept_what_the_library_signs_in_the_fixed_form() -> None:
    unsigned = {name: value for name, value in make_post().items() if not name.startswith("Signature")}
    post = Request("POST", TARGET, dict(unsigned))
    library_sign(OrderedSigner, post, POST_COMPONENTS)
    assert post.headers == make_post(created=CREATED)
    receive(post.headers, now=CREATED)
    get = Request("GET", PAGE, {})
    library_sign(OrderedSigner, get, GET_COMPONENTS)
    assert get.headers == make_get(created=CREATED)


def test_valid_signature_of_the_library_in_another_order_is_refused() -> None:
    get = Request("GET", PAGE, {})
    library_sign(HTTPMessageSigner, get, GET_COMPONENTS)
    library_verify(get, GET_COMPONENTS, None)
    refused("http.form", get.headers, method="GET", target_uri=PAGE, body=b"", now=CREATED)


@pytest.mark.vectors
def test_published_signature_of_rfc_9421_verifies() -> None:
    case = json.loads(vectors("rfc9421-b26-ed25519.json").read_bytes())
    public = Ed25519Public.from_raw(base64.b64decode(case["public_key_b64"]))
    public.verify(base64.b64decode(case["signature_b64"]), case["signature_base"].encode())
