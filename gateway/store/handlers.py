"""Which function carries out which command: the one table, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.core import commands, daily, erasure, witnessing
from gateway.core import service as service_commands
from gateway.core import tokens as token_commands
from gateway.core.commands import Command
from gateway.core.once import Once
from gateway.core.webhook import PutWebhookCursor
from gateway.store import (
    agreements,
    answered,
    inbox,
    log,
    outbox,
    owed,
    partners,
    protection,
    service,
    statements,
    tokens,
    webhooks,
)
from gateway.store import erasure as erasing
from gateway.store import witnessing as witnesses
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
    commands.Release: inbox.release,
    commands.ClaimOutgoing: owed.claim_outgoing,
    commands.SettleOutgoing: owed.settle_outgoing,
    commands.RecordEvent: agreements.record_event,
    commands.PutPartner: partners.put_partner,
    commands.AddBundle: partners.add_bundle,
    commands.Protect: protection.protect,
    commands.Intend: protection.intend,
    daily.KeepStatement: statements.keep,
    daily.NoteDifference: statements.note_difference,
    erasure.Erase: erasing.erase,
    commands.Record: log.record,
    commands.PutCheckpoint: log.put_checkpoint,
    witnessing.Remember: witnesses.remember,
    witnessing.KeepConflict: witnesses.keep_conflict,
    witnessing.KeepCosignatures: witnesses.keep_cosignatures,
    witnessing.KeepProof: witnesses.keep_proof,
    service_commands.Destroy: service.destroy,
    service_commands.DecideBreach: service.decide_breach,
    service_commands.Reminded: service.reminded,
    PutWebhookCursor: webhooks.put_cursor,
    token_commands.CreateToken: tokens.create,
    token_commands.RevokeToken: tokens.revoke,
    token_commands.Remember: answered.remember,
    Once: lambda tx, once: answered.once(tx, once, lambda tx, act: _HANDLERS[type(act)](tx, act)),
}


def handle(tx: Transaction, command: Command[Any]) -> object:
    """Carry out one command inside a transaction. Raises what the command's docstring names, before changing anything."""
    tx.begin_command()
    answer = _HANDLERS[type(command)](tx, command)
    tx.check_stated()
    return answer
