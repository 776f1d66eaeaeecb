"""What the API answers on the routes of messages, answers and enquiries: each handler drives one flow."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

from aiohttp import hdrs, web

from contracts.document import write_wire
from gateway import delivery, message_proof, once, submissions
from gateway.core.commands import Move
from gateway.core.message import Submission
from gateway.ports import Exchange
from gateway.web.api import answers, refusals
from gateway.web.api.door import Call
from gateway.web.api.faces import fault_members, members_of
from gateway.web.api.responses import asked, said, say


class Messages:
    """Handlers over one exchange."""

    def __init__(self, exchange: Exchange, prefix: str) -> None:
        self._exchange = exchange
        self._prefix = prefix
        # Whoever asks two councils at a time must not be counted before either is in the log: enquiries go one by one.
        self._enquiring = asyncio.Lock()

    async def send(self, call: Call) -> web.Response:
        body = call.body
        return await self._submit(call, body["partner"], thread=body.get("thread"), given=body)

    async def answer(self, call: Call) -> web.Response:
        """A message to the sender, in the thread of what it sent."""
        sender = call.path["sender"]
        message = await self._exchange.inbox.message(call.path["id"], sender)
        if message is None:
            raise refusals.unknown("message.unknown")
        return await self._submit(call, sender, thread=message.thread, given=call.body)

    async def _submit(self, call: Call, partner: str, *, thread: str | None, given: dict[str, Any]) -> web.Response:
        submission = Submission(
            partner=partner,
            type=given["type"],
            body=write_wire(given["body"]),
            facts=given["facts"],
            client=call.token.id,
            key=call.key,
            on_behalf_of=given.get("on_behalf_of"),
            partner_for=given.get("partner_for"),
            agreement=given.get("agreement"),
            thread=thread,
            replaces=given.get("replaces"),
            by=call.token.id,
        )
        async with self._enquiring if submission.type == submissions.ENQUIRY else nullcontext():
            stored = await submissions.submit(submission, call.token.role, self._exchange)
        told = answers.accepted(stored)
        return say(told, 202, {hdrs.LOCATION: f"{self._prefix}/messages/{told['id']}"})

    async def show(self, call: Call) -> web.Response:
        message = await self._exchange.outbox.message(call.path["id"])
        if message is None:
            raise refusals.unknown("message.unknown")
        proof = await message_proof.of_own_message(message.id, self._exchange)
        return say(answers.message(message, proof, self._exchange.journal.origin))

    async def cancel(self, call: Call) -> web.Response:
        async def act(exchange: Exchange) -> None:
            await delivery.cancel(call.path["id"], exchange, by=call.token.id)

        return said(await once.carry_out(asked(call), act, _moved(call), self._exchange))

    async def resend(self, call: Call) -> web.Response:
        async def act(exchange: Exchange) -> None:
            await delivery.resend(call.path["id"], exchange, by=call.token.id)

        return said(await once.carry_out(asked(call), act, _moved(call), self._exchange))

    async def enquire(self, call: Call) -> web.Response:
        async def act() -> bytes:
            async with self._enquiring:
                results = await submissions.ask(_enquiry(call), self._exchange)
            return write_wire({"results": [_result(partner, outcome) for partner, outcome in results]})

        return said(await once.answer(asked(call), act, self._exchange), 202)


def _moved(call: Call) -> once.Faces:
    return {Move: lambda _, state: write_wire({"id": call.path["id"], "state": state.value})}


def _enquiry(call: Call) -> submissions.Enquiry:
    return submissions.Enquiry(
        partners=tuple(call.body["partners"]),
        facts=call.body["facts"],
        body=write_wire(call.body["body"]),
        client=call.token.id,
        key=call.key,
        role=call.token.role,
        by=call.token.id,
    )


def _result(partner: str, outcome: bytes | Exception) -> dict[str, Any]:
    if isinstance(outcome, bytes):
        return {"partner": partner, "outcome": "accepted", "message": answers.accepted(outcome)}
    return {"partner": partner, "outcome": "refused", "problem": members_of(outcome) or fault_members()}
