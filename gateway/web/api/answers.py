"""The JSON of every answer, as `openapi.json` describes it. Pure: values in, values out; a body appears in `content` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.core.happened import event_type
from gateway.core.payload import Payload
from gateway.forms import types_of
from gateway.governing import HeldAgreement
from gateway.message_proof import MessageProof, Proven
from gateway.ports import InboundMessage, MessageEvent, OutboundMessage
from gateway.summaries import agreement_line, moment, receipt_summary
from gateway.web.api.cursors import Kind, to_text
from keys.base64url import encode

_MICROSECONDS = 1_000_000


def accepted(stored: bytes) -> dict[str, Any]:
    """The answer of a submission, from the one that its transaction kept."""
    kept = orjson.loads(stored)
    return {
        "id": kept["id"],
        "state": kept["state"],
        "partner": kept["partner"],
        "type": kept["type"],
        "agreement": kept["agreement"],
        "expires": moment(kept["expires_at"]),
    }


def receipt(data: bytes) -> dict[str, Any]:
    return {**receipt_summary(data), "jws": encode(data)}


def message(found: OutboundMessage, proven: MessageProof, origin: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": found.id,
        "partner": found.partner,
        "type": found.type,
        "state": found.state.value,
        "urgency": found.urgency,
        "thread": found.thread,
        "agreement": found.agreement,
        "created": moment(found.created_at),
        "expires": moment(found.expires_at),
        "held_for": list(found.held_for),
        "attempts": found.attempts,
        "receipts": [receipt(data) for _, data in found.receipts],
        "proof": _proof(proven, origin),
    }
    if found.last_error is not None:
        told["last_error"] = found.last_error
    return told


def inbox_message(found: InboundMessage) -> dict[str, Any]:
    return {**_header(found), "receipts": [receipt(data) for _, data in found.receipts]}


def content(found: InboundMessage, payload: Payload) -> dict[str, Any]:
    return {**_header(found), "facts": payload.facts, "body": payload.body}


def page(
    kind: Kind, items: Sequence[tuple[int, dict[str, Any]]], after: int, limit: int, restored: bytes | None
) -> dict[str, Any]:
    """One page of (place, item): `next` goes on after the last, or after where this one began; `more` where the page is full."""
    last = items[-1][0] if items else after
    return {"items": [item for _, item in items], "next": to_text(kind, last, restored), "more": len(items) == limit}


def event(happened: MessageEvent) -> dict[str, Any]:
    return {
        "id": f"evt_{happened.index}",
        "at": moment(happened.at_us // _MICROSECONDS),
        "type": event_type(happened.state),
        "kind": happened.kind,
        "direction": happened.dir,
        "message": happened.message_id,
        "partner": happened.partner,
        "thread": happened.thread,
        "state": happened.state.value,
    }


def agreement(held: HeldAgreement, own: str) -> dict[str, Any]:
    line = agreement_line(held)
    return {
        "id": line["id"],
        "version": line["version"],
        "digest": line["digest"],
        "title": line["title"],
        "partner": held.other(own),
        "state": line["state"],
        "in_force": held.state.in_force,
        "reasons": line["reasons"],
        "signed_by": line["signed_by"],
        "suspended_by": line["suspended_by"],
        "sends": types_of(held, own),
        "receives": types_of(held, held.other(own)),
    }


def agreement_detail(held: HeldAgreement, own: str) -> dict[str, Any]:
    events = [
        {
            "org": one.payload.org,
            "n": one.payload.n,
            "action": one.payload.action.value,
            "at": moment(one.payload.at),
            "role": one.payload.actor_role,
            "digest": one.digest,
        }
        for one in held.events
    ]
    return {**agreement(held, own), "content": orjson.loads(held.agreement.canonical), "events": events}


def protected(counts: Mapping[str, int]) -> dict[str, int]:
    return {kind: counts.get(kind, 0) for kind in ("location", "identity")}


def _header(found: InboundMessage) -> dict[str, Any]:
    return {
        "sender": found.sender,
        "id": found.id,
        "type": found.type,
        "state": found.state.value,
        "urgency": found.urgency,
        "thread": found.thread,
        "agreement": found.agreement,
        "received": moment(found.received_at),
        "expires": moment(found.expires_at),
    }


def _proof(proven: MessageProof, origin: str) -> dict[str, Any]:
    told: dict[str, Any] = {"origin": origin, "entries": [_entry(one) for one in proven.entries]}
    if proven.checkpoint is not None:
        told["size"] = proven.checkpoint.size
        told["checkpoint"] = proven.checkpoint.note.decode()
    return told


def _entry(proven: Proven) -> dict[str, Any]:
    told: dict[str, Any] = {
        "index": proven.logged.index,
        "kind": proven.entry.kind,
        "leaf": _digest(proven.logged.leaf),
        "entry": encode(proven.logged.data),
    }
    if proven.hashes is not None:
        told["path"] = [_digest(value) for value in proven.hashes]
    return told


def _digest(value: bytes) -> str:
    return f"sha256:{value.hex()}"
