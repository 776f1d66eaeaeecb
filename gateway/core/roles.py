"""The roles of staff (flows): what a person, or a case system on behalf of persons, acts as. Pure; a closed list.

A role is what the exchange log and a receipt's entry say of who opened a record. Which person that was, and whether that
person has the role, is the organisation's own to know. No agreement names roles of its recipients, so every role may open.
"""

from __future__ import annotations

from enum import StrEnum

from gateway.core.errors import SubmissionRefusedError


class StaffRole(StrEnum):
    """Who acts; one person may hold several."""

    OFFICER = "officer"  # composes, answers
    DUTY = "duty"  # an officer out of hours
    APPROVER = "approver"  # a senior manager
    DPO = "dpo"  # reads the exchange log
    ADMIN = "admin"  # keys, partners, users


def check_role(role: str) -> None:
    """Raise SubmissionRefusedError, naming every role there is, for any other text."""
    if role not in set(StaffRole):
        raise SubmissionRefusedError("role.unknown", "role", f"one of {', '.join(StaffRole)}")
