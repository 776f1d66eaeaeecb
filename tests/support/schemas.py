"""The JSON Schemas of what is signed, made from the declarations that the code reads with, and kept in docs/schemas.

`python -m tests.support.schemas` writes the files; a test fails where they and the code differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from gateway.core.payload import Payload
from gateway.core.receipt import ReceiptPayload

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"
SCHEMAS: dict[str, tuple[type, str]] = {
    "payload": (Payload, "P, the signed payload of a Safehand message (sh1)"),
    "receipt": (ReceiptPayload, "The signed payload of a Safehand receipt (sh1)"),
}


def written(name: str) -> str:
    """What the file must say. `\\Z` of our patterns is `$` in JSON Schema, whose `$` knows no line break."""
    declared, title = SCHEMAS[name]
    schema: Any = _portable(msgspec.json.schema(declared))
    return (
        json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}, indent=2)
        + "\n"
    )


def published(name: str) -> str:
    return (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def _portable(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: member.replace(r"\Z", "$") if name == "pattern" else _portable(member)
            for name, member in value.items()
        }
    return [_portable(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each in SCHEMAS:
        (FOLDER / f"{each}.json").write_text(written(each), encoding="utf-8")
