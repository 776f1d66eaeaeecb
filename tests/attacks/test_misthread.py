"""Aim: as a partner, speak of a message under another agreement than the one it was exchanged under.

Held off by the line of service messages: what speaks of a message does so under its own agreement.
"""

from __future__ import annotations

from pathlib import Path

from gateway import governing
from gateway.core.receipt import read_receipt
from tests.support.exchange import make_message
from tests.support.messages import A, submission, transfer
from tests.support.rewritten import in_force, second_agreement

EVIL_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


async def test_withdrawal_under_another_agreement_than_the_messages_is_refused(tmp_path: Path) -> None:
    async with in_force(tmp_path) as town:
        second = await second_agreement(town)
        message = (await submission(town.a.exchange, key="a transfer", agreement=transfer()[0].id))["id"]
        await town.a.run()
        held = await governing.load(town.b.exchange, second, town.clock())
        assert held is not None
        withdrawal = await make_message(
            town,
            id=EVIL_ID,
            typ="exchange.withdrawal",
            body={"message": message, "reason": "in-error"},
            thread=message,
            agreement__id="second-transfer",
            agreement__digest=second,
            agreement__heads=list(held.state.heads),
        )
        receipt = read_receipt(await town.b.accept(withdrawal, A, EVIL_ID)).payload
        assert isinstance(receipt.breaches, tuple)
        assert [(breach.code, breach.path) for breach in receipt.breaches] == [("agreement.none", "")]
        kept = await town.b.exchange.inbox.message(message, A)
        assert kept is not None
        assert kept.inner
