"""Options that several commands share, so that one word means one thing; and how text from outside comes in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gateway.cli.ending import answer_in_json
from gateway.core.errors import SubmissionRefusedError
from gateway.core.roles import StaffRole

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class RoleName(click.ParamType[str]):
    """The role of a person who acts, in the grammar of the place where it will be written."""

    name = "role"

    def __init__(self, pattern: str, rule: str) -> None:
        self.pattern = re.compile(pattern)
        self._rule = rule

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the role; a wrong one is not repeated."""
        if not self.pattern.fullmatch(value):
            self.fail(self._rule, param, ctx)
        return str(value)


EVENT_ROLE = RoleName(  # `actor_role` of an agreement event
    r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?",
    "must be letters and digits, within it also spaces, dots, hyphens and underscores, 64 at most",
)
STAFF_ROLE = RoleName("|".join(StaffRole), f"must be one of {', '.join(StaffRole)}")  # who opens, or has a token

as_json: Decorator = click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=answer_in_json, help="Answer as JSON, for programs."
)
by: Decorator = click.option("--by", metavar="NAME", help="Who does this; goes into the log as a commitment.")
by_needed: Decorator = click.option(
    "--by",
    metavar="NAME",
    required=True,
    help="Who does this; an act that needs two people takes effect at the second name.",
)
by_one: Decorator = click.option(
    "--by", metavar="NAME", required=True, help="Who does this; goes into the log as a commitment."
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


def check_text(text: str, place: str, code: str = "argument.malformed") -> None:
    """Refuse what was no UTF-8 where it was typed: the system hands it over as lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise SubmissionRefusedError(code, place, "not UTF-8") from None


def text_of(data: bytes, place: str, code: str = "argument.malformed") -> str:
    """Return the text of a file's bytes; whatever is not UTF-8 is refused, never mangled."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SubmissionRefusedError(code, place, "not UTF-8") from None
