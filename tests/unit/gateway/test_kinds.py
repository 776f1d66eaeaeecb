"""Every kind of entry that the code writes is in the one table, and has no member that the table does not give it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import UNSET, structs

from contracts.events import Action
from gateway import inbound, protection
from gateway.clock import ClockWatch, watch
from gateway.core.kinds import KINDS, table
from gateway.core.lifecycle import ReceiptEvent, after_receipt
from gateway.core.receipt import ENTRY_KINDS
from gateway.tlog.entry import Entry, parse
from tests.support.exchange import Town, make_town
from tests.support.messages import make_body, submission

SOURCE = Path(__file__).resolve().parents[3] / "gateway"
MAKERS = {"about_own", "about_message"}


def texts(node: ast.expr, names: dict[str, list[ast.expr]]) -> Iterator[str]:
    """The texts that an expression can be; a name is followed to what the module assigns to it."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*texts(body, names), *texts(orelse, names))
        case ast.Name(id=name):
            for assigned in names.get(name, []):
                yield from texts(assigned, {})


def written(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    names: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                names.setdefault(name, []).append(value)
            case ast.Assign(
                targets=[ast.Tuple(elts=targets)], value=ast.IfExp(body=ast.Tuple() as one, orelse=ast.Tuple() as two)
            ):
                for place, target in enumerate(targets):
                    if isinstance(target, ast.Name):
                        names.setdefault(target.id, []).extend((one.elts[place], two.elts[place]))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                names.setdefault(name, []).append(value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            made = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if made in MAKERS and len(node.args) > 1:
                yield from texts(node.args[1], names)
            yield from (
                text
                for word in node.keywords
                if word.arg == "kind"
                for text in texts(word.value, names)
                if made == "_Told"
            )


def test_every_kind_that_the_code_names_is_in_the_table() -> None:
    named = {kind for path in SOURCE.rglob("*.py") for kind in written(path)}
    assert {"submitted", "received", "partner-added", "protection-removed", "row-refused", "clock-step"} <= named
    assert named <= KINDS.keys()


def test_every_kind_that_the_code_makes_of_a_state_or_an_action_is_in_the_table() -> None:
    states = {state.value for event in ReceiptEvent for state in after_receipt_states(event)}
    made = {f"agreement-{action.value}" for action in Action} | set(ENTRY_KINDS.values()) | states
    assert made | {"dead-lettered", "expired", "held", "resent", "cancelled"} <= KINDS.keys()


def after_receipt_states(event: ReceiptEvent) -> Iterator[object]:
    from gateway.core.lifecycle import State

    yield from after_receipt(State.SENDING, event)


def test_the_table_is_written_out_whole() -> None:
    assert table().count("\n") == len(KINDS) + 2
    assert all(f"| `{kind}` |" in table() for kind in KINDS)


def members(entry: Entry) -> set[str]:
    return {name for name, value in structs.asdict(entry).items() if value is not UNSET}


@pytest.fixture
async def town() -> Town:
    """Two councils through every line of the story that makes entries of its own."""
    town = make_town()
    await town.sign_agreement()
    answer = await submission(town.a.exchange)
    await town.a.run()
    await inbound.take(answer["id"], town.b.exchange, by="A Person")
    await inbound.open_by(answer["id"], "officer", town.b.exchange, by="A Person")
    await town.b.run()
    await protection.add(make_body(), frozenset({"location"}), town.a.exchange, by="A Person")
    await protection.remove(make_body(), frozenset({"location"}), town.a.exchange, by="A Person", alone=False)
    await protection.remove(make_body(), frozenset({"location"}), town.a.exchange, by="Another", alone=False)
    walls = ClockWatch(town.clock(), lambda: 0.0)
    town.clock.forward(hours=1)
    await watch(walls, town.a.exchange)
    for action in (Action.SUSPEND, Action.RESUME, Action.TERMINATE):
        await town.act(town.a, action)
    return town


async def test_no_entry_has_a_member_that_the_table_does_not_give_its_kind(town: Town) -> None:
    seen = set()
    for gateway in (town.a, town.b):
        for logged in gateway.memory.log:
            if logged.data == b"{}":
                continue
            entry = parse(logged.data)
            kind = KINDS[entry.kind]
            assert members(entry) <= kind.allowed, entry.kind
            assert set(entry.commit or {}) <= kind.commits, entry.kind
            seen.add(entry.kind)
    assert {"submitted", "delivered", "received", "handed-over", "collected", "approval", "clock-step"} <= seen


def test_the_page_on_the_log_shows_the_table() -> None:
    assert table() in (SOURCE.parent / "docs" / "log.md").read_text(encoding="utf-8")
