"""Which agreement governs, and how it stands now: shared by the lines of the story.

What decides here is pure (`contracts.lifecycle`, `contracts.check`); this module fetches the rows, verifies the signed
events with the parties' keys and hands both over. A file compiles once: agreements never change, so they are cached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from contracts.agreement import Agreement, read_canonical_agreement
from contracts.breach import Breach, BreachCode, ContractBreachError
from contracts.compiled import CompiledAgreement, compile_agreement
from contracts.errors import ContractError
from contracts.events import EventPayload, read_event
from contracts.lifecycle import AgreementState, Reason, State, VerifiedEvent, is_signed, state_of, terms_of
from contracts.names import SERVICE_TYPES, ZERO_DIGEST
from contracts.names import Party as Side
from contracts.vocabulary import Vocabulary
from gateway.core.commands import EventRow, Heads
from gateway.core.errors import SafehandError
from gateway.core.message import AgreementRef
from gateway.core.payload import Governing
from gateway.ports import AgreementRecord, Exchange
from gateway.tlog import entry as tlog_entry
from keys.bundle import KeyBundle
from keys.errors import KeysError
from keys.key import VerifyingPair
from keys.listed import ListedPair, Role
from keys.statement import read_statement, verify_statement
from keys.suite import EVENT_TYPE

EVENT_LIMIT = 640 * 1024  # envelope section 10
SIDES: tuple[Side, Side] = ("a", "b")
UNSAID: Final[Mapping[str, Any]] = MappingProxyType({"id": "unsaid", "version": 1})
"""In our log, for id and version of an agreement that a partner alone has spoken on."""


class EventRejectedError(SafehandError):
    """An agreement event that its organisation did not sign, or not in the one form."""

    code = "event.rejected"


class GovernedBreachError(ContractBreachError):
    """Breaches of one agreement, which the client is told beside them."""

    def __init__(self, breaches: tuple[Breach, ...], agreement: tlog_entry.AgreementRef) -> None:
        self.agreement = agreement
        super().__init__(breaches)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAgreement:
    """An agreement this gateway holds: its file, compiled, and where it stands by the events of both parties."""

    agreement: Agreement
    compiled: CompiledAgreement
    state: AgreementState
    events: tuple[VerifiedEvent, ...]

    @property
    def digest(self) -> str:
        return self.agreement.digest

    @property
    def ref(self) -> AgreementRef:
        return AgreementRef(
            id=self.agreement.id, version=self.agreement.version, digest=self.digest, heads=self.state.heads
        )

    @property
    def named(self) -> tlog_entry.AgreementRef:
        return tlog_entry.AgreementRef(digest=self.digest, id=self.agreement.id, version=self.agreement.version)

    def named_by(self, own: str) -> tlog_entry.AgreementRef:
        """As an entry of our log names it: id and version are in the clear and for ever, so an agreement that `own` never
        said a word on, whose every word is therefore its partner's alone, is named by its digest (log section 4)."""
        return self.named if self.has_word_of(own) else tlog_entry.AgreementRef(digest=self.digest, **UNSAID)

    def has_word_of(self, org: str) -> bool:
        """Whether an organisation signed anything on it: then its people have read what it says."""
        return any(event.payload.org == org for event in self.events)

    @property
    def heads(self) -> Heads:
        return Heads(agreement=self.digest, a=self.state.heads[0], b=self.state.heads[1])

    @property
    def has_bound(self) -> bool:
        """Whether it was ever in force, as far as its events tell: signed, and its first day has come. It may have ended."""
        return is_signed(self.agreement.mode, self.state.signed_by) and self.state.state is not State.SIGNED

    @property
    def parties(self) -> tuple[str, str]:
        return (self.agreement.parties["a"].id, self.agreement.parties["b"].id)

    def side(self, org: str) -> Side:
        """Which party `org` is; the caller knows that it is one."""
        return "a" if org == self.parties[0] else "b"

    def lists(self, message_type: str) -> bool:
        return any(message.type == message_type for message in self.agreement.messages)

    def other(self, org: str) -> str:
        a, b = self.parties
        return b if org == a else a

    def on_behalf_of(self, org: str) -> tuple[str, ...]:
        """The further controllers that a party acts for under this agreement."""
        return self.agreement.parties[self.side(org)].on_behalf_of

    def knows(self, governing: Governing) -> bool:
        """Whether the heads that a message names (party a's, party b's) are events held here, or of an empty chain."""
        known = {(event.payload.org, event.digest) for event in self.events}
        return all(
            head == ZERO_DIGEST or (org, head) in known for org, head in zip(self.parties, governing.heads, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Pinned:
    """A vocabulary as part of a cache's key: two of one digest are the same."""

    digest: str
    vocabulary: Vocabulary = field(compare=False)


def compiled_from(canonical: bytes, vocabulary: Vocabulary) -> tuple[Agreement, CompiledAgreement]:
    """Return the agreement of canonical bytes, read and compiled; raises contracts' errors naming key and rule."""
    return _compiled(canonical, _Pinned(vocabulary.digest, vocabulary))


@lru_cache(maxsize=256)
def _compiled(canonical: bytes, pinned: _Pinned) -> tuple[Agreement, CompiledAgreement]:
    agreement = read_canonical_agreement(canonical, file="agreement")
    return agreement, compile_agreement(agreement, pinned.vocabulary)


@lru_cache(maxsize=1024)
def _verified(jws: bytes, pair: VerifyingPair) -> EventPayload:
    statement = read_statement(jws, limit=EVENT_LIMIT)
    return read_event(verify_statement(statement, EVENT_TYPE, pair.publics))


@lru_cache(maxsize=1024)
def claimed_event(jws: bytes) -> EventPayload:
    """Return what an event says, unproven; raises EventRejectedError where it is not in the one form."""
    try:
        return read_event(read_statement(jws, limit=EVENT_LIMIT).payload)
    except (KeysError, ContractError):
        raise EventRejectedError("not an agreement event in its one form") from None


def signing_pair(bundles: Iterable[KeyBundle], kids: tuple[str, str]) -> ListedPair | None:
    """Return the pair of these kids as the newest bundle that lists it has it, for either role that signs events.

    Events stay evidence after their key has left the newest bundle: every accepted bundle is kept for that.
    """
    for bundle in reversed(tuple(bundles)):
        for pair in bundle.pairs:
            if pair.kids == kids and pair.role in (Role.AGREEMENT_SIGN, Role.MESSAGE_SIGN):
                return pair
    return None


def accept_event(row: EventRow, bundles: tuple[KeyBundle, ...]) -> VerifiedEvent:
    """As `verify_event`, for an event that is new here: its keys are unrevoked, and in their time when it was written and now.

    Once it is stored and logged an event stays what it was, so its time is asked at this door alone.
    """
    event = verify_event(row, bundles)
    listed = signing_pair(bundles, event.payload.sig)
    if event.void:
        raise EventRejectedError("signed with a revoked key")
    if listed is None or not (listed.valid_at(event.payload.at) and listed.opens_at(row.received_at)):
        raise EventRejectedError("signed with a key outside its time")
    return event


def verify_event(row: EventRow, bundles: tuple[KeyBundle, ...]) -> VerifiedEvent:
    """Return the proven event of a row; raises EventRejectedError."""
    claimed = claimed_event(row.jws)
    listed = signing_pair(bundles, claimed.sig)
    if listed is None or claimed.org != row.org:
        raise EventRejectedError("its signing keys are in no bundle of its organisation")
    try:
        payload = _verified(row.jws, listed.public)
    except KeysError as error:
        raise EventRejectedError(error.rule) from None
    since = [r.since for r in bundles[-1].revoked if r.kid in payload.sig]
    return VerifiedEvent(
        digest=row.hash,
        payload=payload,
        signed_with="agreement-sign" if listed.role is Role.AGREEMENT_SIGN else "message-sign",
        logged_at=row.received_at,
        revoked_from=min(since) if since else None,
    )


async def bundles_of(exchange: Exchange, org: str) -> tuple[KeyBundle, ...]:
    """Return every accepted bundle of an organisation, our own included; empty where it is not known."""
    if org == exchange.own.id:
        return await exchange.partners.own_bundles()
    partner = await exchange.partners.get(org)
    return partner.bundles if partner else ()


async def load(exchange: Exchange, digest: str, now: datetime) -> HeldAgreement | None:
    """Return the agreement of this digest as it stands at `now`, or None where it is not held."""
    record = await exchange.agreements.get(digest)
    return None if record is None else (await _held(exchange, (record,), now))[0]


async def knows_type(message_type: str, exchange: Exchange) -> bool:
    """Whether it is a service message, or listed by an agreement that we have said something on: else its name may be
    anything that a stranger wrote, and is not repeated where it would stand for ever."""
    if message_type in SERVICE_TYPES:
        return True
    own = exchange.own.id
    spoken = [record for record in await exchange.agreements.all() if any(row.org == own for row in record.events)]
    held = [compiled_from(record.file.canonical, exchange.vocabulary)[0] for record in spoken]
    return any(message.type == message_type for agreement in held for message in agreement.messages)


async def load_all(exchange: Exchange, now: datetime) -> tuple[HeldAgreement, ...]:
    """Return every agreement held, as it stands at `now`."""
    return await _held(exchange, await exchange.agreements.all(), now)


async def load_between(exchange: Exchange, partner: str, now: datetime) -> tuple[HeldAgreement, ...]:
    """Return every agreement with this partner, as it stands at `now`."""
    return await _held(exchange, await exchange.agreements.between(partner), now)


async def _held(exchange: Exchange, records: tuple[AgreementRecord, ...], now: datetime) -> tuple[HeldAgreement, ...]:
    orgs = {row.org for record in records for row in record.events}
    bundles = {org: await bundles_of(exchange, org) for org in orgs}
    return tuple(_one(exchange, record, bundles, now) for record in records)


def _one(
    exchange: Exchange, record: AgreementRecord, bundles: Mapping[str, tuple[KeyBundle, ...]], now: datetime
) -> HeldAgreement:
    """An event that no longer verifies (a bundle's row was damaged) takes its own agreement out of force, and no other."""
    events = []
    for row in record.events:
        try:
            events.append(verify_event(row, bundles[row.org]))
        except EventRejectedError:
            exchange.alarm("event-unverifiable", {"agreement": row.digest, "org": row.org})
    held = held_from(*compiled_from(record.file.canonical, exchange.vocabulary), tuple(events), now)
    if len(events) == len(record.events):
        return held
    reasons = tuple(dict.fromkeys((*held.state.reasons, Reason.CHAIN)))
    return replace(held, state=replace(held.state, state=State.SUSPENDED, reasons=reasons))


def held_from(
    agreement: Agreement, compiled: CompiledAgreement, events: tuple[VerifiedEvent, ...], now: datetime
) -> HeldAgreement:
    """Return an agreement with verified events as it stands at `now`; pure."""
    a, b = (agreement.parties[side].id for side in SIDES)
    state = state_of(
        terms_of(agreement),
        [e for e in events if e.payload.org == a],
        [e for e in events if e.payload.org == b],
        now,
        superseded_by=None,
    )
    return HeldAgreement(agreement=agreement, compiled=compiled, state=state, events=events)


def refuse(code: BreachCode, rule: str) -> ContractBreachError:
    """One breach of steps 1 to 3, where nothing further is looked at."""
    return ContractBreachError((Breach(code, "", rule),))


async def governing(
    exchange: Exchange, partner: str, message_type: str, now: datetime, *, wanted: str | None
) -> HeldAgreement:
    """Return the one agreement in force under which we may send this type to `partner`; `wanted` is an agreement id.

    Raises ContractBreachError: none, not in force, or ambiguous where several would do and none is named.
    """
    own = exchange.own.id
    between = [held for held in await load_between(exchange, partner, now) if own in held.parties]
    if wanted is not None:
        between = [held for held in between if held.agreement.id == wanted]
        if not between:
            raise refuse(BreachCode.AGREEMENT_NONE, "no agreement of this id with this partner is held")
    if not between:
        raise refuse(BreachCode.AGREEMENT_NONE, "no agreement with this partner is held")
    carrying = [held for held in between if held.compiled.message(message_type, held.side(own)) is not None]
    if not carrying:
        raise refuse(
            BreachCode.MESSAGE_NOT_IN_AGREEMENT, "no agreement with this partner lists this message in this direction"
        )
    in_force = [held for held in carrying if held.state.in_force]
    if not in_force:
        raise refuse(BreachCode.AGREEMENT_NOT_IN_FORCE, f"the agreement is {carrying[-1].state.state.value}")
    if len(in_force) > 1:
        raise refuse(BreachCode.AGREEMENT_AMBIGUOUS, "several agreements in force list this message: name one")
    return in_force[0]
