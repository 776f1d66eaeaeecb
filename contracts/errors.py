"""What can be wrong with the things this package reads; no message here ever holds a value, only places and rules."""

from __future__ import annotations


class ContractError(Exception):
    """A document or a rule is wrong in a way its author can mend."""

    code = "contract.error"


class DocumentError(ContractError):
    """Bytes that are not the strict JSON they should be."""

    code = "document.malformed"

    def __init__(self, rule: str, place: str = "") -> None:
        self.rule = rule
        self.place = place
        super().__init__(f"{place}: {rule}" if place else rule)
