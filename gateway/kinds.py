"""The two kinds of message, records and service messages: what each needs of its agreement, and how its body is judged.

The lines of the story (outbound, inbound, delivery) ask `kind_of` once, and then go the same way for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from contracts.check import ProtectedKind
from contracts.names import SERVICE_TYPES
from gateway.core.commands import Heads
from gateway.core.message import Submission
from gateway.core.payload import Payload
from gateway.governing import HeldAgreement
from gateway.judged import Judged
from gateway.ports import Exchange
from gateway.records import RecordKind
from gateway.service import ServiceKind


class Kind(Protocol):
    """What the lines ask of a kind. Each method that judges raises ContractBreachError with every breach at once."""

    def check_standing(self, held: HeldAgreement) -> None:
        """Raise where an agreement that stands so carries no message of this kind."""
        ...

    def guard(self, held: HeldAgreement, body: Mapping[str, Any]) -> Heads | None:
        """The event heads that a decision on a checked body rests on; None where no event of the agreement matters to it."""
        ...

    async def outgoing(
        self, submission: Submission, body: dict[str, Any], message_id: str, now: datetime, exchange: Exchange
    ) -> Judged:
        """Find the agreement that governs and judge what an own client asks to send as `message_id`."""
        ...

    async def incoming(self, payload: Payload, held: HeldAgreement, now: datetime, exchange: Exchange) -> Judged:
        """Judge a partner's message under the agreement that it names."""
        ...

    async def again(
        self,
        payload: Payload,
        held: HeldAgreement,
        protected: frozenset[ProtectedKind],
        now: datetime,
        exchange: Exchange,
    ) -> None:
        """Judge an own message once more, at hand-over; it may only refuse."""
        ...

    async def about(self, payload: Payload, exchange: Exchange) -> Mapping[str, Any]:
        """The record of the child that an own message is about, for its tags; empty where it is not here (any more)."""
        ...


RECORDS: Final[Kind] = RecordKind()
SERVICE: Final[Kind] = ServiceKind()


def kind_of(message_type: str) -> Kind:
    """The kind of a message type: the one place where this is decided."""
    return SERVICE if message_type in SERVICE_TYPES else RECORDS
