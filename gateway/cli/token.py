"""`safehand token`: what case systems show at the API; made here, shown once, ended here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from gateway.cli import options
from gateway.cli.bridge import perform
from gateway.cli.output import show_json, show_table

_SCOPES = ("send", "read", "open", "agreements", "protect")
_COLUMNS = ("id", "name", "role", "scopes", "state", "expires")


@click.group()
def token() -> None:
    """Tokens of case systems. What is kept is a digest: a lost token is revoked and made again."""


@token.command("create")
@click.option("--name", required=True, help="Which system it is for; never a person.")
@click.option(
    "--role",
    type=options.STAFF_ROLE,
    required=True,
    help="Staff role that it stands for: officer, duty, approver, dpo or admin. Written into the log.",
)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(_SCOPES),
    multiple=True,
    required=True,
    help="What it allows; may be given several times.",
)
@click.option(
    "--expires-days", type=click.IntRange(1, 400), default=365, show_default=True, help="Days that it is good for."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New file (0600) for the token; without it, it is printed.",
)
@options.by
@options.as_json
@click.pass_context
def token_create(
    context: click.Context,
    name: str,
    role: str,
    scopes: tuple[str, ...],
    expires_days: int,
    out: Path | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Make a token and show it, this once."""
    descriptor = None if out is None else os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    arguments = {"name": name, "role": role, "scopes": list(scopes), "expires_days": expires_days, "by": by}
    written = False
    try:
        said = perform(context, "token.create", arguments)
        if descriptor is not None:
            os.write(descriptor, said.pop("token").encode() + b"\n")
        written = True
    finally:
        if descriptor is not None and out is not None:
            os.close(descriptor)
            if not written:
                out.unlink()
    _show(said, out, as_json)


def _show(said: dict[str, Any], out: Path | None, as_json: bool) -> None:
    if as_json:
        show_json(said)
        return
    click.echo(f"Token {said['id']} expires on {said['expires'][:10]}.", err=True)
    click.echo(f"It is in {out}." if out is not None else said["token"], err=out is not None)


@token.command("list")
@options.as_json
@click.pass_context
def token_list(context: click.Context, as_json: bool) -> None:
    """Show what tokens there are, those revoked and expired too."""
    said = perform(context, "token.list", {})
    show_json(said) if as_json else show_table(said, _COLUMNS, empty="No token yet.")


@token.command("revoke")
@click.argument("id_", metavar="ID")
@options.by
@options.as_json
@click.pass_context
def token_revoke(context: click.Context, id_: str, by: str | None, as_json: bool) -> None:
    """End a token at once and for good."""
    said = perform(context, "token.revoke", {"id": id_, "by": by})
    show_json(said) if as_json else click.echo(f"Token {id_} is revoked.")
