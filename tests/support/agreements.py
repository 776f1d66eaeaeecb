"""Agreements for tests: the library compiled, and a small one whose grants a test writes itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import date
from functools import cache
from typing import Any

from contracts.agreement import read_agreement
from contracts.breach import ContractBreachError
from contracts.check import CheckedBody, ProtectedKind, check
from contracts.compiled import CompiledAgreement, compile_agreement
from contracts.library import template_bytes
from contracts.names import Party
from contracts.register import vocabulary

DAY = date(2026, 12, 1)

HEAD = """
format = "isa/1"
id = "lab-agreement"
version = 1
title = "An agreement for tests"
{top}
[vocabulary]
id = "cme-fields/2026.1"
sha256 = ""
[party.a]
id = "la-901"
name = "Council A"
kind = "public-authority"
recipient_class = "other-la"
regime = "uk-gdpr"
dpo = "dpo@a.example"
ico = "Z0000901"
privacy_notice = "bi-borough"
root = ""
[party.b]
id = "la-902"
name = "Council B"
kind = "public-authority"
recipient_class = "other-la"
regime = "uk-gdpr"
dpo = "dpo@b.example"
ico = "Z0000902"
privacy_notice = "hampshire"
root = ""
[purpose]
code = "cme.locate"
statement = "To find a child of compulsory school age who is believed to have moved between two areas."
onward = "none"
[basis.core]
article6 = "6(1)(e)"
law = ["EA1996-s436A"]
[basis.welfare]
article6 = "6(1)(e)"
law = ["CA2004-s10"]
[condition.at_risk]
says = "the sender states an immediate risk"
test = ["urgency", "=", "immediate_risk"]
[condition.teenager]
says = "the young person is at least 13"
test = ["age_years", ">=", 13]
[condition.consented]
says = "consent is given"
test = ["consent.state", "=", "given"]
[dates]
valid_from = 2026-12-01
valid_until = 2028-11-30
review_by = 2027-11-30
"""


def lab_toml(*grants: str, message: str = "", top: str = "", extra: str = "") -> bytes:
    """Return an agreement with one message, `lab.message` from a to b; each grant is the TOML of its members, `need`
    and `basis` being filled in where it has none."""
    parts = [HEAD.format(top=top), extra, '[[message]]\ntype = "lab.message"\nfrom = "a"\nto = "b"\n', message, "\n"]
    for grant in grants:
        parts.append("[[message.allow]]\n")
        parts += [line + "\n" for key, line in _DEFAULTS.items() if f"{key} =" not in grant]
        parts.append(grant + "\n")
    return "".join(parts).encode()


_DEFAULTS = {"need": 'need = "optional"', "basis": 'basis = "core"'}


def lab(*grants: str, message: str = "", top: str = "", extra: str = "") -> CompiledAgreement:
    """Return `lab_toml` compiled."""
    data = lab_toml(*grants, message=message, top=top, extra=extra)
    return compile_agreement(read_agreement(data, file="lab.toml"), vocabulary())


@cache
def library(name: str) -> CompiledAgreement:
    """Return a worked agreement compiled, by its file name without `.toml`."""
    return compile_agreement(read_agreement(template_bytes(f"{name}.toml"), file=name), vocabulary())


def checked(
    compiled: CompiledAgreement,
    body: Any,
    *,
    type: str = "lab.message",  # noqa: A002
    sender: Party = "a",
    facts: Mapping[str, object] | None = None,
    on: date = DAY,
    requested: Collection[str] | None = None,
    protected: Collection[ProtectedKind] = (),
    sending: bool = True,
    **more: Any,
) -> CheckedBody:
    """Call the check with everything that does not matter filled in."""
    return check(
        body,
        compiled=compiled,
        type=type,
        sender=sender,
        facts={"urgency": "routine"} if facts is None else facts,
        on=on,
        requested=None if requested is None else frozenset(requested),
        protected=frozenset(protected),
        sending=sending,
        **more,
    )


def verdict(compiled: CompiledAgreement, body: Any, **how: Any) -> set[tuple[str, str]]:
    """Return the breaches as (code, path); empty where the body is allowed."""
    try:
        checked(compiled, body, **how)
    except ContractBreachError as error:
        return {(str(breach.code), breach.path) for breach in error.breaches}
    return set()


def nested(paths: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body from concrete paths: `{"contacts[0].telephone": ".."}`; list items come in order."""
    body: dict[str, Any] = {}
    for path, value in paths.items():
        place: Any = body
        *above, last = path.split(".")
        for step in above:
            name, _, index = step.partition("[")
            if index:
                items = place.setdefault(name, [])
                position = int(index.removesuffix("]"))
                if position == len(items):
                    items.append({})
                place = items[position]
            else:
                place = place.setdefault(name, {})
        place[last] = json.loads(json.dumps(value))
    return body
