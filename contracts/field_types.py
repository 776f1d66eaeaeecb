"""The field types of the vocabulary: what each accepts, exactly.

Pure. One function per kind of value, whole value, no trimming and no folding (agreements section 2, "Field types").
An acceptor takes any JSON value and answers yes or no; it never raises and never keeps the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

from contracts.errors import ContractError

Acceptor: TypeAlias = Callable[[Any], bool]

_UPN_LETTERS = "ABCDEFGHJKLMNPQRTUVWXYZ"  # without I, O and S; positions are values 0 to 22 (cme-facts 3.1)
_UPN_VALUE = {letter: value for value, letter in enumerate(_UPN_LETTERS)} | {str(digit): digit for digit in range(10)}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UPN = re.compile(r"[A-HJ-NP-RT-Z][0-9]{11}[0-9A-HJ-NP-RT-Z]")
_TEN_DIGITS = re.compile(r"[0-9]{10}")
_MAX_COUNT = 100_000
# Refused in every text: U+0000 to U+001F except TAB and LF; lone surrogates are not characters at all.
_CHARACTER = r"[^\x00-\x08\x0b-\x1f\ud800-\udfff]"

_PATTERNS: Mapping[str, tuple[str, str]] = {
    "name": (_CHARACTER + "{1,70}", "name of 1 to 70 characters"),
    "ref": (r"[A-Za-z0-9/_.-]{1,40}", "reference"),
    "path": (r"[a-z0-9_.\[\]]{1,80}", "field path"),
    "postcode": (r"[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}", "postcode"),
    "phone": (r"\+?[0-9 ]{7,20}", "telephone number"),
    "email": (r"[^@\s\x00-\x1f\ud800-\udfff]{1,64}@[^@\s\x00-\x1f\ud800-\udfff]{1,190}", "email address"),
    "nino": (r"[A-Z]{2}[0-9]{6}[A-D]", "nino"),
}
_SIZED_PATTERNS: Mapping[str, tuple[str, str]] = {
    "text": (_CHARACTER + "{{1,{n}}}", "text of 1 to {n} characters"),
    "code-free": (_CHARACTER + "{{1,{n}}}", "code of 1 to {n} characters"),
    "digits": ("[0-9]{{{n}}}", "number of {n} digits"),
    "hex": ("[0-9a-f]{{{n}}}", "value of {n} hexadecimal digits"),
}


class FieldTypeError(ContractError):
    """A type in the vocabulary that is not one of the table in agreements section 2."""

    code = "vocabulary.type"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldType:
    """A field type: `accepts` answers for the whole value; `codes` is the closed set of the value or of a list's items."""

    text: str
    label: str
    accepts: Acceptor
    codes: frozenset[str] | None
    is_list: bool

    def narrowed(self, only: frozenset[str]) -> Acceptor:
        """Return the acceptor of those values whose codes are all in `only`."""
        if self.is_list:
            accepts = self.accepts
            return lambda value: accepts(value) and only.issuperset(value)
        return _member_of(only)


def field_type(text: str, codes: Mapping[str, frozenset[str]]) -> FieldType:
    """Return the type that `text` names, with code sets from `codes`. Raises FieldTypeError."""
    if text.startswith("list:"):
        return _list_type(text, codes)
    kind, _, detail = text.partition(":")
    if kind == "code" and detail in codes:
        members = codes[detail]
        return _scalar(text, f"{detail.replace('_', ' ')} code", _member_of(members), members)
    if not detail and kind in _PATTERNS:
        pattern, label = _PATTERNS[kind]
        return _scalar(text, label, _matching(pattern))
    if kind in _SIZED_PATTERNS and _is_size(detail):
        pattern, label = _SIZED_PATTERNS[kind]
        return _scalar(text, label.format(n=detail), _matching(pattern.format(n=detail)))
    if text in _PREDICATES:
        accepts, label = _PREDICATES[text]
        return _scalar(text, label, accepts)
    raise FieldTypeError("not a known field type")


def is_date(value: Any) -> bool:
    """Whether the value is `YYYY-MM-DD` and a day that exists."""
    if type(value) is not str or _DATE.fullmatch(value) is None:
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_upn(value: Any) -> bool:
    """Whether the value is a permanent or temporary UPN with its check letter (cme-facts 3.1)."""
    if type(value) is not str or _UPN.fullmatch(value) is None:
        return False
    total = sum(_UPN_VALUE[value[position]] * (position + 1) for position in range(1, 13))
    return _UPN_LETTERS[total % 23] == value[0]


def is_nhs_number(value: Any) -> bool:
    """Whether the value is ten digits with the modulus 11 check digit (cme-facts 3.3)."""
    if type(value) is not str or _TEN_DIGITS.fullmatch(value) is None:
        return False
    check = 11 - sum(int(digit) * weight for digit, weight in zip(value[:9], range(10, 1, -1), strict=True)) % 11
    return check != 10 and check % 11 == int(value[9])


def is_uln(value: Any) -> bool:
    """Whether the value is a unique learner number: first digit not 0, weighted sum 10 modulo 11 (cme-facts 3.2)."""
    if type(value) is not str or _TEN_DIGITS.fullmatch(value) is None or value[0] == "0":
        return False
    return sum(int(digit) * weight for digit, weight in zip(value, range(10, 0, -1), strict=True)) % 11 == 10


def _is_yes_no(value: Any) -> bool:
    return value is True or value is False


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_COUNT


_PREDICATES: Mapping[str, tuple[Acceptor, str]] = {
    "date": (is_date, "date"),
    "yes-no": (_is_yes_no, "yes or no"),
    "count": (_is_count, "count"),
    "upn": (is_upn, "upn"),
    "nhs-number": (is_nhs_number, "NHS number"),
    "uln": (is_uln, "uln"),
}


def _list_type(text: str, codes: Mapping[str, frozenset[str]]) -> FieldType:
    inner, _, size = text.removeprefix("list:").rpartition(":")
    if not _is_size(size) or inner.startswith("list:"):
        raise FieldTypeError("not a known field type")
    item = field_type(inner, codes)
    accepts, most = item.accepts, int(size)

    def accepts_list(value: Any) -> bool:
        return type(value) is list and len(value) <= most and all(map(accepts, value))

    label = f"list of at most {size}, each a {item.label}"
    return FieldType(text=text, label=label, accepts=accepts_list, codes=item.codes, is_list=True)


def _scalar(text: str, label: str, accepts: Acceptor, codes: frozenset[str] | None = None) -> FieldType:
    return FieldType(text=text, label=label, accepts=accepts, codes=codes, is_list=False)


def _matching(pattern: str) -> Acceptor:
    fullmatch = re.compile(pattern).fullmatch
    return lambda value: type(value) is str and fullmatch(value) is not None


def _member_of(members: frozenset[str]) -> Acceptor:
    return lambda value: type(value) is str and value in members


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 100_000 and not text.startswith("0")
