"""An export is judged by its signatures and by what the judge brings along; each changed byte of any file is found."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.document import canonical
from gateway.evidence.files import EvidenceError, NoLogError
from gateway.evidence.remembered import Remembered, recall, remember
from gateway.evidence.verify import REMEMBERED, Brought, Verdict, verify_export
from gateway.tlog.checkpoint import Checkpoint, NoteKey, parse_note, sign_checkpoint
from gateway.tlog.cosignature import CosignerKey, cosign
from gateway.tlog.entry import leaf_hash
from gateway.tlog.exported import ENTRIES, LEAVES, note_name
from gateway.tlog.fsck import Problem
from gateway.tlog.merkle import root_of
from gateway.tlog.policy import PolicyLog, PolicyWitness, majority_policy
from keys.fingerprint import to_text
from keys.listed import DAY
from tests.support.councils import OWN_LOG, log_key
from tests.support.keys import NOW, ed25519, follow, make_jws, make_revocation
from tests.support.messages import A, B, bundle_of

ALONE = Brought(roots={}, policy=None, remembered=None, checkpoints={}, receipts=())
SIZE = 27


def judged(export: Path, **brought: Any) -> Verdict:
    return verify_export(export, replace(ALONE, **brought))


def found(export: Path, **brought: Any) -> list[tuple[int, str]]:
    return [(problem.index, problem.column) for problem in judged(export, **brought).problems]


def entries(export: Path) -> list[bytes]:
    return (export / ENTRIES).read_bytes().split(b"\n")[:-1]


def sizes(export: Path) -> list[int]:
    return sorted(int(path.stem) for path in (export / "checkpoints").iterdir())


def write_entries(export: Path, lines: list[bytes]) -> None:
    """Put other entries there, with their leaf hashes and without openings."""
    (export / "openings.jsonl").unlink(missing_ok=True)
    (export / ENTRIES).write_bytes(b"".join(line + b"\n" for line in lines))
    (export / LEAVES).write_bytes(b"".join(map(leaf_hash, lines)))


def sign(export: Path, *at: int, lines: list[bytes] | None = None, label: str = f"{A} log") -> None:
    """Write checkpoints as the log's key signs them: over the entries that lie there, or over `lines`."""
    leaves = list(map(leaf_hash, lines if lines is not None else entries(export)))
    secret = ed25519(label)
    for size in at:
        root = Checkpoint(origin=OWN_LOG, size=size, root=root_of(leaves[:size]))
        note = sign_checkpoint(root, NoteKey(OWN_LOG, secret.public.raw), secret.sign)
        (export / note_name(size)).write_bytes(note)


def test_an_honest_export_is_in_order(export: Path, export_b: Path) -> None:
    mine, theirs = judged(export), judged(export_b)
    assert mine.problems == theirs.problems == ()
    assert (mine.org, mine.origin, mine.size, mine.entries) == (A, OWN_LOG, SIZE, SIZE)
    assert (mine.given, mine.received, mine.unnamed) == (0, 9, 0)
    assert (theirs.given, theirs.received) == (9, 0)
    assert mine.openings > 0
    assert mine.leaves


# --- any changed byte


def files(export: Path) -> list[Path]:
    return sorted(path for path in export.rglob("*") if path.is_file())


def test_the_export_has_every_kind_of_file(history: Path) -> None:
    names = {path.relative_to(history / "export").parts[0] for path in files(history / "export")}
    assert names == {
        "log.vkey",
        "policy",
        ENTRIES,
        LEAVES,
        "checkpoints",
        "receipts",
        "bundles",
        "openings.jsonl",
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in files(history / "export"))


def change(path: Path, place: int, by: int) -> int:
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place] ^= by
    path.write_bytes(data)
    return place


def finds(export: Path) -> list[tuple[int, str]]:
    try:
        return found(export)
    except EvidenceError as error:
        return [(-1, str(error).partition(":")[0])]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_any_file_is_found(history: Path, tmp_path: Path, data: st.DataObject) -> None:
    export = tmp_path / "changed"
    shutil.rmtree(export, ignore_errors=True)
    shutil.copytree(history / "export", export)
    kinds = sorted({path.relative_to(export).parts[0] for path in files(export)})
    kind = data.draw(st.sampled_from(kinds))
    path = data.draw(st.sampled_from([p for p in files(export) if p.relative_to(export).parts[0] == kind]))
    before = path.read_bytes()
    place = change(path, data.draw(st.integers(0, 1 << 20)), data.draw(st.integers(1, 255)))
    problems = finds(export)
    column = str(path.relative_to(export))
    assert column in {at for _, at in problems}
    if column == ENTRIES:
        assert problems[0] == (before[:place].count(b"\n"), ENTRIES)
    if column == LEAVES:
        assert problems == [(place // 32, LEAVES)]


SMALL = ("log.vkey", "policy")


@pytest.mark.parametrize("name", SMALL)
def test_every_byte_of_the_small_files_counts(history: Path, tmp_path: Path, name: str) -> None:
    export = Path(shutil.copytree(history / "export", tmp_path / "export"))
    shutil.rmtree(export / "receipts")
    whole = (export / name).read_bytes()
    for place in range(len(whole)):
        (export / name).write_bytes(whole)
        change(export / name, place, random.randint(1, 255))  # noqa: S311 - which bit does not matter
        assert name in {column for _, column in finds(export)}, place


# --- what else can be done to files


@pytest.mark.parametrize("name", ["log.vkey"])
def test_an_export_without_its_keys_is_no_log(export: Path, name: str) -> None:
    (export / name).unlink()
    with pytest.raises(NoLogError):
        judged(export)


@pytest.mark.parametrize("data", [b"", b"\n", b"no key\n", b"x" * (64 * 1024 + 1)])
def test_an_export_whose_keys_cannot_be_read_is_no_log(export: Path, data: bytes) -> None:
    (export / "log.vkey").write_bytes(data)
    with pytest.raises(NoLogError) as refused:
        judged(export)
    assert (refused.value.problem.index, refused.value.problem.column) == (-1, "log.vkey")


def test_a_folder_with_nothing_of_an_export_in_it_is_none(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("x")
    with pytest.raises(EvidenceError) as refused:
        judged(tmp_path)
    assert not isinstance(refused.value, NoLogError)


def test_an_export_without_its_entries_is_told_of(export: Path) -> None:
    (export / ENTRIES).unlink()
    assert (0, ENTRIES) in found(export)


def test_a_missing_policy_is_told_of(export: Path) -> None:
    (export / "policy").unlink()
    assert found(export) == [(-1, "policy")]


def test_without_leaf_hashes_an_honest_export_is_still_in_order(export: Path) -> None:
    (export / LEAVES).unlink()
    assert judged(export).problems == ()
    assert not judged(export).leaves


def test_leaf_hashes_of_another_number_are_left_out_and_told_of(export: Path) -> None:
    (export / LEAVES).write_bytes((export / LEAVES).read_bytes()[:-32])
    assert found(export) == [(SIZE, LEAVES)]


def test_an_export_without_checkpoints_proves_nothing(export: Path) -> None:
    shutil.rmtree(export / "checkpoints")
    assert (-1, "checkpoints") in found(export)
    assert (0, ENTRIES) in found(export)


def test_files_that_no_export_has_are_not_read_and_named(export: Path) -> None:
    (export / "notes.txt").write_text("from the auditor")
    assert judged(export).ignored == ("notes.txt",)
    assert judged(export).problems == ()


def test_a_checkpoint_under_another_name_is_told_of(export: Path) -> None:
    first = sizes(export)[0]
    (export / note_name(first)).rename(export / note_name(first + 1))
    assert found(export) == [(first + 1, note_name(first + 1))]


def test_a_checkpoint_by_another_key_is_told_of(export: Path) -> None:
    sign(export, SIZE, label="somebody else")
    assert (SIZE, note_name(SIZE)) in found(export)


def test_a_key_of_the_log_that_no_bundle_lists_is_told_of(export: Path) -> None:
    other = ed25519("somebody else")
    key = NoteKey(OWN_LOG, other.public.raw)
    (export / "log.vkey").write_text(key.vkey() + "\n")
    (export / "policy").write_bytes(majority_policy([PolicyLog(key)], []).to_bytes())
    sign(export, *sizes(export), label="somebody else")
    assert (-1, "log.vkey") in found(export)


def test_a_missing_bundle_leaves_receipts_without_their_signers(export: Path) -> None:
    (export / "bundles" / f"{B}-1.jws").unlink()
    columns = {column for _, column in found(export)}
    assert columns == {f"receipts/{path.name}" for path in (export / "receipts").iterdir()}


# --- receipts and entries


def test_a_receipt_given_whose_entry_is_not_in_the_log_is_told_of(export_b: Path) -> None:
    lines = entries(export_b)
    index = next(i for i, line in enumerate(lines) if json.loads(line)["kind"] == "received")
    write_entries(export_b, [*lines[:index], *lines[index + 1 :]])
    shutil.rmtree(export_b / "checkpoints")
    (export_b / "checkpoints").mkdir()
    sign_b(export_b)
    problems = judged(export_b).problems
    assert [problem.column.partition("/")[0] for problem in problems] == ["receipts"]
    assert json.loads(lines[index])["msg"] in problems[0].rule


def sign_b(export: Path) -> None:
    lines = entries(export)
    secret, origin = ed25519(f"{B} log"), log_key(B).name
    root = Checkpoint(origin=origin, size=len(lines), root=root_of(map(leaf_hash, lines)))
    note = sign_checkpoint(root, NoteKey(origin, secret.public.raw), secret.sign)
    (export / note_name(len(lines))).write_bytes(note)


def test_an_entry_that_names_a_receipt_for_another_message_is_told_of(export: Path) -> None:
    lines = entries(export)
    at = [i for i, line in enumerate(lines) if json.loads(line)["kind"] == "delivered"]
    first, second = json.loads(lines[at[0]]), json.loads(lines[at[1]])
    first["receipt"], second["receipt"] = second["receipt"], first["receipt"]
    lines[at[0]], lines[at[1]] = canonical(first), canonical(second)
    write_entries(export, lines)
    sign(export, *sizes(export))
    assert sorted(index for index, column in found(export) if column.startswith("receipts/")) == at[:2]


def test_a_receipt_that_another_organisation_exchanged_does_not_belong_here(export: Path, export_b: Path) -> None:
    shutil.rmtree(export / "receipts")
    (export / "receipts").mkdir()
    assert judged(export).problems == ()
    for path in (export_b / "receipts").iterdir():
        shutil.copy(path, export / "receipts")
    assert judged(export).received == 9


def test_receipts_that_a_partner_kept_are_held_against_the_log(export: Path, export_b: Path) -> None:
    shutil.rmtree(export_b / "receipts")
    verdict = judged(export_b, receipts=(export / "receipts",))
    assert (verdict.problems, verdict.others) == ((), 9)
    lines = entries(export_b)
    write_entries(export_b, lines[:-3])
    shutil.rmtree(export_b / "checkpoints")
    (export_b / "checkpoints").mkdir()
    sign_b(export_b)
    assert judged(export_b).problems == ()  # a shorter log, signed anew: nothing in it says so
    assert len(judged(export_b, receipts=(export / "receipts",)).problems) >= 1


def test_an_opening_of_another_value_is_told_of(export: Path) -> None:
    lines = (export / "openings.jsonl").read_bytes().splitlines()
    opening = json.loads(lines[2])
    opening["value"] = "Somebody Else"
    lines[2] = canonical(opening)
    (export / "openings.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    assert found(export) == [(opening["index"], "openings.jsonl")]


@pytest.mark.parametrize("index", [1_000, 2])
def test_an_opening_of_no_commitment_is_told_of(export: Path, index: int) -> None:
    opening = json.loads((export / "openings.jsonl").read_bytes().splitlines()[-1])
    opening["index"] = index
    (export / "openings.jsonl").write_bytes(canonical(opening) + b"\n")
    assert found(export) == [(index, "openings.jsonl")]


# --- keys in their time


def with_bundle(export: Path, **changes: Any) -> None:
    jws = make_jws(follow(bundle_of(A), **changes))
    (export / "bundles" / f"{A}-2.jws").write_bytes(jws)


def test_a_log_key_revoked_before_the_newest_checkpoint_counts_no_more(export: Path) -> None:
    kid = ed25519(f"{A} log").public.kid
    with_bundle(export, revoked=(make_revocation(kid, since=NOW - DAY),))
    assert (SIZE, note_name(SIZE)) in found(export)


def test_a_log_key_revoked_later_vouches_for_what_it_signed(export: Path) -> None:
    kid = ed25519(f"{A} log").public.kid
    with_bundle(export, revoked=(make_revocation(kid, since=NOW + DAY),))
    assert judged(export).problems == ()


# --- what the judge brings along


def test_whose_roots_they_are_is_said_and_nothing_was_compared(export: Path) -> None:
    assert [(trust.org, trust.compared) for trust in judged(export).trust] == [(A, False), (B, False)]


def test_a_fingerprint_from_elsewhere_is_compared(export: Path) -> None:
    root = to_text(bundle_of(A).fingerprint)
    assert [(t.org, t.compared) for t in judged(export, roots={A: root}).trust] == [(A, True), (B, False)]
    assert found(export, roots={A: "sha256:" + "0" * 64}) == [(-1, f"bundles/{A}")]
    assert found(export, roots={"la-999": root}) == [(-1, "bundles")]


def test_a_head_remembered_is_written_once_all_is_well_and_continued(export: Path, tmp_path: Path) -> None:
    memory = tmp_path / "head"
    assert recall(memory) is None
    head = judged(export).head
    assert head is not None
    remember(memory, head)
    assert memory.stat().st_mode & 0o077 == 0
    known = recall(memory)
    assert known == head
    assert judged(export, remembered=known).problems == ()


def remembered(export: Path) -> Remembered:
    head = judged(export).head
    assert head is not None
    return head


def test_a_log_rewritten_and_signed_anew_does_not_continue_what_was_remembered(export: Path) -> None:
    known = remembered(export)
    lines = entries(export)
    lines[5] = canonical({**json.loads(lines[5]), "kind": "search"})
    write_entries(export, [*lines, lines[5].replace(b'"search"', b'"export"')])
    sign(export, *sizes(export), SIZE + 1)
    assert (SIZE, REMEMBERED) in found(export, remembered=known)
    assert judged(export, remembered=known).head is None


def test_a_log_cut_short_and_signed_anew_does_not_reach_what_was_remembered(export: Path) -> None:
    known = remembered(export)
    (export / note_name(SIZE)).unlink()
    write_entries(export, entries(export)[: sizes(export)[-1]])
    assert (SIZE, REMEMBERED) in found(export, remembered=known)


def test_another_logs_head_is_no_memory_of_this_one(export: Path, export_b: Path) -> None:
    assert (remembered(export_b).checkpoint.size, REMEMBERED) in found(export, remembered=remembered(export_b))


def test_roots_that_do_not_follow_from_those_remembered_are_told_of(export: Path) -> None:
    known = replace(remembered(export), root="sha256:" + "0" * 64)
    assert found(export, remembered=known) == [(-1, f"bundles/{A}")]


@pytest.mark.parametrize("text", ["", "{}", '{"note":"x","org":"la-207","root":"y"}\n', "a head"])
def test_a_memory_that_cannot_be_read_is_no_first_trust(tmp_path: Path, text: str) -> None:
    (tmp_path / "head").write_text(text)
    with pytest.raises(EvidenceError):
        recall(tmp_path / "head")


def test_a_checkpoint_that_somebody_else_was_shown_must_be_of_this_log(export: Path) -> None:
    middle = sizes(export)[1]
    shown = (export / note_name(middle)).read_bytes()
    (export / note_name(middle)).unlink()
    assert judged(export, checkpoints={"shown.note": shown}).problems == ()
    forked = [*entries(export)[:3], *entries(export)[4:], entries(export)[3]]
    sign(export, middle, lines=forked)
    other = (export / note_name(middle)).read_bytes()
    (export / note_name(middle)).unlink()
    assert found(export, checkpoints={"shown.note": other}) == [(middle, "shown.note")]
    assert found(export, checkpoints={"shown.note": b"no note"}) == [(-1, "shown.note")]


# --- witnesses


WITNESSES = [CosignerKey(f"witness-{n}.example", ed25519(f"witness {n}").public.raw) for n in range(3)]


def with_witnesses(export: Path, size: int, *who: int) -> None:
    """Have a checkpoint cosigned, by a policy of three witnesses."""
    points = [[PolicyWitness(key.name, key)] for key in WITNESSES]
    (export / "policy").write_bytes(majority_policy([PolicyLog(log_key(A))], points).to_bytes())
    note = (export / note_name(size)).read_bytes()
    for number in who:
        secret = ed25519(f"witness {number}")
        note += cosign(parse_note(note).text, WITNESSES[number], secret.sign, NOW).line().encode()
    (export / note_name(size)).write_bytes(note)


def test_the_quorum_of_the_policy_vouches_for_the_size_it_cosigned(export: Path) -> None:
    middle = sizes(export)[1]
    with_witnesses(export, middle, 0, 2)
    with_witnesses(export, SIZE, 1)
    verdict = judged(export)
    assert (verdict.problems, verdict.witnesses, verdict.witnessed) == ((), 3, middle)


def test_a_quorum_that_is_asked_for_and_never_met_is_told_of(export: Path) -> None:
    with_witnesses(export, SIZE, 1)
    assert found(export) == [(SIZE, "policy")]


def test_a_cosignature_by_nobody_known_is_told_of(export: Path) -> None:
    policy = (export / "policy").read_bytes()
    with_witnesses(export, SIZE, 0, 1)
    (export / "policy").write_bytes(policy)
    assert (SIZE, note_name(SIZE)) in found(export)


def test_the_judges_own_policy_counts_in_place_of_the_exports(export: Path) -> None:
    key = PolicyLog(log_key(A))
    strict = majority_policy([key], [[PolicyWitness("w", WITNESSES[0])]])
    assert found(export, policy=strict) == [(SIZE, "policy")]
    with_witnesses(export, SIZE, 0, 1)
    assert judged(export, policy=strict).witnessed == SIZE
    other = majority_policy([PolicyLog(NoteKey(OWN_LOG, ed25519("x").public.raw))], [])
    assert found(export, policy=other) == [(SIZE, note_name(SIZE))]


def test_a_policy_of_fewer_than_half_is_not_what_an_export_writes(export: Path) -> None:
    with_witnesses(export, SIZE, 0, 1)
    (export / "policy").write_bytes((export / "policy").read_bytes().replace(b"more-than-half 2", b"more-than-half 1"))
    assert found(export) == [(-1, "policy")]


def test_problems_are_told_in_words(export: Path) -> None:
    assert str(Problem(index=3, column=ENTRIES, rule="x")) == "3 entries.jsonl: x"
