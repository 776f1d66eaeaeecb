"""`safehand log erase`: what can be erased of an entry of the exchange log; the entry and every proof stay."""

from __future__ import annotations

import click

from gateway.cli import options
from gateway.cli.bridge import perform
from gateway.cli.output import show_json
from gateway.core.erasure import REASONS


@click.command()
@click.option("--index", type=click.IntRange(min=0), help="The one entry at this index.")
@click.option("--message", metavar="ID", help="Every entry about this message.")
@click.option("--reason", type=click.Choice(REASONS), required=True, help="Why; stands in the log for ever.")
@click.option("--by", metavar="NAME", required=True, help="Who does this; goes into the log as a commitment.")
@options.as_json
@click.pass_context
def erase(context: click.Context, index: int | None, message: str | None, reason: str, by: str, as_json: bool) -> None:
    """Erase who acted and by which child's tags an entry is found; give --index or --message. This cannot be undone.

    What an entry says of rows that decide (partners, agreements, protection) stays: they are compared with it.
    """
    if (index is None) is (message is None):
        raise click.UsageError("either --index or --message")
    what = {"message": message} if index is None else {"index": str(index)}
    said = perform(context, "log.erase", {**what, "reason": reason, "by": by})
    show_json(said) if as_json else click.echo(f"Erased of {said['entries']} entries.")
