"""`safehand partner`: the organisations this gateway exchanges with, and the comparison that makes them trusted."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import options
from gateway.cli.bridge import perform
from gateway.cli.output import show_json, show_pairs, show_table


@click.group()
def partner() -> None:
    """Partners and their fingerprints."""


@partner.command()
@click.argument("org")
@click.argument("url", required=False)
@click.option(
    "--bundle",
    type=click.File("rb", lazy=True),
    help="Its newest bundle as it came another way, instead of fetching from URL.",
)
@click.option("--name", help="Name to show; else the one in its bundle.")
@click.option("--duty-number", required=True, help="Telephone of its duty officer, rung when something urgent is late.")
@options.by
@options.as_json
@click.pass_context
def add(
    context: click.Context,
    org: str,
    url: str | None,
    bundle: Any,
    name: str | None,
    duty_number: str,
    by: str | None,
    as_json: bool,
) -> None:
    """Fetch the key bundles of ORG from its exchange URL. It stays unverified: nothing is exchanged yet."""
    text = None if bundle is None else options.text_of(bundle.read(), "bundle").strip()
    arguments = {"org": org, "url": url, "bundle": text, "name": name, "duty_number": duty_number, "by": by}
    said = perform(context, "partner.add", arguments)
    if as_json:
        show_json(said)
    else:
        click.echo(f"{said['name']} is held, unverified. Ring a number from a known source, ask for the words of")
        click.echo(f"its fingerprint, and type what you hear: safehand partner verify {org} --words '...' --by NAME")


@partner.command("list")
@options.as_json
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """Show every partner."""
    said = perform(context, "partner.list", {})
    columns = ("org", "name", "verified", "url", "duty_number", "bundle_expires")
    show_json(said) if as_json else show_table(said, columns, empty="No partner yet.")


@partner.command()
@click.argument("org", required=False)
@options.as_json
@click.pass_context
def fingerprint(context: click.Context, org: str | None, as_json: bool) -> None:
    """Show the fingerprint of ORG's root keys; without ORG our own, to be read out to a partner."""
    said = perform(context, "partner.fingerprint", {"org": org})
    show_json(said) if as_json else show_pairs(said)


@partner.command()
@click.argument("org")
@click.option("--words", required=True, help="The twelve words heard on the telephone.")
@options.by_needed
@options.alone
@options.as_json
@click.pass_context
def verify(context: click.Context, org: str, words: str, by: str, alone: bool, as_json: bool) -> None:
    """Compare the words heard with ORG's fingerprint; takes effect when a second person did the same."""
    said = perform(context, "partner.verify", {"org": org, "words": words, "by": by, "alone": alone})
    if as_json:
        show_json(said)
    elif said["verified"]:
        click.echo(f"{said['name']} is verified. Its duty number: {said['duty_number']}.")
    else:
        click.echo(f"The words are right; the duty number held is {said['duty_number']}.")
        click.echo("A second person must confirm with --by and another name.")


@partner.command()
@click.argument("org")
@click.option("--duty-number", help="Telephone of its duty officer from now on.")
@click.option("--name", help="Name to show from now on.")
@options.by_needed
@options.alone
@options.as_json
@click.pass_context
def change(
    context: click.Context, org: str, duty_number: str | None, name: str | None, by: str, alone: bool, as_json: bool
) -> None:
    """Change ORG's duty number, or the name shown; for a verified partner when a second person said the same."""
    arguments = {"org": org, "duty_number": duty_number, "name": name, "by": by, "alone": alone}
    said = perform(context, "partner.change", arguments)
    if as_json:
        show_json(said)
    elif (said["duty_number"], said["name"]) == (duty_number or said["duty_number"], name or said["name"]):
        click.echo(f"{said['name']}: {said['duty_number']}.")
    else:
        click.echo("Noted. A second person must say the same with --by and another name.")


@partner.command()
@click.argument("org")
@options.as_json
@click.pass_context
def retry(context: click.Context, org: str, as_json: bool) -> None:
    """Try now what waits for ORG, whose gateway you know to be back: by itself a wait can last six hours."""
    said = perform(context, "partner.retry", {"org": org})
    show_json(said) if as_json else click.echo(f"{said['tried']} that waited for {said['org']} are tried now.")
