"""`safehand keys`: request new keys, publish what the root has signed, look at what is in force."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli import options
from gateway.cli.bridge import fail, perform
from gateway.cli.output import show_json, show_table
from gateway.home import Home


@click.group()
def keys() -> None:
    """Keys of this gateway, and the signed bundle that lists them."""


@keys.command()
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where the request goes.")
@options.passphrase_file
@click.pass_context
def request(context: click.Context, out: Path, passphrase_file: Path | None) -> None:
    """Make the new keys that are needed and write an unsigned request for the root to sign."""
    from gateway.app import now_utc
    from keys.bundle import replay_history
    from keys.bundle_payload import Endpoints
    from keys.key import Ed25519Secret, MlDsa65Secret, XWingSecret
    from keys.rotation import KeyMakers, plan_request

    home: Home = context.obj
    settings = home.settings()
    listed = [text.encode() for text in perform(context, "keys.bundles", {})]
    history = replay_history(listed, org=settings.org) if listed else ()
    plan = plan_request(
        org=settings.org,
        name=settings.name,
        endpoints=Endpoints(exchange=settings.public_url, witness=None, police=None),
        origin=settings.log_origin,
        newest=history[-1] if history else None,
        revoke=(),
        now=int(now_utc().timestamp()),
        makers=KeyMakers(ed25519=Ed25519Secret.generate, ml_dsa_65=MlDsa65Secret.generate, x_wing=XWingSecret.generate),
    )
    passphrase = options.passphrase(passphrase_file, "the agreement keystore") if plan.agreement else None
    # The secrets are safe before the request leaves: a signed bundle never lists a key that nobody holds.
    for name, made, secret in (("gateway", plan.gateway, None), ("agreement", plan.agreement, passphrase)):
        if made:
            keystore = home.keystore(name, secret)
            keystore.replace(keystore.load().add(*made))
    out.write_bytes(plan.request.to_bytes())
    click.echo(f"{len(plan.gateway) + len(plan.agreement)} new keys made; request written to {out}.")
    click.echo(f"Next, where the root keystore is: safehand root sign {out.name} --root FILE --out bundle.jws")


@keys.command()
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.passphrase_file
@options.by
@options.as_json
@click.pass_context
def publish(context: click.Context, bundle: Path, passphrase_file: Path | None, by: str | None, as_json: bool) -> None:
    """Put a signed BUNDLE in force: check that every private key is held, keep it, log it, tell partners."""
    from contracts.errors import ContractError
    from keys.errors import KeysError

    home: Home = context.obj
    data = bundle.read_bytes()
    try:
        _check_held(home, data, options.passphrase(passphrase_file, "the agreement keystore"))
    except (KeysError, ContractError, LookupError, TypeError) as error:
        fail(f"not a key bundle that can be published: {error}", 4)
    said = perform(context, "keys.publish", {"bundle": data.decode("ascii", "replace"), "by": by}, as_json=as_json)
    if as_json:
        show_json(said)
    else:
        click.echo(f"Bundle {said['seq']} of {said['org']} is in force until {said['expires']}.")


def _check_held(home: Home, data: bytes, passphrase: bytes) -> None:
    """Every private key that the bundle names lies in one of the two keystores; else it must not be published."""
    held = {
        key.kid for key in (*home.keystore("gateway").load().keys, *home.keystore("agreement", passphrase).load().keys)
    }
    missing = [kid for kid in _listed(data) if kid not in held]
    if missing:
        fail(f"{len(missing)} keys of this bundle are held by no keystore of this home: it is not published", 4)


def _listed(data: bytes) -> list[str]:
    """The key ids that a bundle claims to list; whether it is a bundle at all is found where it is published."""
    from contracts.document import read_wire
    from keys.bundle_payload import BUNDLE_LIMIT
    from keys.statement import read_statement

    payload = read_wire(read_statement(data, limit=BUNDLE_LIMIT).payload, limit=BUNDLE_LIMIT)
    return [entry["jwk"]["kid"] for entry in payload["keys"]]


@keys.command("list")
@options.as_json
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """Show every key of the newest own bundle and its state now."""
    said = perform(context, "keys.list", {}, as_json=as_json)
    columns = ("role", "state", "active_from", "retires", "expires", "kid")
    show_json(said) if as_json else show_table(said, columns, empty="No bundle is published yet.")


@keys.command("bundle")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it here instead of printing it.")
@click.pass_context
def bundle_(context: click.Context, out: Path | None) -> None:
    """Print the newest own bundle as published, to give to a partner by another way."""
    bundles = perform(context, "keys.bundles", {})
    if not bundles:
        fail("no bundle is published yet", 4)
    if out is None:
        click.echo(bundles[-1])
    else:
        out.write_text(bundles[-1])
