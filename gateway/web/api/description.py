"""`openapi.json`, read once: what it says of each operation, and requests held to its JSON Schemas. Pure, but for reading it.

A request is judged by the document that its author read. What is told of a fault is a place and a rule of ours, never a
value and never a member's name that the request made up: the library's own sentences quote both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final

import jsonschema_rs
import orjson

from contracts.names import is_safe_key
from gateway.web.api.refusals import Place, RequestRefusedError, invalid

MOST_FAULTS: Final = 100
_RULES: Final[Mapping[str, str]] = {
    "Required": "is missing",
    "AdditionalProperties": "has a member that is not known here",
    "Type": "is of another type",
    "Pattern": "is not in its form",
    "MinLength": "is too short",
    "MaxLength": "is too long",
    "Minimum": "is too small",
    "Maximum": "is too great",
    "MinItems": "has too few",
    "MaxItems": "has too many",
    "MinProperties": "has too few members",
    "MaxProperties": "has too many members",
    "UniqueItems": "has something twice",
}
_OTHERWISE: Final = "is not as described"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `scope` is None where no token is asked for; `keyed` where an idempotency key is; `body` None
    where there is none, and `body_needed` where one may be left out."""

    id: str
    method: str
    path: str
    scope: str | None
    keyed: bool
    body: Any
    body_needed: bool
    parameters: Mapping[tuple[str, str], Any]
    required: frozenset[tuple[str, str]]
    responses: Mapping[str, Any] = field(repr=False)


@cache
def document() -> bytes:
    """Return the exact bytes that are served."""
    return resources.files("gateway.web").joinpath("openapi.json").read_bytes()


@cache
def operations() -> Mapping[str, Operation]:
    """Return every operation by its id."""
    described = orjson.loads(document())
    made = (
        _operation(described, path, method, said)
        for path, methods in described["paths"].items()
        for method, said in methods.items()
    )
    return {operation.id: operation for operation in made}


def check_body(operation: Operation, body: Any) -> None:
    """Raise RequestRefusedError with every place where a body is not as described (the first hundred)."""
    found = [_fault(error) for _, error in zip(range(MOST_FAULTS), operation.body.iter_errors(body), strict=False)]
    if found:
        raise invalid(sorted(set(found)))


def fits(operation: Operation, kind: str, name: str, value: Any) -> bool:
    """Whether the value of a parameter is as described; `kind` is path, query or header."""
    if isinstance(value, str) and not value.isascii():
        return False  # bytes that were no text come as lone surrogates, and no parameter has any other character
    return bool(operation.parameters[kind, name].is_valid(value))


def validator(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    """Return what judges values by a schema of the document."""
    return jsonschema_rs.Draft202012Validator({"allOf": [schema], "components": components})


def _operation(described: Mapping[str, Any], path: str, method: str, said: Mapping[str, Any]) -> Operation:
    components = described["components"]
    listed = [components["parameters"][name["$ref"].rpartition("/")[2]] for name in said.get("parameters", ())]
    body = said.get("requestBody")
    places = {(one["in"], one["name"]): one for one in listed}
    scopes = said["security"][0]["token"] if said["security"] else [None]
    return Operation(
        id=said["operationId"],
        method=method.upper(),
        path=path,
        scope=scopes[0],
        keyed=("header", "Idempotency-Key") in places,
        body=None if body is None else validator(body["content"]["application/json"]["schema"], components),
        body_needed=body is not None and body["required"],
        parameters={place: validator(one["schema"], components) for place, one in places.items()},
        required=frozenset(place for place, one in places.items() if one["required"]),
        responses=said["responses"],
    )


def _fault(error: Any) -> Place:
    kind = type(error.kind).__name__
    path = _path(error.instance_path)
    if kind == "Required":
        path = f"{path}.{error.kind.property}" if path else str(error.kind.property)
    if kind == "Enum":  # what is possible is ours to tell; what was sent is not
        return path, f"is none of {', '.join(map(str, error.kind.options))}"
    return path, _RULES.get(kind, _OTHERWISE)


def _path(steps: list[str | int]) -> str:
    """The place in the words of a breach; a member that the request named itself is shown only if it could be a field's."""
    shown = ""
    for step in steps:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            shown += ("." if shown else "") + (step if is_safe_key(step) else "?")
    return shown


__all__ = ["Operation", "RequestRefusedError", "check_body", "document", "fits", "operations", "validator"]
