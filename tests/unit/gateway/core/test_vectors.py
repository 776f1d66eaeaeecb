"""The published vectors still hold, and docs/envelope.md shows what they say."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from msgspec import to_builtins

from gateway.core import receipt
from gateway.core.envelope import prove, read_envelope, seal, unlock
from gateway.core.errors import EnvelopeRejectedError
from gateway.core.lifecycle import ReceiptEvent
from gateway.core.message import OpenedMessage
from gateway.tlog import entry as tlog_entry
from keys import fingerprint
from keys.bundle import KeyBundle
from keys.http import read_signature, verify_request
from keys.key import Ed25519Public, VerifyingPair, XWingSecret, public_from_jwk
from tests.support import independent
from tests.support.keys import accept as accept_bundle
from tests.support.keys import make_roots
from tests.support.messages import make_checked, make_draft, pair_of
from tests.vectors.make_vectors import BODY, DOCUMENT, make_examples, read, with_examples

KEYS = read("keys")
ENVELOPE = read("envelope")
RECEIPTS = read("receipts")
REFUSED = read("refused")
NOW: int = ENVELOPE["now"]


def bundle_of(side: str) -> KeyBundle:
    return accept_bundle(KEYS[side]["bundle"].encode())


def pair_in(side: str) -> VerifyingPair:
    """The message-sign pair as a partner finds it: in the bundle."""
    pair = bundle_of(side).active_message_sign(NOW)
    assert pair is not None
    assert [public.jwk() for public in pair.public.publics] == KEYS[side]["message_sign"]["jwks"]
    return pair.public


def signer(side: str) -> independent.Signer:
    seeds = KEYS[side]["message_sign"]
    return independent.Signer(bytes.fromhex(seeds["ed25519_seed"]), bytes.fromhex(seeds["ml_dsa_65_seed"]))


def open_it(data: bytes) -> OpenedMessage:
    secret = XWingSecret.from_seed(bytes.fromhex(KEYS["recipient"]["message_kem"]["x_wing_seed"]))
    kid = KEYS["recipient"]["message_kem"]["jwk"]["kid"]
    assert secret.public.jwk() == KEYS["recipient"]["message_kem"]["jwk"]
    claimed = unlock(read_envelope(data), lambda asked: secret if asked == kid else None)
    return prove(
        claimed,
        pair_in("sender"),
        http_org=KEYS["sender"]["org"],
        own=KEYS["recipient"]["org"],
        idempotency_key=json.loads(ENVELOPE["payload"])["id"],
    )


def test_envelope_opens_here() -> None:
    opened = open_it(ENVELOPE["envelope"].encode())
    assert (opened.env, opened.jws, opened.inner.decode()) == (ENVELOPE["env"], ENVELOPE["jws"], ENVELOPE["inner"])
    assert opened.payload.body == BODY
    assert opened.payload.from_.bundle == bundle_of("sender").digest


def test_envelope_opens_for_the_independent_reader() -> None:
    opener = independent.Opener(bytes.fromhex(KEYS["recipient"]["message_kem"]["x_wing_seed"]))
    members = independent.open_envelope(ENVELOPE["envelope"].encode(), opener, signer("sender").publics)
    assert independent.wire(members).decode() == ENVELOPE["payload"]
    assert independent.decrypt(ENVELOPE["envelope"].encode(), opener)[0].hex() == ENVELOPE["cek"]


def test_what_is_sealed_today_differs_in_its_randomness_alone() -> None:
    """Seeds, content key, iv and salt give the same P; ML-DSA, HPKE and so all digests are new."""
    draft = make_draft(make_checked(BODY), bundle=bundle_of("sender").digest)
    parts: dict[str, Any] = {name: bytes.fromhex(ENVELOPE[name]) for name in ("cek", "iv", "salt")}
    sealed = seal(draft, pair_of(KEYS["sender"]["org"]), **parts)
    then, now = json.loads(ENVELOPE["inner"]), json.loads(sealed.inner)
    assert independent.unb64u(now["payload"]).decode() == ENVELOPE["payload"]
    assert now["signatures"][0] == then["signatures"][0]  # Ed25519 is deterministic
    assert now["signatures"][1]["protected"] == then["signatures"][1]["protected"]
    before = json.loads(independent.unb64u(json.loads(ENVELOPE["envelope"])["protected"]))
    after = json.loads(independent.unb64u(json.loads(sealed.envelope)["protected"]))
    assert after["kc"] == before["kc"]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: str(case["why"]))
def test_envelope_that_must_be_refused_is_refused_at_its_step(case: dict[str, str]) -> None:
    with pytest.raises(EnvelopeRejectedError) as refused:
        open_it(case["envelope"].encode())
    assert refused.value.step == case["step"]


@pytest.mark.parametrize("name", RECEIPTS)
def test_receipt_is_accepted(name: str) -> None:
    claimed = receipt.read_receipt(RECEIPTS[name]["receipt"].encode())
    assert claimed.statement.payload.decode() == RECEIPTS[name]["payload"]
    assert claimed.entry.decode() == RECEIPTS[name]["entry"]
    opened = open_it(ENVELOPE["envelope"].encode())
    about = receipt.ReceiptFor(
        msg=opened.payload.id,
        env=opened.env,
        jws=opened.jws,
        agreement=opened.payload.agreement,
        sender=KEYS["sender"]["org"],
        recipient=KEYS["recipient"]["org"],
    )
    entry = to_builtins(tlog_entry.parse(claimed.entry))
    verdict = receipt.accept(claimed, about, pair_in("recipient"), entry=entry, now=NOW)
    expected = {"rejected": ("rejected", "agreement"), "expired": ("rejected", "expired")}.get(name, (name, None))
    assert (verdict.event, verdict.code) == (ReceiptEvent(expected[0]), expected[1])


@pytest.mark.parametrize("kind", ["post", "get"])
def test_http_request_verifies(kind: str) -> None:
    vectors = read("http")
    request = vectors[kind]
    body = ENVELOPE["envelope"].encode() if kind == "post" else b""
    claimed = read_signature(tuple(request["headers"].items()), method=request["method"], target_uri=request["target"])
    public = public_from_jwk(vectors["jwk"])
    assert isinstance(public, Ed25519Public)
    verify_request(claimed, body, public, NOW)
    key = bundle_of("sender").http_key_for(claimed.kid, NOW)
    assert key == public


def test_fingerprint_is_that_of_the_roots_in_the_bundle() -> None:
    vectors = read("fingerprint")
    raw = b"".join(independent.unb64u(kid) for kid in vectors["thumbprints"])
    value = hashlib.sha256(b"safehand sh1 root\0" + vectors["org"].encode() + b"\0" + raw).digest()
    assert value.hex() == vectors["hex"]
    assert value == bundle_of("sender").fingerprint == fingerprint.fingerprint("la-207", make_roots("la-207").public)
    assert list(fingerprint.to_words(value)) == vectors["words"]


def test_document_shows_the_vectors() -> None:
    """`python -m tests.vectors.make_vectors` writes vectors and examples anew."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_examples(text) == text
    assert text.count("<!-- example: ") == len(make_examples())


def test_document_names_every_member_of_the_signed_payloads() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for data in (ENVELOPE["payload"], RECEIPTS["rejected"]["payload"], RECEIPTS["checked"]["payload"]):
        missing = [name for name in json.loads(data) if f"`{name}`" not in text]
        assert missing == []
