"""A second opinion on what a body may be: JSON Schema made from the agreement's text, checked by jsonschema-rs.

Shares no code with the check: it reads the vocabulary's TOML itself and merges grants in its own way.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from contracts.register import register_bytes
from contracts.terms import Condition, Message

_RAW = tomllib.loads(register_bytes("fields.toml").decode())
_TEXT = r"^[^\u0000-\u0008\u000b-\u001f]*$"
_PATTERNS = {
    "ref": "^[A-Za-z0-9/_.-]{1,40}$",
    "path": r"^[a-z0-9_.\[\]]{1,80}$",
    "postcode": "^[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}$",
    "phone": r"^\+?[0-9 ]{7,20}$",
    "email": r"^[^@\s]{1,64}@[^@\s]{1,190}$",
    "nino": "^[A-Z]{2}[0-9]{6}[A-D]$",
}


def holds(name: str, conditions: Mapping[str, Condition], facts: Mapping[str, Any]) -> bool | None:
    """Return the truth of a condition, by plain recursion."""
    condition = conditions[name]
    if condition.test is not None:
        value, wanted = facts.get(condition.test.fact), condition.test.value
        if value is None:
            return None
        return {
            "=": lambda: value == wanted,
            "!=": lambda: value != wanted,
            "<": lambda: value < wanted,
            "<=": lambda: value <= wanted,
            ">": lambda: value > wanted,
            ">=": lambda: value >= wanted,
            "in": lambda: value in wanted,
        }[condition.test.operator]()
    parts = [holds(part, conditions, facts) for part in condition.all_of or condition.any_of or ()]
    decisive = condition.all_of is None  # one TRUE decides `any`, one FALSE decides `all`
    if decisive in parts:
        return decisive
    return None if None in parts else not decisive


def schema(message: Message, conditions: Mapping[str, Condition], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the bodies that a message may have while the facts are these."""
    wanted: dict[str, list[Any]] = {}
    for grant in message.grants:
        if all(holds(name, conditions, facts) is True for name in grant.when):
            for path in grant.fields:
                wanted.setdefault(path, []).append((grant.need, grant.only.get(path)))
    top = _new_object()
    for path, grants in wanted.items():
        leaf = _leaf(_RAW["fields"][path]["type"])
        sets = [only for _, only in grants]
        if all(only is not None for only in sets):
            allowed = {"enum": sorted({code for only in sets for code in only})}
            leaf = {"allOf": [leaf, {"items": allowed} if leaf["type"] == "array" else allowed]}
        _place(top, path.split("."), leaf, any(need == "required" for need, _ in grants), message.max_items, "")
    return top


def validator(document: dict[str, Any]) -> Any:
    """Return a jsonschema-rs validator that knows the formats with check digits."""
    formats = {"real-date": _is_real_date, "upn": _is_upn, "nhs-number": _is_nhs, "uln": _is_uln}
    return jsonschema_rs.Draft202012Validator(document, formats=formats, validate_formats=True)


def _new_object() -> dict[str, Any]:
    return {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def _place(
    node: dict[str, Any], steps: list[str], leaf: dict[str, Any], required: bool, limits: Mapping[str, int], at: str
) -> None:
    step, below = steps[0], steps[1:]
    name = step.removesuffix("[]")
    path = f"{at}.{name}" if at else name
    if required and name not in node["required"]:
        node["required"].append(name)
    if not below:
        node["properties"][name] = leaf
    elif step.endswith("[]"):
        empty = {"type": "array", "items": _new_object(), "maxItems": limits.get(path, 20), "minItems": 0}
        inner = node["properties"].setdefault(name, empty)
        inner["minItems"] = max(inner["minItems"], int(required))
        _place(inner["items"], below, leaf, required, limits, path + "[]")
    else:
        _place(node["properties"].setdefault(name, _new_object()), below, leaf, required, limits, path)


def _leaf(kind: str) -> dict[str, Any]:
    name, _, detail = kind.partition(":")
    if name == "list":
        item, _, most = detail.rpartition(":")
        return {"type": "array", "items": _leaf(item), "maxItems": int(most)}
    if name == "yes-no":
        return {"type": "boolean"}
    if name == "count":
        return {"type": "integer", "minimum": 0, "maximum": 100000}
    return {"type": "string"} | _text(name, detail)


def _text(name: str, detail: str) -> dict[str, Any]:
    if name == "code":
        return {"enum": _RAW["codes"][detail]}
    if name in ("text", "code-free", "name"):
        return {"minLength": 1, "maxLength": int(detail or 70), "pattern": _TEXT}
    if name in ("digits", "hex"):
        return {"pattern": f"^[0-9{'a-f' if name == 'hex' else ''}]{{{detail}}}$"}
    if name in _PATTERNS:
        return {"pattern": _PATTERNS[name]}
    return {"format": "real-date" if name == "date" else name}


def _is_real_date(text: str) -> bool:
    parts = text.split("-")
    if [len(part) for part in parts] != [4, 2, 2] or not text.replace("-", "").isascii():
        return False
    try:
        datetime.date(*(int(part) for part in parts))
    except ValueError:
        return False
    return text.replace("-", "").isdigit()


def _is_upn(text: str) -> bool:
    letters = "ABCDEFGHJKLMNPQRTUVWXYZ"
    if len(text) != 13 or not all(c in "0123456789" for c in text[1:12]) or text[12] not in letters + "0123456789":
        return False
    values = [letters.index(c) if c in letters else int(c) for c in text[1:]]
    return letters[sum(v * (i + 2) for i, v in enumerate(values)) % 23] == text[0]


def _is_nhs(text: str) -> bool:
    if len(text) != 10 or not all(c in "0123456789" for c in text):
        return False
    return sum(int(c) * (10 - i) for i, c in enumerate(text)) % 11 == 0


def _is_uln(text: str) -> bool:
    if len(text) != 10 or not all(c in "0123456789" for c in text) or text[0] == "0":
        return False
    remainder = sum(int(c) * (10 - i) for i, c in enumerate(text[:9])) % 11
    return remainder != 0 and int(text[9]) == 10 - remainder
