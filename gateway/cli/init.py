"""`safehand init` makes a home; `safehand root` makes and uses the root keys, on a machine that is not the gateway's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from contracts.errors import ContractError
from contracts.names import is_organisation
from gateway.cli import options
from gateway.cli.log import prepare_database
from gateway.cli.output import show_json, show_pairs
from gateway.core.errors import SubmissionRefusedError
from gateway.home import Home

if TYPE_CHECKING:
    from keys.key import SigningPair
    from keys.keyset import KeySet


@click.command()
@click.option("--org", required=True, help="Organisation id, for example la-207.")
@click.option("--name", required=True, help="Name of the organisation.")
@click.option("--public-url", required=True, help="https address under which partners reach this gateway.")
@click.option("--listen", default="127.0.0.1:8443", show_default=True, help="Address and port to listen on.")
@click.option("--allow-private", multiple=True, metavar="NETWORK", help="Private partner address or network to allow.")
@click.option("--metrics-listen", metavar="ADDRESS", help="Where health and metrics are asked for [127.0.0.1:9464].")
@click.option("--ca-file", help="File with the certificate authorities of partners, relative to the home.")
@options.passphrase_file
@click.pass_obj
def init(
    home: Home,
    org: str,
    name: str,
    public_url: str,
    listen: str,
    allow_private: tuple[str, ...],
    ca_file: str | None,
    metrics_listen: str | None,
    passphrase_file: Path | None,
) -> None:
    """Make the home: configuration, keystores and an empty database.

    The passphrase is that of the agreement keystore, which is opened only to propose, sign and resume agreements.
    """
    from gateway.config import settings_from
    from gateway.home import create

    for place, text in (("name", name), ("ca-file", ca_file or "")):
        options.check_text(text, place)
    partners = {"allowed_private": list(allow_private)} | ({"ca_file": ca_file} if ca_file else {})
    metrics = {"metrics": {"listen": metrics_listen}} if metrics_listen else {}
    tables = {"org": org, "name": name, "public_url": public_url, "listen": listen, "partners": partners, **metrics}
    try:
        settings = settings_from(tables, file="init")
    except ContractError as error:
        raise click.UsageError(str(error)) from error
    create(home, settings, options.passphrase(passphrase_file, "the agreement keystore", confirm=True))
    prepare_database(home)
    click.echo(f"Home made for {settings.org} in {home.path}.")
    click.echo(f"Next: put the TLS certificate and key at {settings.tls_certificate} and {settings.tls_key},")
    click.echo("then: safehand keys request, safehand root sign (offline), safehand keys publish, safehand serve.")


@click.group()
def root() -> None:
    """Root keys: they sign key bundles, and stay offline."""


@root.command("init")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@options.passphrase_file
@click.option("--org", required=True, help="Organisation id whose root this is.")
@options.as_json
@click.pass_obj
def root_init(home: Home, file: Path, passphrase_file: Path | None, org: str, as_json: bool) -> None:
    """Make the root pair and the next root pair in FILE, which must not lie in a home."""
    from keys.fingerprint import fingerprint, to_text, to_words
    from keys.key import Ed25519Secret, MlDsa65Secret, VerifyingPair
    from keys.keyset import KeySet, StoredKey
    from keys.sources.keystore import KeystoreFile

    _refuse_inside(home, file)
    if not is_organisation(org):
        raise click.BadParameter("not an organisation id", param_hint="'--org'")
    made = {role: (Ed25519Secret.generate(), MlDsa65Secret.generate()) for role in ("root", "next-root")}
    keys = tuple(StoredKey(role, secret) for role, pair in made.items() for secret in pair)
    KeystoreFile(file, options.passphrase(passphrase_file, "the root keystore", confirm=True)).create(
        KeySet(keys=keys, secrets={})
    )
    value = fingerprint(org, VerifyingPair(made["root"][0].public, made["root"][1].public))
    said = {"org": org, "fingerprint": to_text(value), "words": " ".join(to_words(value))}
    show_json(said) if as_json else show_pairs(said)


@root.command("change")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The new root keystore.")
@options.passphrase_file
@click.pass_obj
def root_change(home: Home, file: Path, out: Path, passphrase_file: Path | None) -> None:
    """Begin a root change: the announced pair of FILE becomes the root pair of a new keystore, with a new next pair.

    Nothing changes for anyone until a bundle signed with the new keystore is published. Both keystores have the same
    passphrase. Keep FILE until then, and destroy it afterwards.
    """
    from keys.key import Ed25519Secret, MlDsa65Secret
    from keys.keyset import KeySet, StoredKey
    from keys.sources.keystore import KeystoreFile

    _refuse_inside(home, out)
    passphrase = options.passphrase(passphrase_file, "the root keystore")
    held = KeystoreFile(file, passphrase).load()
    pairs = {_OLD_ROOT: _pair(held, "root").signers, "root": _pair(held, "next-root").signers}
    pairs["next-root"] = (Ed25519Secret.generate(), MlDsa65Secret.generate())
    keys = tuple(StoredKey(role, secret) for role, pair in pairs.items() for secret in pair)
    KeystoreFile(out, passphrase).create(KeySet(keys=keys, secrets={}))
    click.echo(
        f"Next: safehand keys request on the gateway, then: safehand root sign REQUEST --root {out.name} --out .."
    )
    click.echo(f"Keep {file.name} until the bundles are published; then destroy it and its copies.")


@root.command("sign")
@click.argument("request", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--root", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where the bundle goes.")
@click.option("--yes", is_flag=True, help="Do not ask after showing the request.")
@options.passphrase_file
@click.pass_obj
def root_sign(home: Home, request: Path, file: Path, out: Path, yes: bool, passphrase_file: Path | None) -> None:
    """Show an unsigned REQUEST, add the root keys, sign it as a key bundle.

    The first bundle signed with a keystore of `root change` hands over: it has four signatures, and the same content
    follows in a second bundle with two. Both are published, in this order.
    """
    from gateway.summaries import moment
    from keys.bundle import issue_bundle, reissue_request
    from keys.bundle_payload import UnsignedBundle
    from keys.sources.keystore import KeystoreFile

    _refuse_inside(home, file)
    unsigned = UnsignedBundle.from_bytes(request.read_bytes())
    keystore = KeystoreFile(file, options.passphrase(passphrase_file, "the root keystore"))
    held = keystore.load()
    handing_over = any(key.role == _OLD_ROOT for key in held.keys)
    click.echo(f"{unsigned.org} ({unsigned.name}), bundle {unsigned.seq}, expires {moment(unsigned.exp)}:")
    for key in unsigned.keys:
        click.echo(f"  {key.role.value:<15} {key.kid}  {moment(key.nbf)} to {moment(key.exp)}")
    for entry in unsigned.revoked:
        click.echo(f"  revoked         {entry.kid}  from {moment(entry.since)}")
    roots, next_roots = _pair(held, "root"), _pair(held, "next-root")
    if handing_over:
        click.echo(f"THE ROOT CHANGES. The fingerprint will be: {_words(unsigned.org, roots)}")
    if not yes:
        click.confirm("Sign this bundle?", abort=True)
    old_roots = _pair(held, _OLD_ROOT) if handing_over else None
    bundle = issue_bundle(unsigned, roots, next_roots.kids, old_roots=old_roots)
    out.write_bytes(bundle)
    if not handing_over:
        click.echo(f"Signed: {out}. On the gateway: safehand keys publish {out.name}")
        return
    second = out.with_name(f"{out.stem}-2{out.suffix}")
    second.write_bytes(issue_bundle(reissue_request(unsigned, bundle), roots, next_roots.kids))
    # From here on two signatures are right; what hands over once more is the old keystore, which is kept until then.
    keystore.replace(held.destroy(*(key.kid for key in held.keys if key.role == _OLD_ROOT)))
    click.echo(f"Signed: {out} and {second}. On the gateway: safehand keys publish {out.name} {second.name}")


_OLD_ROOT = "old-root"  # in a keystore of `root change`, until it has signed


def _words(org: str, roots: SigningPair) -> str:
    from keys.fingerprint import fingerprint, to_words

    return " ".join(to_words(fingerprint(org, roots.public)))


def _pair(held: KeySet, role: str) -> SigningPair:
    from keys.key import Ed25519Secret, MlDsa65Secret, SigningPair

    secrets = [key.secret for key in held.keys if key.role == role]
    if len(secrets) != 2 or not isinstance(secrets[0], Ed25519Secret) or not isinstance(secrets[1], MlDsa65Secret):
        raise SubmissionRefusedError("keystore.role", "root", f"the keystore holds no {role} pair")
    return SigningPair(secrets[0], secrets[1])


def _refuse_inside(home: Home, file: Path) -> None:
    if home.path.exists() and file.resolve().is_relative_to(home.path.resolve()):
        raise click.UsageError("root keys never lie in a gateway's home: choose a file on another machine or medium")
