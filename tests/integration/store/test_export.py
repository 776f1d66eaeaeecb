"""What an export writes of a real database: all that is signed, nothing beyond, and whatever lies there as it lies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.events import Action
from gateway import entries
from gateway.core import deciding
from gateway.core.commands import AddBundle
from gateway.core.errors import LogInconsistentError
from gateway.core.witnessing import CosignatureRow, KeepCosignatures
from gateway.evidence.verify import Brought, Verdict, verify_export
from gateway.store.export import ExportError, export_log
from gateway.tlog.checkpoint import NoteKey, parse_note
from gateway.tlog.cosignature import CosignerKey, cosign
from gateway.tlog.policy import Policy, PolicyWitness, majority_policy
from keys.bundle import accept_bundle
from keys.keyset import StoredKey
from keys.listed import DAY, Role
from keys.ring import KeyRing
from tests.support.councils import Council, council, open_councils, transfer_one, write_export
from tests.support.exchange import Town
from tests.support.keys import (
    NOW,
    ed25519,
    follow,
    make_entry,
    make_jws,
    make_origin,
    make_secrets,
)
from tests.support.messages import A, bundle_of
from tests.support.store import tamper

WITNESS = CosignerKey("witness.example", ed25519("witness").public.raw)
STRANGER = CosignerKey("stranger.example", ed25519("stranger").public.raw)
NOBODY: Policy = majority_policy((), ())


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with open_councils(tmp_path) as opened:
        a, b = council(opened.a), council(opened.b)
        for one, other in ((a, b), (b, a)):
            await one.introduce(one.own)
            await one.introduce(other.own)
        yield opened


def written(from_: Council, out: Path, witnesses: Policy = NOBODY) -> Verdict:
    origin = make_origin(from_.own)
    export_log(from_.path, out, own=from_.own, origin=origin, witnesses=witnesses, openings=None)
    return verify_export(out, Brought(roots={}, policy=None, remembered=None, checkpoints={}, receipts=()))


def lines(out: Path) -> list[bytes]:
    return (out / "entries.jsonl").read_bytes().split(b"\n")[:-1]


async def test_a_log_that_was_never_signed_is_not_exported(town: Town, tmp_path: Path) -> None:
    with pytest.raises(LogInconsistentError):
        written(council(town.a), tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_a_folder_with_something_in_it_is_not_written_to(town: Town, tmp_path: Path) -> None:
    await town.a.exchange.sign_log()
    with pytest.raises(ExportError):
        written(council(town.a), tmp_path)


async def test_entries_that_nobody_signed_are_left_out_and_so_are_their_receipts(town: Town, tmp_path: Path) -> None:
    await town.act(town.a, Action.PROPOSE)
    await town.act(town.b, Action.SIGN)
    await transfer_one(town, "signed")
    await town.b.exchange.sign_log()
    signed = await town.b.exchange.log.checkpoint()
    await transfer_one(town, "not signed yet")
    verdict = written(council(town.b), tmp_path / "out")
    assert signed is not None
    assert (verdict.problems, verdict.entries, verdict.given) == ((), signed.size, 3)


async def test_cosignatures_of_the_policys_witnesses_stand_under_the_note_and_no_others(
    town: Town, tmp_path: Path
) -> None:
    a = council(town.a)
    await a.exchange.sign_log()
    signed = await a.exchange.log.checkpoint()
    assert signed is not None
    text = parse_note(signed.note).text
    rows = tuple(
        CosignatureRow(
            size=signed.size,
            witness=key.vkey(),
            at=NOW + number,
            line=cosign(text, key, ed25519(key.name.partition(".")[0]).sign, NOW + number).line(),
        )
        for number, key in enumerate((WITNESS, STRANGER))
    )
    await a.exchange.store.write(KeepCosignatures(rows=rows))
    policy = majority_policy([], [[PolicyWitness("w", WITNESS, "https://w.example")]])
    verdict = written(a, tmp_path / "out", policy)
    assert (verdict.problems, verdict.witnesses, verdict.witnessed) == ((), 1, signed.size)
    note = (tmp_path / "out" / "checkpoints" / f"{signed.size}.note").read_bytes()
    assert note == signed.note + rows[0].line.encode()
    assert b"https" not in (tmp_path / "out" / "policy").read_bytes()


async def test_a_log_whose_key_changed_lists_both_keys_newest_first(town: Town, tmp_path: Path) -> None:
    a = council(town.a)
    await a.exchange.sign_log()
    later = ed25519(f"{A} second log")
    entry = make_entry(Role.LOG, later, nbf=NOW - DAY, origin=make_origin(A))
    first = bundle_of(A)
    jws = make_jws(follow(first, keys=(*first.keys, entry)))
    second = accept_bundle(jws, org=A, history=(first,), foreign=frozenset(), now=NOW)
    logged = entries.about_own(
        a.exchange.journal,
        "key-bundle-published",
        a.clock(),
        entries.Circumstance(rows=deciding.of_bundle(org=A, seq=2, jws=jws)),
    )
    await a.exchange.store.write(AddBundle(org=A, seq=2, jws=jws, fetched_at=NOW, broadcast_to=(), entry=logged))
    a.ring = KeyRing(bundle=second, secrets=(*make_secrets(A), StoredKey(Role.LOG, later)))
    await a.exchange.sign_log()
    verdict = written(a, tmp_path / "out")
    assert (verdict.problems, verdict.checkpoints) == ((), 2)
    keys = (tmp_path / "out" / "log.vkey").read_text().splitlines()
    assert keys == [NoteKey(make_origin(A), public.raw).vkey() for public in (later.public, ed25519(f"{A} log").public)]


async def test_a_missing_entry_leaves_an_empty_line_and_is_named(town: Town, tmp_path: Path) -> None:
    a = council(town.a)
    await a.note(3)
    await a.exchange.sign_log()
    tamper(
        a.path,
        "DELETE FROM log_detail WHERE entry_idx = 4",
        "DELETE FROM log_entry WHERE idx = 4",
    )
    verdict = written(a, tmp_path / "out")
    assert lines(tmp_path / "out")[4] == b""
    assert (verdict.problems[0].index, verdict.problems[0].column) == (4, "entries.jsonl")


async def test_what_was_changed_in_the_database_is_written_as_it_lies_there(town: Town, tmp_path: Path) -> None:
    a = council(town.a)
    await a.note(3)
    await a.exchange.sign_log()
    tamper(a.path, "UPDATE log_entry SET entry = CAST(replace(entry, 'search', 'export') AS BLOB) WHERE idx = 4")
    verdict = written(a, tmp_path / "out")
    assert json.loads(lines(tmp_path / "out")[4])["kind"] == "export"
    assert [(problem.index, problem.column) for problem in verdict.problems] == [(4, "entries.jsonl")]


async def test_openings_that_were_erased_or_spoilt_are_not_in_the_export(town: Town, tmp_path: Path) -> None:
    a = council(town.a)
    await a.note(3)
    await a.exchange.sign_log()
    tamper(
        a.path,
        "DELETE FROM log_detail WHERE entry_idx = 3",
        "UPDATE log_detail SET value = zeroblob(60) WHERE entry_idx = 4",
    )
    exported = write_export(A, a.path, tmp_path / "out")
    openings = [json.loads(line) for line in (tmp_path / "out" / "openings.jsonl").read_bytes().splitlines()]
    indices = [one["index"] for one in openings if one["field"] == "by"]
    assert (exported.openings, exported.unreadable, indices) == (len(openings), 1, [2, 5])
