"""Records about a child: a message needs an agreement in force that lists it, and every field a grant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from contracts.breach import BreachCode
from contracts.check import ProtectedKind, check
from contracts.facts import civil_date
from contracts.names import ANSWERING_TYPES
from gateway import circumstances, governing
from gateway.core.commands import Heads
from gateway.core.errors import SubmissionRefusedError
from gateway.core.message import Submission
from gateway.core.payload import Payload
from gateway.governing import HeldAgreement
from gateway.judged import Judged
from gateway.ports import Exchange


class RecordKind:
    """`kinds.Kind` for everything that an agreement lists."""

    def check_standing(self, held: HeldAgreement) -> None:
        if not held.state.in_force:
            raise governing.refuse(BreachCode.AGREEMENT_NOT_IN_FORCE, f"the agreement is {held.state.state.value}")

    def guard(self, held: HeldAgreement, body: Mapping[str, Any]) -> Heads | None:
        del body
        return held.heads

    async def outgoing(
        self, submission: Submission, body: dict[str, Any], message_id: str, now: datetime, exchange: Exchange
    ) -> Judged:
        del message_id
        held = await governing.governing(
            exchange, submission.partner, submission.type, now, wanted=submission.agreement
        )
        await _check_thread(submission, exchange)
        around = await circumstances.when_sending(
            exchange, held, submission.type, asserted=submission.facts, body=body, thread=submission.thread
        )
        checked = check(
            body,
            compiled=held.compiled,
            type=submission.type,
            sender=held.side(exchange.own.id),
            facts=around.facts,
            on=civil_date(now),
            requested=around.requested,
            protected=around.protected,
            sending=True,
        )
        return Judged(held=held, checked=checked, about=body, carried=body, thread=submission.thread)

    async def incoming(self, payload: Payload, held: HeldAgreement, now: datetime, exchange: Exchange) -> Judged:
        thread = circumstances.thread_of(payload)
        checked = check(
            payload.body,
            compiled=held.compiled,
            type=payload.typ,
            sender=held.side(payload.from_.org),
            facts=payload.facts,
            on=civil_date(datetime.fromtimestamp(payload.iat, tz=now.tzinfo)),
            requested=await circumstances.requested_of(exchange, held, thread),
            protected=frozenset(),
            sending=False,
        )
        return Judged(held=held, checked=checked, about=payload.body, carried=payload.body, thread=thread)

    async def again(
        self,
        payload: Payload,
        held: HeldAgreement,
        protected: frozenset[ProtectedKind],
        now: datetime,
        exchange: Exchange,
    ) -> None:
        check(
            payload.body,
            compiled=held.compiled,
            type=payload.typ,
            sender=held.side(exchange.own.id),
            facts=payload.facts,
            on=civil_date(now),
            requested=await circumstances.requested_by(exchange, held, circumstances.thread_of(payload)),
            protected=protected,
            sending=True,
        )

    async def about(self, payload: Payload, exchange: Exchange) -> Mapping[str, Any]:
        del exchange
        return payload.body


async def _check_thread(submission: Submission, exchange: Exchange) -> None:
    """A thread is named by its first message, which this gateway exchanged with that partner; an answer always names one.

    Asked of own clients only: a partner's message is never lost for a thread that a restored gateway has forgotten.
    """
    if submission.thread is None:
        if submission.type in ANSWERING_TYPES:
            raise SubmissionRefusedError(
                "message.thread", "thread", "this type answers a message, and names its thread"
            )
        return
    if not await exchange.service.agreements_of(submission.partner, submission.thread):
        raise SubmissionRefusedError(
            "message.thread", "thread", "not the id of the first message of a conversation with this partner"
        )
