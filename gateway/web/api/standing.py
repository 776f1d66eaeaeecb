"""What the API answers on the routes that show how things stand: agreements, the protection list, events, status."""

from __future__ import annotations

from typing import Final

import orjson
from aiohttp import web

from contracts.document import write_wire
from gateway import acts, forms, governing, once, protection
from gateway.core.commands import Protect
from gateway.core.halves import KeepHalves
from gateway.core.tokens import Scope
from gateway.governing import HeldAgreement
from gateway.ports import Exchange
from gateway.web.api import answers
from gateway.web.api.door import Call
from gateway.web.api.inbox import paging
from gateway.web.api.responses import asked, said, say

_LISTED: Final[once.Faces] = {Protect: lambda *_: write_wire({"listed": True})}
_TAKEN_OFF: Final[once.Faces] = {
    # Of two halves the second is not the end of it: the child is off the list when that is written, and said then.
    KeepHalves: lambda act, _: write_wire({"removed": False, "confirmed": 1}) if act.kept is not None else None,
    Protect: lambda *_: write_wire({"removed": True, "confirmed": 2}),
}


class Standing:
    """Handlers over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._own = exchange.own.id

    async def agreements(self, _: Call) -> web.Response:
        return say({"items": [answers.agreement(held, self._own) for held in await self._held()]})

    async def agreement(self, call: Call) -> web.Response:
        held = await acts.find_agreement(self._exchange, call.path["digest"])
        return say(answers.agreement_detail(held, self._own))

    async def fields(self, call: Call) -> web.Response:
        held = await acts.find_agreement(self._exchange, call.path["digest"])
        return say(forms.form_of(held, self._own, str(call.query["type"])))

    async def protected(self, _: Call) -> web.Response:
        return say(answers.protected(await self._exchange.overview.protected()))

    async def protect(self, call: Call) -> web.Response:
        """How many tags were new is not told: it would say whether the child was listed before. Who may list children can
        still count what is listed before and after; each listing is an entry of the log."""

        async def act(exchange: Exchange) -> None:
            kinds = protection.KINDS[call.body["kind"]]
            await protection.add({"child": call.body["child"]}, kinds, exchange, by=call.token.id)

        return said(await once.carry_out(asked(call), act, _LISTED, self._exchange))

    async def unprotect(self, call: Call) -> web.Response:
        async def act(exchange: Exchange) -> None:
            await protection.remove(
                {"child": call.body["child"]},
                protection.KINDS[call.body["kind"]],
                exchange,
                by=call.body["by"],
                alone=False,
                through=call.token.id,
            )

        data = await once.carry_out(asked(call), act, _TAKEN_OFF, self._exchange)
        return said(data, 200 if orjson.loads(data)["removed"] else 202)

    async def events(self, call: Call) -> web.Response:
        reach = await self._exchange.events.reach()
        after, limit = paging("events", call, reach)
        found = await self._exchange.events.after(after - 1, limit)
        items = [(happened.index + 1, answers.event(happened)) for happened in found]
        return say(answers.page("events", items, after, limit, reach.restored))

    async def status(self, call: Call) -> web.Response:
        own = self._exchange.own
        counts = dict(await self._exchange.overview.counts())
        allowed = Scope.AGREEMENTS in call.token.scopes  # as on their own route
        lines = [answers.agreement(held, self._own) for held in await self._held()] if allowed else []
        return say({"organisation": own.id, "name": own.name, "counts": counts, "agreements": lines})

    async def _held(self) -> tuple[HeldAgreement, ...]:
        every = await governing.load_all(self._exchange, self._exchange.clock())
        return tuple(held for held in every if self._own in held.parties)
