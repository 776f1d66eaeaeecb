"""`safehand agreement check --cases`: worked examples in, one verdict a line out, in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contracts import library
from gateway.cli.main import main

BODY = {"case": {"reference": "C/1", "answer": "not-known-here"}}


def run(tmp_path: Path, *cases: dict[str, Any] | str, folder: Path | None = None) -> list[dict[str, Any]]:
    file = tmp_path / "cases.jsonl"
    file.write_text("".join((case if isinstance(case, str) else json.dumps(case)) + "\n" for case in cases))
    more = ["--agreements", str(folder)] if folder else []
    done = CliRunner().invoke(main, ["agreement", "check", "--cases", str(file), *more])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def case(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "agreement": "rbkc-hants-cme-transfer",
        "from": "b",
        "type": "cme.answer",
        "body": body,
        "facts": {"urgency": "routine"},
        "requested": None,
        "on": "2026-12-01",
    } | more


def test_answers_come_in_the_order_of_the_cases(tmp_path: Path) -> None:
    answers = run(tmp_path, case(BODY), case({"case": {"reference": "C/1"}}), case(BODY))
    assert [answer["allowed"] for answer in answers] == [True, False, True]
    assert [(b["code"], b["path"]) for b in answers[1]["breaches"]] == [("field.missing", "case.answer")]


def test_an_unknown_agreement_answers_none(tmp_path: Path) -> None:
    (answer,) = run(tmp_path, case(BODY, agreement="no-such-agreement"))
    assert [b["code"] for b in answer["breaches"]] == ["agreement.none"]


def test_a_folder_of_agreements_takes_the_place_of_the_library(tmp_path: Path) -> None:
    folder = tmp_path / "agreements"
    folder.mkdir()
    (folder / "one.toml").write_bytes(library.template_bytes("la-dwp.toml"))
    (answer,) = run(tmp_path, case(BODY), folder=folder)
    assert [b["code"] for b in answer["breaches"]] == ["agreement.none"]


@pytest.mark.parametrize("line", ["{", "[]", '{"agreement": 1}', '{"agreement":"x","agreement":"y"}', "NaN"])
def test_a_malformed_case_is_answered_and_does_not_end_the_run(tmp_path: Path, line: str) -> None:
    answers = run(tmp_path, line, case(BODY))
    assert [answer["allowed"] for answer in answers] == [False, True]


def test_a_file_that_is_no_agreement_is_named_with_key_and_rule(tmp_path: Path) -> None:
    folder = tmp_path / "agreements"
    folder.mkdir()
    text = library.template_bytes("la-dwp.toml").decode().replace('format = "isa/1"', 'format = "isa/1"\nsurprise = 1')
    (folder / "wrong.toml").write_text(text)
    file = tmp_path / "cases.jsonl"
    file.write_text("")
    done = CliRunner().invoke(main, ["agreement", "check", "--cases", str(file), "--agreements", str(folder)])
    assert done.exit_code == 4
    assert "wrong.toml" in done.output
    assert "surprise" in done.output
