"""The life of one agreement: a function of the two parties' event chains and the clock (agreements section 3).

Pure. Knows no keys and no storage: whoever calls has verified both signatures of every event, and says with which
pair they were made. The answer depends on which events exist, never on the order in which they arrived:

    draft -> proposed -> part-signed -> signed -> in-force -> suspended | expired | superseded | terminated

Two rules decide every doubtful case. A permissive act (propose, sign, resume) needs both parties; a restrictive act
(suspend, terminate) needs either one. And whatever is wrong with a chain (a fork, a gap, a link that does not fit)
takes the agreement out of force and raises an alarm, while restrictive acts inside that chain still count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Literal

from contracts.agreement import Agreement
from contracts.errors import ContractError
from contracts.events import (
    MESSAGE_SIGN_SUFFICES,
    SUPPORTED,
    Action,
    AgreementName,
    EventPayload,
    check_event,
)
from contracts.facts import civil_date
from contracts.names import ZERO_DIGEST
from contracts.terms import Mode

REVIEW_WARNING = timedelta(days=30)  # before review_by
REVIEW_GRACE = timedelta(days=30)  # after review_by; the day after it, the agreement is suspended

SigningRole = Literal["agreement-sign", "message-sign"]

_SIGNATURES = frozenset({Action.PROPOSE, Action.SIGN})
# Unsupported acts that would take an agreement out of force: until they are carried out, they bar it. The other
# two (review, extend) could only keep it in force longer, so leaving them without effect is the safe side.
_BARS = frozenset({Action.SUPERSEDE, Action.WITHDRAW})


class State(StrEnum):
    """Where an agreement stands; only `in-force` lets a message through."""

    DRAFT = "draft"
    PROPOSED = "proposed"
    PART_SIGNED = "part-signed"
    SIGNED = "signed"
    IN_FORCE = "in-force"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    TERMINATED = "terminated"


class Reason(StrEnum):
    """What keeps an agreement that both parties signed out of force."""

    SUSPENDED = "suspended-by-a-party"
    REVIEW_OVERDUE = "review-overdue"
    CHAIN = "event-chain-unsound"
    UNSUPPORTED = "unsupported-action"


class Fault(StrEnum):
    """What is wrong with an event or its place in a chain."""

    FORK = "fork"  # two different events of one organisation with the same number
    GAP = "gap"  # a number is missing below one that is there
    BROKEN_LINK = "broken-link"  # `prev` is not the event before
    UNKNOWN_SEEN = "unknown-seen"  # `seen` names an event of the other party that is not here
    FOREIGN = "foreign"  # another organisation's or another agreement's event
    WRONG_KEY = "wrong-key"  # an act that needs the agreement-sign pair, signed with another


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the lifecycle reads of an agreement; `parties` are a and b, the days are days in London, both included."""

    agreement: AgreementName
    parties: tuple[str, str]
    mode: Mode
    valid_from: date
    valid_until: date
    review_by: date


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEvent:
    """An event whose two signatures were verified; only the code that verified them makes one.

    `digest` is over the published bytes. `logged_at` is the time of the event's entry in our own log and
    `revoked_from` the earliest `from` of a revocation of either signing key, both in seconds since 1970.
    """

    digest: str
    payload: EventPayload
    signed_with: SigningRole
    logged_at: int
    revoked_from: int | None

    @property
    def void(self) -> bool:
        """True where a signing key was revoked from a time at or before the event's entry in our log."""
        return self.revoked_from is not None and self.revoked_from <= self.logged_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """An open suspension: who suspended, and who has already lifted it."""

    digest: str
    org: str
    lifted_by: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Alarm:
    """A fault that a person must look into; `n` is the event's number in the chain of `org`."""

    org: str
    n: int
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementState:
    """Where the agreement stands now, and all that explains it.

    `heads` are the heads of party a's and party b's chains, as a message carries them. `review` warns: due within 30
    days, or overdue.
    """

    state: State
    reasons: tuple[Reason, ...]
    heads: tuple[str, str]
    signed_by: frozenset[str]
    suspensions: tuple[Suspension, ...]
    alarms: tuple[Alarm, ...]
    review: Literal["due", "overdue"] | None

    @property
    def in_force(self) -> bool:
        return self.state is State.IN_FORCE


class ActError(ContractError):
    """An act that no event can express: on a template, by a stranger, not carried out yet, or changing nothing."""

    code = "agreement.act-not-possible"


class ChainError(ContractError):
    """The own chain is not sound, so no event can be added to it."""

    code = "agreement.chain-unsound"


def terms_of(agreement: Agreement) -> Terms:
    """Return what the lifecycle reads of an agreement. Raises ActError for one that nobody can sign: a template."""
    valid_from, valid_until, review_by = agreement.valid_from, agreement.valid_until, agreement.review_by
    if agreement.is_template or valid_from is None or valid_until is None or review_by is None:
        raise ActError("a template has no life: its roots, its vocabulary and its dates are not all filled in")
    return Terms(
        agreement=AgreementName(id=agreement.id, version=agreement.version, digest=agreement.digest),
        parties=(agreement.parties["a"].id, agreement.parties["b"].id),
        mode=agreement.mode,
        valid_from=valid_from,
        valid_until=valid_until,
        review_by=review_by,
    )


def state_of(
    terms: Terms,
    events_a: Iterable[VerifiedEvent],
    events_b: Iterable[VerifiedEvent],
    now: datetime,
    *,
    superseded_by: date | None,
) -> AgreementState:
    """Return the state of the agreement at `now`.

    `events_a` and `events_b` are all events held of each party, in any order, repeats and forks included.
    `superseded_by` is the `valid_from` of a version that both parties signed and that names this one.
    """
    today = civil_date(now)
    party_a, party_b = terms.parties
    held_a, held_b = _distinct(events_a), _distinct(events_b)
    chain_a = _follow(party_a, terms.agreement, held_a, other=held_b)
    chain_b = _follow(party_b, terms.agreement, held_b, other=held_a)
    acting = (*chain_a.acting, *chain_b.acting)

    signed_by = frozenset(e.payload.org for e in acting if e.payload.action in _SIGNATURES)
    suspensions = _open_suspensions(terms.mode, terms.parties, acting, signed_by)
    alarms = tuple(sorted({*chain_a.alarms, *chain_b.alarms}))
    actions = {e.payload.action for e in acting}
    overdue = today - terms.review_by

    reasons = tuple(
        reason
        for reason, applies in (
            (Reason.SUSPENDED, bool(suspensions)),
            (Reason.REVIEW_OVERDUE, overdue > REVIEW_GRACE),
            (Reason.CHAIN, bool(alarms)),
            (Reason.UNSUPPORTED, not actions.isdisjoint(_BARS)),
        )
        if applies
    )
    return AgreementState(
        state=_state(terms, today, actions, signed_by, reasons, superseded_by),
        reasons=reasons,
        heads=(chain_a.head, chain_b.head),
        signed_by=signed_by,
        suspensions=suspensions,
        alarms=alarms,
        review="overdue" if overdue > timedelta(0) else "due" if overdue >= -REVIEW_WARNING else None,
    )


def next_event(
    *,
    id: str,  # noqa: A002 - the member's name on the wire
    org: str,
    sig: tuple[str, str],
    bundle: str,
    terms: Terms,
    action: Action,
    at: int,
    actor_role: str,
    own: Iterable[VerifiedEvent],
    other: Iterable[VerifiedEvent],
    ref: Sequence[str],
    diff: str | None,
) -> EventPayload:
    """Return the payload of the next event of `org`, linked to its own chain and naming the other chain's head.

    `own` and `other` are all events held of the two parties; `ref` names the suspensions that a resume lifts. Raises
    ActError where `org` is no party, the action is not carried out yet or lifts nothing; ChainError where a fault in
    the own chain leaves no place for another event.
    """
    if org not in terms.parties:
        raise ActError("only a party to the agreement writes its events")
    if action not in SUPPORTED:
        raise ActError(f"the action {action.value} is not carried out by this version")
    if (action is Action.RESUME) != bool(ref):
        raise ActError("a resume names the suspensions that it lifts, and nothing else names any")
    partner = terms.parties[1] if org == terms.parties[0] else terms.parties[0]
    held_own, held_other = _distinct(own), _distinct(other)
    chain = _follow(org, terms.agreement, held_own, other=held_other)
    if chain.alarms:
        raise ChainError("the organisation's own chain of events is not sound")
    seen = _follow(partner, terms.agreement, held_other, other=held_own).head
    payload = EventPayload(
        v=1,
        id=id,
        org=org,
        sig=sig,
        bundle=bundle,
        agreement=terms.agreement,
        action=action,
        at=at,
        actor_role=actor_role,
        n=chain.length + 1,
        prev=chain.head if chain.length else None,
        seen=seen if seen != ZERO_DIGEST else None,
        ref=tuple(ref),
        diff=diff,
    )
    check_event(payload)
    return payload


def check_effect(
    action: Action, *, org: str, terms: Terms, own: Iterable[VerifiedEvent], other: Iterable[VerifiedEvent]
) -> None:
    """Raise ActError for an act of `org` that would change nothing: a chain of such would only hide those that did."""
    partner = terms.parties[1] if org == terms.parties[0] else terms.parties[0]
    held_own, held_other = _distinct(own), _distinct(other)
    acting = (
        *_follow(org, terms.agreement, held_own, other=held_other).acting,
        *_follow(partner, terms.agreement, held_other, other=held_own).acting,
    )
    ours = {e.payload.action for e in acting if e.payload.org == org}
    if any(e.payload.action is Action.TERMINATE for e in acting):
        raise ActError("the agreement is terminated: nothing more can be said on it")
    if action in _SIGNATURES and ours & _SIGNATURES:
        raise ActError("this organisation has signed the agreement already")
    signed_by = frozenset(e.payload.org for e in acting if e.payload.action in _SIGNATURES)
    suspended = _open_suspensions(terms.mode, terms.parties, acting, signed_by)
    if action is Action.SUSPEND and any(s.org == org and not s.lifted_by for s in suspended):
        raise ActError("this organisation has suspended the agreement already")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    head: str
    length: int
    acting: tuple[VerifiedEvent, ...]  # what counts, also beyond a fault: a restrictive act is never lost to one
    alarms: tuple[Alarm, ...]


def _follow(
    org: str, agreement: AgreementName, held: Sequence[VerifiedEvent], *, other: Sequence[VerifiedEvent]
) -> _Chain:
    """Walk one party's events from n = 1 to the last that fits, collecting what acts and what is wrong."""
    foreign = [e for e in held if e.payload.org != org or e.payload.agreement != agreement]
    own = [e for e in held if e.payload.org == org and e.payload.agreement == agreement]
    live = [e for e in own if not e.void]
    known = {e.digest for e in other}
    alarms = [Alarm(org=org, n=e.payload.n, fault=Fault.FOREIGN) for e in foreign]
    alarms += [Alarm(org=org, n=e.payload.n, fault=Fault.WRONG_KEY) for e in live if not _rightly_signed(e)]
    alarms += [
        Alarm(org=org, n=e.payload.n, fault=Fault.UNKNOWN_SEEN)
        for e in live
        if e.payload.seen not in known and e.payload.seen is not None
    ]

    head: str = ZERO_DIGEST
    length = 0
    places = _by_number(own)
    while candidates := _at_place(places[length + 1], head):
        if len(candidates) > 1:
            alarms.append(Alarm(org=org, n=length + 1, fault=Fault.FORK))
            break
        (event,) = candidates
        if (event.payload.prev or ZERO_DIGEST) != head:
            alarms.append(Alarm(org=org, n=length + 1, fault=Fault.BROKEN_LINK))
            break
        head, length = event.digest, length + 1
    else:
        alarms += [Alarm(org=org, n=e.payload.n, fault=Fault.GAP) for e in live if e.payload.n > length]

    acting = tuple(e for e in live if _rightly_signed(e))
    return _Chain(head=head, length=length, acting=acting, alarms=tuple(alarms))


def _at_place(events: Sequence[VerifiedEvent], head: str) -> Sequence[VerifiedEvent]:
    """Return what stands at one number: a void event keeps its place only where it fits and no other stands there."""
    live = [e for e in events if not e.void]
    return live or [e for e in events if (e.payload.prev or ZERO_DIGEST) == head]


def _rightly_signed(event: VerifiedEvent) -> bool:
    return event.signed_with == "agreement-sign" or event.payload.action in MESSAGE_SIGN_SUFFICES


def _distinct(events: Iterable[VerifiedEvent]) -> tuple[VerifiedEvent, ...]:
    """Return each event once, in an order of its own; of two copies the void one counts."""
    by_digest = {e.digest: e for e in sorted(events, key=lambda e: (e.digest, e.void))}
    return tuple(by_digest.values())


def _by_number(events: Iterable[VerifiedEvent]) -> defaultdict[int, list[VerifiedEvent]]:
    places: defaultdict[int, list[VerifiedEvent]] = defaultdict(list)
    for event in events:
        places[event.payload.n].append(event)
    return places


def _open_suspensions(
    mode: Mode, parties: tuple[str, str], acting: Sequence[VerifiedEvent], signed_by: frozenset[str]
) -> tuple[Suspension, ...]:
    lifted: defaultdict[str, set[str]] = defaultdict(set)
    for event in acting:
        if event.payload.action is Action.RESUME:
            for digest in event.payload.ref:
                lifted[digest].add(event.payload.org)
    found = (
        Suspension(digest=e.digest, org=e.payload.org, lifted_by=frozenset(lifted[e.digest]))
        for e in acting
        if e.payload.action is Action.SUSPEND
    )
    # Lifting is permissive: both parties, or where one signature suffices, whoever signed and whoever suspended.
    return tuple(s for s in found if not s.lifted_by >= (set(parties) if _needs_both(mode) else {*signed_by, s.org}))


def _state(
    terms: Terms,
    today: date,
    actions: set[Action],
    signed_by: frozenset[str],
    reasons: tuple[Reason, ...],
    superseded_by: date | None,
) -> State:
    if Action.TERMINATE in actions:
        return State.TERMINATED
    if superseded_by is not None and superseded_by <= min(today, terms.valid_until):
        return State.SUPERSEDED
    if today > terms.valid_until:
        return State.EXPIRED
    if not is_signed(terms.mode, signed_by):
        return _before_signed(actions)
    if reasons:
        return State.SUSPENDED
    if today < terms.valid_from:
        return State.SIGNED
    return State.IN_FORCE


def _before_signed(actions: set[Action]) -> State:
    if Action.SIGN in actions:
        return State.PART_SIGNED
    return State.PROPOSED if Action.PROPOSE in actions else State.DRAFT


def is_signed(mode: Mode, signed_by: frozenset[str]) -> bool:
    """Whether as many parties have signed as the mode demands."""
    return len(signed_by) >= (2 if _needs_both(mode) else 1)


def _needs_both(mode: Mode) -> bool:
    """Anything but the two modes that come into force on one signature needs both parties."""
    return mode not in ("unilateral", "emergency")
