"""Receipts are proven by their issuer's log, in the one history that we witness; what is not, a person hears of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from adapters.port import DeliveryError, Handover
from gateway import inbound, receipt_proofs, witnessed
from gateway.quorum import verify
from gateway.tlog.checkpoint import parse_note
from gateway.tlog.cosignature import verify_cosignatures
from gateway.tlog.proof_text import parse_proof
from tests.support.exchange import Gateway, Town, make_town_in_force
from tests.support.keys import make_origin
from tests.support.messages import A, B, submission
from tests.support.witnessing_town import give_witness_keys, grow, witness_key


@pytest.fixture
async def town() -> Town:
    """la-207 has sent a message to la-850 and holds the receipt for it; nothing is proven yet."""
    town = await make_town_in_force()
    give_witness_keys((town.a, town.b))
    await submission(town.a.exchange)
    await town.a.run()
    return town


def leaves(gateway: Gateway) -> list[bytes]:
    (sent,) = gateway.memory.sent.values()
    return [taken.leaf for taken in sent.receipts.values()]


async def witnessed_by(witness: Gateway, gateway: Gateway) -> None:
    """The gateway's log as it now is, signed and cosigned by the witness."""
    await gateway.exchange.sign_log()
    await witnessed.Rounds(gateway.exchange).round()
    assert (await witness.exchange.witnesses.log(make_origin(gateway.own))) is not None


async def fetch(town: Town) -> bytes | None:
    """One round; the proof then kept of the first receipt."""
    await receipt_proofs.Rounds(town.a.exchange).round()
    return await town.a.exchange.witnesses.proof(leaves(town.a)[0])


def answering(town: Town, change: Callable[[bytes], bytes], status: int = 200) -> None:
    """Change what la-850 answers of its log."""
    honest = town.b.answer

    async def answer(path: str, from_org: str | None) -> Handover:
        reply = await honest(path, from_org)
        return Handover(status=status, body=change(reply.body)) if "log/proof" in path else reply

    town.b.answer = answer


async def test_a_receipt_is_proven_in_the_tree_that_we_cosigned(town: Town) -> None:
    await witnessed_by(town.a, town.b)
    proof = await fetch(town)
    assert proof is not None
    claimed = parse_proof(proof)
    assert verify_cosignatures(claimed.note, [witness_key(A)], verify)
    assert await town.a.exchange.witnesses.unproven_from() == ()
    assert town.a.alarms == []


async def test_a_proven_receipt_is_asked_for_no_more(town: Town) -> None:
    await witnessed_by(town.a, town.b)
    await fetch(town)
    town.a.wire.fetches.clear()
    await fetch(town)
    assert town.a.wire.fetches == []


async def test_each_receipt_of_a_message_is_proven_by_its_own_entry(town: Town) -> None:
    (message_id,) = town.a.memory.sent
    await inbound.take(message_id, town.b.exchange)
    await town.b.run()
    await witnessed_by(town.a, town.b)
    await fetch(town)
    assert set(town.a.memory.proofs) == set(leaves(town.a))
    assert len(town.a.memory.proofs) == 2


async def test_an_entry_under_no_checkpoint_yet_is_asked_for_again(town: Town) -> None:
    assert await fetch(town) is None
    await witnessed_by(town.a, town.b)
    assert await fetch(town) is not None


async def test_a_checkpoint_that_we_have_not_witnessed_waits_until_we_have(town: Town) -> None:
    """The partner could show us one history here and its witnesses another."""
    await witnessed_by(town.a, town.b)
    await submission(town.a.exchange, key="a second request")
    await town.a.run()
    await town.b.exchange.sign_log()
    await receipt_proofs.Rounds(town.a.exchange).round()
    assert len(town.a.memory.proofs) == 1
    await witnessed_by(town.a, town.b)
    await receipt_proofs.Rounds(town.a.exchange).round()
    assert len(town.a.memory.proofs) == 2


async def test_a_log_that_we_do_not_witness_is_believed_by_its_signature(town: Town) -> None:
    await grow(town.b)
    assert await fetch(town) is not None


async def test_the_proof_leads_into_what_we_cosigned_though_the_log_has_grown(town: Town) -> None:
    await witnessed_by(town.a, town.b)
    await grow(town.b, 5)
    proof = await fetch(town)
    assert proof is not None
    size = int(parse_proof(proof).note.text.split("\n")[1])
    assert size == len(town.b.memory.log) - 5


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b"index ", b"index 1"),
        lambda body: body[: body.index(b"\n\n")] + b"\n\nno note",
        lambda body: b"",
    ],
    ids=["another index", "no checkpoint", "nothing"],
)
async def test_a_proof_that_does_not_hold_is_told_and_not_kept(town: Town, change: Callable[[bytes], bytes]) -> None:
    await witnessed_by(town.a, town.b)
    answering(town, change)
    assert await fetch(town) is None
    assert town.a.alarms == ["receipt-proof-refused"]


async def test_a_checkpoint_of_another_history_than_we_witnessed_is_told(town: Town) -> None:
    """la-850 signs a tree with our entry in it for us, and shows its witnesses one without."""
    await witnessed_by(town.a, town.b)
    held = town.a.memory.witnessed[make_origin(B)]
    town.a.memory.witnessed[make_origin(B)] = replace(held, root=b"\x01" * 32)
    assert await fetch(town) is None
    assert town.a.alarms == ["receipt-proof-refused"]


@pytest.mark.parametrize("status", [404, 500, 302])
async def test_a_receipt_unproven_for_a_day_is_an_alarm(town: Town, status: int) -> None:
    answering(town, lambda body: b"", status)
    town.clock.forward(hours=23)
    assert await fetch(town) is None
    assert town.a.alarms == []
    town.clock.forward(hours=2)
    await fetch(town)
    assert town.a.alarms == ["receipt-unproven"]
    assert await receipt_proofs.overdue(B, town.clock(), town.a.exchange) == 1


async def test_a_partner_that_answers_nothing_is_an_alarm_after_a_day(town: Town) -> None:
    async def nobody(partner: str, url: str, path: str, *, signed: bool) -> Handover:
        raise DeliveryError("time-out")

    town.a.wire.fetch = nobody
    town.clock.forward(hours=25)
    await fetch(town)
    assert town.a.alarms == ["receipt-unproven"]


async def test_receipts_that_are_never_proven_do_not_keep_the_others_from_their_turn(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """la-850 refuses the two oldest for ever; a round asks for two."""
    monkeypatch.setattr(receipt_proofs, "A_ROUND", 2)
    for number in range(2):
        await submission(town.a.exchange, key=f"request {number}")
        await town.a.run()
    await witnessed_by(town.a, town.b)
    *never, last = (one.leaf for one in await town.a.exchange.witnesses.unproven(B, 10))
    honest = town.b.answer
    asked: list[bytes] = []

    async def answer(path: str, from_org: str | None) -> Handover:
        asked.extend(leaf for leaf in (*never, last) if leaf.hex() in path)
        refused = any(leaf.hex() in path for leaf in never)
        return Handover(status=404, body=b"") if refused else await honest(path, from_org)

    town.b.answer = answer
    rounds = receipt_proofs.Rounds(town.a.exchange)
    await rounds.round()
    assert asked == never
    await rounds.round()
    assert set(town.a.memory.proofs) == {last}
    await rounds.round()
    assert asked == [*never, last, *never]


async def test_a_receipt_whose_question_fails_does_not_keep_the_others_from_their_turn(town: Town) -> None:
    await submission(town.a.exchange, key="a second request")
    await town.a.run()
    await witnessed_by(town.a, town.b)
    first, second = (one.leaf for one in await town.a.exchange.witnesses.unproven(B, 10))
    honest = town.b.answer

    async def answer(path: str, from_org: str | None) -> Handover:
        if first.hex() in path:
            raise DeliveryError("time-out")
        return await honest(path, from_org)

    town.b.answer = answer
    rounds = receipt_proofs.Rounds(town.a.exchange)
    await rounds.round()
    await rounds.round()
    assert set(town.a.memory.proofs) == {second}


# --- what we answer


async def test_nobody_is_told_of_an_entry_about_another(town: Town) -> None:
    await town.b.exchange.sign_log()
    (leaf,) = leaves(town.a)
    assert await receipt_proofs.proof_for(A, leaf, town.b.exchange) is not None
    assert await receipt_proofs.proof_for("la-310", leaf, town.b.exchange) is None
    assert await receipt_proofs.proof_for(A, b"\x07" * 32, town.b.exchange) is None


async def test_what_is_answered_holds_every_cosignature_of_its_checkpoint(town: Town) -> None:
    await witnessed_by(town.a, town.b)
    (leaf,) = leaves(town.a)
    proof = await receipt_proofs.proof_for(A, leaf, town.b.exchange)
    assert proof is not None
    names = [signature.name for signature in parse_note(parse_proof(proof).note.to_bytes()).signatures]
    assert names == [make_origin(B), witness_key(A).name]
