"""The state tables: what may follow what, and what a receipt makes true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import IllegalTransitionError
from gateway.core.lifecycle import (
    INBOUND,
    TRANSITIONS,
    Event,
    InboundEvent,
    InboundState,
    ReceiptEvent,
    State,
    after,
    after_inbound,
    after_receipt,
    diagram,
)

BEFORE_DELIVERY = [
    State.QUEUED, State.SENDING, State.HELD, State.AVAILABLE, State.DEAD, State.EXPIRED, State.CANCELLED,
]  # fmt: skip
ARROWS = """
queued>sending sending>queued queued>available
queued>held sending>held held>queued
available>held held>available
delivered>taken taken>collected delivered>collected
queued>dead sending>dead dead>queued
queued>expired held>expired available>expired dead>expired
queued>cancelled held>cancelled dead>cancelled
"""  # architecture section 4, without the receipts' own

GONE = [InboundState.WITHDRAWN, InboundState.DESTROYED]


def test_the_table_has_exactly_the_arrows_of_the_architecture() -> None:
    receipts = {f"{state}>{target}" for state in BEFORE_DELIVERY for target in (State.DELIVERED, State.REJECTED)}
    arrows = {f"{state}>{target}" for state, events in TRANSITIONS.items() for target in events.values()}
    assert arrows == set(ARROWS.split()) | receipts


def test_every_state_stands_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {target for events in TRANSITIONS.values() for target in events.values()} == set(State)


def test_every_event_is_used() -> None:
    assert {event for events in TRANSITIONS.values() for event in events} == {*Event, *ReceiptEvent}


@pytest.mark.parametrize("state", BEFORE_DELIVERY)
@pytest.mark.parametrize(
    ("event", "entered"),
    [
        (ReceiptEvent.CHECKED, (State.DELIVERED,)),
        (ReceiptEvent.TAKEN, (State.DELIVERED, State.TAKEN)),
        (ReceiptEvent.COLLECTED, (State.DELIVERED, State.COLLECTED)),
        (ReceiptEvent.REJECTED, (State.REJECTED,)),
    ],
)
def test_a_receipt_is_the_truth_whatever_we_believed(
    state: State, event: ReceiptEvent, entered: tuple[State, ...]
) -> None:
    assert after_receipt(state, event) == entered


@pytest.mark.parametrize(
    ("state", "event", "entered"),
    [
        (State.DELIVERED, ReceiptEvent.CHECKED, ()),
        (State.DELIVERED, ReceiptEvent.TAKEN, (State.TAKEN,)),
        (State.DELIVERED, ReceiptEvent.COLLECTED, (State.COLLECTED,)),
        (State.DELIVERED, ReceiptEvent.REJECTED, ()),
        (State.TAKEN, ReceiptEvent.CHECKED, ()),
        (State.TAKEN, ReceiptEvent.TAKEN, ()),
        (State.TAKEN, ReceiptEvent.COLLECTED, (State.COLLECTED,)),
        (State.TAKEN, ReceiptEvent.REJECTED, ()),
        (State.COLLECTED, ReceiptEvent.CHECKED, ()),
        (State.COLLECTED, ReceiptEvent.TAKEN, ()),
        (State.COLLECTED, ReceiptEvent.COLLECTED, ()),
        (State.COLLECTED, ReceiptEvent.REJECTED, ()),
        (State.REJECTED, ReceiptEvent.CHECKED, ()),
        (State.REJECTED, ReceiptEvent.TAKEN, ()),
        (State.REJECTED, ReceiptEvent.COLLECTED, ()),
        (State.REJECTED, ReceiptEvent.REJECTED, ()),
    ],
)
def test_a_repeated_or_lower_receipt_changes_nothing(
    state: State, event: ReceiptEvent, entered: tuple[State, ...]
) -> None:
    assert after_receipt(state, event) == entered


@given(st.lists(st.one_of(st.sampled_from(Event), st.sampled_from(ReceiptEvent)), max_size=30))
def test_on_any_walk_a_message_is_delivered_or_rejected_at_most_once_and_for_good(
    events: list[Event | ReceiptEvent],
) -> None:
    state = State.QUEUED
    entered: list[State] = []
    settled = {State.DELIVERED, State.TAKEN, State.COLLECTED, State.REJECTED}
    for event in events:
        before = state
        if isinstance(event, ReceiptEvent):
            entered += (steps := after_receipt(state, event))
            state = steps[-1] if steps else state
        elif event in TRANSITIONS[state]:
            state = after(state, event)
        else:
            with pytest.raises(IllegalTransitionError):
                after(state, event)
        assert before not in settled or state in settled
    assert entered.count(State.DELIVERED) + entered.count(State.REJECTED) <= 1
    assert (state in settled) == any(isinstance(event, ReceiptEvent) for event in events)


@given(st.permutations(list(ReceiptEvent)[:3]), st.sampled_from(BEFORE_DELIVERY))
def test_receipts_in_any_order_end_in_the_same_state_and_enter_each_once(
    events: list[ReceiptEvent], state: State
) -> None:
    entered: list[State] = []
    for event in events:
        steps = after_receipt(state, event)
        entered += steps
        state = steps[-1] if steps else state
    assert state is State.COLLECTED
    assert len(entered) == len(set(entered))
    assert entered[0] is State.DELIVERED


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (State.SENDING, Event.EXPIRE),
        (State.SENDING, Event.CANCEL),
        (State.SENDING, Event.CLAIM),
        (State.HELD, Event.CLAIM),
        (State.AVAILABLE, Event.CANCEL),
        (State.DELIVERED, Event.CLAIM),
        (State.EXPIRED, Event.RESEND),
        (State.CANCELLED, Event.RELEASE),
        (State.REJECTED, Event.RESEND),
    ],
)
def test_a_step_that_the_table_lacks_is_a_bug(state: State, event: Event) -> None:
    with pytest.raises(IllegalTransitionError, match=state.value):
        after(state, event)


def test_an_inbound_message_goes_up_from_received_and_never_down() -> None:
    rank = [InboundState.RECEIVED, InboundState.TAKEN, InboundState.COLLECTED, *GONE]
    assert set(INBOUND) == set(InboundState)
    for state, events in INBOUND.items():
        for event in events:
            assert rank.index(after_inbound(state, event)) >= max(rank.index(state), 1)
    assert after_inbound(InboundState.RECEIVED, InboundEvent.HAND_OVER) is InboundState.TAKEN
    assert after_inbound(InboundState.RECEIVED, InboundEvent.OPEN) is InboundState.COLLECTED
    assert after_inbound(InboundState.TAKEN, InboundEvent.OPEN) is InboundState.COLLECTED


@pytest.mark.parametrize("event", InboundEvent)
@pytest.mark.parametrize("state", [InboundState.REFUSED, *GONE])
def test_nothing_is_done_with_a_message_that_was_refused_or_is_destroyed(
    state: InboundState, event: InboundEvent
) -> None:
    with pytest.raises(IllegalTransitionError, match=state.value):
        after_inbound(state, event)


@pytest.mark.parametrize("state", [InboundState.TAKEN, InboundState.COLLECTED])
def test_what_somebody_has_seen_is_destroyed_by_a_person_only(state: InboundState) -> None:
    assert after_inbound(state, InboundEvent.DESTROY) is InboundState.DESTROYED
    with pytest.raises(IllegalTransitionError):
        after_inbound(state, InboundEvent.WITHDRAW)


def test_the_diagram_draws_every_arrow_of_the_table_once() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> queued: submit"]
    drawn = [line.strip().partition(":")[0] for line in lines[2:] if not line.endswith("[*]")]
    expected = {f"{state} --> {target}" for state, events in TRANSITIONS.items() for target in events.values()}
    assert set(drawn) == expected
    assert len(drawn) == len(expected)
    assert "    sending --> queued: attempt failed, lease ended" in lines
    assert [line.split()[0] for line in lines if line.endswith("[*]")] == ["collected", "rejected"]
