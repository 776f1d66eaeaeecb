"""The project's verifier and one written from docs/log.md alone agree on real exports and on changed ones."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.evidence.files import EvidenceError
from gateway.evidence.verify import Brought, verify_export
from keys.fingerprint import fingerprint, to_text
from tests.support import independent_verifier
from tests.support.independent_verifier import NoLogError
from tests.support.keys import accept, follow, make_jws, make_roots
from tests.support.messages import A, bundle_of

ALONE = Brought(roots={}, policy=None, remembered=None, checkpoints={}, receipts=())
NO_SHRINKING = [Phase.explicit, Phase.reuse, Phase.generate]  # every try copies an export
NO_LOG = [(-1, "no log")]


def ours(export: Path, brought: Brought = ALONE) -> list[tuple[int, str]]:
    try:
        return [(problem.index, problem.column) for problem in verify_export(export, brought).problems]
    except EvidenceError:
        return NO_LOG


def theirs(export: Path, **brought: object) -> list[tuple[int, str]]:
    try:
        return independent_verifier.verify(export, **brought)
    except NoLogError:
        return NO_LOG


def agree(one: list[tuple[int, str]], other: list[tuple[int, str]]) -> None:
    """On whether there is a fault, on the files that have one, and on the first entry that has."""
    assert {column for _, column in one} == {column for _, column in other}, (one, other)
    for column in ("entries.jsonl", "leaves"):
        firsts = [min((index for index, at in found if at == column), default=None) for found in (one, other)]
        assert firsts[0] == firsts[1], (one, other)


def files(export: Path) -> list[Path]:
    return sorted(path for path in export.rglob("*") if path.is_file())


def test_both_find_nothing_in_honest_exports(export: Path, export_b: Path) -> None:
    for folder in (export, export_b):
        assert ours(folder) == theirs(folder) == []
    assert theirs(export_b, receipts=export / "receipts") == []


def test_both_follow_an_organisation_over_a_change_of_its_roots(export: Path) -> None:
    first = bundle_of(A)
    handed = make_jws(follow(first), generation=2, old_generation=1)
    second = accept(handed, history=(first,))
    again = make_jws(follow(second), generation=2)
    (export / "bundles" / f"{A}-2.jws").write_bytes(handed)
    (export / "bundles" / f"{A}-3.jws").write_bytes(again)
    assert ours(export) == theirs(export) == []
    newest = to_text(fingerprint(A, make_roots(A, 2).public))
    for root in (to_text(first.fingerprint), newest):
        assert ours(export, replace(ALONE, roots={A: root})) == []
    (export / "bundles" / f"{A}-2.jws").write_bytes(make_jws(follow(first), generation=3, old_generation=1))
    assert (-1, f"bundles/{A}-2.jws") in ours(export)
    assert (-1, f"bundles/{A}-2.jws") in theirs(export)


@pytest.mark.parametrize("leaves", [True, False], ids=["with leaf hashes", "without"])
@settings(
    max_examples=40, phases=NO_SHRINKING, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_both_find_any_changed_byte_in_the_same_files(
    history: Path, tmp_path: Path, leaves: bool, data: st.DataObject
) -> None:
    export = tmp_path / "changed"
    shutil.rmtree(export, ignore_errors=True)
    shutil.copytree(history / "export", export)
    if not leaves:
        (export / "leaves").unlink()
    kinds = sorted({path.relative_to(export).parts[0] for path in files(export)})
    kind = data.draw(st.sampled_from(kinds))
    path = data.draw(st.sampled_from([p for p in files(export) if p.relative_to(export).parts[0] == kind]))
    changed = bytearray(path.read_bytes())
    changed[data.draw(st.integers(0, 1 << 20)) % len(changed)] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    found, second = ours(export), theirs(export)
    assert found
    agree(found, second)


@settings(
    max_examples=25, phases=NO_SHRINKING, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_both_find_lines_taken_out_put_in_and_exchanged(history: Path, tmp_path: Path, data: st.DataObject) -> None:
    export = tmp_path / "changed"
    shutil.rmtree(export, ignore_errors=True)
    shutil.copytree(history / "export", export)
    lines = (export / "entries.jsonl").read_bytes().split(b"\n")[:-1]
    act, at = data.draw(st.sampled_from(["out", "in", "exchange"])), data.draw(st.integers(0, len(lines) - 2))
    match act:
        case "out":
            del lines[at]
        case "in":
            lines.insert(at, lines[at].replace(b'"v":1', b'"v":2'))
        case _:
            lines[at], lines[at + 1] = lines[at + 1], lines[at]
    (export / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    one, other = ours(export), theirs(export)
    assert one[0] == (at, "entries.jsonl")
    assert min(index for index, column in other if column == "entries.jsonl") == at


def test_both_hold_a_log_to_a_head_from_elsewhere(history: Path, export_b: Path) -> None:
    head = verify_export(history / "export-la-850", ALONE).head
    assert head is not None
    shutil.rmtree(export_b / "receipts")
    size, *later = sorted(int(path.stem) for path in (export_b / "checkpoints").iterdir())
    for other in later:
        (export_b / f"checkpoints/{other}.note").unlink()
    lines = (export_b / "entries.jsonl").read_bytes().split(b"\n")[:size]
    (export_b / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    (export_b / "leaves").write_bytes((export_b / "leaves").read_bytes()[: 32 * size])
    (export_b / "openings.jsonl").unlink()
    assert ours(export_b) == theirs(export_b) == []
    known = (head.checkpoint.size, head.checkpoint.root)
    brought = replace(ALONE, remembered=head)
    assert (head.checkpoint.size, "remembered head") in ours(export_b, brought)
    assert (head.checkpoint.size, "remembered head") in theirs(export_b, remembered=known)
    kept = history / "export" / "receipts"
    mine, second = ours(export_b, replace(ALONE, receipts=(kept,))), theirs(export_b, receipts=kept)
    assert {column for _, column in mine} == {column for _, column in second} != set()
