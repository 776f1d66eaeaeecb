"""The registry of alarms holds every alarm that the code raises, and no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import gateway
from gateway.core.alarms import ALARMS, AlarmCode

SOURCE = Path(gateway.__file__).parent
RAISING = {"alarm", "tell"}  # `exchange.alarm(..)`, `exchange.tell(..)`, `seal.tell(..)`


def modules() -> Iterator[ast.Module]:
    for path in SOURCE.rglob("*.py"):
        if path.name != "alarms.py":
            yield ast.parse(path.read_text())


def texts() -> set[str]:
    return {
        node.value
        for module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def raised() -> set[str]:
    """What stands as the first argument where an alarm is raised, if it is a text."""
    return {
        call.args[0].value
        for module in modules()
        for call in ast.walk(module)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in RAISING
        if call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    }


def test_every_code_has_its_meaning_in_the_order_of_the_alphabet() -> None:
    assert list(ALARMS) == list(get_args(AlarmCode)) == sorted(ALARMS)


def test_whatever_is_raised_stands_in_the_registry() -> None:
    found = raised()
    assert len(found) > 20, "else this test looks at nothing"
    assert found <= set(ALARMS)


def test_what_stands_in_the_registry_is_raised_somewhere() -> None:
    assert set(ALARMS) <= texts()
