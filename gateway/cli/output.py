"""How commands speak: people get plain lines, programs get JSON with `--json`, and errors go to standard error.

Exit codes: 0 done, 1 a fault of ours, 2 usage, 3 integrity, 4 refused by policy, 75 temporary (try again).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import click
import orjson

EXIT_FAULT = 1


def show_json(value: Any) -> None:
    """Print a value as JSON, indented, for programs."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def show_pairs(pairs: Mapping[str, Any]) -> None:
    """Print named values, one a line, names in one column."""
    width = max((len(name) for name in pairs), default=0)
    for name, value in pairs.items():
        click.echo(f"{name:<{width}}  {plain(value)}")


def show_table(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], *, empty: str) -> None:
    """Print rows under their column names; `empty` where there are none."""
    names = list(columns)
    if not rows:
        click.echo(empty)
        return
    cells = [[plain(row.get(name, "")) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    click.echo("  ".join(name.upper().ljust(width) for name, width in zip(names, widths, strict=True)).rstrip())
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def plain(value: Any) -> str:
    match value:
        case True:
            return "yes"
        case False:
            return "no"
        case None:
            return "-"
        case list() | tuple():
            return ", ".join(plain(item) for item in value) or "-"
        case dict():
            return ", ".join(f"{name} {plain(item)}" for name, item in value.items()) or "-"
        case _:
            return str(value)


def leave(problem: Mapping[str, Any], *, as_json: bool) -> NoReturn:
    """End with a problem's exit code, its breaches named one a line."""
    if as_json:
        show_json(problem)
    else:
        click.echo(f"safehand: {problem['title']}: {problem['detail']} [{problem['code']}]", err=True)
        for breach in problem["breaches"]:
            click.echo(f"  {breach['code']:<28} {breach['path'] or '(whole message)':<40} {breach['rule']}", err=True)
    sys.exit(int(problem["exit"]))
