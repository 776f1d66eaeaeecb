"""Aim: to have two histories of one exchange log, and show each to whom it suits.

By the organisation itself, by an administrator of its database, by a thief of its log key. A log that is consistent in
itself proves nothing against who can rebuild it; what holds is that others remember: witnesses, who cosign one history and
keep the proof of a second; and the senders of messages, who ask for each receipt's entry in a tree that they cosigned.
What these tests do not hold off: lies that were logged from the first, and what no witness and no receipt ever saw.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import quorum, receipt_proofs, witnessed, witnessing
from gateway.core.commands import Record
from gateway.core.errors import LogBehindError
from gateway.core.witnessing import CosignatureRow, KeepCosignatures
from gateway.entries import Journal
from gateway.ports import Exchange
from gateway.store.migrations import upgrade
from gateway.tlog.checkpoint import verify_checkpoint
from gateway.tlog.cosignature import CosignerKey
from gateway.tlog.policy import PolicyWitness, majority_policy
from keys.listed import Role
from tests.support.exchange import Gateway, make_town_in_force
from tests.support.independent_log import IndependentLog, cosigned_at
from tests.support.keys import ed25519, make_bundle, make_entries, make_entry, make_origin, seed
from tests.support.messages import A, B, submission
from tests.support.store import LOG_KEY, ORIGIN, OWN, Lab, open_lab, problems, sign_log
from tests.support.store import make_entry as make_log_entry
from tests.support.witnessing_town import give_witness_keys, grow, make_circle, make_witnessing_town, witness_key

LEAVES = 12


def stolen_log(count: int = LEAVES) -> IndependentLog:
    """The log of la-207 in the hands of a thief of its key, who can sign what he likes."""
    return IndependentLog(make_origin(A), seed(f"{A} log ed25519"), [f"entry {n}".encode() for n in range(count)])


async def shown(witness: Gateway, request: bytes) -> int:
    return (await witnessing.add_checkpoint(request, witness.exchange)).status


# --- the thief of the log key


async def test_a_rewritten_log_signed_with_the_stolen_key_is_cosigned_by_nobody() -> None:
    """The forged checkpoint verifies under the log's own key, and the forged log against itself."""
    witness = make_witnessing_town(A, B).b
    honest = stolen_log()
    assert await shown(witness, honest.request(0)) == 200
    forged = stolen_log()
    forged.entries[3] = b"another entry"
    key = replace(LOG_KEY, name=make_origin(A), public=ed25519(f"{A} log").public.raw)
    assert verify_checkpoint(forged.note(), key, quorum.verify).size == LEAVES
    assert await shown(witness, forged.request(LEAVES)) == 409
    forged.entries += [b"grown", b"on"]
    assert await shown(witness, forged.request(LEAVES)) == 422
    for size in range(1, LEAVES):  # nor does a beginning of it pass for the continuation of nothing
        assert await shown(witness, forged.request(0, size)) == 409
    assert await shown(witness, (honest.entries.append(b"honest"), honest.request(LEAVES))[1]) == 200


async def test_the_second_history_under_the_same_key_is_kept_as_proof() -> None:
    witness = make_witnessing_town(A, B).b
    honest, forged = stolen_log(), stolen_log()
    forged.entries[0] = b"another entry"
    await shown(witness, honest.request(0))
    await shown(witness, forged.request(LEAVES))
    (conflict,) = witness.memory.conflicts
    note = await witnessing.last_note(hashlib.sha256(make_origin(A).encode()).hexdigest(), witness.exchange)
    assert note is not None
    key = replace(LOG_KEY, name=make_origin(A), public=ed25519(f"{A} log").public.raw)
    one, other = (verify_checkpoint(data, key, quorum.verify) for data in (note, conflict.note))
    assert (one.origin, one.size) == (other.origin, other.size)
    assert one.root != other.root
    assert witness.alarms == ["split-view"]


async def test_an_honest_checkpoint_replayed_with_a_bad_proof_accuses_nobody() -> None:
    """Anybody can bring it: it must not become evidence, nor fill the log of the witness."""
    witness = make_witnessing_town(A, B).b
    honest = stolen_log()
    await shown(witness, honest.request(0, 5))
    for number in range(20):
        assert await shown(witness, honest.request(5, proof=[bytes([number]) * 32])) == 422
    assert witness.memory.conflicts == []
    assert witness.kinds() == []
    assert await shown(witness, honest.request(5)) == 200


async def test_an_older_checkpoint_does_not_take_a_witness_back() -> None:
    witness = make_witnessing_town(A, B).b
    honest = stolen_log()
    await shown(witness, honest.request(0, 5))
    await shown(witness, honest.request(5))
    for old in (0, 3, 5, LEAVES):
        assert await shown(witness, honest.request(old, 5, proof=[])) in (400, 409)
    held = await witness.exchange.witnesses.log(make_origin(A))
    assert held is not None
    assert held.size == LEAVES


# --- the organisation itself


async def test_no_two_histories_have_more_than_half_of_the_witnesses() -> None:
    """la-207 shows one history to two of its four witnesses, another to the others: no reader of the policy believes either."""
    witnesses = make_circle(A, B, "la-310", "la-311", "la-312")[1:]
    one, other = stolen_log(), stolen_log()
    other.entries[5] = b"what the others are to believe"
    cosigners: dict[int, list[CosignerKey]] = {0: [], 1: []}
    for number, witness in enumerate(witnesses):
        log = (one, other)[number % 2]
        answer = await witnessing.add_checkpoint(log.request(0), witness.exchange)
        key = witness_key(witness.own)
        assert cosigned_at(log.text(), answer.body.decode(), key.name, key.public) is not None
        cosigners[number % 2].append(key)
        again = (other, one)[number % 2]
        assert await shown(witness, again.request(LEAVES)) == 409
    policy = majority_policy([], [[PolicyWitness(one.own, witness_key(one.own))] for one in witnesses])
    assert not any(policy.satisfied_by(keys) for keys in cosigners.values())
    assert all(witness.alarms == ["split-view"] for witness in witnesses)


async def test_a_receipt_shown_in_one_history_and_left_out_of_the_witnessed_one_stays_unproven() -> None:
    """la-850 shows the sender a tree with the entry, properly signed, and its witness, the sender too, one without."""
    town = await make_town_in_force()
    give_witness_keys((town.a, town.b))
    await submission(town.a.exchange)
    await town.a.run()
    honest = list(town.b.memory.log)
    received = next(n for n, entry in enumerate(honest) if entry.kind == "received")

    town.b.memory.log = [make_log_entry() if n == received else entry for n, entry in enumerate(honest)]
    await town.b.exchange.sign_log()
    await witnessed.Rounds(town.b.exchange).round()  # the history for witnesses
    town.b.memory.log, town.b.memory.checkpoints, town.b.memory.cosigned = honest, {}, {}
    await grow(town.b)  # the history for the sender

    await receipt_proofs.Rounds(town.a.exchange).round()
    assert town.a.memory.proofs == {}
    town.clock.forward(hours=25)
    await receipt_proofs.Rounds(town.a.exchange).round()
    assert town.a.alarms == ["receipt-unproven"]
    await witnessed.Rounds(town.b.exchange).round()
    assert town.a.alarms[1:] == ["log-not-extended"]


async def test_an_entry_removed_before_any_witness_saw_it_is_missed_by_who_holds_the_receipt() -> None:
    town = await make_town_in_force()
    give_witness_keys((town.a, town.b))
    await submission(town.a.exchange)
    await town.a.run()
    town.b.memory.log = [entry for entry in town.b.memory.log if entry.kind != "received"]
    await town.b.exchange.sign_log()
    await witnessed.Rounds(town.b.exchange).round()
    town.clock.forward(hours=25)
    await receipt_proofs.Rounds(town.a.exchange).round()
    assert town.a.alarms == ["receipt-unproven"]


# --- the administrator of the database


class RealLog:
    """A gateway whose log lies in a real database, witnessed by la-850; the administrator does what he likes with the file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gateway.sqlite"
        self.memory = folder / "log-signer"
        upgrade(self.path)
        self.circle = make_circle(OWN, B)
        self.witness = self.circle[1]
        entries = [key for key in make_entries(OWN) if key.role is not Role.LOG]
        log = make_entry(Role.LOG, ed25519("la-901 log"), origin=ORIGIN)
        bundle = make_bundle(OWN, keys=(*entries, log))
        self.circle[0].memory.bundles[OWN] = [bundle.jws]
        self.witness.memory.bundles[OWN] = [bundle.jws]

    def exchange(self, lab: Lab) -> Exchange:
        async def sign() -> None:
            await sign_log(lab, self.memory)

        read, own = lab.open.read, self.circle[0].exchange
        return replace(
            own,
            store=lab.open.store,
            log=read.log,
            witnesses=read.witnesses,
            overview=read.overview,
            journal=Journal(org=OWN, origin=ORIGIN, entropy=own.entropy),
            sign_log=sign,
        )

    async def live(self, count: int, *, start: bool = True, witnessing: bool = True) -> list[str]:
        """Start, log so many entries, be witnessed, stop; return the alarms."""
        async with open_lab(self.path, agreement=False) as lab:
            exchange = self.exchange(lab)
            if start:
                await witnessed.check_at_start(exchange)
            for _ in range(count):
                await lab.open.store.write(Record(entry=make_log_entry()))
            await exchange.sign_log()
            if witnessing:
                await witnessed.Rounds(exchange).round()
            return self.circle[0].alarms

    def keep(self, folder: Path) -> None:
        folder.mkdir()
        for file in (self.path, self.memory):
            shutil.copyfile(file, folder / file.name)

    def put_back(self, folder: Path) -> None:
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        for file in (self.path, self.memory):
            shutil.copyfile(folder / file.name, file)


async def test_a_database_put_back_together_with_the_signers_memory_does_not_start(tmp_path: Path) -> None:
    """Everything on the machine agrees: the log verifies, the signer would sign. Only its witness knows better."""
    log = RealLog(tmp_path)
    await log.live(5)
    log.keep(tmp_path / "kept")
    await log.live(5)
    log.put_back(tmp_path / "kept")
    assert problems(log.path) == []
    with pytest.raises(LogBehindError) as caught:
        await log.live(0)
    assert (caught.value.witness, caught.value.size) == (B, 10)


async def test_a_database_put_back_and_grown_beyond_what_was_witnessed_does_not_start(tmp_path: Path) -> None:
    log = RealLog(tmp_path)
    await log.live(5)
    log.keep(tmp_path / "kept")
    await log.live(5)
    log.put_back(tmp_path / "kept")
    assert await log.live(20, start=False, witnessing=False) == []
    with pytest.raises(LogBehindError):
        await log.live(0)


async def test_a_log_that_forked_gets_no_cosignature_and_its_owner_hears_of_it(tmp_path: Path) -> None:
    log = RealLog(tmp_path)
    await log.live(5)
    log.keep(tmp_path / "kept")
    await log.live(5)
    log.put_back(tmp_path / "kept")
    assert "log-contradicted" in await log.live(20, start=False)
    held = await log.witness.exchange.witnesses.log(ORIGIN)
    assert held is not None
    assert held.size == 10


async def test_a_log_cut_short_while_it_runs_is_told(tmp_path: Path) -> None:
    log = RealLog(tmp_path)
    await log.live(5)
    log.keep(tmp_path / "kept")
    await log.live(5)
    log.put_back(tmp_path / "kept")
    assert "log-behind-witness" in await log.live(1, start=False)


async def test_a_planted_cosignature_makes_no_quorum(tmp_path: Path) -> None:
    """Rows of cosignatures carry no mac: whoever writes to the database can plant one, so none is believed unverified."""
    log = RealLog(tmp_path)
    log.circle[0].wire.cut.add(B)
    await log.live(5)
    forged = CosignatureRow(size=5, witness=witness_key(B).vkey(), at=0, line="\u2014 witness.example AAAAAAAAAAA=\n")
    async with open_lab(log.path, agreement=False) as lab:
        exchange = log.exchange(lab)
        await lab.open.store.write(KeepCosignatures(rows=(forged,)))
        assert (await quorum.look(exchange, exchange.clock())).size == 0
    log.circle[0].wire.cut.clear()
