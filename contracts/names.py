"""Identifiers and their grammars: what an organisation, a message type, a field path and a member name look like.

Pure. Grammars only: whether an organisation exists or a path is in the vocabulary is decided elsewhere.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NewType

OrgId = NewType("OrgId", str)
AgreementId = NewType("AgreementId", str)
MessageType = NewType("MessageType", str)
FieldPath = NewType("FieldPath", str)
Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hex digits."""

Party = Literal["a", "b"]
"""Which of the two parties of an agreement sends."""

ZERO_DIGEST: Final = Digest("sha256:" + "0" * 64)

_ORGANISATION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # envelope section 10
_TEMPLATE_ORGANISATION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_AGREEMENT = re.compile(r"[a-z0-9][a-z0-9-]{0,78}[a-z0-9]")
_MESSAGE_TYPE = re.compile(r"[a-z0-9-]+(\.[a-z0-9_-]+)+")  # envelope section 10
_LONGEST_TYPE = 80
_SEGMENT = r"[a-z][a-z0-9_]{0,39}"
_FIELD_PATH = re.compile(rf"{_SEGMENT}(\[\])?(\.{_SEGMENT}(\[\])?)*")
_LONGEST_PATH = 80  # the field type `path` holds no more
_SAFE_KEY = re.compile(_SEGMENT)  # agreements section 2: what of an unknown key may be echoed
_LOCAL_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

SERVICE_TYPES: Final = frozenset(
    {
        "exchange.question",
        "exchange.withdrawal",
        "exchange.correction",
        "exchange.ack",
        "rights.notice",
        "case.closed",
        "breach.notice",
        "destruction.receipt",
    }
)
"""Message types that travel under every agreement with fixed bodies; no agreement may grant fields to one."""

ANSWERING_TYPES: Final = frozenset(
    {
        "cme.answer",
        "cme.enquiry_answer",
        "fraud.receipt",
        "health.answer",
        "home-office.response",
        "immigration.receipt",
        "la.cme_outcome",
        "la.referral_decision",
        "police.receipt",
        "school.enquiry_answer",
    }
)
"""Message types that answer a message, and so name its thread (agreements section 2). Not `police.response`: a request by
telephone is recorded, and no message; where a response answers a message, its grants ask for the thread."""


def is_organisation(text: str) -> bool:
    """Whether the text may stand in a signed agreement or a message as an organisation id."""
    return _ORGANISATION.fullmatch(text) is not None


def is_template_organisation(text: str) -> bool:
    """As `is_organisation`, but letters of either case: an id in a template is an example that is replaced when the
    agreement is drawn up (published templates write `ods-RW1`, as the NHS does)."""
    return _TEMPLATE_ORGANISATION.fullmatch(text) is not None


def is_agreement_id(text: str) -> bool:
    """Whether the text may name an agreement: 2 to 80 lower-case letters, digits and inner hyphens."""
    return _AGREEMENT.fullmatch(text) is not None


def is_message_type(text: str) -> bool:
    """Whether the text has the form of a message type, at most 80 characters."""
    return len(text) <= _LONGEST_TYPE and _MESSAGE_TYPE.fullmatch(text) is not None


def is_field_path(text: str) -> bool:
    """Whether the text is a generic path: member names joined by dots, `[]` after a list's name, no wildcard."""
    return len(text) <= _LONGEST_PATH and _FIELD_PATH.fullmatch(text) is not None


def is_local_name(text: str) -> bool:
    """Whether the text may name a condition or a basis inside one agreement."""
    return _LOCAL_NAME.fullmatch(text) is not None


def is_safe_key(text: object) -> bool:
    """Whether an unknown member name may be repeated in an error: anything else may itself be personal data."""
    return isinstance(text, str) and _SAFE_KEY.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether the text is a SHA-256 digest in text form."""
    return _DIGEST.fullmatch(text) is not None
