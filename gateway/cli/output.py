"""How commands speak: people get plain lines, programs get JSON with `--json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import orjson


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
