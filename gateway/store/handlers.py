"""Which function carries out which command: the one table, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.core import commands, daily
from gateway.core.commands import Command
from gateway.store import agreements, inbox, log, outbox, owed, partners, protection, statements
from gateway.store.transaction import Transaction

_HANDLERS: Final[Mapping[type[Command[Any]], Callable[[Transaction, Any], object]]] = {
    commands.Submit: outbox.submit,
    commands.Claim: outbox.claim,
    commands.Complete: outbox.complete,
    commands.Fail: outbox.fail,
    commands.Hold: outbox.hold,
    commands.Move: outbox.move,
    commands.TakeReceipt: outbox.take_receipt,
    commands.ReleaseLeases: outbox.release_leases,
    commands.Receive: inbox.receive,
    commands.Acknowledge: inbox.acknowledge,
    commands.ClaimOutgoing: owed.claim_outgoing,
    commands.SettleOutgoing: owed.settle_outgoing,
    commands.RecordEvent: agreements.record_event,
    commands.PutPartner: partners.put_partner,
    commands.AddBundle: partners.add_bundle,
    commands.Protect: protection.protect,
    commands.Intend: protection.intend,
    daily.KeepStatement: statements.keep,
    daily.NoteDifference: statements.note_difference,
    commands.Record: log.record,
    commands.PutCheckpoint: log.put_checkpoint,
}


def handle(tx: Transaction, command: Command[Any]) -> object:
    """Carry out one command inside a transaction. Raises what the command's docstring names, before changing anything."""
    return _HANDLERS[type(command)](tx, command)
