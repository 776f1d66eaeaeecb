"""Receipts: exact form, and what an honest one proves. What a false one does not is in tests/attacks/test_false_receipt.py."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import jsonschema_rs
import pytest
from msgspec import to_builtins

from gateway.core import receipt
from gateway.core.lifecycle import ReceiptEvent
from gateway.core.receipt import ReceiptBreach, Verdict
from gateway.tlog import entry as tlog_entry
from tests.support import independent
from tests.support.keys import NOW, make_origin
from tests.support.messages import (
    HEADS,
    MESSAGE_ID,
    RECEIPT_ID,
    A,
    B,
    about,
    bundle_of,
    make_entry,
    make_receipt,
    pair_of,
    seal_it,
    signer_of,
    transfer,
)
from tests.support.schemas import published

BREACH = ReceiptBreach(code="field.not-allowed", path="child.ethnicity", rule="no grant of this message lists it")
VERDICTS = [
    Verdict(event=ReceiptEvent.CHECKED),
    Verdict(event=ReceiptEvent.TAKEN),
    Verdict(event=ReceiptEvent.COLLECTED),
    Verdict(event=ReceiptEvent.REJECTED, code="expired"),
    Verdict(event=ReceiptEvent.REJECTED, code="lifetime"),
    Verdict(event=ReceiptEvent.REJECTED, code="agreement", breaches=(BREACH, BREACH)),
]


def members_of(data: bytes) -> dict[str, Any]:
    return independent.read_statement(data, independent.RECEIPT, signer_of(B).publics)


def test_receipt_is_the_designs_member_for_member() -> None:
    sealed = seal_it()
    agreement, _ = transfer()
    entry = make_entry(about(sealed))
    assert members_of(make_receipt(sealed)) == {
        "v": 1,
        "id": RECEIPT_ID,
        "event": "checked",
        "msg": MESSAGE_ID,
        "env": "sha256:" + hashlib.sha256(sealed.envelope).hexdigest(),
        "jws": "sha256:" + hashlib.sha256(sealed.inner).hexdigest(),
        "att": [],
        "agreement": {"id": agreement.id, "version": 1, "digest": agreement.digest, "heads": list(HEADS)},
        "from": B,
        "to": A,
        "sig": list(signer_of(B).kids),
        "bundle": bundle_of(B).digest,
        "at": NOW,
        "log": {"origin": make_origin(B), "entry": independent.b64u(entry)},
    }


def test_members_stand_in_the_designs_order() -> None:
    data = make_receipt(seal_it(), VERDICTS[-1])
    assert list(members_of(data)) == [
        *("v", "id", "event", "code", "breaches", "msg", "env", "jws", "att"),
        *("agreement", "from", "to", "sig", "bundle", "at", "log"),
    ]
    assert (
        members_of(data)["breaches"]
        == [{"code": "field.not-allowed", "path": "child.ethnicity", "rule": "no grant of this message lists it"}] * 2
    )


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: f"{verdict.event} {verdict.code or ''}")
def test_receipt_proves_what_its_issuer_said(verdict: Verdict) -> None:
    sealed = seal_it()
    claimed = receipt.read_receipt(make_receipt(sealed, verdict))
    entry = to_builtins(tlog_entry.parse(claimed.entry))
    assert receipt.accept(claimed, about(sealed), pair_of(B).public, entry=entry, now=NOW) == verdict


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: f"{verdict.event} {verdict.code or ''}")
def test_published_schema_takes_every_receipt(verdict: Verdict) -> None:
    jsonschema_rs.validator_for(json.loads(published("receipt"))).validate(members_of(make_receipt(seal_it(), verdict)))


def test_code_goes_with_rejected_alone() -> None:
    data = make_receipt(seal_it(), Verdict(event=ReceiptEvent.TAKEN, code="expired"))
    assert "code" not in members_of(data)


def test_late_receipt_stands_although_it_is_old() -> None:
    """A stored receipt may be brought by a retry days later; the keys are judged at `at`, by the caller."""
    sealed = seal_it()
    claimed = receipt.read_receipt(make_receipt(sealed))
    entry = to_builtins(tlog_entry.parse(claimed.entry))
    later = NOW + 29 * 86_400
    assert receipt.accept(claimed, about(sealed), pair_of(B).public, entry=entry, now=later).event == "checked"


def test_receipt_is_five_to_seven_kilobytes() -> None:
    assert 5_000 < len(make_receipt(seal_it())) < 7_500


def test_every_event_has_its_kind_of_entry() -> None:
    assert {str(event): receipt.ENTRY_KINDS[event] for event in ReceiptEvent} == {
        "checked": "received",
        "taken": "handed-over",
        "collected": "collected",
        "rejected": "refused-inbound",
    }
