"""Bodies of service messages for tests, and the JSON Schema of them that docs/schemas publishes.

`python -m tests.support.service_bodies` writes the schema; a test fails where it and the table of bodies differ.
"""

from __future__ import annotations

import json
from typing import Any

from contracts.service import BODIES, MOST_MESSAGES, Form
from tests.support.schemas import FOLDER

FILE = FOLDER / "service.json"
NAMED = "019bbd3c-8ac0-7abc-8def-0123456789ab"
_ID = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
_SEGMENT = r"[a-z][a-z0-9_]{0,39}(\[\])?"
_SCHEMAS: dict[str, dict[str, Any]] = {
    "message-id": {"type": "string", "pattern": _ID},
    "message-ids": {
        "type": "array",
        "items": {"type": "string", "pattern": _ID},
        "minItems": 1,
        "maxItems": MOST_MESSAGES,
        "uniqueItems": True,
    },
    "past-day": {"type": "string", "format": "date"},
    "day-ahead": {"type": "string", "format": "date"},
    "yes-no": {"type": "boolean"},
    "paths": {
        "type": "array",
        "items": {"type": "string", "pattern": rf"^{_SEGMENT}(\.{_SEGMENT})*$", "maxLength": 80},
        "minItems": 1,
        "uniqueItems": True,
    },
    "values": {"type": "object"},
}


def body(message_type: str, **changes: Any) -> dict[str, Any]:
    """A body that is right, with members changed; None takes one away. Days fit messages of 2026-12-01 and 2027-01-15."""
    right: dict[str, dict[str, Any]] = {
        "exchange.question": {"message": NAMED, "paths": ["child.date_of_birth"], "reason": "missing"},
        "exchange.withdrawal": {"message": NAMED, "reason": "in-error"},
        "exchange.correction": {"message": NAMED, "paths": ["child.name.given"], "values": {}},
        "exchange.ack": {"message": NAMED, "done": True, "on": "2026-12-01"},
        "rights.notice": {"message": NAMED, "right": "rectify", "paths": ["child.name.given"], "by": "2027-02-15"},
        "case.closed": {"on": "2026-12-01", "status": "in-education"},
        "breach.notice": {
            "message": NAMED,
            "found_on": "2026-12-01",
            "kind": "lost",
            "paths": ["child.name.family"],
        },
        "destruction.receipt": {"messages": [NAMED], "on": "2026-12-01", "how": "keys-destroyed"},
    }
    members = right[message_type] | changes
    return {name: value for name, value in members.items() if value is not None}


def schema() -> dict[str, Any]:
    """One schema for each type, below `$defs`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The fixed bodies of Safehand service messages, by type below $defs",
        "$defs": {message_type: _body_schema(forms) for message_type, forms in BODIES.items()},
    }


def _body_schema(forms: dict[str, Form] | Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: {"enum": list(form.codes)} if form.kind == "code" else _SCHEMAS[form.kind]
            for name, form in forms.items()
        },
        "required": [name for name, form in forms.items() if form.needed],
        "additionalProperties": False,
    }
    if "done" in forms:  # a reason exactly where something was not done
        made["if"] = {"properties": {"done": {"const": False}}, "required": ["done"]}
        made["then"] = {"required": ["reason"]}
        made["else"] = {"properties": {"reason": False}}
    return made


def written() -> str:
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
