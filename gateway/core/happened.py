"""Which state of a message an entry of the exchange log led to: what own clients are told of, and what they are not.

Pure; one table for each direction. An entry that is not in it changed no state of a message (a refusal stored nothing, a
reading is nobody's news), and is no event. The type of an event is named after the state, for the API and for webhooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.core.lifecycle import InboundState, State

LED_TO: Final[Mapping[str, Mapping[str, State | InboundState]]] = {
    "out": {
        "submitted": State.QUEUED,
        "held": State.HELD,
        "resent": State.QUEUED,
        "delivered": State.DELIVERED,
        "taken": State.TAKEN,
        "collected": State.COLLECTED,
        "rejected": State.REJECTED,
        "expired": State.EXPIRED,
        "cancelled": State.CANCELLED,
        "dead-lettered": State.DEAD,
    },
    "in": {
        "received": InboundState.RECEIVED,
        "refused-inbound": InboundState.REFUSED,
        "handed-over": InboundState.TAKEN,
        "collected": InboundState.COLLECTED,
        "withdrawn": InboundState.WITHDRAWN,
        "destroyed": InboundState.DESTROYED,
    },
}

WORDS: Final[Mapping[str, Mapping[State | InboundState, str]]] = {
    "out": {
        State.QUEUED: "Sealed and waiting to be delivered",
        State.HELD: "Kept back: agreement, protection list or keys do not allow it now",
        State.DELIVERED: "Arrived, nobody has read it",
        State.TAKEN: "In their system",
        State.COLLECTED: "Opened by a person",
        State.REJECTED: "Returned by the partner's gateway",
        State.EXPIRED: "Not delivered in time",
        State.CANCELLED: "Given up before it arrived",
        State.DEAD: "Tried for too long: a person may send it again",
    },
    "in": {
        InboundState.RECEIVED: "Arrived here, nobody has read it",
        InboundState.REFUSED: "Returned to the partner: the agreement does not allow it",
        InboundState.TAKEN: "In our case system",
        InboundState.COLLECTED: "Opened here by a person",
        InboundState.WITHDRAWN: "Taken back by its sender before anybody read it: destroyed",
        InboundState.DESTROYED: "Destroyed here, as was owed",
    },
}
"""What an event says, in words, by the direction of its message and the state."""

PING: Final = "ping"  # the type of a trial; never in the log


def event_type(state: State | InboundState) -> str:
    """Return the type of the events that led to a state."""
    return f"message.{state.value}"


TYPES: Final = tuple(dict.fromkeys(event_type(state) for states in WORDS.values() for state in states))
"""Every type of event about a message, in the order of a message's life."""
