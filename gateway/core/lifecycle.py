"""The states of a message, as two tables and the only functions that read them.

Pure. A state changes through `after` or `after_receipt` (own messages) and `after_inbound` (a partner's), nowhere else;
the database refuses what the table refuses (`UPDATE .. WHERE state = :expected`). Architecture section 4 is the norm, and
the diagram in the README is drawn from the table below.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from gateway.core.errors import IllegalTransitionError


class State(StrEnum):
    """Where an own message is."""

    QUEUED = "queued"
    SENDING = "sending"
    HELD = "held"
    AVAILABLE = "available"
    DELIVERED = "delivered"
    TAKEN = "taken"
    COLLECTED = "collected"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What we, a person or the clock do with an own message."""

    CLAIM = "claim"  # leased for an attempt
    ATTEMPT_FAILED = "attempt failed"
    LEASE_ENDED = "lease ended"  # expired, or released at a stop
    OFFER = "offer"  # laid into a mailbox or an outbox folder
    HOLD = "hold"  # agreement, protection, restriction, lane
    RELEASE = "release"  # the cause of holding is gone
    GIVE_UP = "give up"
    RESEND = "resend"  # a person, the same bytes, within exp
    EXPIRE = "expire"
    CANCEL = "cancel"


class ReceiptEvent(StrEnum):
    """What a verified receipt of the recipient proves (envelope section 4)."""

    CHECKED = "checked"
    TAKEN = "taken"
    COLLECTED = "collected"
    REJECTED = "rejected"


_RECEIPTS: Final[Mapping[Event | ReceiptEvent, State]] = {
    ReceiptEvent.CHECKED: State.DELIVERED,
    ReceiptEvent.REJECTED: State.REJECTED,
}

TRANSITIONS: Final[Mapping[State, Mapping[Event | ReceiptEvent, State]]] = {
    State.QUEUED: {
        Event.CLAIM: State.SENDING,
        Event.OFFER: State.AVAILABLE,
        Event.HOLD: State.HELD,
        Event.GIVE_UP: State.DEAD,
        Event.EXPIRE: State.EXPIRED,
        Event.CANCEL: State.CANCELLED,
        **_RECEIPTS,
    },
    State.SENDING: {
        Event.ATTEMPT_FAILED: State.QUEUED,
        Event.LEASE_ENDED: State.QUEUED,
        Event.HOLD: State.HELD,
        Event.GIVE_UP: State.DEAD,
        **_RECEIPTS,
    },
    State.HELD: {
        Event.RELEASE: State.QUEUED,
        Event.OFFER: State.AVAILABLE,
        Event.EXPIRE: State.EXPIRED,
        Event.CANCEL: State.CANCELLED,
        **_RECEIPTS,
    },
    State.AVAILABLE: {
        Event.HOLD: State.HELD,
        Event.EXPIRE: State.EXPIRED,
        **_RECEIPTS,
    },
    State.DELIVERED: {
        ReceiptEvent.TAKEN: State.TAKEN,
        ReceiptEvent.COLLECTED: State.COLLECTED,
    },
    State.TAKEN: {
        ReceiptEvent.COLLECTED: State.COLLECTED,
    },
    State.COLLECTED: {},
    State.REJECTED: {},
    State.EXPIRED: {**_RECEIPTS},
    State.DEAD: {
        Event.RESEND: State.QUEUED,
        Event.EXPIRE: State.EXPIRED,
        Event.CANCEL: State.CANCELLED,
        **_RECEIPTS,
    },
    State.CANCELLED: {**_RECEIPTS},
}


def after(state: State, event: Event | ReceiptEvent) -> State:
    """Return the state that one step leads to. Raises IllegalTransitionError where the table has none: a bug of ours."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransitionError(f"own message: {event} in state {state}") from None


def after_receipt(state: State, event: ReceiptEvent) -> tuple[State, ...]:
    """Return the states that a verified receipt makes the message enter, in order; empty where it changes nothing.

    A receipt is the truth, whatever we believed: from every state before delivery, cancelled and expired included, it
    leads on, through delivered exactly once. After that, a repeat, a lower one, or one that contradicts (rejected after
    delivered, anything after rejected) changes nothing.
    """
    steps: tuple[ReceiptEvent, ...] = (event,)
    if event in (ReceiptEvent.TAKEN, ReceiptEvent.COLLECTED) and ReceiptEvent.CHECKED in TRANSITIONS[state]:
        steps = (ReceiptEvent.CHECKED, event)
    entered: list[State] = []
    for step in steps:
        if step not in TRANSITIONS[state]:
            return ()
        state = after(state, step)
        entered.append(state)
    return tuple(entered)


class InboundState(StrEnum):
    """Where a partner's message is, here."""

    RECEIVED = "received"
    TAKEN = "taken"
    COLLECTED = "collected"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"  # by its sender, before anybody here saw it: its content is destroyed
    DESTROYED = "destroyed"  # its content, later, because that was owed


class InboundEvent(StrEnum):
    """What is done with a partner's message; each has its log entry and its receipt."""

    HAND_OVER = "hand over"  # the case system acknowledged it
    OPEN = "open"  # a person opened it
    WITHDRAW = "withdraw"  # its sender took it back, and nobody had seen it
    DESTROY = "destroy"


INBOUND: Final[Mapping[InboundState, Mapping[InboundEvent, InboundState]]] = {
    InboundState.RECEIVED: {
        InboundEvent.HAND_OVER: InboundState.TAKEN,
        InboundEvent.OPEN: InboundState.COLLECTED,
        InboundEvent.WITHDRAW: InboundState.WITHDRAWN,
        InboundEvent.DESTROY: InboundState.DESTROYED,
    },
    InboundState.TAKEN: {
        InboundEvent.HAND_OVER: InboundState.TAKEN,
        InboundEvent.OPEN: InboundState.COLLECTED,
        InboundEvent.DESTROY: InboundState.DESTROYED,
    },
    InboundState.COLLECTED: {
        InboundEvent.HAND_OVER: InboundState.COLLECTED,  # opened first, taken into the case system later
        InboundEvent.OPEN: InboundState.COLLECTED,
        InboundEvent.DESTROY: InboundState.DESTROYED,
    },
    InboundState.REFUSED: {},
    InboundState.WITHDRAWN: {},
    InboundState.DESTROYED: {},
}


def after_inbound(state: InboundState, event: InboundEvent) -> InboundState:
    """Return the state of a partner's message after the act. Raises IllegalTransitionError where its content was never
    kept, or is destroyed."""
    try:
        return INBOUND[state][event]
    except KeyError:
        raise IllegalTransitionError(f"inbound message: {event} in state {state}") from None


def diagram() -> str:
    """Return the table of own messages as a Mermaid state diagram: one arrow for each pair of states."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.QUEUED}: submit"]
    for state, events in TRANSITIONS.items():
        arrows: dict[State, list[str]] = {}
        for event, target in events.items():
            arrows.setdefault(target, []).append(f"receipt {event}" if isinstance(event, ReceiptEvent) else event)
        lines += [f"    {state} --> {target}: {', '.join(labels)}" for target, labels in arrows.items()]
        if not events:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines) + "\n"
