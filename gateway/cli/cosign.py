"""`safehand log cosign`: the newest checkpoint signed and shown to the witnesses now, not when their time comes."""

from __future__ import annotations

import click

from gateway.cli import options
from gateway.cli.bridge import perform
from gateway.cli.output import show_json


@click.command()
@options.as_json
@click.pass_context
def cosign(context: click.Context, as_json: bool) -> None:
    """Sign the log as it stands and have every witness cosign it now: before maintenance, or when one is back."""
    said = perform(context, "log.cosign", {})
    if as_json:
        show_json(said)
        return
    for witness in said["witnesses"]:
        click.echo(f"{witness['id']} cosigned {witness['cosigned']} entries.")
    click.echo(f"{said['witnessed']} of {said['size']} entries are witnessed; {said['quorum']} witnesses are needed.")
