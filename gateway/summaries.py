"""What acts answer of messages, partners, keys and agreements: lines that people and programs read, and never a body. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.core import receipt
from gateway.core.tokens import Token
from gateway.governing import HeldAgreement
from gateway.ports import InboundMessage, OutboundMessage, Partner
from keys.bundle import KeyBundle
from keys.listed import ListedKey

_LAST_SECOND = 253_402_300_799  # the end of the year 9999


def inbound_header(message: InboundMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "from": message.sender,
        "type": message.type,
        "state": message.state.value,
        "urgency": message.urgency,
        "thread": message.thread,
        "agreement": message.agreement,
        "received": moment(message.received_at),
        "expires": moment(message.expires_at),
        "receipts": [receipt_summary(data) for _, data in message.receipts],
    }


def outbound_header(message: OutboundMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "to": message.partner,
        "type": message.type,
        "state": message.state.value,
        "urgency": message.urgency,
        "thread": message.thread,
        "agreement": message.agreement,
        "created": moment(message.created_at),
        "expires": moment(message.expires_at),
        "held_for": list(message.held_for),
        "attempts": message.attempts,
        "last_error": message.last_error,
        "receipts": [receipt_summary(data) for _, data in message.receipts],
    }


def receipt_summary(data: bytes) -> dict[str, Any]:
    """What one stored receipt says, for a list."""
    payload = receipt.read_receipt(data).payload
    said: dict[str, Any] = {"event": payload.event, "at": moment(payload.at), "id": payload.id}
    if isinstance(payload.code, str):
        said["code"] = payload.code
    if isinstance(payload.breaches, tuple):
        said["breaches"] = [{"code": b.code, "path": b.path, "rule": b.rule} for b in payload.breaches]
    return said


def partner_line(partner: Partner) -> dict[str, Any]:
    return {
        "org": partner.org,
        "name": partner.name,
        "verified": bool(partner.verified_by),
        "url": partner.url,
        "duty_number": partner.duty_number,
        "root": partner.root,
        "bundle": partner.newest.seq,
        "bundle_expires": moment(partner.newest.exp),
    }


def key_line(key: ListedKey, bundle: KeyBundle, now: int) -> dict[str, Any]:
    return {
        "role": key.role.value,
        "kid": key.kid,
        "state": "revoked" if bundle.is_revoked(key.kid) else key.state(now).value,
        "active_from": moment(key.nbf),
        "retires": moment(key.retire),
        "expires": moment(key.exp),
    }


def bundle_line(bundle: KeyBundle) -> dict[str, Any]:
    return {"org": bundle.org, "seq": bundle.seq, "digest": bundle.digest, "expires": moment(bundle.exp)}


def agreement_line(held: HeldAgreement) -> dict[str, Any]:
    state = held.state
    return {
        "id": held.agreement.id,
        "version": held.agreement.version,
        "digest": held.digest,
        "title": held.agreement.title,
        "parties": list(held.parties),
        "state": state.state.value,
        "reasons": [reason.value for reason in state.reasons],
        "signed_by": sorted(state.signed_by),
        "suspended_by": sorted({suspension.org for suspension in state.suspensions}),
        "alarms": [{"org": a.org, "n": a.n, "fault": a.fault.value} for a in state.alarms],
    }


def token_line(token: Token, now: datetime) -> dict[str, Any]:
    at = int(now.timestamp())
    state = "revoked" if token.revoked_at is not None else "in force" if token.in_force(at) else "expired"
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "scopes": sorted(token.scopes),
        "state": state,
        "created": moment(token.created_at),
        "expires": moment(token.expires_at),
    }


def moment(seconds: int) -> str:
    """A time as people read it; what lies beyond every calendar, as a partner may have written it, as its number."""
    if seconds > _LAST_SECOND:
        return str(seconds)
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
