"""What leaves the log: proofs of entries, and leave to export; over two gateways in memory."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway import acts, proving
from gateway.arguments import Arguments
from gateway.core.errors import LogInconsistentError, NotYetError, SubmissionRefusedError
from gateway.quorum import verify
from gateway.tlog.checkpoint import NoteKey
from gateway.tlog.entry import leaf_hash
from gateway.tlog.proof_text import parse_with_entry, verify_entry
from tests.support.exchange import Gateway, Town, make_town_in_force
from tests.support.keys import ed25519, make_origin
from tests.support.messages import A, submission


@pytest.fixture
async def town() -> Town:
    return await make_town_in_force()


def key(gateway: Gateway) -> NoteKey:
    return NoteKey(make_origin(gateway.own), ed25519(f"{gateway.own} log").public.raw)


async def test_a_message_is_proven_by_its_first_entry_or_by_one_of_a_kind(town: Town) -> None:
    sent = await submission(town.a.exchange)
    await town.a.run()
    for kind, expected in ((None, "submitted"), ("delivered", "delivered")):
        named = {"message": sent["id"], **({} if kind is None else {"kind": kind})}
        answer = await acts.log_prove(town.a.exchange, Arguments(named))
        claimed, entry = parse_with_entry(answer["proof"].encode())
        assert json.loads(entry)["kind"] == expected
        assert (answer["index"], answer["leaf"]) == (claimed.index, leaf_hash(entry).hex())
        assert verify_entry(claimed, leaf_hash(entry), [key(town.a)], verify).size == answer["size"]


async def test_an_entry_above_the_newest_checkpoint_is_not_proven_yet(town: Town) -> None:
    with pytest.raises(NotYetError):
        await proving.prove(0, town.a.exchange)
    await town.a.exchange.sign_log()
    assert (await proving.prove(0, town.a.exchange)).entry.index == 0


async def test_a_message_without_an_entry_of_that_kind_is_refused_by_its_rule(town: Town) -> None:
    sent = await submission(town.a.exchange)
    with pytest.raises(SubmissionRefusedError):
        await proving.index_of_message(sent["id"], town.a.exchange, kind="delivered")


async def test_an_export_is_logged_by_whom_as_a_commitment_and_covers_that(town: Town) -> None:
    allowed = await proving.allow_export(town.a.exchange, openings=True, by="An Auditor")
    entry = town.a.memory.log[-1]
    assert (entry.kind, entry.outcome, allowed.size) == ("export", "with-openings", len(town.a.memory.log))
    assert b"An Auditor" not in entry.data
    assert [opening.value for opening in entry.openings] == [b"An Auditor"]
    assert [log.key for log in allowed.policy.logs] == [key(town.a)]


async def test_a_log_that_cannot_be_signed_is_not_exported(town: Town) -> None:
    async def refuse() -> None:
        """As the signer does where the log contradicts what it remembers."""

    with pytest.raises(LogInconsistentError):
        await proving.allow_export(replace(town.a.exchange, sign_log=refuse), openings=False, by=None)


async def test_the_act_answers_the_policy_that_an_export_is_written_with(town: Town) -> None:
    answer = await acts.log_export(town.a.exchange, Arguments({"openings": False, "by": None}))
    assert answer["policy"] == f"log {key(town.a).vkey()}\nquorum none\n"
    assert answer["size"] == len(town.a.memory.log)
    assert key(town.a).name == make_origin(A)
