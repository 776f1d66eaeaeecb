"""What own clients are told of a message: one table from log entries to event types, for the API, webhooks and documents.

Pure. An event is ids and a state, never a field or a value; it says that something happened, and what the message is now is
asked for by its id. An entry of the log that is not in the table is no event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.core.lifecycle import InboundState, State

Direction = Literal["out", "in"]

PING: Final = "ping"  # what `safehand webhook test` sends; never in the log


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKind:
    """One row: the state that the message entered, and the same in words."""

    state: State | InboundState
    words: str

    @property
    def type(self) -> str:
        return f"message.{self.state.value}"


def _kind(state: State | InboundState, words: str) -> EventKind:
    return EventKind(state=state, words=words)


TABLE: Final[Mapping[tuple[Direction, str], EventKind]] = {
    ("out", "submitted"): _kind(State.QUEUED, "Sealed and waiting to be delivered"),
    ("out", "resent"): _kind(State.QUEUED, "Sealed and waiting to be delivered"),
    ("out", "held"): _kind(State.HELD, "Kept back: agreement, protection list or keys do not allow it now"),
    ("out", "delivered"): _kind(State.DELIVERED, "Arrived, nobody has read it"),
    ("out", "taken"): _kind(State.TAKEN, "In their system"),
    ("out", "collected"): _kind(State.COLLECTED, "Opened by a person"),
    ("out", "rejected"): _kind(State.REJECTED, "Returned by the partner's gateway"),
    ("out", "expired"): _kind(State.EXPIRED, "Not delivered in time"),
    ("out", "dead-lettered"): _kind(State.DEAD, "Tried for too long: a person may send it again"),
    ("out", "cancelled"): _kind(State.CANCELLED, "Cancelled before it was delivered"),
    ("in", "received"): _kind(InboundState.RECEIVED, "Arrived here, nobody has read it"),
    ("in", "handed-over"): _kind(InboundState.TAKEN, "In our case system"),
    ("in", "collected"): _kind(InboundState.COLLECTED, "Opened here by a person"),
    ("in", "refused-inbound"): _kind(InboundState.REFUSED, "Returned to the partner: the agreement does not allow it"),
}
"""(direction, kind of the log entry) -> what it tells."""

TYPES: Final = tuple(dict.fromkeys(kind.type for kind in TABLE.values()))
"""Every event type, in the order of a message's life."""

LOG_KINDS: Final = tuple(dict.fromkeys(kind for _, kind in TABLE))


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEvent:
    """One event: `index` is the entry's place in the log, `at_us` its time in microseconds since 1970."""

    index: int
    at_us: int
    direction: Direction
    kind: EventKind
    message: str
    partner: str
    thread: str

    @property
    def type(self) -> str:
        return self.kind.type

    def data(self) -> dict[str, Any]:
        """What is told of the message: ids and codes."""
        return {
            "message": self.message,
            "partner": self.partner,
            "thread": self.thread,
            "direction": self.direction,
            "index": self.index,
            "state": self.kind.state.value,
        }
