"""Handing over inside one process: partners are functions. For tests of the flows, and of two gateways without a network.

Keeps every promise of `adapters.port` that does not need a network (the conformance suite holds it to them), and signs
nothing: `Asked.signed` tells that the peer adapter would have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from adapters.port import DeliveryError, DeliveryRefusedError, Handover, Parcel

_LIMIT: Final = 640 * 1024
_LIST_LIMIT: Final = 4 * 1024 * 1024
_LISTS: Final = ("/exchange/v1/bundles?", "/exchange/v1/events?")
_UNSIGNED: Final = "bundles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What reaches a partner: `data` and `idempotency_key` are empty for a GET."""

    method: str
    path: str
    signed: bool
    idempotency_key: str = ""
    data: bytes = field(default=b"", repr=False)


Partner = Callable[[Asked], Awaitable[Handover]]


class MemoryAdapter:
    """`partners` by their exchange URL; one that is not there cannot be connected to."""

    def __init__(self, partners: Mapping[str, Partner], *, total_time: timedelta = timedelta(seconds=30)) -> None:
        self._partners = partners
        self._total_time = total_time

    async def deliver(self, parcel: Parcel) -> Handover:
        """Call the partner once."""
        asked = Asked(
            method="POST",
            path=f"/exchange/v1/{parcel.kind}",
            signed=parcel.kind != _UNSIGNED,
            idempotency_key=parcel.idempotency_key,
            data=parcel.data,
        )
        return await self._ask(parcel.url, asked, _LIMIT)

    async def fetch(self, partner: str, url: str, path: str, *, signed: bool) -> Handover:
        """Call the partner once."""
        del partner
        limit = _LIST_LIMIT if path.startswith(_LISTS) else _LIMIT
        return await self._ask(url, Asked(method="GET", path=path, signed=signed), limit)

    async def _ask(self, url: str, asked: Asked, limit: int) -> Handover:
        if not url.startswith("https://"):
            raise DeliveryRefusedError("address-not-allowed")
        if url not in self._partners:
            raise DeliveryError("no-connection")
        try:
            async with asyncio.timeout(self._total_time.total_seconds()):
                answer = await self._partners[url](asked)
        except TimeoutError:
            raise DeliveryError("time-out") from None
        if len(answer.body) > limit:
            raise DeliveryError("answer-too-large")
        return answer
