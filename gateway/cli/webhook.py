"""`safehand webhook`: secrets for webhooks, and a trial of one. What receivers there are stands in config.toml alone."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli import options
from gateway.cli.output import show_json, show_pairs
from gateway.core.errors import SubmissionRefusedError
from gateway.home import Home

if TYPE_CHECKING:
    from gateway.webhooks import Told


@click.group()
def webhook() -> None:
    """Webhooks: who is told of events, as config.toml lists them."""


@webhook.command("secret")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="New file (0600).")
def make_secret(out: Path) -> None:
    """Make a secret in a new file; the receiver gets the same text another way. It is never printed."""
    from gateway.core.webhook import SECRET_SIZE, new_secret

    text = new_secret(secrets.token_bytes(SECRET_SIZE))
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text + b"\n")
    click.echo(f"Secret made in {out}. Name it as secret of a [[webhook]] table, and give it to the receiver.")


@webhook.command("test")
@click.argument("name")
@options.as_json
@click.pass_obj
def try_out(home: Home, name: str, as_json: bool) -> None:
    """Post a signed `ping` to the receiver NAME and tell what it answered. Exit 75 where it did not take it."""
    from gateway.web.problems import EXIT_TEMPORARY

    told = asyncio.run(_ping(home, name))
    taken = told.status is not None and 200 <= told.status < 300
    said = {"webhook": name, "taken": taken, "outcome": told.cause}
    show_json(said) if as_json else show_pairs(said)
    sys.exit(0 if taken else EXIT_TEMPORARY)


async def _ping(home: Home, name: str) -> Told:
    from gateway.app import now_utc, open_target
    from gateway.core.webhook import ping_post
    from gateway.entries import microseconds
    from gateway.webhooks import post_once

    settings = home.settings()
    for candidate in settings.webhooks:
        if candidate.name == name:
            async with open_target(home, settings, candidate) as target:
                now = now_utc()
                return await post_once(target, ping_post(secrets.token_bytes(16), microseconds(now)), now)
    raise SubmissionRefusedError("webhook.unknown", "name", f"no [[webhook]] table of {home.config.name} has this name")
