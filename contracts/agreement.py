"""One information-sharing agreement, format isa/1: read strictly, digested exactly.

Pure. Reading settles keys and types; whether what is written can be compiled safely (unknown fields, cyclic conditions,
a promise broken) is `contracts.compiled`'s question, and whether it is lawful is the lint's. A TOML file and the
canonical JSON of the same agreement give the same `Agreement` and the same digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import Any, TypeVar

from contracts.document import canonical, read_wire
from contracts.errors import DocumentError
from contracts.names import (
    AgreementId,
    Digest,
    OrgId,
    Party,
    is_agreement_id,
    is_digest,
    is_local_name,
    is_message_type,
    is_organisation,
    is_template_organisation,
)
from contracts.strict import MAX_FILE, Table, fault, parse_toml
from contracts.terms import (
    Basis,
    Clock,
    Comparison,
    Condition,
    Grant,
    Message,
    Mode,
    Need,
    PartyTerms,
    Purpose,
    Retention,
    Safeguards,
)

_T = TypeVar("_T")
_MODES: tuple[Mode, ...] = ("bilateral", "unilateral", "emergency")
_NEEDS: tuple[Need, ...] = ("required", "expected", "optional")
_KINDS = ("public-authority", "competent-authority", "service-provider", "statutory-service")
_REGIMES = ("uk-gdpr", "dpa-part3")
_DAYS = ("valid_from", "valid_until", "review_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One version of one agreement. `canonical` is its RFC 8785 form, `digest` the SHA-256 of that."""

    id: AgreementId
    version: int
    title: str
    mode: Mode
    supersedes: Digest | None
    never: tuple[str, ...]
    vocabulary_id: str
    vocabulary_digest: str
    parties: Mapping[Party, PartyTerms]
    purpose: Purpose
    bases: Mapping[str, Basis]
    conditions: Mapping[str, Condition]
    messages: tuple[Message, ...]
    retention: Mapping[Party, Retention]
    clocks: Mapping[str, Clock]
    valid_from: date | None
    valid_until: date | None
    review_by: date | None
    safeguards: Safeguards | None
    free_text: tuple[str, ...]
    free_text_reason: str | None
    canonical: bytes = field(repr=False)
    digest: Digest

    @property
    def is_template(self) -> bool:
        """Whether it still leaves a root or the vocabulary's digest empty: a template is never signed or in force."""
        return self.vocabulary_digest == "" or any(party.root == "" for party in self.parties.values())


def read_agreement(data: bytes, *, file: str) -> Agreement:
    """Return the agreement in the bytes of a TOML file. Raises FileError naming `file`, key path and rule."""
    return _read(parse_toml(data, file=file), file)


def read_canonical_agreement(data: bytes, *, file: str) -> Agreement:
    """Return the agreement in canonical JSON bytes (days as text). Raises FileError; also where they are not canonical."""
    try:
        document = read_wire(data, limit=MAX_FILE)
        if not isinstance(document, dict) or canonical(document) != data:
            raise fault(file, "", "not canonical JSON of one object")
    except DocumentError as error:
        raise fault(file, "", error.rule) from None
    return _read(_with_days(document, file), file)


def draw_up(
    template: Agreement,
    *,
    vocabulary_digest: Digest,
    roots: Mapping[Party, Digest],
    valid_from: date,
    valid_until: date,
    review_by: date,
) -> Agreement:
    """Return the complete agreement for a template: roots and vocabulary pinned, dates set. Raises FileError."""
    document = read_wire(template.canonical, limit=MAX_FILE)
    document["vocabulary"]["sha256"] = vocabulary_digest
    for party, root in roots.items():
        document["party"][party]["root"] = root
    document["dates"] = {"valid_from": valid_from, "valid_until": valid_until, "review_by": review_by}
    return _read(document, template.id)


def _with_days(document: dict[str, Any], file: str) -> dict[str, Any]:
    dates = document.get("dates")
    if not isinstance(dates, dict):
        return document
    days = dict(dates)
    for name in _DAYS:
        text = dates.get(name)
        if isinstance(text, str):
            try:
                days[name] = date.fromisoformat(text)
            except ValueError:
                raise fault(file, f"dates.{name}", "not a day") from None
            if days[name].isoformat() != text:
                raise fault(file, f"dates.{name}", "not a day")
    return document | {"dates": days}


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


def _read(document: dict[str, Any], file: str) -> Agreement:
    top = Table(document, file=file)
    if top.text("format") != "isa/1":
        raise top.fault("format", "must be isa/1")
    vocabulary, dates = top.table("vocabulary"), top.optional_table("dates")
    acknowledge = top.optional_table("acknowledge")
    canonical_bytes = canonical(_as_json(document))
    agreement = Agreement(
        id=AgreementId(_checked(top, "id", is_agreement_id, "not an agreement id")),
        version=top.whole("version", least=1),
        title=top.text("title"),
        mode=top.choice("mode", _MODES, "bilateral"),
        supersedes=_read_supersedes(top),
        never=top.texts("never"),
        vocabulary_id=vocabulary.text("id"),
        vocabulary_digest=vocabulary.fillable("sha256") or "",
        parties=_read_parties(top.table("party")),
        purpose=_read_purpose(top.table("purpose")),
        bases=_named(top, "basis", _read_basis),
        conditions=_named(top, "condition", _read_condition),
        messages=tuple(_read_message(table) for table in top.tables("message")),
        retention=_read_retentions(top.optional_table("retention")),
        clocks={name: _read_clock(table) for name, table in top.members("clock").items()},
        valid_from=dates.optional_day("valid_from") if dates else None,
        valid_until=dates.optional_day("valid_until") if dates else None,
        review_by=dates.optional_day("review_by") if dates else None,
        safeguards=_read_safeguards(top.optional_table("safeguards")),
        free_text=acknowledge.texts("free_text") if acknowledge else (),
        free_text_reason=acknowledge.optional_text("free_text_reason") if acknowledge else None,
        canonical=canonical_bytes,
        digest=Digest("sha256:" + hashlib.sha256(canonical_bytes).hexdigest()),
    )
    for table in (vocabulary, dates, acknowledge, top):
        if table is not None:
            table.done()
    _check_ids(agreement, file)
    return agreement


def _check_ids(agreement: Agreement, file: str) -> None:
    if agreement.is_template:
        return
    for letter, party in agreement.parties.items():
        if not all(map(is_organisation, (party.id, *party.on_behalf_of))):
            raise fault(file, f"party.{letter}", "not an organisation id (lower-case letters, digits and hyphens)")


def _checked(table: Table, name: str, is_good: Callable[[str], bool], rule: str) -> str:
    value = table.text(name)
    if not is_good(value):
        raise table.fault(name, rule)
    return value


def _named(top: Table, name: str, read: Callable[[Table], _T]) -> Mapping[str, _T]:
    tables = top.members(name)
    for inner, table in tables.items():
        if not is_local_name(inner):
            raise table.fault("", "not a name (lower-case letters, digits and underscores)")
    return MappingProxyType({inner: read(table) for inner, table in tables.items()})


def _read_supersedes(top: Table) -> Digest | None:
    value = top.optional_text("supersedes")
    if value is not None and not is_digest(value):
        raise top.fault("supersedes", "not a digest (sha256: and 64 hexadecimal digits)")
    return None if value is None else Digest(value)


def _read_parties(both: Table) -> Mapping[Party, PartyTerms]:
    parties: dict[Party, PartyTerms] = {"a": _read_party(both.table("a")), "b": _read_party(both.table("b"))}
    both.done()
    return MappingProxyType(parties)


def _read_party(table: Table) -> PartyTerms:
    controllers = table.texts("on_behalf_of")
    if not all(map(is_template_organisation, controllers)):
        raise table.fault("on_behalf_of", "not an organisation id")
    party = PartyTerms(
        id=OrgId(_checked(table, "id", is_template_organisation, "not an organisation id")),
        name=table.text("name"),
        kind=table.choice("kind", _KINDS),
        on_behalf_of=tuple(map(OrgId, controllers)),
        recipient_class=table.optional_text("recipient_class"),
        regime=table.choice("regime", _REGIMES) if "regime" in table.names() else None,
        dpo=table.optional_text("dpo"),
        ico=table.optional_text("ico"),
        privacy_notice=table.optional_text("privacy_notice"),
        root=table.fillable("root"),
    )
    table.done()
    return party


def _read_purpose(table: Table) -> Purpose:
    purpose = Purpose(
        code=table.text("code"),
        statement=table.text("statement"),
        onward=table.optional_text("onward"),
        onward_to=table.texts("onward_to"),
    )
    table.done()
    return purpose


def _read_basis(table: Table) -> Basis:
    basis = Basis(
        article6=table.optional_text("article6"),
        part3=table.optional_text("part3"),
        law=table.texts("law"),
        article9=table.optional_text("article9"),
        schedule1=table.texts("schedule1"),
        article10=table.optional_text("article10"),
        policy_document=table.optional_text("policy_document"),
        gateways=table.texts("gateways"),
        confidentiality=table.optional_text("confidentiality"),
    )
    table.done()
    return basis


def _read_condition(table: Table) -> Condition:
    condition = Condition(
        says=table.optional_text("says"),
        test=_read_test(table),
        all_of=table.some_texts("all"),
        any_of=table.some_texts("any"),
    )
    table.done()
    return condition


def _read_test(table: Table) -> Comparison | None:
    value = table.raw("test")
    if value is None:
        return None
    match value:
        case [str(fact), str(operator), str() | int() as operand]:
            return Comparison(fact=fact, operator=operator, value=operand)
        case [str(fact), str(operator), [*operands]] if operands and all(isinstance(o, str | int) for o in operands):
            return Comparison(fact=fact, operator=operator, value=tuple(operands))
    raise table.fault("test", "must be [fact, operator, value]")


def _read_message(table: Table) -> Message:
    message = Message(
        type=_checked(table, "type", is_message_type, "not a message type"),
        sender=_read_direction(table, "from"),
        recipient=_read_direction(table, "to"),
        max_subjects=table.optional_whole("max_subjects", least=1),
        max_items=_read_limits(table.optional_table("max_items")),
        require=table.texts("require"),
        limit_to_request=table.flag("limit_to_request"),
        grants=tuple(_read_grant(grant) for grant in table.tables("allow")),
    )
    table.done()
    if message.sender == message.recipient:
        raise table.fault("to", "from and to must be a and b")
    return message


def _read_direction(table: Table, name: str) -> Party:
    parties: tuple[Party, ...] = ("a", "b")
    return table.choice(name, parties)


def _read_limits(table: Table | None) -> Mapping[str, int]:
    if table is None:
        return MappingProxyType({})
    return MappingProxyType({name: table.whole(name, least=1) for name in table.names()})


def _read_grant(table: Table) -> Grant:
    only = table.optional_table("only")
    fields = table.some_texts("fields")
    if fields is None:
        raise table.fault("fields", "missing")
    grant = Grant(
        why=table.optional_text("why"),
        need=table.choice("need", _NEEDS),
        basis=table.text("basis"),
        when=table.some_texts("when") or (),
        fields=fields,
        only=MappingProxyType({name: only.some_texts(name) or () for name in only.names()} if only else {}),
    )
    table.done()
    return grant


def _read_retentions(both: Table | None) -> Mapping[Party, Retention]:
    found: dict[Party, Retention] = {}
    if both is not None:
        parties: tuple[Party, ...] = ("a", "b")
        for party in parties:
            table = both.optional_table(party)
            if table is not None:
                found[party] = _read_retention(table)
        both.done()
    return MappingProxyType(found)


def _read_retention(table: Table) -> Retention:
    by_message = {name: _read_period(inner) for name, inner in table.members("message").items()}
    return replace(_read_period(table), by_message=MappingProxyType(by_message))


def _read_period(table: Table) -> Retention:
    retention = Retention(
        days_after_close=table.optional_whole("days_after_close", least=1),
        days_after_answer=table.optional_whole("days_after_answer", least=1),
        until_age=table.optional_whole("until_age", least=1),
        then=table.optional_text("then"),
        by_message=MappingProxyType({}),
    )
    table.done()
    return retention


def _read_clock(table: Table) -> Clock:
    clock = Clock(
        answer_working_days=table.whole("answer_working_days", least=1), escalate_to=table.text("escalate_to")
    )
    table.done()
    return clock


def _read_safeguards(table: Table | None) -> Safeguards | None:
    if table is None:
        return None
    safeguards = Safeguards(
        dpia=table.optional_text("dpia"),
        break_glass_review_days=table.optional_whole("break_glass_review_days", least=1),
        breach_notice_hours=table.optional_whole("breach_notice_hours", least=1),
        exemptions=table.texts("exemptions"),
        dea_register_entry=table.optional_text("dea_register_entry"),
    )
    table.done()
    return safeguards
