"""`safehand backup` copies a home while it is in use; `safehand restore` makes a new home of a backup."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli import options
from gateway.cli.output import show_json
from gateway.home import Home

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--out", required=True, type=_FOLDER, help="Folder to make.")
@click.option("--with-secrets", is_flag=True, help="The keystores too, under a passphrase of the backup's own.")
@options.passphrase_file
@options.as_json
@click.pass_obj
def backup(home: Home, out: Path, with_secrets: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Copy database, configuration and the log signer's memory to a new folder, beside a running gateway or alone.

    Contents are encrypted there as in the database. Without --with-secrets there is no key in it; with it, the KEM seeds
    in it must be destroyed in time: the date is told.
    """
    import asyncio

    from gateway import backups
    from gateway.app import now_utc
    from gateway.summaries import moment

    if passphrase_file is not None and not with_secrets:
        raise click.UsageError("--passphrase-file goes with --with-secrets")
    secrets = None
    if with_secrets:
        passphrase = options.passphrase(passphrase_file, "the backup", confirm=True)
        secrets = backups.Secrets(passphrase=passphrase, ends=asyncio.run(backups.kem_ends(home)))
    made = backups.back_up(home, out, int(now_utc().timestamp()), secrets)
    destroy_by = None if made.destroy_by is None else moment(made.destroy_by)
    if as_json:
        show_json({"out": str(out), "log": {"size": made.log.size, "root": made.log.root}, "destroy_by": destroy_by})
        return
    click.echo(f"{out}: the exchange log up to {made.log.size} entries; every file was read again and is as written.")
    if with_secrets:
        click.echo("It holds keystores. The TLS key is not in it.")
    if destroy_by is not None:
        click.echo(f"DESTROY IT BY {destroy_by}: a KEM seed in it ends then, and must not outlive that day anywhere.")


@click.command()
@click.argument("folder", metavar="FROM", type=_FOLDER)
@click.option("--secrets", type=_FOLDER, help="The backup that holds the keystores, where FROM does not.")
@click.option(
    "--signer",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="data/log-signer of the lost home, where it survived.",
)
@options.passphrase_file
@options.as_json
@click.pass_obj
def restore(
    home: Home, folder: Path, secrets: Path | None, signer: Path | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Make the home (--home DIR, new or empty) of the backup in FROM.

    Refused where the log's signer has seen more than the backup holds: the log would be forked.
    """
    from gateway import backups
    from gateway.summaries import moment

    manifest = backups.read_manifest(folder)
    has_secrets = secrets is not None or any(file.path.startswith("secrets/") for file in manifest.files)
    passphrase = options.passphrase(passphrase_file, "the backup") if has_secrets else None
    recovery = backups.Recovery(folder=folder, secrets=secrets, passphrase=passphrase, signer=signer)
    made = backups.restore(recovery, home)
    if as_json:
        show_json({"home": str(home.path), "created": moment(made.created), "log": made.log.size})
        return
    for line in _ADVICE.format(home=home.path, created=moment(made.created), size=made.log.size).splitlines():
        click.echo(line)
    if not has_secrets:
        click.echo(f"NO KEYSTORES were in the backup: put yours into {home.path / 'secrets'} first.")


_ADVICE = """\
Restored to {home}: the gateway as it was at {created}, its log at {size} entries. THIS IS NOT WHERE IT WAS LOST:
- The log may be behind what partners and witnesses hold. Start it only if the lost gateway is gone for good: two would fork it.
- What partners delivered since then is lost here and held by them as delivered: ask them, and their daily statements.
- What was sent since then is unknown here. What was waiting then is sent again; partners answer it as a repeat, with
  the receipts of the first time.
- Children put on the protection list since then are NOT on it: enter them again before `serve` (safehand protect add).
- Key bundles published since then: publish them again, from the files that the root signed (safehand keys publish).
- What was ended since then is back. EVERY SERVICE TOKEN is revoked at the first start, because nobody can tell which were:
  make new ones then (safehand token create), and give them to your case systems.
- Openings and search tags erased since then, and contents destroyed since, are here again: erase and destroy them again
  by your own records (safehand log erase, inbox destroy).
Next: put the TLS certificate and key in place, then: safehand log verify, protect add, serve."""
