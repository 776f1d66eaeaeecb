"""One worked case a line: what `safehand agreement check --cases` answers.

Pure. A case is a body with an agreement's id, direction, type, facts and day; lifecycle and dates of the agreement are
not asked, and templates will do. The line is read here as strictly as a message where strictness could hide something
(duplicate members, NaN, depth), but leniently where the check itself has an answer (null, 1.0, a number too great).
A line that cannot be asked at all answers `field.type` at `""`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NoReturn, cast

from contracts.breach import Breach, BreachCode, ContractBreachError
from contracts.check import ProtectedKind, check
from contracts.compiled import CompiledAgreement
from contracts.document import check_size_and_depth
from contracts.errors import DocumentError
from contracts.field_types import is_date
from contracts.names import Party

MAX_LINE = 1_048_576  # bytes: a body has 256 KB at most
_LONGEST_NUMBER = 18  # digits; beyond, the value is only known to be too great for any field
_TOO_GREAT: int = 10**_LONGEST_NUMBER


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    agreement: str
    sender: str
    type: str
    body: Any
    facts: dict[str, Any]
    requested: frozenset[str] | None
    protected: frozenset[ProtectedKind]
    on: date


def run_case(line: bytes, agreements: Mapping[str, CompiledAgreement]) -> dict[str, Any]:
    """Return `{"allowed": .., "breaches": [{"code", "path", "rule"}]}` for one line; never raises for what it holds.

    A case counts as sent by an own officer: the protection list applies.
    """
    try:
        _run(_read_case(line), agreements)
    except DocumentError as error:
        return _answer((Breach(BreachCode.FIELD_TYPE, "", error.rule),))
    except ContractBreachError as error:
        return _answer(error.breaches)
    return _answer(())


def _run(case: _Case, agreements: Mapping[str, CompiledAgreement]) -> None:
    compiled = agreements.get(case.agreement)
    if compiled is None:
        raise ContractBreachError((Breach(BreachCode.AGREEMENT_NONE, "", "no agreement of this id"),))
    check(
        case.body,
        compiled=compiled,
        type=case.type,
        sender=cast(Party, case.sender),  # another word finds no message, as it should
        facts=case.facts,
        on=case.on,
        requested=case.requested,
        protected=case.protected,
        sending=True,
    )


def _answer(breaches: tuple[Breach, ...]) -> dict[str, Any]:
    shown = [{"code": str(breach.code), "path": breach.path, "rule": breach.rule} for breach in breaches]
    return {"allowed": not breaches, "breaches": shown}


def _read_case(line: bytes) -> _Case:
    case = _read_line(line)
    day: Any = case.get("on")
    return _Case(
        agreement=_text(case, "agreement"),
        sender=_text(case, "from"),
        type=_text(case, "type"),
        body=case.get("body"),
        facts=_object(case, "facts"),
        requested=_requested(case),
        protected=_protected(case),
        on=date.fromisoformat(day) if is_date(day) else date.min,  # no day: no date of birth lies before it
    )


def _read_line(line: bytes) -> dict[str, Any]:
    check_size_and_depth(line, limit=MAX_LINE, depth=16)
    try:
        case = json.loads(line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_whole)
    except (ValueError, RecursionError):
        raise DocumentError("not JSON in UTF-8") from None
    if not isinstance(case, dict):
        raise DocumentError("a case is an object")
    return case


def _text(case: dict[str, Any], name: str) -> str:
    value = case.get(name)
    return value if isinstance(value, str) else ""


def _object(case: dict[str, Any], name: str) -> dict[str, Any]:
    value = case.get(name)
    if value is not None and not isinstance(value, dict):
        raise DocumentError(f"{name} must be an object")
    return value or {}


def _requested(case: dict[str, Any]) -> frozenset[str] | None:
    value = case.get("requested")
    if value is None:
        return None
    if not isinstance(value, list):
        raise DocumentError("requested must be a list of paths or null")
    return frozenset(path for path in value if isinstance(path, str))


def _protected(case: dict[str, Any]) -> frozenset[ProtectedKind]:
    value = case.get("protected")
    kinds: tuple[ProtectedKind, ...] = ("location", "identity")
    if value is None:
        return frozenset()
    if not isinstance(value, list) or any(kind not in kinds for kind in value):
        raise DocumentError("protected must be a list of location and identity")
    return frozenset(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DocumentError("a duplicate member")
    return members


def _refuse(_: str) -> NoReturn:
    raise DocumentError("NaN or Infinity is not JSON")


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        return -_TOO_GREAT if text.startswith("-") else _TOO_GREAT
    return int(text)
