"""Messages and receipts between two invented councils under the library's transfer agreement.

`seal_it()` is a message from la-207 to la-850; `make_receipt(seal_it())` its receipt. Everything but the signatures and
HPKE's own randomness comes from labels. `Forger` makes what honest code would not.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from contracts.agreement import Agreement, read_agreement
from contracts.check import CheckedBody, check
from contracts.compiled import CompiledAgreement, compile_agreement
from contracts.facts import civil_date
from contracts.library import template_bytes
from contracts.names import Party as Side
from contracts.register import vocabulary
from gateway import outbound
from gateway.core import receipt
from gateway.core.envelope import prove, read_envelope, seal, unlock
from gateway.core.lifecycle import ReceiptEvent
from gateway.core.message import (
    DAY,
    AgreementRef,
    ClaimedMessage,
    Draft,
    OpenedMessage,
    Party,
    SealedMessage,
    Submission,
)
from gateway.core.payload import Governing
from gateway.ports import Exchange
from gateway.tlog.entry import Entry, encode, nonce_text
from keys.bundle import KeyBundle
from keys.fingerprint import to_text
from keys.key import SigningPair, VerifyingPair, XWingSecret
from keys.ring import KeyRing
from tests.support import independent
from tests.support.keys import NOW, make_origin, make_pair, make_ring, make_roots, seed, x_wing

A, B, C = "la-207", "la-850", "la-919"
MESSAGE_ID = "019bbd3c-8ac0-7abc-8def-0123456789ab"
RECEIPT_ID = "019bbd3c-8ac0-7abc-8def-0123456789ac"
HEADS = ("sha256:" + "a1" * 32, "sha256:" + "b2" * 32)
CEK, IV, SALT = seed("cek"), seed("iv")[:12], seed("salt")[:16]

BODY: Mapping[str, Any] = {
    "case": {"reference": "KC/2027/0042", "reason": "moved-out-of-area", "status": "open"},
    "child": {
        "name": {"family": "Okafor-Lind", "given": "Zoë"},
        "date_of_birth": "2015-03-09",
        "upn": "H999202113003",
        "address": {"lines": ["14 Invented Row"], "town": "Southampton", "postcode": "SO14 9ZZ"},
    },
    "contacts": [{"relationship": "mother", "name": {"family": "Okafor", "given": "Ada"}, "telephone": "02380 999000"}],
}


@cache
def ring_of(org: str) -> KeyRing:
    """The ring of an organisation; made once, because a bundle costs two signatures."""
    return make_ring(org)


def bundle_of(org: str) -> KeyBundle:
    return ring_of(org).bundle


@cache
def transfer_toml(a: str = A, b: str = B) -> bytes:
    """The transfer agreement drawn up between two organisations: roots and vocabulary filled in."""
    text = template_bytes("la-la-cme-transfer.toml").decode()
    text = text.replace('sha256 = ""', f'sha256 = "{vocabulary().digest}"', 1)
    for org, old in ((a, A), (b, B)):
        root = to_text(bundle_of(org).fingerprint)
        assert bundle_of(org).roots == make_roots(org).public
        text = text.replace(f'id = "{old}"', f'id = "{org}"', 1).replace('root = ""', f'root = "{root}"', 1)
    return text.encode()


@cache
def transfer(a: str = A, b: str = B) -> tuple[Agreement, CompiledAgreement]:
    agreement = read_agreement(transfer_toml(a, b), file="transfer.toml")
    return agreement, compile_agreement(agreement, vocabulary())


def make_body(**paths: Any) -> dict[str, Any]:
    """The body of a transfer; `child__upn="…"` sets a member, a value of None takes it away."""
    body: dict[str, Any] = copy.deepcopy(dict(BODY))
    for path, value in paths.items():
        place: Any = body
        *above, last = path.split("__")
        for name in above:
            place = place.setdefault(name, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return body


def make_checked(
    body: Mapping[str, Any] | None = None,
    *,
    facts: Mapping[str, object] | None = None,
    type: str = "cme.transfer",  # noqa: A002 - the wire's own word
    sender: Side = "a",
) -> CheckedBody:
    return check(
        dict(make_body() if body is None else body),
        compiled=transfer()[1],
        type=type,
        sender=sender,
        facts={"urgency": "routine"} if facts is None else facts,
        on=civil_date(datetime.fromtimestamp(NOW, tz=UTC)),
        requested=None,
        protected=frozenset(),
        sending=True,
    )


def make_draft(checked: CheckedBody | None = None, *, kem: tuple[XWingSecret, ...] = (), **changes: Any) -> Draft:
    """A draft from la-207 to la-850, now; `kem` are the recipient's keys, its active one where none is given."""
    agreement, _ = transfer()
    keys = tuple(secret.public for secret in kem) or (kem_of(B).public,)
    members: dict[str, Any] = {
        "id": MESSAGE_ID,
        "type": "cme.transfer",
        "checked": checked or make_checked(),
        "sender": Party(org=A),
        "bundle": bundle_of(A).digest,
        "recipient": Party(org=B),
        "sealing_keys": keys,
        "issued_at": NOW,
        "expires_at": NOW + 10 * DAY,
        "agreement": AgreementRef(id=agreement.id, version=agreement.version, digest=agreement.digest, heads=HEADS),
        "thread": None,
        "replaces": None,
    }
    return Draft(**(members | changes))


def kem_of(org: str) -> XWingSecret:
    """The KEM key that is active at NOW."""
    return x_wing(f"{org} message-kem 1")


def pair_of(org: str) -> SigningPair:
    return make_pair(f"{org} message-sign")


def seal_it(draft: Draft | None = None, *, pair: SigningPair | None = None, cek: bytes = CEK) -> SealedMessage:
    return seal(draft or make_draft(), pair or pair_of(A), cek=cek, iv=IV, salt=SALT)


def unlock_it(envelope: bytes, *secrets: XWingSecret) -> ClaimedMessage:
    """Steps 1 to 9 with the given KEM keys, by default the active one of la-850."""
    keys = {secret.public.kid: secret for secret in secrets or (kem_of(B),)}
    return unlock(read_envelope(envelope), lambda kid: keys.get(kid))  # type: ignore[call-overload]


def open_it(
    envelope: bytes,
    *,
    by: VerifyingPair | None = None,
    http_org: str = A,
    own: str = B,
    idempotency_key: str = MESSAGE_ID,
) -> OpenedMessage:
    """All of steps 1 to 12 as la-850, for a message of la-207."""
    return prove(
        unlock_it(envelope),
        by or pair_of(A).public,
        http_org=http_org,
        own=own,
        idempotency_key=idempotency_key,
    )


# --- receipts


def about(sealed: SealedMessage) -> receipt.ReceiptFor:
    draft = sealed.draft
    return receipt.ReceiptFor(
        msg=draft.id,
        env=sealed.env,
        jws=sealed.jws,
        agreement=Governing(
            id=draft.agreement.id,
            version=draft.agreement.version,
            digest=draft.agreement.digest,
            heads=draft.agreement.heads,
        ),
        sender=draft.sender.org,
        recipient=draft.recipient.org,
    )


def make_entry(subject: receipt.ReceiptFor, kind: str = "received", **changes: Any) -> bytes:
    """The entry bytes of the recipient's log that a receipt is bound to."""
    members: dict[str, Any] = {
        "v": 1,
        "kind": kind,
        "at": NOW * 1_000_000,
        "nonce": nonce_text(seed("nonce")[:16]),
        "dir": "in",
        "env": subject.env,
        "jws": subject.jws,
        "msg": subject.msg,
        "org": subject.recipient,
        "origin": make_origin(subject.recipient),
        "partner": subject.sender,
        "type": "cme.transfer",
    }
    return encode(Entry(**(members | changes)))


def make_receipt(
    sealed: SealedMessage,
    verdict: receipt.Verdict | None = None,
    *,
    pair: SigningPair | None = None,
    subject: receipt.ReceiptFor | None = None,
    entry: bytes | None = None,
    at: int = NOW,
) -> bytes:
    """A receipt of la-850 for a sealed message; `checked` where no verdict is given."""
    said = verdict or receipt.Verdict(event=ReceiptEvent.CHECKED)
    named = subject or about(sealed)
    return receipt.issue(
        said,
        named,
        pair or pair_of(B),
        receipt_id=RECEIPT_ID,
        bundle=bundle_of(B).digest,
        at=at,
        origin=make_origin(B),
        entry=make_entry(named, receipt.ENTRY_KINDS[said.event.value]) if entry is None else entry,
    )


# --- forging


def signer_of(org: str) -> independent.Signer:
    """The signing pair of an organisation, as the independent writer holds it."""
    return independent.Signer(seed(f"{org} message-sign ed25519"), seed(f"{org} message-sign ml-dsa-65"))


def opener_of(org: str, number: int = 1) -> independent.Opener:
    return independent.Opener(seed(f"{org} message-kem {number} x-wing"))


def make_members(**changes: Any) -> dict[str, Any]:
    """The members of P of an honest message, changed: `iat=…`, `from__org=…`; None takes a member away.

    Written here once more, so that a forgery does not depend on what it attacks.
    """
    agreement, _ = transfer()
    members: dict[str, Any] = {
        "v": 1,
        "suite": "sh1",
        "id": MESSAGE_ID,
        "typ": "cme.transfer",
        "salt": independent.b64u(SALT),
        "from": {"org": A, "sig": list(signer_of(A).kids), "bundle": bundle_of(A).digest},
        "to": [{"org": B, "enc": opener_of(B).kid}],
        "iat": NOW,
        "exp": NOW + 10 * DAY,
        "agreement": {
            "id": agreement.id,
            "version": agreement.version,
            "digest": agreement.digest,
            "heads": list(HEADS),
        },
        "facts": {"urgency": "routine"},
        "body": make_body(),
        "att": [],
    }
    for path, value in changes.items():
        place: Any = members
        *above, last = path.split("__")
        for name in above:
            place = place[name]
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    added = [
        name for name in ("thread", "replaces") if name in members
    ]  # members that are not always there, in their place
    order = [*list(members)[: list(members).index("agreement")], *added] if added else []
    return {name: members[name] for name in dict.fromkeys([*order, *members])}


@dataclass(frozen=True)
class Forger:
    """Whoever holds the signing keys `signer` and makes an envelope of whatever members and bytes it likes."""

    signer: independent.Signer
    recipients: tuple[independent.Opener, ...]

    def inner(self, members: Mapping[str, Any]) -> bytes:
        return self.signer.sign(independent.wire(dict(members)), independent.MESSAGE)

    def envelope(
        self,
        members: Mapping[str, Any] | None = None,
        *,
        inner: bytes | None = None,
        header: Callable[[dict[str, Any]], bytes] | None = None,
        recipients: Callable[[list[dict[str, Any]]], Any] | None = None,
    ) -> bytes:
        """An envelope; `header` writes the protected header from its honest members, `recipients` alters the array
        before it is hashed."""
        signed = self.inner(make_members() if members is None else members) if inner is None else inner
        wrapped = [independent.wrap(CEK, opener.public) for opener in self.recipients]
        if recipients is not None:
            recipients(wrapped)
        made = None if header is None else header(independent.protected_header(CEK, wrapped))
        return independent.encrypt(signed, wrapped, cek=CEK, iv=IV, header=made)


def insider(org: str = A) -> Forger:
    """A true sender that is dishonest: it holds its own keys, and writes to la-850."""
    return Forger(signer_of(org), (opener_of(B),))


def altered(data: bytes, alter: Callable[[Any], object]) -> bytes:
    """JSON bytes whose value `alter` changed in place, in wire form again."""
    value = json.loads(data)
    alter(value)
    return independent.wire(value)


async def submission(exchange: Exchange, *, key: str = "first", **changes: Any) -> dict[str, Any]:
    """Submit a transfer to la-850 as an own client; return the answer. `body` may be a value or bytes."""
    body = changes.pop("body", None)
    data = body if isinstance(body, bytes) else independent.wire(make_body() if body is None else body)
    members: dict[str, Any] = {
        "partner": B,
        "type": "cme.transfer",
        "body": data,
        "facts": {"urgency": "routine"},
        "client": "tests",
        "key": key,
    }
    answer: dict[str, Any] = json.loads(await outbound.accept(Submission(**(members | changes)), exchange))
    return answer
