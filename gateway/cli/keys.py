"""`safehand keys`: request new keys, publish what the root has signed, look at what is in force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    from keys.keyset import KeySet, StoredKey


@click.group()
def keys() -> None:
    """Keys of this gateway, and the signed bundle that lists them."""


_out = click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where the request goes."
)
_ROLES = ("message-kem", "message-sign", "http", "log", "witness", "agreement-sign")


@keys.command()
@_out
@options.passphrase_file
@click.pass_context
def request(context: click.Context, out: Path, passphrase_file: Path | None) -> None:
    """Make the new keys that are needed and write an unsigned request for the root to sign.

    KEM seeds on or past their last day are destroyed.
    """
    made = _write_request(context, out, passphrase_file)
    click.echo(f"{made} new keys made; request written to {out}.")
    _next(context, out)


@keys.command()
@click.option(
    "--role",
    "roles",
    type=click.Choice(_ROLES),
    multiple=True,
    required=True,
    help="Whose keys; may stand several times.",
)
@_out
@options.passphrase_file
@click.pass_context
def rotate(context: click.Context, roles: tuple[str, ...], out: Path, passphrase_file: Path | None) -> None:
    """Replace the active keys of a role before their time: a request, as `keys request` writes it.

    For keys that may have become known to others: `keys revoke`. Nothing changes until the bundle is published. Then new
    signing keys sign at once, and what the old ones signed is read until they expire; a KEM key is sealed to for seven
    days from the request, so publish within four.
    """
    made = _write_request(context, out, passphrase_file, roles=roles)
    if not made:
        click.echo(
            "Nothing to replace: the active key retires within seven days by itself, or there is none.", err=True
        )
    click.echo(f"{made} new keys made; request written to {out}. The old keys stay in force until it is published.")
    _next(context, out)


@keys.command()
@click.argument("kids", metavar="KID...", nargs=-1, required=True)
@click.option("--reason", metavar="TEXT", required=True, help="Why; partners read it.")
@_out
@options.passphrase_file
@click.pass_context
def revoke(context: click.Context, kids: tuple[str, ...], reason: str, out: Path, passphrase_file: Path | None) -> None:
    """Write a request that revokes keys (see keys list) and replaces them.

    A request revokes nothing: the root must sign it, and partners believe a key until they have the bundle.
    """
    made = _write_request(context, out, passphrase_file, kids=kids, reason=reason)
    click.echo(f"{len(dict.fromkeys(kids))} keys to be revoked, {made} new keys made; request written to {out}.")
    click.echo("NOTHING IS REVOKED YET. It takes effect:")
    click.echo("  here       when the bundle is published: the key is used no more, a KEM seed is destroyed at once")
    click.echo(
        "  elsewhere  at each partner when it has the bundle: pushed at once, fetched daily; who has not fetched"
    )
    click.echo("             for 72 hours sends nothing more to us, but may go on believing what the key signs")
    click.echo("Until then: ring your partners, or suspend the agreements (agreement suspend).")
    _next(context, out)


def _write_request(
    context: click.Context,
    out: Path,
    passphrase_file: Path | None,
    *,
    roles: tuple[str, ...] = (),
    kids: tuple[str, ...] = (),
    reason: str = "",
) -> int:
    """Make what keys are needed, keep them, write the request; return how many there are."""
    from gateway.app import now_utc
    from keys.bundle import replay_history
    from keys.bundle_payload import Endpoints
    from keys.key import Ed25519Secret, MlDsa65Secret, XWingSecret
    from keys.listed import Role
    from keys.rotation import KeyMakers, plan_request

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
        revoke=_revocations(history[-1] if history else None, kids, reason, now),
        now=now,
        makers=KeyMakers(ed25519=Ed25519Secret.generate, ml_dsa_65=MlDsa65Secret.generate, x_wing=XWingSecret.generate),
        early=frozenset(Role(role) for role in roles),
    )
    passphrase = options.passphrase(passphrase_file, "the agreement keystore") if plan.agreement else None
    # The secrets are safe before the request leaves: a signed bundle never lists a key that nobody holds.
    for name, made, secret in (("gateway", plan.gateway, None), ("agreement", plan.agreement, passphrase)):
        if made:
            home.change_keystore(name, _with(made), secret)
    out.write_bytes(plan.request.to_bytes())
    return len(plan.gateway) + len(plan.agreement)


def _with(made: tuple[StoredKey, ...]) -> Callable[[KeySet], KeySet]:
    return lambda held: held.add(*made)


def _next(context: click.Context, out: Path) -> None:
    _tell_destroyed(perform(context, "keys.destroy", {})["destroyed"])
    click.echo(f"Next, where the root keystore is: safehand root sign {out.name} --root FILE --out bundle.jws")


@keys.command()
@click.argument(
    "bundles",
    metavar="BUNDLE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--keys-lost", is_flag=True, help="After a disaster: publish though private keys are lost; revoke them next."
)
@options.passphrase_file
@options.by
@options.as_json
@click.pass_context
def publish(
    context: click.Context,
    bundles: tuple[Path, ...],
    keys_lost: bool,
    passphrase_file: Path | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Put a signed BUNDLE in force: check that every private key is held, keep it, log it, tell partners.

    A root change has two, in the order of signing.
    """
    from gateway.app import now_utc

    home: Home = context.obj
    published = [bundle.read_bytes() for bundle in bundles]
    texts = [options.text_of(data, "bundle") for data in published]
    now = int(now_utc().timestamp())
    passphrase = options.passphrase(passphrase_file, "the agreement keystore")
    lost = [kid for data in published for kid in _not_held(home, data, passphrase, now)]
    if lost and not keys_lost:
        raise SubmissionRefusedError(
            "bundle.not-ours", "bundle", f"{len(lost)} of its keys are held by no keystore of this home"
        )
    said = [perform(context, "keys.publish", {"bundle": text, "by": by}) for text in texts][-1]
    destroyed = perform(context, "keys.destroy", {})["destroyed"]
    if as_json:
        show_json(said | {"destroyed": len(destroyed), "lost": lost})
    else:
        click.echo(f"Bundle {said['seq']} of {said['org']} is in force until {said['expires']}.")
        _tell_destroyed(destroyed)
        if lost:
            click.echo(f"These keys are lost. Next: safehand keys revoke {' '.join(lost)} --reason TEXT --out request")


def _revocations(newest: KeyBundle | None, kids: tuple[str, ...], reason: str, now: int) -> tuple[Revocation, ...]:
    """What is revoked from now on: keys that the newest bundle lists and that are not revoked yet."""
    from keys.bundle_payload import Revocation

    options.check_text(reason, "reason")
    known = {str(key.kid): key.kid for key in newest.keys if not newest.is_revoked(key.kid)} if newest else {}
    for kid in kids:
        if kid not in known:
            raise SubmissionRefusedError("key.unknown", "kid", "our newest bundle lists no such key, or it is revoked")
    return tuple(Revocation(kid=known[kid], since=now, reason=reason) for kid in dict.fromkeys(kids))


def _tell_destroyed(seeds: Sequence[str]) -> None:
    if seeds:
        click.echo(f"{len(seeds)} KEM seeds past their end destroyed: destroy their backups too.")


def _not_held(home: Home, data: bytes, passphrase: bytes, now: int) -> list[str]:
    """The keys that the bundle names, that have not ended, and whose private halves lie in neither keystore."""
    from keys.bundle_payload import BUNDLE_LIMIT, read_payload
    from keys.statement import read_statement

    held = {
        key.kid for key in (*home.keystore("gateway").load().keys, *home.keystore("agreement", passphrase).load().keys)
    }
    claimed = read_payload(read_statement(data, limit=BUNDLE_LIMIT).payload).content
    revoked = {entry.kid for entry in claimed.revoked}  # a revoked seed is destroyed, and its bundle is published again
    return [key.kid for key in claimed.keys if key.exp > now and key.kid not in held | revoked]


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
