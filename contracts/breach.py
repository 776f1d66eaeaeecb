"""What a check finds wrong: a code, a place and a rule, never a value.

Pure. The codes are those of agreements section 2; they travel in signed receipts and in problem details.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from contracts.errors import ContractError


class BreachCode(StrEnum):
    """Every code that a breach can have."""

    MESSAGE_FACT = "message.fact"
    MESSAGE_NOT_IN_AGREEMENT = "message.not-in-agreement"
    MESSAGE_UNKNOWN = "message.unknown"
    MESSAGE_CONDITION = "message.condition-not-met"
    FIELD_UNKNOWN = "field.unknown"
    FIELD_NOT_ALLOWED = "field.not-allowed"
    FIELD_MISSING = "field.missing"
    FIELD_TYPE = "field.type"
    FIELD_VALUE = "field.value"
    FIELD_VALUE_NOT_ALLOWED = "field.value-not-allowed"
    FIELD_TOO_MANY = "field.too-many"
    FIELD_NOT_REQUESTED = "field.not-requested"
    FIELD_PROTECTED = "field.protected"
    AGREEMENT_NONE = "agreement.none"
    AGREEMENT_NOT_IN_FORCE = "agreement.not-in-force"
    AGREEMENT_DIGEST_MISMATCH = "agreement.digest-mismatch"
    AGREEMENT_AMBIGUOUS = "agreement.ambiguous"


@dataclass(frozen=True, slots=True, order=True)
class Breach:
    """One breach. `path` is where (`""` for the whole message); `rule` a fixed phrase for people.

    Verdicts are compared by (code, path); the rule may be worded differently elsewhere.
    """

    code: BreachCode
    path: str
    rule: str


class ContractBreachError(ContractError):
    """The message may not travel under its agreement; holds every breach found, at least one."""

    code = "contract.breach"

    def __init__(self, breaches: tuple[Breach, ...]) -> None:
        if not breaches:
            raise ValueError("a refusal names at least one breach")
        self.breaches = breaches
        super().__init__("; ".join(f"{breach.code} at {breach.path!r}" for breach in breaches))
