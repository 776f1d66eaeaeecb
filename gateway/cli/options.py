"""Options that several commands share, so that one word means one thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Answer as JSON, for programs.")
by: Decorator = click.option("--by", metavar="NAME", help="Who does this; goes into the log as a commitment.")
by_needed: Decorator = click.option(
    "--by",
    metavar="NAME",
    required=True,
    help="Who does this; an act that needs two people takes effect at the second name.",
)
alone: Decorator = click.option(
    "--single-person-demo", "alone", is_flag=True, help="One person is enough; that is written into the log."
)
passphrase_file: Decorator = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File (0600) with the passphrase; asked for where absent.",
)


def passphrase(file: Path | None, what: str, *, confirm: bool = False) -> bytes:
    """Return a passphrase from a private file, or ask for it; never from the environment or the command line."""
    from keys.sources.keystore import read_passphrase

    if file is not None:
        return read_passphrase(file)
    text: str = click.prompt(f"Passphrase of {what}", hide_input=True, confirmation_prompt=confirm)
    return text.encode()
