"""Agreements: proposed, countersigned, suspended, resumed and terminated by signed events that both parties hold.

Agreement file -> event of our own chain -> signed -> stored, logged and pushed; a partner's event comes in the same way
mirrored (`partner_keys.keep_event`). What state follows is `contracts.lifecycle`'s. The agreement-sign pair is never here:
`write_event` is called by a command in its own process; suspending and terminating may use the pair that the server holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from contracts.agreement import Agreement, read_agreement
from contracts.errors import ContractError
from contracts.events import Action
from contracts.events import write_event as event_bytes
from contracts.lifecycle import Terms, VerifiedEvent, check_effect, next_event, terms_of
from contracts.names import ZERO_DIGEST
from gateway import entries, governing
from gateway.core import commands, deciding
from gateway.core.envelope import digest
from gateway.core.errors import HeadsMovedError, SubmissionRefusedError
from gateway.core.ids import new_message_id
from gateway.governing import HeldAgreement
from gateway.ports import Exchange
from gateway.tlog.entry import AgreementRef
from keys.key import SigningPair
from keys.statement import sign_statement
from keys.suite import EVENT_TYPE

_TRIES = 5  # how often our own chain may grow under an act before the operator is told to come back


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What our organisation is about to say on an agreement: the action, the role of who acts, the events seen so far."""

    terms: Terms
    action: Action
    role: str
    own: tuple[VerifiedEvent, ...]
    other: tuple[VerifiedEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """With what an event is signed: organisation, digest of its newest bundle, and the pair."""

    org: str
    bundle: str
    pair: SigningPair = field(repr=False)


def write_event(act: Act, signer: Signer, *, event_id: str, at: int) -> bytes:
    """Return the signed bytes of our next event; raises ContractError where the act does not apply. `at` in seconds."""
    check_effect(act.action, org=signer.org, terms=act.terms, own=act.own, other=act.other)
    open_suspensions = tuple(e.digest for e in (*act.own, *act.other) if e.payload.action is Action.SUSPEND)
    lifted_by_us = {ref for e in act.own if e.payload.action is Action.RESUME for ref in e.payload.ref}
    payload = next_event(
        id=event_id,
        org=signer.org,
        sig=signer.pair.kids,
        bundle=signer.bundle,
        terms=act.terms,
        action=act.action,
        at=at,
        actor_role=act.role,
        own=act.own,
        other=act.other,
        ref=[ref for ref in open_suspensions if ref not in lifted_by_us] if act.action is Action.RESUME else (),
        diff=None,
    )
    return sign_statement(event_bytes(payload), EVENT_TYPE, signer.pair.signers)


def prepare(held: HeldAgreement, own: str, action: Action, role: str) -> Act:
    """Return the act of `own` on an agreement that is held."""
    return Act(
        terms=terms_of(held.agreement),
        action=action,
        role=role,
        own=_of(held.events, own),
        other=_of(held.events, held.other(own)),
    )


def first_act(agreement: Agreement, role: str) -> Act:
    """Return the proposal of an agreement that nobody holds yet."""
    return Act(terms=terms_of(agreement), action=Action.PROPOSE, role=role, own=(), other=())


def _of(events: Iterable[VerifiedEvent], org: str) -> tuple[VerifiedEvent, ...]:
    return tuple(event for event in events if event.payload.org == org)


async def propose(toml: bytes, jws: bytes, exchange: Exchange, *, by: str | None) -> HeldAgreement:
    """Drafted file and our signed proposal -> compiled -> stored, logged, pushed to the other party."""
    agreement = read_agreement(toml, file="agreement")
    held = await exchange.agreements.get(agreement.digest)
    if held is not None and any(row.org == exchange.own.id for row in held.events):
        raise SubmissionRefusedError("agreement.known", "agreement", "we have proposed or signed it already")
    governing.compiled_from(agreement.canonical, exchange.vocabulary)
    await _check_parties(agreement, exchange)
    file = commands.AgreementFile(
        digest=agreement.digest,
        id=agreement.id,
        version=agreement.version,
        toml=toml,
        canonical=agreement.canonical,
    )
    return await _record(jws, agreement, file, exchange, by=by)


async def record(jws: bytes, exchange: Exchange, *, by: str | None) -> HeldAgreement:
    """Our own signed event on an agreement that is held -> verified -> stored, logged, pushed to the other party."""
    claimed = governing.claimed_event(jws)
    held = await governing.load(exchange, claimed.agreement.digest, exchange.clock())
    if held is None:
        raise SubmissionRefusedError("agreement.none", "agreement", "not held here")
    return await _record(jws, held.agreement, None, exchange, by=by)


async def act_with_message_keys(
    digest_: str, action: Action, role: str, exchange: Exchange, *, by: str | None
) -> HeldAgreement:
    """Suspend or terminate at once, with the message-sign pair that the running gateway holds (agreements.md section 3)."""
    for _ in range(_TRIES):
        try:
            return await _act_once(digest_, action, role, exchange, by=by)
        except HeadsMovedError:
            continue
    raise HeadsMovedError("the agreement keeps changing")


async def _act_once(digest_: str, action: Action, role: str, exchange: Exchange, *, by: str | None) -> HeldAgreement:
    now = exchange.clock()
    held = await governing.load(exchange, digest_, now)
    if held is None:
        raise SubmissionRefusedError("agreement.none", "agreement", "not held here")
    ring, at = exchange.ring(), int(now.timestamp())
    signer = Signer(org=exchange.own.id, bundle=ring.bundle.digest, pair=ring.signing(at).pair)
    act = prepare(held, exchange.own.id, action, role)
    event_id = new_message_id(now, exchange.entropy)
    try:
        jws = await exchange.in_thread(lambda: write_event(act, signer, event_id=event_id, at=at))
    except ContractError as error:
        raise SubmissionRefusedError("agreement.act", "agreement", str(error)) from None
    return await _record(jws, held.agreement, None, exchange, by=by)


async def _record(
    jws: bytes, agreement: Agreement, file: commands.AgreementFile | None, exchange: Exchange, *, by: str | None
) -> HeldAgreement:
    now = exchange.clock()
    claimed = governing.claimed_event(jws)
    if claimed.org != exchange.own.id or claimed.agreement.digest != agreement.digest:
        raise SubmissionRefusedError("event.rejected", "event", "not our own event on this agreement")
    row = commands.EventRow(
        digest=agreement.digest,
        org=claimed.org,
        n=claimed.n,
        hash=digest(jws),
        jws=jws,
        received_at=int(now.timestamp()),
    )
    governing.accept_event(row, await exchange.partners.own_bundles())
    other = next(party.id for party in agreement.parties.values() if party.id != exchange.own.id)
    await exchange.store.write(
        commands.RecordEvent(
            file=file,
            event=row,
            entry=_entry(row, file, agreement, claimed.action, other, now, by, exchange),
            own_head=claimed.prev or ZERO_DIGEST,
            push_to=other,
            now=now,
        )
    )
    exchange.wake()
    held = await governing.load(exchange, agreement.digest, now)
    if held is None:
        raise SubmissionRefusedError("agreement.none", "agreement", "the row fails its mac")
    return held


def _entry(
    row: commands.EventRow,
    file: commands.AgreementFile | None,
    agreement: Agreement,
    action: Action,
    other: str,
    now: datetime,
    by: str | None,
    exchange: Exchange,
) -> commands.LogEntry:
    named = AgreementRef(digest=row.digest, id=agreement.id, version=agreement.version)
    what = entries.Circumstance(outcome="sent", receipt=row.hash, by=by, rows=deciding.of_event(file, row))
    return entries.about_own(exchange.journal, f"agreement-{action.value}", now, what, partner=other, agreement=named)


async def _check_parties(agreement: Agreement, exchange: Exchange) -> None:
    """Both roots in the file are those this gateway knows: its own, and that of a partner that was verified."""
    orgs = [party.id for party in agreement.parties.values()]
    if exchange.own.id not in orgs:
        raise SubmissionRefusedError("agreement.parties", "party", "our organisation is no party to this agreement")
    for place, party in agreement.parties.items():
        partner = await exchange.partners.get(party.id)
        if party.id != exchange.own.id and (partner is None or not partner.verified_by):
            raise SubmissionRefusedError("partner.unverified", f"party.{place}.id", "not a verified partner")
        bundles = await governing.bundles_of(exchange, party.id)
        if party.root not in {f"sha256:{bundle.fingerprint.hex()}" for bundle in bundles}:
            raise SubmissionRefusedError("agreement.root", f"party.{place}.root", "not the root of this organisation")
