"""Records for tests: valid values for every field type, whole bodies for a set of fields, and mutants of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from random import Random
from typing import Any

from contracts.register import vocabulary

SAMPLES: dict[str, Any] = {
    "name": "Testchild",
    "ref": "KC/2026/1",
    "path": "child.sex",
    "date": "2012-02-29",
    "yes-no": False,
    "count": 190,
    "upn": "B801200005001",
    "nhs-number": "9434765870",
    "uln": "9276308686",
    "postcode": "SO14 7AA",
    "phone": "+44 20 7946 0000",
    "email": "a.example@example.org",
    "nino": "QQ123456C",
}
WRONG: list[Any] = [
    None, "", " ", {}, [], 0, -1, 1.5, True, False, "x", "M", "F", "open", "\x00", "a\nb", "0" * 3, "0" * 6, "0" * 12,
    "2026-02-29", "2012-02-29", "9434765871", "B801200005001", "A801200005001", "x" * 2000, 10**20, 100_001, 100_000,
    [None], ["x"] * 7, ["HI"], [{}], {"x": 1}, "2006-8(1)(a)", "immediate-risk", "probation", "\U0001f600" * 70, "é" * 36,
]  # fmt: skip


def sample(type_text: str) -> Any:
    """Return a valid value of a field type."""
    kind, _, detail = type_text.partition(":")
    if kind == "list":
        return [sample(detail.rpartition(":")[0])]
    if kind == "code":
        return min(vocabulary().codes[detail])
    if kind in ("digits", "hex"):
        return "0" * int(detail)
    if kind in ("text", "code-free"):
        return "ab"[: int(detail)]
    return SAMPLES[kind]


def record(paths: Iterable[str], *, items: int = 1) -> dict[str, Any]:
    """Return a body with a valid value at each generic path, every list having `items` items."""
    body: dict[str, Any] = {}
    for path in paths:
        _put(body, path.split("."), sample(vocabulary().fields[path].type.text), items)
    return body


def _put(place: dict[str, Any], steps: list[str], value: Any, items: int) -> None:
    step, below = steps[0], steps[1:]
    if not below:
        place[step] = copy.deepcopy(value)
    elif step.endswith("[]"):
        for item in place.setdefault(step.removesuffix("[]"), [{} for _ in range(items)]):
            _put(item, below, value, items)
    else:
        _put(place.setdefault(step, {}), below, value, items)


def mutant(body: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return a copy of a body with one to three random changes anywhere in it."""
    changed = copy.deepcopy(body)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _change(random.choice(list(_objects(changed))), random)
    return changed


def _objects(value: Any) -> Iterable[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from _objects(member)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _change(place: dict[str, Any], random: Random) -> None:
    name = random.choice([*place, None, None])
    if name is None:
        path = random.choice(list(vocabulary().fields))
        added = random.choice([path.split(".")[0].removesuffix("[]"), path.split(".")[-1], "diary", "Robin Example"])
        place[added] = copy.deepcopy(
            random.choice([sample(vocabulary().fields[path].type.text), *random.sample(WRONG, 2)])
        )
    elif random.random() < 0.3:
        del place[name]
    elif isinstance(place[name], list) and random.random() < 0.6:
        place[name] = [copy.deepcopy(item) for item in place[name] * random.choice((0, 2, 3, 7))]
    else:
        place[name] = copy.deepcopy(random.choice(WRONG))
