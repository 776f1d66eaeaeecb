"""Make the project's own vectors of format sh1: `python -m tests.vectors.make_vectors` writes them beside this file.

Every key, the content key, iv and salt come from the seeds written into the vectors. HPKE and ML-DSA draw randomness of
their own, so a new run gives other bytes: run it only when the format changes, never to make a test pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.core.lifecycle import ReceiptEvent
from gateway.core.receipt import ReceiptBreach, Verdict
from keys import fingerprint
from keys.http import sign_request
from tests.support import independent
from tests.support.keys import NOW, ed25519, make_endpoints, make_roots, seed
from tests.support.messages import (
    CEK,
    IV,
    MESSAGE_ID,
    SALT,
    A,
    B,
    about,
    bundle_of,
    insider,
    kem_of,
    make_checked,
    make_draft,
    make_entry,
    make_members,
    make_receipt,
    opener_of,
    pair_of,
    seal_it,
    signer_of,
)

FOLDER = Path(__file__).resolve().parent

BODY = {
    "case": {"reference": "KC/2027/0042", "reason": "moved-out-of-area", "status": "open"},
    "child": {"name": {"family": "Okafor-Lind", "given": "Zoë"}, "date_of_birth": "2015-03-09"},
}


def _signing(org: str) -> dict[str, Any]:
    return {
        "ed25519_seed": seed(f"{org} message-sign ed25519").hex(),
        "ml_dsa_65_seed": seed(f"{org} message-sign ml-dsa-65").hex(),
        "jwks": [public.jwk() for public in pair_of(org).public.publics],
    }


def make_keys() -> dict[str, Any]:
    """Every key that the other vectors use, and the two bundles that list them."""
    return {
        "sender": {"org": A, "message_sign": _signing(A), "bundle": bundle_of(A).jws.decode()},
        "recipient": {
            "org": B,
            "message_sign": _signing(B),
            "message_kem": {"x_wing_seed": seed(f"{B} message-kem 1 x-wing").hex(), "jwk": kem_of(B).public.jwk()},
            "bundle": bundle_of(B).jws.decode(),
        },
    }


def make_envelope() -> dict[str, Any]:
    """One message, from the members of P to the bytes on the wire."""
    sealed = seal_it(make_draft(make_checked(BODY)))
    payload = independent.unb64u(json.loads(sealed.inner)["payload"])
    return {
        "now": NOW,
        "cek": CEK.hex(),
        "iv": IV.hex(),
        "salt": SALT.hex(),
        "payload": payload.decode(),
        "inner": sealed.inner.decode(),
        "jws": sealed.jws,
        "envelope": sealed.envelope.decode(),
        "env": sealed.env,
    }


def make_receipts(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """The receipts that the message of `make_envelope` can get."""
    draft = make_draft(make_checked(BODY))
    subject = about(seal_it(draft))
    subject = type(subject)(
        msg=subject.msg,
        env=envelope["env"],
        jws=envelope["jws"],
        agreement=subject.agreement,
        sender=A,
        recipient=B,
    )
    breach = ReceiptBreach(code="field.not-allowed", path="child.ethnicity", rule="no grant of this message lists it")
    verdicts = {
        "checked": Verdict(event=ReceiptEvent.CHECKED),
        "taken": Verdict(event=ReceiptEvent.TAKEN),
        "collected": Verdict(event=ReceiptEvent.COLLECTED),
        "rejected": Verdict(event=ReceiptEvent.REJECTED, code="agreement", breaches=(breach,)),
        "expired": Verdict(event=ReceiptEvent.REJECTED, code="expired"),
    }
    kinds = {"rejected": "refused-inbound", "expired": "refused-inbound", "taken": "handed-over"}
    made = {}
    for name, verdict in verdicts.items():
        entry = make_entry(subject, kinds.get(name, "received" if name == "checked" else name))
        data = make_receipt(seal_it(draft), verdict, subject=subject, entry=entry)
        made[name] = {
            "payload": independent.unb64u(json.loads(data)["payload"]).decode(),
            "entry": entry.decode(),
            "receipt": data.decode(),
        }
    return made


def make_refused() -> list[dict[str, Any]]:
    """Envelopes that must be refused, each for one reason; `step` is the first reading step that fails."""
    honest = make_members(body=BODY)

    def header(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
        return lambda members: independent.wire({**members, **changes})

    wrong_kc = header(kc=independent.commitment(bytes(32)))
    swapped = insider().inner(honest)
    statement = json.loads(swapped)
    statement["signatures"].reverse()
    stripped = json.loads(swapped)
    stripped["signatures"].pop()
    stranger = independent.Signer(seed("stranger ed25519"), seed("stranger ml-dsa-65"))
    payload = independent.wire(honest)
    forged = {
        "payload": independent.b64u(payload),
        "signatures": stranger.signatures(payload, independent.MESSAGE, kids=signer_of(A).kids),
    }
    envelope = insider().envelope(honest)
    cases: list[tuple[str, str, bytes]] = [
        ("2", "white space after the first comma", envelope.replace(b",", b", ", 1)),
        ("2", "a duplicate member", envelope.replace(b'{"protected":', b'{"tag":"","protected":', 1)),
        ("3", "padded base64url", envelope.replace(b'","ciphertext"', b'==","ciphertext"', 1)),
        ("4", "zip in the protected header", insider().envelope(honest, header=header(zip="DEF"))),
        ("4", "another content encryption", insider().envelope(honest, header=header(enc="A128GCM"))),
        ("4", "rh of other recipients", insider().envelope(honest, header=header(rh=independent.b64u(bytes(32))))),
        ("5", "sealed to a key of somebody else", _sealed_to_stranger(honest)),
        ("7", "kc of another content key", insider().envelope(honest, header=wrong_kc)),
        ("9", "the post-quantum signature stripped", insider().envelope(inner=independent.wire(stripped))),
        ("9", "signatures in the other order", insider().envelope(inner=independent.wire(statement))),
        ("9", "a null in P", _signed(payload.replace(b',"facts":', b',"thread":null,"facts":', 1))),
        ("9", "a duplicate member in P", _signed(payload.replace(b'{"v":1,', b'{"v":1,"v":1,', 1))),
        ("9", "a number that is not whole in P", _signed(payload.replace(b'"version":1', b'"version":1.0', 1))),
        ("11", "signed by others than it names", insider().envelope(inner=independent.wire(forged))),
        ("12", "a recipient that was not signed", _with_second_reader(honest)),
    ]
    return [{"step": step, "why": why, "envelope": data.decode()} for step, why, data in cases]


def _sealed_to_stranger(members: dict[str, Any]) -> bytes:
    return independent.encrypt(
        insider().inner(members), [independent.wrap(CEK, independent.Opener(seed("stranger")).public)], cek=CEK, iv=IV
    )


def _with_second_reader(members: dict[str, Any]) -> bytes:
    publics = [opener_of(B).public, independent.Opener(seed("stranger")).public]
    return independent.encrypt(
        insider().inner(members), [independent.wrap(CEK, public) for public in publics], cek=CEK, iv=IV
    )


def _signed(payload: bytes) -> bytes:
    return insider().envelope(inner=signer_of(A).sign(payload, independent.MESSAGE))


def make_http(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """The signed requests that carry the message, and that ask for events."""
    base = make_endpoints(B).exchange
    secret, nonce = ed25519(f"{A} http"), seed("http nonce")[:16]
    target = f"{base}/exchange/v1/messages"
    get = f"{base}/exchange/v1/events?agreement={'ab' * 32}&org={B}&after=0"
    common: dict[str, Any] = {"created": NOW, "nonce": nonce, "org": A, "secret": secret}
    return {
        "ed25519_seed": secret.seed.hex(),
        "jwk": secret.public.jwk(),
        "post": {
            "method": "POST",
            "target": target,
            "body": "the envelope of envelope.json",
            "headers": sign_request(
                method="POST",
                target_uri=target,
                body=envelope["envelope"].encode(),
                idempotency_key=MESSAGE_ID,
                content_type="application/jose+json",
                **common,
            ),
        },
        "get": {
            "method": "GET",
            "target": get,
            "headers": sign_request(
                method="GET", target_uri=get, body=None, idempotency_key=None, content_type=None, **common
            ),
        },
    }


def make_fingerprint() -> dict[str, Any]:
    """What two people compare by telephone."""
    roots = make_roots(A).public
    value = fingerprint.fingerprint(A, roots)
    return {
        "org": A,
        "thumbprints": list(roots.kids),
        "hex": fingerprint.to_hex(value),
        "words": list(fingerprint.to_words(value)),
    }


def make_all() -> dict[str, Any]:
    """Every vector file by its name."""
    envelope = make_envelope()
    return {
        "keys": make_keys(),
        "envelope": envelope,
        "receipts": make_receipts(envelope),
        "refused": make_refused(),
        "http": make_http(envelope),
        "fingerprint": make_fingerprint(),
    }


def read(name: str) -> Any:
    """The vectors of this name as they lie beside this file."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


# --- the examples in docs/envelope.md

DOCUMENT = FOLDER.parents[1] / "docs" / "envelope.md"
_EXAMPLE = re.compile(r"(<!-- example: ([a-z-]+) -->\n```[a-z]*\n)(.*?)(\n```\n)", re.DOTALL)
_LONGEST = 100  # characters of a text that an example shows whole


def make_examples() -> dict[str, str]:
    """What docs/envelope.md shows of the vectors: white space added, long texts cut with their length in brackets."""
    envelope, receipts, http = read("envelope"), read("receipts"), read("http")
    whole = json.loads(envelope["envelope"])
    bundle = json.loads(read("keys")["recipient"]["bundle"])
    post = http["post"]["headers"]
    rejected = json.loads(receipts["rejected"]["payload"])
    return {
        "envelope": _shown(whole),
        "header": independent.unb64u(whole["protected"]).decode(),
        "inner": _shown(json.loads(envelope["inner"])),
        "payload": _shown(json.loads(envelope["payload"])),
        "receipt": _shown(json.loads(receipts["checked"]["payload"])),
        "entry": receipts["checked"]["entry"],
        "rejected": _shown({name: rejected[name] for name in ("event", "code", "breaches")}),
        "bundle": _shown(_first_of_each_role(json.loads(independent.unb64u(bundle["payload"])))),
        "request": "\n".join(["POST /exchange/v1/messages", *(f"{name}: {value}" for name, value in post.items())]),
        "base": _signature_base(http["post"]),
        "fingerprint": _shown(read("fingerprint")),
    }


def with_examples(text: str) -> str:
    """The document with every example as the vectors have it."""
    examples = make_examples()
    return _EXAMPLE.sub(lambda found: found[1] + examples[found[2]] + found[4], text)


def _first_of_each_role(bundle: dict[str, Any]) -> dict[str, Any]:
    """The bundle with one KEM key, one message-sign pair and the log key, for brevity."""
    wanted = {"message-kem": 1, "message-sign": 2, "log": 1}
    chosen = []
    for entry in bundle["keys"]:
        if wanted.get(entry["role"], 0) > 0:
            wanted[entry["role"]] -= 1
            chosen.append(entry)
    return {**bundle, "keys": chosen}


def _shown(value: Any) -> str:
    return json.dumps(_cut(value), ensure_ascii=False, indent=1)


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cut(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    long = isinstance(value, str) and len(value) > _LONGEST
    return f"{value[:24]}… ({len(value)})" if long else value


def _signature_base(post: Mapping[str, Any]) -> str:
    headers = post["headers"]
    covered = [f'"{name.lower()}": {headers[name]}' for name in ("Content-Type", "Content-Digest", "Idempotency-Key")]
    parameters = headers["Signature-Input"].removeprefix("safehand=")
    return "\n".join(
        ['"@method": POST', f'"@target-uri": {post["target"]}', *covered, f'"@signature-params": {parameters}']
    )


def write() -> None:
    """Write every vector anew, and the examples of the document."""
    for name, content in make_all().items():
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    DOCUMENT.write_text(with_examples(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
