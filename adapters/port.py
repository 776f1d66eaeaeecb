"""What every way of handing over must do: take sealed bytes, bring back what the other side answered.

An adapter sees no key, no field and no agreement. It MUST be idempotent by content, MUST NOT follow a redirect, and
MUST bound its own time; it answers every reply as it came, for a reply is only a claim until its receipt is verified.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Sealed bytes on their way: `kind` names the route (messages, receipts, events, statements, bundles), `url` the partner's
    exchange URL, `idempotency_key` the id inside (never the reader of it)."""

    kind: str
    partner: str
    url: str
    idempotency_key: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """The other side's reply as it came: status, body (a claim), and when it asked to be tried again (seconds)."""

    status: int
    body: bytes = field(repr=False)
    retry_after: int | None = None


class DeliveryError(Exception):
    """Nothing was answered (no connection, time-out, broken TLS): try again later. `code` says what, never where to."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class DeliveryRefusedError(DeliveryError):
    """This can never be handed over this way (an address that is not allowed)."""


class Adapter(Protocol):
    async def deliver(self, parcel: Parcel) -> Handover:
        """Hand over once; raises DeliveryError (retryable) or DeliveryRefusedError (final)."""
        ...

    async def fetch(self, partner: str, url: str, path: str, *, signed: bool) -> Handover:
        """GET `url` + `path` (path begins with a slash, query included); raises DeliveryError.

        At most 640 KB are read, of a list of bundles or events 4 MB.
        """
        ...
