"""What a form for one message type may ask: every path that some grant lists, its type, its codes and its conditions. Pure.

Read from the compiled agreement and the vocabulary, so that a form cannot ask what the check would refuse. Which grants are
live depends on facts that the form does not know yet: their conditions are told, not decided.
"""

from __future__ import annotations

from typing import Any, Final

from contracts.compiled import CompiledMessage
from contracts.conditions import CompiledCondition
from contracts.plan import CompiledGrant
from contracts.vocabulary import Field
from gateway.core.errors import SubmissionRefusedError
from gateway.governing import HeldAgreement

_STRONGEST: Final = ("required", "expected", "optional")


def form_of(held: HeldAgreement, own: str, message_type: str) -> dict[str, Any]:
    """Return the form of a type that we send under the agreement; raises SubmissionRefusedError where we send none."""
    message = held.compiled.message(message_type, held.side(own)) if own in held.parties else None
    if message is None:
        raise SubmissionRefusedError("message.not-in-agreement", "type", "the agreement has no such message of ours")
    fields = {field.path: field for grant in message.grants for field in grant.fields}
    return {
        "agreement": {"id": held.agreement.id, "version": held.agreement.version, "digest": held.digest},
        "type": message_type,
        "partner": held.other(own),
        "require": list(message.require),
        "limit_to_request": message.limit_to_request,
        "facts": sorted(message.facts_named),
        "conditions": [_condition(condition) for condition in message.conditions],
        "max_items": dict(message.max_items),
        "fields": [_field(field, message) for field in fields.values()],
    }


def types_of(held: HeldAgreement, org: str) -> list[str]:
    """Return the message types that a party sends under the agreement."""
    side = held.side(org)
    return sorted(kind for kind, sender in held.compiled.messages if sender == side)


def label_of(path: str) -> str:
    """Return a path as words: `child.name.former_family` is "Child / name / former family"."""
    words = " / ".join(segment.removesuffix("[]").replace("_", " ") for segment in path.split("."))
    return words[:1].upper() + words[1:]


def _field(field: Field, message: CompiledMessage) -> dict[str, Any]:
    grants = [grant for grant in message.grants if any(listed.path == field.path for listed in grant.fields)]
    always = [grant.need for grant in grants if not grant.when]
    told: dict[str, Any] = {
        "path": field.path,
        "label": label_of(field.path),
        "type": field.type.text,
        "need": min(always, key=_STRONGEST.index) if always else "optional",
        "locates": field.locates,
        "free_text": field.free,
        "grants": [_grant(grant, field) for grant in grants],
    }
    if field.type.codes is not None:
        told["codes"] = sorted(field.type.codes)
    return told


def _grant(grant: CompiledGrant, field: Field) -> dict[str, Any]:
    told: dict[str, Any] = {"need": grant.need, "basis": grant.basis, "when": list(grant.when)}
    if field.path in grant.only:
        told["only"] = sorted(grant.only[field.path])
    return told


def _condition(condition: CompiledCondition) -> dict[str, Any]:
    told: dict[str, Any] = {"name": condition.name, "says": condition.says}
    if condition.test is not None:
        value = condition.test.value
        told["test"] = {
            "fact": condition.test.fact,
            "operator": condition.test.operator,
            "value": list(value) if isinstance(value, tuple) else value,
        }
    if condition.all_of is not None:
        told["all"] = list(condition.all_of)
    if condition.any_of is not None:
        told["any"] = list(condition.any_of)
    return told
