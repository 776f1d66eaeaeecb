"""What the conformance tests are run over: `gateway.store` on a real database, and the fake on plain dictionaries.

The claims are those of `gateway.core.commands` and of log B3 and B4, as far as the ports show them. What only the real store
has (batches, macs, handoffs, what lies on the disk) is tested in `tests.integration.store`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.ports import (
    Agreements,
    Arrivals,
    Enquiries,
    Events,
    Inbox,
    Outbox,
    Overview,
    Partners,
    Protection,
    Service,
    Statements,
    Store,
    Tokens,
    WebhookCursors,
    Witnesses,
)
from tests.support.client import MemoryArrivals, MemoryEnquiries, MemoryEvents, MemoryTokens
from tests.support.memory import (
    Clock,
    Memory,
    MemoryAgreements,
    MemoryInbox,
    MemoryOutbox,
    MemoryOverview,
    MemoryPartners,
    MemoryProtection,
)
from tests.support.service import MemoryService
from tests.support.statements import MemoryStatements
from tests.support.store import ORIGIN, OWN, START, make_event, open_lab, rows
from tests.support.webhooks import MemoryCursors
from tests.support.witnesses import MemoryWitnesses


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A store that holds the agreement of the tests, its readers, and (kind, message) of every entry of its log."""

    store: Store
    partners: Partners
    agreements: Agreements
    outbox: Outbox
    inbox: Inbox
    protection: Protection
    overview: Overview
    service: Service
    statements: Statements
    witnesses: Witnesses
    tokens: Tokens
    events: Events
    arrivals: Arrivals
    enquiries: Enquiries
    webhooks: WebhookCursors
    log: Callable[[], list[tuple[str, str | None]]]

    def kinds(self, own: str) -> list[str]:
        """The kinds of a message's entries, in order."""
        return [kind for kind, message in self.log() if message == own]


@asynccontextmanager
async def real(path: Path) -> AsyncIterator[Subject]:
    async with open_lab(path) as lab:
        read = lab.open.read
        yield Subject(
            store=lab.open.store,
            partners=read.partners,
            agreements=read.agreements,
            outbox=read.outbox,
            inbox=read.inbox,
            protection=read.protection,
            overview=read.overview,
            service=read.service,
            statements=read.statements,
            witnesses=read.witnesses,
            tokens=read.tokens,
            events=read.events,
            arrivals=read.arrivals,
            enquiries=read.enquiries,
            webhooks=read.webhooks,
            log=lambda: [
                (kind, own) for kind, own in rows(path, "SELECT kind, message_id FROM log_entry ORDER BY idx")
            ],
        )


@asynccontextmanager
async def fake(path: Path) -> AsyncIterator[Subject]:
    del path
    memory = Memory(OWN, Clock(START))
    memory.origin = ORIGIN
    await memory.write(make_event())
    yield Subject(
        store=memory,
        partners=MemoryPartners(memory),
        agreements=MemoryAgreements(memory),
        outbox=MemoryOutbox(memory),
        inbox=MemoryInbox(memory),
        protection=MemoryProtection(memory),
        overview=MemoryOverview(memory),
        service=MemoryService(memory),
        statements=MemoryStatements(memory),
        witnesses=MemoryWitnesses(memory),
        tokens=MemoryTokens(memory),
        events=MemoryEvents(memory),
        arrivals=MemoryArrivals(memory),
        enquiries=MemoryEnquiries(memory),
        webhooks=MemoryCursors(memory),
        log=lambda: [(entry.kind, entry.message_id) for entry in memory.log],
    )
