"""docs/agreement-format.md says what the code does: its examples are run, its lists compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from contracts.agreement import read_agreement, read_canonical_agreement
from contracts.breach import BreachCode
from contracts.cases import run_case
from contracts.compiled import compile_agreement
from contracts.events import Action, read_event
from contracts.facts import FACTS
from contracts.lifecycle import State, terms_of
from contracts.names import SERVICE_TYPES
from contracts.register import vocabulary

PAGE = (Path(__file__).parents[3] / "docs" / "agreement-format.md").read_text(encoding="utf-8")


def block(kind: str, number: int = 0) -> str:
    found: list[str] = re.findall(rf"```{kind}\n(.*?)\n```", PAGE, re.DOTALL)
    return found[number]


def table(heading: str) -> set[str]:
    """Return the code words of the first column of the table below a heading."""
    rows = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0].splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


EXAMPLE = read_agreement(block("toml").encode(), file="example")


def test_example_has_the_digest_printed_and_could_be_signed() -> None:
    assert f"`{EXAMPLE.digest}`" in PAGE
    assert terms_of(EXAMPLE).parties == ("la-207", "la-850")


def test_canonical_form_of_the_example_is_the_same_agreement() -> None:
    assert read_canonical_agreement(EXAMPLE.canonical, file="example") == EXAMPLE
    assert f"{len(EXAMPLE.canonical):,} bytes" in PAGE


def places(verdict: dict[str, Any]) -> set[tuple[str, str]]:
    return {(breach["code"], breach["path"]) for breach in verdict["breaches"]}


LINES = block("json").splitlines()


@pytest.mark.parametrize(("case", "verdict"), list(zip(LINES[::2], LINES[1::2], strict=True)))
def test_cases_get_the_verdict_printed(case: str, verdict: str) -> None:
    answer = run_case(case.encode(), {str(EXAMPLE.id): compile_agreement(EXAMPLE, vocabulary())})
    printed = json.loads(verdict)
    assert answer["allowed"] == printed["allowed"]
    assert places(answer) == places(printed)


def test_event_printed_is_in_wire_form() -> None:
    assert read_event(block("json", 1).encode()).action is Action.SIGN


def test_every_code_fact_state_action_and_reserved_type_is_on_the_page() -> None:
    assert table("5. What a check means") == {code.value for code in BreachCode}
    assert table("7. Conditions and facts") == set(FACTS)
    assert table("9. Lifecycle") == {state.value for state in State}
    assert {action for action in Action if f"`{action.value}`" not in PAGE.split("\n## 10. Events\n")[1]} == set()
    assert {name for name in SERVICE_TYPES if f"`{name}`" not in PAGE.split("\n## 11.")[1]} == set()


def test_every_field_type_of_the_vocabulary_is_on_the_page() -> None:
    def shape(kind: str) -> str:
        if kind.startswith("list:"):
            return "list:T:n"
        return re.sub(r":[0-9]+$", ":n", "code:S" if kind.startswith("code:") else kind)

    used = {shape(field.type.text) for field in vocabulary().fields.values()}
    assert used <= table("6. Field types")
