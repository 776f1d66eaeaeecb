"""`safehand protect`: children whose whereabouts, or former identity, must not leave. Any officer adds; two people take off."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import options
from gateway.cli.bridge import perform
from gateway.cli.output import show_json, show_pairs

_child = click.argument("child", type=click.File("rb", lazy=True))
_kind = click.option(
    "--kind",
    type=click.Choice(["location", "identity"]),
    required=True,
    help="location: nothing that shows where the child is. identity: also nothing that shows who the child was.",
)


@click.group()
def protect() -> None:
    """The protection list. What is kept are keyed tags, not names."""


@protect.command("add")
@_child
@_kind
@options.by_needed
@options.as_json
@click.pass_context
def protect_add(context: click.Context, child: Any, kind: str, by: str, as_json: bool) -> None:
    """List the child in the JSON file CHILD ({"child": {..}}; `-` reads standard input)."""
    said = perform(context, "protect.add", {"child": options.text_of(child.read(), "child"), "kind": kind, "by": by})
    show_json(said) if as_json else click.echo(f"Listed: {said['listed']} new tags.")


@protect.command("remove")
@_child
@_kind
@options.by_needed
@options.alone
@options.as_json
@click.pass_context
def protect_remove(context: click.Context, child: Any, kind: str, by: str, alone: bool, as_json: bool) -> None:
    """Take the child off the list; takes effect when a second person says the same."""
    arguments = {"child": options.text_of(child.read(), "child"), "kind": kind, "by": by, "alone": alone}
    said = perform(context, "protect.remove", arguments)
    if as_json:
        show_json(said)
    elif said["removed"] or said["confirmed"] > 1:
        click.echo(f"Taken off: {said['removed']} tags.")
    else:
        click.echo("Noted. A second person must say the same with --by and another name.")


@protect.command("list")
@options.as_json
@click.pass_context
def protect_list(context: click.Context, as_json: bool) -> None:
    """Show how many tags are listed, by kind: who they are cannot be told from them."""
    said = perform(context, "protect.list", {})
    show_json(said) if as_json else show_pairs(said)
