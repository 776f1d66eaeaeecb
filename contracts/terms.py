"""What an agreement says, as types: parties, purpose, bases, conditions, messages and their grants, duties.

Pure data, made by `contracts.agreement` alone. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from contracts.names import OrgId, Party

Mode = Literal["bilateral", "unilateral", "emergency"]
Need = Literal["required", "expected", "optional"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyTerms:
    """One party. `root` is the fingerprint of its root keys, `""` in a template. Members that the lint asks for may
    be None here, and are for the website behind a unilateral schedule."""

    id: OrgId
    name: str
    kind: str
    on_behalf_of: tuple[OrgId, ...]
    recipient_class: str | None
    regime: str | None
    dpo: str | None
    ico: str | None
    privacy_notice: str | None
    root: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What the sharing is for, and whether the receiver may pass it on (`none`, or `listed` recipient classes)."""

    code: str
    statement: str
    onward: str | None
    onward_to: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """A named lawful basis; each grant points at one."""

    article6: str | None
    part3: str | None
    law: tuple[str, ...]
    article9: str | None
    schedule1: tuple[str, ...]
    article10: str | None
    policy_document: str | None
    gateways: tuple[str, ...]
    confidentiality: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison of one fact: `value` is a code, a whole number, a boolean, or a tuple of them with `in`."""

    fact: str
    operator: str
    value: str | int | bool | tuple[str | int | bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A named condition in plain English and exactly one of `test`, `all_of`, `any_of` (the compiler insists)."""

    says: str | None
    test: Comparison | None
    all_of: tuple[str, ...] | None
    any_of: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A group of fields that may travel while every condition in `when` is TRUE; `only` narrows code sets."""

    why: str | None
    need: Need
    basis: str
    when: tuple[str, ...]
    fields: tuple[str, ...]
    only: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one message type may carry in one direction."""

    type: str
    sender: Party
    recipient: Party
    max_subjects: int | None
    max_items: Mapping[str, int]
    require: tuple[str, ...]
    limit_to_request: bool
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long one receiving party keeps what it got, and what becomes of it. `then` is None only where missing."""

    days_after_close: int | None
    days_after_answer: int | None
    until_age: int | None
    then: str | None
    by_message: Mapping[str, Retention]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What is owed for one message type, in working days, and who is told when it is late."""

    answer_working_days: int
    escalate_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Safeguards:
    """References and periods that the lint asks for."""

    dpia: str | None
    break_glass_review_days: int | None
    breach_notice_hours: int | None
    exemptions: tuple[str, ...]
    dea_register_entry: str | None
