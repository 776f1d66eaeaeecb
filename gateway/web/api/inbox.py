"""What the API answers on the routes of the inbox: headers, the record itself, and what was done with it."""

from __future__ import annotations

from typing import Final, cast

from aiohttp import web

from contracts.document import write_wire
from gateway import inbound, once
from gateway.core.commands import Acknowledge
from gateway.ports import Exchange, Reach
from gateway.web.api import answers, refusals
from gateway.web.api.cursors import Kind, read, since
from gateway.web.api.door import Call
from gateway.web.api.responses import asked, said, say

_PAGE = 50
_RECEIPT: Final[once.Faces] = {Acknowledge: lambda _, receipt: write_wire(answers.receipt(receipt))}


class Inbox:
    """Handlers over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def list(self, call: Call) -> web.Response:
        reach = await self._exchange.events.reach()  # before the page: a restore logged in between ends its cursor
        after, limit = paging("inbox", call, reach)
        found = await self._exchange.arrivals.after(after, limit)
        items = [(place, answers.inbox_message(message)) for place, message in found]
        return say(answers.page("inbox", items, after, limit, reach.restored))

    async def show(self, call: Call) -> web.Response:
        message = await self._exchange.inbox.message(call.path["id"], call.path["sender"])
        if message is None:
            raise refusals.unknown("message.unknown")
        return say(answers.inbox_message(message))

    async def content(self, call: Call) -> web.Response:
        message, payload = await inbound.release(
            call.path["id"], call.path["sender"], call.token.role, self._exchange, by=call.token.id
        )
        return say(answers.content(message, payload))

    async def take(self, call: Call) -> web.Response:
        async def act(exchange: Exchange) -> None:
            await inbound.take(
                call.path["id"], exchange, sender=call.path["sender"], by=call.token.id, role=call.token.role
            )

        return said(await once.carry_out(asked(call), act, _RECEIPT, self._exchange))

    async def open(self, call: Call) -> web.Response:
        async def act(exchange: Exchange) -> None:
            await inbound.opened(
                call.path["id"], call.body["role"], exchange, sender=call.path["sender"], by=call.token.id
            )

        return said(await once.carry_out(asked(call), act, _RECEIPT, self._exchange))


def paging(kind: Kind, call: Call, reach: Reach) -> tuple[int, int]:
    """Return where a page begins and how long it is."""
    limit = cast(int, call.query.get("limit", _PAGE))
    text = call.query.get("after")
    if text is None:
        return 0, limit
    cursor = read(kind, str(text))
    if cursor is None:
        raise refusals.bad_query("after", "is no cursor of this list")
    newest = reach.arrivals if kind == "inbox" else reach.entries
    if cursor.since != since(reach.restored) or cursor.number > newest:
        raise refusals.cursor_expired()
    return cursor.number, limit
