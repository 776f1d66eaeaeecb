"""Every port of `gateway.ports` on plain dictionaries: one gateway's durable state in memory.

For tests of the flows. What it does is what the docstrings of `gateway.core.commands` say, and `tests.conformance` holds it
and `gateway.store` to the same. A subject's rows, commands and reader stand in a module of their own beside this one; here is
what they share, and the readers' names for whoever uses them. Batches, macs, handoffs and what lies at rest are the store's
alone, and have their own tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar, cast

from gateway.core import commands, daily, erasure, witnessing
from gateway.core import tokens as token_commands
from gateway.core.commands import Command, LogEntry
from gateway.core.errors import LogInconsistentError
from gateway.core.lifecycle import State
from gateway.core.once import Once
from gateway.core.webhook import PutWebhookCursor
from gateway.ports import OutgoingItem
from keys.bundle import KeyBundle, replay_history
from tests.support import (
    agreement_events,
    client,
    inbox,
    outbox,
    outgoing,
    partners,
    protection,
    rows,
    service,
    statements,
    witnesses,
)
from tests.support.agreement_events import MemoryAgreements
from tests.support.clock import Clock, Entropy
from tests.support.inbox import Arrived, MemoryInbox
from tests.support.keys import make_origin, payload_of
from tests.support.outbox import MemoryOutbox, Sent
from tests.support.outgoing import Owed
from tests.support.overview import MemoryOverview
from tests.support.partners import MemoryPartners
from tests.support.protection import MemoryProtection

__all__ = [
    "Clock",
    "Entropy",
    "Memory",
    "MemoryAgreements",
    "MemoryInbox",
    "MemoryOutbox",
    "MemoryOverview",
    "MemoryPartners",
    "MemoryProtection",
]

R = TypeVar("R")


class Memory:
    """Durable state of one gateway, and the commands that change it; all readers are views of it."""

    def __init__(self, own: str, clock: Clock) -> None:
        self.own = own
        self.clock = clock
        self.log: list[LogEntry] = []
        self.partner_rows: dict[str, commands.PutPartner] = {}
        self.bundles: dict[str, list[bytes]] = {}
        self.fetched_at: dict[str, int] = {}
        self.files: dict[str, commands.AgreementFile] = {}
        self.events: list[commands.EventRow] = []
        self.sent: dict[str, Sent] = {}
        self.arrived: dict[tuple[str, str], Arrived] = {}
        self.protected: set[tuple[bytes, str]] = set()
        self.answers: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self.outgoing: dict[int, Owed] = {}
        self.intentions: dict[bytes, dict[str, int]] = {}
        self.checkpoints: dict[int, commands.PutCheckpoint] = {}
        self.cursors: dict[str, int] = {}
        self.tokens: dict[bytes, token_commands.Token] = {}
        self.origin = make_origin(own)
        self.stated = statements.Stated()
        self.witnessed: dict[str, witnessing.Remember] = {}
        self.conflicts: list[witnessing.KeepConflict] = []
        self.cosigned: dict[tuple[int, str], witnessing.CosignatureRow] = {}
        self.proofs: dict[bytes, bytes] = {}
        self.ledger = service.Ledger()
        self._histories: dict[tuple[bytes, ...], tuple[KeyBundle, ...]] = {}

    # --- Store

    async def write(self, command: Command[R]) -> R:
        handlers = {**self._HANDLERS, **service.HANDLERS}
        if isinstance(command, Once):
            done = client.once(self, command, lambda act: handlers[type(act)](self, act))
            return cast(R, done)
        return cast(R, handlers[type(command)](self, command))

    def _append(self, *entries: LogEntry | None) -> int:
        self.log += [entry for entry in entries if entry is not None]
        return len(self.log) - 1

    def _record(self, command: commands.Record) -> int:
        return self._append(command.entry)

    def _put_checkpoint(self, command: commands.PutCheckpoint) -> None:
        if self.checkpoints.setdefault(command.size, command).root != command.root:
            raise LogInconsistentError("two checkpoints of one size have different roots")

    def _put_webhook_cursor(self, command: PutWebhookCursor) -> None:
        self.cursors[command.name] = max(command.position, self.cursors.get(command.name, 0))

    _HANDLERS: Mapping[type[Command[Any]], Callable[[Memory, Any], object]] = {
        commands.Record: _record,
        commands.PutCheckpoint: _put_checkpoint,
        PutWebhookCursor: _put_webhook_cursor,
        token_commands.CreateToken: client.create,
        token_commands.RevokeToken: client.revoke,
        token_commands.Remember: client.remember,
        erasure.Erase: rows.erase,
        daily.KeepStatement: statements.keep,
        daily.NoteDifference: statements.note,
        **outbox.HANDLERS,
        **inbox.HANDLERS,
        **outgoing.HANDLERS,
        **partners.HANDLERS,
        **agreement_events.HANDLERS,
        **protection.HANDLERS,
        **witnesses.HANDLERS,
    }

    # --- what several subjects share

    def owe(self, partner: str, kind: str, ref: str, data: bytes, now: datetime) -> None:
        item = OutgoingItem(
            id=len(self.outgoing) + 1,
            partner=partner,
            kind=kind,
            ref=ref,
            data=data,
            attempts=0,
            first_attempt_at=None,
        )
        self.outgoing[item.id] = Owed(item=item, run_at=now)

    def look_again(self, now: datetime, which: Callable[[commands.OutboundRow], bool]) -> None:
        """Let held messages be looked at now; one that waits for a person has no time, and goes on waiting."""
        for sent in self.sent.values():
            if sent.state is State.HELD and sent.run_at is not None and which(sent.row):
                sent.run_at = now

    def history(self, org: str) -> tuple[KeyBundle, ...]:
        """An organisation's bundles, verified again. Raises BundleError where they are no history."""
        published = tuple(self.bundles.get(org, ()))
        if published not in self._histories:
            ascending = sorted(published, key=lambda jws: payload_of(jws)["seq"])
            self._histories[published] = replay_history(ascending, org=org)
        return self._histories[published]
