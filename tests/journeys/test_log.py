"""The exchange log leaves the gateway by command: exported, judged somewhere else, one entry proven; no server running."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.operator import CANARY, Operator

NOWHERE = Path("no-home-is-here")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "export"


def judged(operator: Operator, *arguments: str) -> tuple[int, dict[str, object]]:
    """`log verify` where there is no gateway at all."""
    result = operator.run("log", "verify", *arguments, "--json", home=NOWHERE)
    return result.exit_code, json.loads(result.stdout)


def test_an_export_is_judged_without_a_home_and_remembered(operator: Operator, out: Path, tmp_path: Path) -> None:
    written = operator.ask("log", "export", "--out", str(out), "--by", CANARY)
    entries = (out / "entries.jsonl").read_bytes().splitlines()
    assert written["entries"] == len(entries)
    assert json.loads(entries[-1])["kind"] == "export"
    assert "by" in json.loads(entries[-1])["commit"]
    memory = tmp_path / "head"
    first = operator.run("log", "verify", str(out), "--remember", str(memory), home=NOWHERE)
    assert (first.exit_code, "First trust" in first.stdout, "compared with nothing" in first.stdout) == (0, True, True)
    later = tmp_path / "later"
    operator.done("log", "export", "--out", str(later))
    again = operator.run("log", "verify", str(later), "--remember", str(memory), home=NOWHERE)
    assert (again.exit_code, f"Continues the log of {len(entries)} entries" in again.stdout) == (0, True)
    # the older export does not reach what is remembered now
    back = operator.run("log", "verify", str(out), "--remember", str(memory), home=NOWHERE)
    assert (back.exit_code, "remembered head" in back.stderr) == (3, True)


def test_the_fingerprint_that_was_read_out_ties_the_export_to_the_organisation(operator: Operator, out: Path) -> None:
    operator.done("log", "export", "--out", str(out))
    own = operator.ask("partner", "fingerprint")
    code, verdict = judged(operator, str(out), "--root", f"la-207={own['hex']}")
    assert code == 0
    assert verdict["trust"] == [{"org": "la-207", "root": own["hex"], "words": own["words"], "compared": True}]
    code, verdict = judged(operator, str(out), "--root", "la-207=sha256:" + "0" * 64)
    assert code == 3


def test_a_changed_entry_is_named_by_its_index(operator: Operator, out: Path) -> None:
    operator.done("log", "export", "--out", str(out))
    data = (out / "entries.jsonl").read_bytes()
    (out / "entries.jsonl").write_bytes(data.replace(b'"kind":"export"', b'"kind":"search"', 1))
    index = [b'"kind":"export"' in line for line in data.splitlines()].index(True)
    refused = operator.run("log", "verify", str(out), home=NOWHERE)
    assert refused.exit_code == 3
    assert f"index {index}, entries.jsonl: changed" in refused.stderr


def test_an_export_whose_keys_were_changed_is_a_fault_of_the_export(operator: Operator, out: Path) -> None:
    operator.done("log", "export", "--out", str(out))
    (out / "log.vkey").write_bytes((out / "log.vkey").read_bytes()[1:])
    refused = operator.run("log", "verify", str(out), home=NOWHERE)
    assert refused.exit_code == 3
    assert "index -1, log.vkey: " in refused.stderr
    code, told = judged(operator, str(out))
    assert code == 3
    assert [problem["column"] for problem in told["problems"]] == ["log.vkey"]
    (out / "log.vkey").unlink()
    assert operator.run("log", "verify", str(out), home=NOWHERE).exit_code == 3


def test_who_did_what_leaves_only_where_it_was_asked_for(operator: Operator, out: Path, tmp_path: Path) -> None:
    operator.done("log", "export", "--out", str(out), "--by", CANARY)
    assert all(CANARY.encode() not in path.read_bytes() for path in out.rglob("*") if path.is_file())
    open_ = tmp_path / "open"
    written = operator.ask("log", "export", "--out", str(open_), "--openings")
    assert written["openings"] >= 1
    assert CANARY.encode() in (open_ / "openings.jsonl").read_bytes()
    code, verdict = judged(operator, str(open_))
    assert (code, verdict["openings"]) == (0, written["openings"])
    outcome = json.loads((open_ / "entries.jsonl").read_bytes().splitlines()[-1])["outcome"]
    assert outcome == "with-openings"


def test_an_export_is_not_written_over_anything(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    before = operator.ask("log", "verify")["entries"]
    refused = operator.run("log", "export", "--out", str(tmp_path))
    assert (refused.exit_code, "not an empty folder" in refused.output) == (2, True)
    assert operator.ask("log", "verify")["entries"] == before


def test_files_of_an_export_are_for_their_owner_alone(operator: Operator, out: Path) -> None:
    operator.done("log", "export", "--out", str(out))
    assert out.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in out.rglob("*"))


@pytest.mark.parametrize("named", ["index", "leaf"])
def test_one_entry_is_proven_and_the_proof_stands_alone(
    operator: Operator, out: Path, tmp_path: Path, named: str
) -> None:
    operator.done("log", "export", "--out", str(out))
    proof = tmp_path / "entry.tlog-proof"
    by_index = operator.ask("log", "prove", "--index", "0", "--out", str(proof))
    value = {"index": "0", "leaf": by_index["leaf"]}[named]
    operator.done("log", "prove", f"--{named}", value, "--out", str(proof))
    told = operator.run("log", "verify", str(proof), "--policy", str(out / "policy"), home=NOWHERE)
    assert told.exit_code == 0
    assert (out / "entries.jsonl").read_text().splitlines()[0] in told.stdout
    proof.write_bytes(proof.read_bytes().replace(b"index 0", b"index 1"))
    refused = operator.run("log", "verify", str(proof), "--policy", str(out / "policy"), home=NOWHERE)
    assert (refused.exit_code, "proves nothing" in refused.stderr) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--index", "999999"), "log.no-entry"),
        (("--index", "one"), "argument.malformed"),
        (("--leaf", "00"), "argument.malformed"),
        (("--leaf", "00" * 32), "log.no-entry"),
        (("--message", "019bbd3c-8ac0-7abc-8def-0123456789ab"), "log.no-entry"),
    ],
)
def test_an_entry_that_is_not_there_is_not_proven(operator: Operator, arguments: tuple[str, ...], code: str) -> None:
    refused = operator.run("log", "prove", *arguments)
    assert (refused.exit_code, code in refused.output) == (4, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("log", "prove"),
        ("log", "prove", "--index", "0", "--leaf", "00" * 32),
        ("log", "prove", "--index", "0", "--kind", "search"),
        ("log", "verify", "--remember", "head"),
        ("log", "verify", "--root", "la-207=sha256:00"),
        ("log", "verify", "EXPORT/policy"),
        ("log", "verify", "EXPORT/entries.jsonl", "--policy", "EXPORT/entries.jsonl"),
        ("log", "verify", "EXPORT/checkpoints"),
        ("log", "verify", "EXPORT", "--remember", "EXPORT/policy"),
        ("log", "verify", "no-such-folder"),
    ],
)
def test_what_cannot_be_meant_is_a_fault_of_usage(operator: Operator, out: Path, arguments: tuple[str, ...]) -> None:
    operator.done("log", "export", "--out", str(out))
    result = operator.run(*(argument.replace("EXPORT", str(out)) for argument in arguments))
    assert result.exit_code == 2, result.output


def test_a_log_that_contradicts_the_signer_is_not_exported(operator: Operator, out: Path, tmp_path: Path) -> None:
    """The signer's memory is ahead of the database: the log went back in time."""
    home = tmp_path / "home"
    shutil.copytree(operator.home, home)
    operator.done("log", "export", "--out", str(out), home=home)
    memory = json.loads((home / "data" / "log-signer").read_text())
    memory |= {"size": 2**40, "frontier": "00" * 32}
    (home / "data" / "log-signer").write_text(json.dumps(memory))
    refused = operator.run("log", "export", "--out", str(tmp_path / "second"), home=home)
    assert refused.exit_code == 3
    assert not (tmp_path / "second").exists()
