"""Which state of a message an entry of the exchange log led to: what own clients are told of, and what they are not.

Pure; one table for each direction. An entry that is not in it changed no state of a message (a refusal stored nothing, a
reading is nobody's news), and is no event.
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
        "uploaded": State.DELIVERED,
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
    },
}
