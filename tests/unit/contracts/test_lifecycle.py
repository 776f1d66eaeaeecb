"""The life of an agreement: both parties to permit, either to restrict, and no order of arrival that matters."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.agreement import Agreement, draw_up, read_agreement
from contracts.events import Action, AgreementName, EventPayload, write_event
from contracts.library import template_bytes
from contracts.lifecycle import (
    ActError,
    AgreementState,
    Alarm,
    ChainError,
    Fault,
    Reason,
    SigningRole,
    State,
    Terms,
    VerifiedEvent,
    next_event,
    state_of,
    terms_of,
)
from contracts.names import ZERO_DIGEST, Digest
from contracts.terms import Mode

A, B = "la-207", "la-850"
KIDS = ("A" * 43, "B" * 42 + "A")
BUNDLE = "sha256:" + "11" * 32
NAME = AgreementName(id="rbkc-hants-cme-transfer", version=1, digest="sha256:" + "22" * 32)
NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)  # a day inside every term below

# What may follow what when one event arrives in its order, or days pass. Nothing leaves `terminated`.
_END = {State.EXPIRED, State.SUPERSEDED, State.TERMINATED}
_SIGNED = {State.SIGNED, State.IN_FORCE, State.SUSPENDED}
FOLLOWS = {
    State.DRAFT: {State.PROPOSED, State.PART_SIGNED, *_END},
    State.PROPOSED: {State.PART_SIGNED, *_SIGNED, *_END},
    State.PART_SIGNED: {*_SIGNED, *_END},
    State.SIGNED: {State.IN_FORCE, State.SUSPENDED, *_END},
    State.IN_FORCE: {State.SUSPENDED, *_END},
    State.SUSPENDED: {State.SIGNED, State.IN_FORCE, *_END},
    State.EXPIRED: {State.TERMINATED},
    State.SUPERSEDED: {State.TERMINATED},
    State.TERMINATED: set(),
}


def make_terms(
    mode: Mode = "bilateral",
    valid_from: date = date(2026, 12, 1),
    valid_until: date = date(2028, 11, 30),
    review_by: date = date(2027, 11, 30),
) -> Terms:
    return Terms(
        agreement=NAME,
        parties=(A, B),
        mode=mode,
        valid_from=valid_from,
        valid_until=valid_until,
        review_by=review_by,
    )


def verified(payload: EventPayload, signed_with: SigningRole = "agreement-sign") -> VerifiedEvent:
    digest = "sha256:" + hashlib.sha256(write_event(payload)).hexdigest()
    return VerifiedEvent(
        digest=digest, payload=payload, signed_with=signed_with, logged_at=payload.at, revoked_from=None
    )


@dataclass
class World:
    """Two parties that write events one after the other, each having seen all before."""

    terms: Terms = field(default_factory=make_terms)
    events: list[VerifiedEvent] = field(default_factory=list)

    def act(
        self, org: str, action: Action, *lifted: VerifiedEvent, signed_with: SigningRole = "agreement-sign"
    ) -> VerifiedEvent:
        payload = next_event(
            id=str(uuid.UUID(int=len(self.events), version=4)),
            org=org,
            sig=KIDS,
            bundle=BUNDLE,
            terms=self.terms,
            action=action,
            at=1_790_000_000 + len(self.events),
            actor_role="dpo",
            own=self.of(org),
            other=self.of(B if org == A else A),
            ref=[e.digest for e in lifted],
            diff=None,
        )
        event = verified(payload, signed_with)
        self.events.append(event)
        return event

    def countersigned(self) -> World:
        self.act(A, Action.PROPOSE)
        self.act(B, Action.SIGN)
        return self

    def of(self, org: str) -> list[VerifiedEvent]:
        return [e for e in self.events if e.payload.org == org]

    def state(self, now: datetime = NOON, superseded_by: date | None = None) -> AgreementState:
        return look(self.terms, self.events, now, superseded_by)


def look(
    terms: Terms, events: Iterable[VerifiedEvent], now: datetime = NOON, superseded_by: date | None = None
) -> AgreementState:
    held = list(events)
    own, other = ([e for e in held if e.payload.org == org] for org in (A, B))
    return state_of(terms, own, other, now, superseded_by=superseded_by)


def changed(event: VerifiedEvent, **members: object) -> VerifiedEvent:
    return verified(msgspec.structs.replace(event.payload, **members), event.signed_with)


# --- signing


def test_agreement_without_events_is_a_draft_with_two_empty_heads() -> None:
    state = World().state()
    assert (state.state, state.heads, state.alarms) == (State.DRAFT, (ZERO_DIGEST, ZERO_DIGEST), ())


def test_proposal_and_the_other_partys_signature_bring_it_into_force() -> None:
    world = World()
    proposal = world.act(A, Action.PROPOSE)
    assert world.state().state is State.PROPOSED
    signature = world.act(B, Action.SIGN)
    assert world.state().in_force
    assert world.state().heads == (proposal.digest, signature.digest)


def test_either_party_may_propose() -> None:
    world = World()
    world.act(B, Action.PROPOSE)
    world.act(A, Action.SIGN)
    assert world.state().in_force


def test_proposer_signing_again_is_no_countersignature() -> None:
    world = World()
    world.act(A, Action.PROPOSE)
    world.act(A, Action.SIGN)
    world.act(A, Action.SIGN)
    assert world.state().state is State.PART_SIGNED
    assert world.state().signed_by == {A}


def test_one_partys_events_given_as_the_others_are_no_countersignature() -> None:
    world = World()
    world.act(A, Action.PROPOSE)
    state = state_of(world.terms, world.events, world.events, NOON, superseded_by=None)
    assert not state.in_force
    assert Alarm(org=B, n=1, fault=Fault.FOREIGN) in state.alarms


def test_party_that_stands_on_both_sides_cannot_sign_for_two() -> None:
    terms = replace(make_terms(), parties=(A, A))
    world = World()
    world.act(A, Action.PROPOSE)
    assert state_of(terms, world.events, world.events, NOON, superseded_by=None).state is State.PROPOSED


@pytest.mark.parametrize("action", [Action.PROPOSE, Action.SIGN])
def test_permissive_act_with_the_gateways_own_keys_does_nothing_and_alarms(action: Action) -> None:
    world = World()
    world.act(A, Action.PROPOSE)
    world.act(B, action, signed_with="message-sign")
    state = world.state()
    assert state.state is State.PROPOSED
    assert state.alarms == (Alarm(org=B, n=1, fault=Fault.WRONG_KEY),)


@pytest.mark.parametrize("mode", ["unilateral", "emergency"])
def test_other_modes_come_into_force_on_one_signature(mode: Mode) -> None:
    world = World(make_terms(mode))
    world.act(A, Action.PROPOSE)
    assert world.state().in_force


def test_unknown_mode_needs_both_parties() -> None:
    world = World(make_terms("Unilateral"))  # type: ignore[arg-type]
    world.act(A, Action.PROPOSE)
    assert world.state().state is State.PROPOSED


def test_event_of_another_agreement_counts_for_nothing() -> None:
    world = World().countersigned()
    other = AgreementName(id=NAME.id, version=1, digest="sha256:" + "33" * 32)
    strayed = [world.of(A)[0], changed(world.of(B)[0], agreement=other)]
    state = look(world.terms, strayed)
    assert (state.state, state.signed_by) == (State.PROPOSED, frozenset({A}))
    assert Alarm(org=B, n=1, fault=Fault.FOREIGN) in state.alarms


# --- suspending, resuming, terminating


@pytest.mark.parametrize("org", [A, B])
@pytest.mark.parametrize("signed_with", ["agreement-sign", "message-sign"])
def test_either_party_suspends_alone_and_at_once(org: str, signed_with: SigningRole) -> None:
    world = World().countersigned()
    suspension = world.act(org, Action.SUSPEND, signed_with=signed_with)
    state = world.state()
    assert (state.state, state.reasons) == (State.SUSPENDED, (Reason.SUSPENDED,))
    assert [(s.digest, s.org, s.lifted_by) for s in state.suspensions] == [(suspension.digest, org, frozenset())]


def test_resuming_takes_both_parties() -> None:
    world = World().countersigned()
    suspension = world.act(A, Action.SUSPEND)
    world.act(A, Action.RESUME, suspension)
    world.act(A, Action.RESUME, suspension)
    assert world.state().state is State.SUSPENDED
    assert world.state().suspensions[0].lifted_by == {A}
    world.act(B, Action.RESUME, suspension)
    assert world.state().in_force
    assert world.state().suspensions == ()


def test_resume_lifts_only_the_suspensions_it_names() -> None:
    world = World().countersigned()
    first, second = world.act(A, Action.SUSPEND), world.act(B, Action.SUSPEND)
    world.act(A, Action.RESUME, first, second)
    world.act(B, Action.RESUME, first)
    assert [s.digest for s in world.state().suspensions] == [second.digest]
    world.act(B, Action.RESUME, second)
    assert world.state().in_force


def test_resume_does_not_lift_a_suspension_made_after_it() -> None:
    world = World().countersigned()
    suspension = world.act(A, Action.SUSPEND)
    world.act(A, Action.RESUME, suspension)
    world.act(B, Action.RESUME, suspension)
    world.act(B, Action.SUSPEND)
    assert world.state().state is State.SUSPENDED


def test_resume_with_the_gateways_own_keys_lifts_nothing() -> None:
    world = World().countersigned()
    suspension = world.act(A, Action.SUSPEND)
    world.act(A, Action.RESUME, suspension)
    world.act(B, Action.RESUME, suspension, signed_with="message-sign")
    assert Reason.SUSPENDED in world.state().reasons


def test_suspension_before_the_countersignature_still_holds_after_it() -> None:
    world = World()
    world.act(A, Action.PROPOSE)
    suspension = world.act(A, Action.SUSPEND)
    world.act(B, Action.SIGN)
    assert world.state().state is State.SUSPENDED
    world.act(A, Action.RESUME, suspension)
    world.act(B, Action.RESUME, suspension)
    assert world.state().in_force


def test_unilateral_suspension_is_lifted_by_its_signer_alone() -> None:
    world = World(make_terms("unilateral"))
    world.act(A, Action.PROPOSE)
    suspension = world.act(A, Action.SUSPEND)
    assert world.state().state is State.SUSPENDED
    world.act(A, Action.RESUME, suspension)
    assert world.state().in_force


def test_emergency_suspended_by_the_partner_is_not_lifted_by_the_signer_alone() -> None:
    world = World(make_terms("emergency"))
    world.act(A, Action.PROPOSE)
    suspension = world.act(B, Action.SUSPEND)
    world.act(A, Action.RESUME, suspension)
    assert world.state().state is State.SUSPENDED


@pytest.mark.parametrize("org", [A, B])
def test_either_party_terminates_for_good(org: str) -> None:
    world = World().countersigned()
    world.act(org, Action.TERMINATE, signed_with="message-sign")
    for signer in (A, B):
        world.act(signer, Action.SIGN)
        world.act(signer, Action.PROPOSE)
    assert world.state().state is State.TERMINATED


@pytest.mark.parametrize("action", [Action.SUPERSEDE, Action.WITHDRAW])
def test_restrictive_act_of_a_later_version_takes_it_out_of_force(action: Action) -> None:
    world = World().countersigned()
    last = world.act(B, Action.SIGN)
    state = look(world.terms, [*world.events[:-1], changed(last, action=action)])
    assert (state.state, state.reasons, state.alarms) == (State.SUSPENDED, (Reason.UNSUPPORTED,), ())


@pytest.mark.parametrize("action", [Action.REVIEW, Action.EXTEND])
def test_act_of_a_later_version_that_could_only_prolong_has_no_effect(action: Action) -> None:
    world = World().countersigned()
    last = world.act(B, Action.SIGN)
    events = [*world.events[:-1], changed(last, action=action)]
    assert look(world.terms, events).in_force
    assert look(world.terms, events, datetime(2028, 1, 15, tzinfo=UTC)).reasons == (Reason.REVIEW_OVERDUE,)


@pytest.mark.parametrize("action", [Action.SUPERSEDE, Action.WITHDRAW, Action.REVIEW, Action.EXTEND])
def test_act_of_a_later_version_signs_nothing(action: Action) -> None:
    world = World().countersigned()
    assert look(world.terms, [world.of(A)[0], changed(world.of(B)[0], action=action)]).signed_by == {A}


# --- the calendar


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), State.SIGNED),
        (datetime(2026, 12, 1, tzinfo=UTC), State.IN_FORCE),
        (datetime(2027, 6, 30, 22, 59, 59, tzinfo=UTC), State.IN_FORCE),  # still 30 June in London
        (datetime(2027, 6, 30, 23, tzinfo=UTC), State.EXPIRED),  # 1 July, British Summer Time
    ],
)
def test_valid_days_are_london_days_both_included(now: datetime, state: State) -> None:
    world = World(make_terms(valid_until=date(2027, 6, 30), review_by=date(2027, 6, 1))).countersigned()
    assert world.state(now).state is state


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        World().state(datetime(2027, 6, 30, 23))


@pytest.mark.parametrize(
    ("day", "state", "review"),
    [
        (date(2027, 10, 30), State.IN_FORCE, None),
        (date(2027, 10, 31), State.IN_FORCE, "due"),
        (date(2027, 11, 30), State.IN_FORCE, "due"),
        (date(2027, 12, 1), State.IN_FORCE, "overdue"),
        (date(2027, 12, 30), State.IN_FORCE, "overdue"),
        (date(2027, 12, 31), State.SUSPENDED, "overdue"),
    ],
)
def test_missed_review_warns_thirty_days_then_suspends(day: date, state: State, review: str | None) -> None:
    seen = World().countersigned().state(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    assert (seen.state, seen.review) == (state, review)
    assert seen.reasons == ((Reason.REVIEW_OVERDUE,) if state is State.SUSPENDED else ())


def test_valid_until_is_a_hard_stop_for_a_suspended_agreement_too() -> None:
    world = World().countersigned()
    world.act(A, Action.SUSPEND)
    assert world.state(datetime(2028, 12, 1, 12, tzinfo=UTC)).state is State.EXPIRED


def test_later_version_supersedes_from_its_first_day() -> None:
    world = World().countersigned()
    day = date(2027, 3, 1)
    assert world.state(datetime(2027, 2, 28, 23, 59, tzinfo=UTC), day).in_force
    assert world.state(datetime(2027, 3, 1, tzinfo=UTC), day).state is State.SUPERSEDED
    assert world.state(datetime(2029, 1, 1, tzinfo=UTC), day).state is State.SUPERSEDED


def test_version_that_expired_before_its_successor_began_stays_expired() -> None:
    world = World().countersigned()
    assert world.state(datetime(2029, 6, 1, tzinfo=UTC), date(2029, 1, 1)).state is State.EXPIRED


# --- faults in a chain


def test_two_events_with_one_number_are_a_fork_and_stop_it() -> None:
    world = World().countersigned()
    fork = changed(world.of(B)[0], at=5)
    state = look(world.terms, [*world.events, fork])
    assert (state.state, state.reasons) == (State.SUSPENDED, (Reason.CHAIN,))
    assert state.alarms == (Alarm(org=B, n=1, fault=Fault.FORK),)
    assert state.heads == (world.of(A)[0].digest, ZERO_DIGEST)


def test_termination_on_one_branch_of_a_fork_still_terminates() -> None:
    world = World().countersigned()
    fork = changed(world.of(B)[0], action=Action.TERMINATE)
    assert look(world.terms, [*world.events, fork]).state is State.TERMINATED


def test_event_after_a_gap_stops_it_and_a_suspension_there_still_counts() -> None:
    world = World().countersigned()
    world.act(B, Action.SIGN)
    suspension = world.act(B, Action.SUSPEND)
    missing = [e for e in world.events if e.payload.n != 2]
    state = look(world.terms, missing)
    assert state.reasons == (Reason.SUSPENDED, Reason.CHAIN)
    assert state.alarms == (Alarm(org=B, n=3, fault=Fault.GAP),)
    assert state.suspensions[0].digest == suspension.digest


def test_event_that_does_not_follow_its_predecessor_stops_it() -> None:
    world = World().countersigned()
    tampered = changed(world.act(B, Action.SIGN), prev="sha256:" + "44" * 32)
    state = look(world.terms, [*world.events[:-1], tampered])
    assert state.reasons == (Reason.CHAIN,)
    assert state.alarms == (Alarm(org=B, n=2, fault=Fault.BROKEN_LINK),)


def test_head_that_the_other_party_has_seen_and_we_lost_stops_it() -> None:
    world = World().countersigned()
    world.act(A, Action.SUSPEND)
    world.act(B, Action.SIGN)  # has seen the suspension
    lost = [e for e in world.events if e.payload.action is not Action.SUSPEND]
    state = look(world.terms, lost)
    assert state.reasons == (Reason.CHAIN,)
    assert state.alarms == (Alarm(org=B, n=2, fault=Fault.UNKNOWN_SEEN),)


# --- revoked keys


def revoked(event: VerifiedEvent, *, seconds_before_entry: int) -> VerifiedEvent:
    return replace(event, revoked_from=event.logged_at - seconds_before_entry)


def test_signature_logged_after_the_revocation_is_void() -> None:
    world = World().countersigned()
    events = [world.of(A)[0], revoked(world.of(B)[0], seconds_before_entry=0)]
    state = look(world.terms, events)
    assert (state.state, state.alarms) == (State.PROPOSED, ())


def test_signature_logged_before_the_revocation_stands() -> None:
    world = World().countersigned()
    assert look(world.terms, [world.of(A)[0], revoked(world.of(B)[0], seconds_before_entry=-1)]).in_force


def test_void_termination_is_undone_and_its_place_may_be_taken() -> None:
    world = World().countersigned()
    stolen = revoked(world.act(B, Action.TERMINATE), seconds_before_entry=60)
    rightful = changed(world.events.pop(), action=Action.SIGN)
    assert look(world.terms, [*world.events, stolen]).in_force
    state = look(world.terms, [*world.events, stolen, rightful])
    assert (state.in_force, state.heads[1]) == (True, rightful.digest)


def test_chain_continues_over_an_own_event_that_became_void() -> None:
    world = World().countersigned()
    void = revoked(world.act(B, Action.SUSPEND), seconds_before_entry=60)
    last = world.act(B, Action.SIGN)
    state = look(world.terms, [*world.events[:-2], void, last])
    assert (state.in_force, state.heads[1], state.alarms) == (True, last.digest, ())


def test_void_event_far_beyond_the_chain_is_no_gap() -> None:
    world = World().countersigned()
    stray = changed(world.of(B)[0], n=1000, prev="sha256:" + "44" * 32)
    assert look(world.terms, [*world.events, revoked(stray, seconds_before_entry=60)]).in_force


# --- the next event


def test_next_event_links_to_the_own_head_and_names_the_others() -> None:
    world = World()
    first = world.act(A, Action.PROPOSE).payload
    assert (first.n, first.prev, first.seen) == (1, None, None)
    second = world.act(B, Action.SIGN).payload
    assert (second.n, second.prev, second.seen) == (1, None, world.of(A)[0].digest)
    third = world.act(A, Action.SUSPEND).payload
    assert (third.n, third.prev, third.seen) == (2, world.of(A)[0].digest, world.of(B)[0].digest)


@pytest.mark.parametrize(
    ("org", "action", "lifts"),
    [
        ("la-919", Action.SIGN, False),
        (A, Action.RESUME, False),
        (A, Action.SIGN, True),
        (A, Action.EXTEND, False),
        (A, Action.WITHDRAW, False),
    ],
)
def test_act_that_no_event_can_express_is_refused(org: str, action: Action, lifts: bool) -> None:
    world = World().countersigned()
    with pytest.raises(ActError) as refusal:
        world.act(org, action, *(world.events[:1] if lifts else []))
    assert refusal.value.code == "agreement.act-not-possible"


def test_own_chain_with_a_fault_takes_no_further_event() -> None:
    world = World().countersigned()
    world.events.append(changed(world.of(A)[0], at=5))
    with pytest.raises(ChainError):
        world.act(A, Action.SUSPEND)


def test_fault_in_the_others_chain_does_not_keep_us_from_suspending() -> None:
    world = World().countersigned()
    world.events.append(changed(world.of(B)[0], at=5))
    world.act(A, Action.TERMINATE)
    assert world.state().state is State.TERMINATED


# --- from an agreement


def template() -> Agreement:
    name = "la-la-cme-transfer.toml"
    return read_agreement(template_bytes(name), file=name)


def test_template_has_no_life() -> None:
    with pytest.raises(ActError):
        terms_of(template())


def test_drawn_up_agreement_has_its_parties_and_days() -> None:
    digest = Digest("sha256:" + "55" * 32)
    days = (date(2026, 12, 1), date(2028, 11, 30), date(2027, 11, 30))
    drawn = draw_up(
        template(),
        vocabulary_digest=digest,
        roots={"a": digest, "b": Digest("sha256:" + "66" * 32)},
        valid_from=days[0],
        valid_until=days[1],
        review_by=days[2],
    )
    terms = terms_of(drawn)
    assert (terms.parties, terms.mode) == ((A, B), "bilateral")
    assert (terms.valid_from, terms.valid_until, terms.review_by) == days
    assert terms.agreement.digest == drawn.digest


# --- properties over whole histories


@st.composite
def histories(draw: st.DrawFn, mode: Mode = "bilateral") -> World:
    """Two parties acting as they like, mostly towards an agreement in force."""
    world = World(make_terms(mode))
    opening = draw(st.sampled_from([[], [(A, Action.PROPOSE)], [(B, Action.PROPOSE), (A, Action.SIGN)]]))
    for org, action in opening:
        world.act(org, action)
    actions = [Action.PROPOSE, Action.SIGN, Action.SUSPEND, Action.RESUME, Action.RESUME, Action.TERMINATE]
    for _ in range(draw(st.integers(0, 7))):
        org, action = draw(st.sampled_from([A, B])), draw(st.sampled_from(actions))
        suspensions = [e for e in world.events if e.payload.action is Action.SUSPEND]
        if action is not Action.RESUME:
            world.act(org, action)
        elif suspensions:
            world.act(org, action, *draw(st.lists(st.sampled_from(suspensions), min_size=1, unique_by=id)))
    return world


days = st.integers(-60, 900).map(lambda n: NOON + timedelta(days=n))


@given(histories(), days, st.data())
def test_state_does_not_depend_on_the_order_of_arrival(world: World, now: datetime, data: st.DataObject) -> None:
    fork = [changed(e, at=7) for e in world.events if data.draw(st.booleans(), label="fork") and len(world.events) < 4]
    held = world.events + fork
    shuffled = data.draw(st.permutations(held + held[:2]), label="arrival, some twice")
    assert look(world.terms, shuffled, now) == look(world.terms, held, now)


@given(histories(), st.lists(st.integers(0, 200), min_size=8, max_size=8))
def test_every_walk_through_events_and_days_obeys_the_lifecycle(world: World, pauses: Sequence[int]) -> None:
    now = NOON - timedelta(days=60)
    walk = [look(world.terms, [], now, date(2028, 6, 1)).state]
    for length, pause in zip(range(1, len(world.events) + 1), [*pauses, 0, 0], strict=False):
        walk.append(look(world.terms, world.events[:length], now, date(2028, 6, 1)).state)
        now += timedelta(days=pause)
        walk.append(look(world.terms, world.events[:length], now, date(2028, 6, 1)).state)
    for before, after in pairwise(walk):
        assert after is before or after in FOLLOWS[before], f"{before} -> {after}"


@given(histories())
def test_in_force_means_both_signed_and_nobody_withstands(world: World) -> None:
    acts = [(e.payload.org, e.payload.action) for e in world.events]
    lifted = {(e.payload.org, digest) for e in world.events for digest in e.payload.ref}
    suspensions = [e.digest for e in world.events if e.payload.action is Action.SUSPEND]
    expected = (
        all({(org, Action.PROPOSE), (org, Action.SIGN)} & set(acts) for org in (A, B))
        and not any(action is Action.TERMINATE for _, action in acts)
        and all((org, digest) in lifted for org in (A, B) for digest in suspensions)
    )
    assert world.state().in_force == expected


@given(histories())
def test_one_partys_events_alone_never_bring_it_into_force(world: World) -> None:
    for org in (A, B):
        assert not look(world.terms, world.of(org)).in_force


@given(histories(), st.sampled_from([A, B]), st.sampled_from([Action.SUSPEND, Action.TERMINATE]))
def test_restrictive_act_of_either_party_always_bites(world: World, org: str, action: Action) -> None:
    world.act(org, action, signed_with="message-sign")
    assert not world.state().in_force


@given(histories(), st.data())
@settings(max_examples=60)
def test_losing_or_forking_any_but_the_last_event_leaves_it_out_of_force(world: World, data: st.DataObject) -> None:
    world.countersigned()
    lost = data.draw(st.sampled_from(world.events[:-1]))
    followed = any(e.payload.org == lost.payload.org and e.payload.n > lost.payload.n for e in world.events)
    seen = any(e.payload.seen == lost.digest for e in world.events)
    assert not look(world.terms, [*world.events, changed(lost, at=3)]).in_force
    if followed or seen:
        assert not look(world.terms, [e for e in world.events if e is not lost]).in_force
