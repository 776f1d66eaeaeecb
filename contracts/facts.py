"""The closed list of facts that conditions may ask about, and how far each can be trusted.

Pure. Asserted facts are the sender's word; recorded facts are what a gateway holds a record of; derived facts are
computed from the body at both ends and never stated. Where a fact comes from is the flow's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from contracts.field_types import is_date

FactValue: TypeAlias = str | int | bool

URGENCY: Final = "urgency"
AGE_YEARS: Final = "age_years"
_EQUALITY: Final = frozenset({"=", "!=", "in"})
_ORDER: Final = frozenset({"=", "!=", "<", "<=", ">", ">=", "in"})
_MAX_WHOLE = 150
_LONDON = ZoneInfo("Europe/London")


class Trust(Enum):
    """Who answers for a fact."""

    ASSERTED = "asserted"
    RECORDED = "recorded"
    DERIVED = "derived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact: a code of a closed set, yes or no (`codes` None, `is_whole` False), or a whole number."""

    name: str
    trust: Trust
    codes: frozenset[str] | None = None
    is_whole: bool = False

    @property
    def operators(self) -> frozenset[str]:
        """The operators that a condition may use on it."""
        return _ORDER if self.is_whole else _EQUALITY

    def accepts(self, value: Any) -> bool:
        """Whether the value is of this fact's type."""
        if self.is_whole:
            return type(value) is int and 0 <= value <= _MAX_WHOLE
        if self.codes is None:
            return type(value) is bool
        return type(value) is str and value in self.codes


def _code(name: str, trust: Trust, *codes: str) -> Fact:
    return Fact(name=name, trust=trust, codes=frozenset(codes))


def _yes_no(name: str, trust: Trust) -> Fact:
    return Fact(name=name, trust=trust)


FACTS: Final[Mapping[str, Fact]] = MappingProxyType(
    {
        fact.name: fact
        for fact in (
            Fact(name=AGE_YEARS, trust=Trust.DERIVED, is_whole=True),
            _code("consent.state", Trust.RECORDED, "none", "given", "refused", "withdrawn"),
            _code("consent.by", Trust.RECORDED, "parent", "guardian", "young_person"),
            _code("consent.scope", Trust.RECORDED, "youth-support-other-information"),
            _yes_no("consent.in_date", Trust.RECORDED),
            _yes_no("request.verified", Trust.RECORDED),
            _yes_no("request.by_telephone", Trust.RECORDED),
            _code("request.authorised_rank", Trust.RECORDED, "none", "inspector_or_above", "senior_manager"),
            _code(URGENCY, Trust.ASSERTED, "routine", "priority", "immediate_risk"),
            _yes_no("subject_informed_risk", Trust.ASSERTED),
        )
    }
)
"""Every fact by name (agreements section 2)."""


def age_in_years(date_of_birth: Any, on: date) -> int | None:
    """Return the age on a day, or None where the date of birth is absent, no date, or after that day.

    A year of age is reached at the start of the anniversary; born on 29 February, from 1 March in other years.
    """
    if not is_date(date_of_birth):
        return None
    born = date.fromisoformat(date_of_birth)
    if born > on:
        return None
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def derived_facts(body: Any, on: date) -> dict[str, FactValue]:
    """Return the facts that both ends compute from a body on a civil day; those that are unknown are absent."""
    child = body.get("child") if type(body) is dict else None
    age = age_in_years(child.get("date_of_birth"), on) if type(child) is dict else None
    return {} if age is None else {AGE_YEARS: age}


def civil_date(instant: datetime) -> date:
    """Return the day in London at an instant. MUST be given an aware datetime; raises ValueError otherwise."""
    if instant.tzinfo is None:
        raise ValueError("a naive datetime has no civil date")
    return instant.astimezone(_LONDON).date()
