"""`safehand keys`: request new keys, publish what the root has signed, look at what is in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli import options
from gateway.cli.bridge import perform
from gateway.cli.output import show_json, show_table
from gateway.core.errors import SubmissionRefusedError
from gateway.home import Home

if TYPE_CHECKING:
    from keys.bundle import KeyBundle
    from keys.bundle_payload import Revocation


@click.group()
def keys() -> None:
    """Keys of this gateway, and the signed bundle that lists them."""


@keys.command()
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where the request goes.")
@click.option("--revoke", metavar="KID", multiple=True, help="A key that must not be trusted any more: see keys list.")
@click.option("--reason", metavar="TEXT", help="Why; partners read it.")
@options.passphrase_file
@click.pass_context
def request(
    context: click.Context, out: Path, revoke: tuple[str, ...], reason: str | None, passphrase_file: Path | None
) -> None:
    """Make the new keys that are needed and write an unsigned request for the root to sign.

    KEM seeds on or past their last day are destroyed.
    """
    from gateway.app import now_utc
    from keys.bundle import replay_history
    from keys.bundle_payload import Endpoints
    from keys.key import Ed25519Secret, MlDsa65Secret, XWingSecret
    from keys.rotation import KeyMakers, plan_request

    if bool(revoke) != (reason is not None):
        raise click.UsageError("--revoke and --reason go together")
    home: Home = context.obj
    settings, now = home.settings(), int(now_utc().timestamp())
    listed = [text.encode() for text in perform(context, "keys.bundles", {})]
    history = replay_history(listed, org=settings.org) if listed else ()
    plan = plan_request(
        org=settings.org,
        name=settings.name,
        endpoints=Endpoints(exchange=settings.public_url, witness=settings.public_url, police=None),
        origin=settings.log_origin,
        newest=history[-1] if history else None,
        revoke=_revocations(history[-1] if history else None, revoke, reason or "", now),
        now=now,
        makers=KeyMakers(ed25519=Ed25519Secret.generate, ml_dsa_65=MlDsa65Secret.generate, x_wing=XWingSecret.generate),
    )
    passphrase = options.passphrase(passphrase_file, "the agreement keystore") if plan.agreement else None
    # The secrets are safe before the request leaves: a signed bundle never lists a key that nobody holds.
    for name, made, secret in (("gateway", plan.gateway, None), ("agreement", plan.agreement, passphrase)):
        if made:
            keystore = home.keystore(name, secret)
            keystore.replace(keystore.load().add(*made))
    out.write_bytes(plan.request.to_bytes())
    destroyed = home.destroy_closed_kems(history, now)
    click.echo(f"{len(plan.gateway) + len(plan.agreement)} new keys made; request written to {out}.")
    _tell_destroyed(destroyed)
    click.echo(f"Next, where the root keystore is: safehand root sign {out.name} --root FILE --out bundle.jws")


@keys.command()
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.passphrase_file
@options.by
@options.as_json
@click.pass_context
def publish(context: click.Context, bundle: Path, passphrase_file: Path | None, by: str | None, as_json: bool) -> None:
    """Put a signed BUNDLE in force: check that every private key is held, keep it, log it, tell partners."""
    from gateway.app import now_utc
    from keys.bundle import replay_history

    home: Home = context.obj
    data = bundle.read_bytes()
    text = options.text_of(data, "bundle")
    now = int(now_utc().timestamp())
    _check_held(home, data, options.passphrase(passphrase_file, "the agreement keystore"), now)
    said = perform(context, "keys.publish", {"bundle": text, "by": by})
    listed = [text.encode() for text in perform(context, "keys.bundles", {})]
    history = replay_history(listed, org=said["org"])
    destroyed = home.destroy_closed_kems(history, now)
    if as_json:
        show_json(said | {"destroyed": destroyed})
    else:
        click.echo(f"Bundle {said['seq']} of {said['org']} is in force until {said['expires']}.")
        _tell_destroyed(destroyed)


def _revocations(newest: KeyBundle | None, kids: tuple[str, ...], reason: str, now: int) -> tuple[Revocation, ...]:
    """What is revoked from now on: keys that the newest bundle lists and that are not revoked yet."""
    from keys.bundle_payload import Revocation

    options.check_text(reason, "reason")
    known = {str(key.kid): key.kid for key in newest.keys if not newest.is_revoked(key.kid)} if newest else {}
    for kid in kids:
        if kid not in known:
            raise SubmissionRefusedError(
                "key.unknown", "revoke", "our newest bundle lists no such key, or it is revoked"
            )
    return tuple(Revocation(kid=known[kid], since=now, reason=reason) for kid in dict.fromkeys(kids))


def _tell_destroyed(seeds: int) -> None:
    if seeds:
        click.echo(f"{seeds} KEM seeds past their end destroyed: destroy their backups too.")


def _check_held(home: Home, data: bytes, passphrase: bytes, now: int) -> None:
    """Every private key that the bundle names, and that has not ended, lies in one of the two keystores; else it must
    not be published."""
    from keys.bundle_payload import BUNDLE_LIMIT, read_payload
    from keys.statement import read_statement

    held = {
        key.kid for key in (*home.keystore("gateway").load().keys, *home.keystore("agreement", passphrase).load().keys)
    }
    claimed = read_payload(read_statement(data, limit=BUNDLE_LIMIT).payload).content
    missing = [key.kid for key in claimed.keys if key.exp > now and key.kid not in held]
    if missing:
        raise SubmissionRefusedError(
            "bundle.not-ours", "bundle", f"{len(missing)} of its keys are held by no keystore of this home"
        )


@keys.command("list")
@options.as_json
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """Show every key of the newest own bundle and its state now."""
    said = perform(context, "keys.list", {})
    columns = ("role", "state", "active_from", "retires", "expires", "kid")
    show_json(said) if as_json else show_table(said, columns, empty="No bundle is published yet.")


@keys.command("bundle")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it here instead of printing it.")
@options.as_json
@click.pass_context
def bundle_(context: click.Context, out: Path | None, as_json: bool) -> None:
    """Print the newest own bundle as published, to give to a partner by another way. It is JSON in any case."""
    from gateway.app import NotReadyError

    bundles = perform(context, "keys.bundles", {})
    if not bundles:
        raise NotReadyError("no key bundle is published yet: safehand keys publish")
    if out is None:
        click.echo(bundles[-1])
    else:
        out.write_text(bundles[-1])
        if as_json:
            show_json({"out": str(out)})
