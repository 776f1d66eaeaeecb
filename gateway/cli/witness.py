"""`safehand witness`: a witness on a device of its own, for the data protection officer; it needs no gateway and no home."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli import options
from gateway.cli.output import show_json, show_pairs, show_table

if TYPE_CHECKING:
    from gateway.device import Device

_folder = click.Path(file_okay=False, path_type=Path)
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def witness() -> None:
    """A witness of your own: remembers what a log showed, and cosigns only what continues it."""


@witness.command()
@click.argument("folder", metavar="DIR", type=_folder)
@click.option("--name", required=True, help="The witness's name, such as dpo.hants.example/witness: no space, no plus.")
@options.passphrase_file
@options.as_json
def init(folder: Path, name: str, passphrase_file: Path | None, as_json: bool) -> None:
    """Make the key of a new witness in DIR, and print its public key for whoever relies on it."""
    from gateway.device import make_device

    options.check_text(name, "name")
    key = make_device(folder, name, options.passphrase(passphrase_file, "the witness", confirm=True))
    said = {"name": key.name, "key": key.vkey()}
    if as_json:
        show_json(said)
        return
    show_pairs(said)
    click.echo("In the gateway's config.toml, where this device can be reached:")
    click.echo(f'  [witnesses]\n  keys = ["{key.vkey()} https://.../witness/v1"]')


@witness.command()
@click.argument("folder", metavar="DIR", type=_folder)
@click.argument("vkey")
def add(folder: Path, vkey: str) -> None:
    """Pin a log by its key VKEY (from log.vkey of an export, or read out), or one more key of a log that is pinned."""
    from gateway.device import DeviceError, open_device
    from gateway.tlog.checkpoint import NoteKey
    from gateway.tlog.errors import NoteError

    try:
        key = NoteKey.from_vkey(vkey)
    except NoteError as error:
        raise DeviceError(f"the key of a log: {error}") from None
    with open_device(folder, None) as device:
        device.pin(key)
    click.echo(f"{key.name} is watched from now on.")


@witness.command("list")
@click.argument("folder", metavar="DIR", type=_folder)
@options.as_json
def list_(folder: Path, as_json: bool) -> None:
    """Show the logs that are pinned, and how many entries of each were seen."""
    from gateway.device import open_device

    with open_device(folder, None) as device:
        said = [
            {"origin": origin, "seen": log.seen.size, "root": log.seen.root.hex()}
            for origin, log in device.logs.items()
        ]
    show_json(said) if as_json else show_table(said, ("origin", "seen", "root"), empty="No log is pinned yet.")


@witness.command()
@click.argument("folder", metavar="DIR", type=_folder)
@click.argument("shown", metavar="EXPORT|NOTE", type=click.Path(exists=True, path_type=Path))
@options.passphrase_file
@options.as_json
def check(folder: Path, shown: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Hold an exported log, or one checkpoint, against what this witness saw last.

    An export that continues it is remembered and cosigned: give the line printed to the gateway's operator, or keep it. A
    note alone is compared where it is of the size seen last. Exit 3: the log shows another history than before.
    """
    from gateway.app import now_utc
    from gateway.device import open_device
    from gateway.tlog.checkpoint import NOTE_LIMIT

    passphrase = options.passphrase(passphrase_file, "the witness") if shown.is_dir() else None
    with open_device(folder, passphrase) as device:
        if shown.is_dir():
            checkpoint, line = device.vouch_for(_judged(device, shown), int(now_utc().timestamp()))
        else:
            with shown.open("rb") as file:
                checkpoint, line = device.compare(file.read(NOTE_LIMIT + 1)), None
    if as_json:
        show_json({"origin": checkpoint.origin, "size": checkpoint.size, "cosignature": line})
    elif line is None:
        click.echo(f"{checkpoint.origin}: the very log of {checkpoint.size} entries that was seen last.")
    else:
        click.echo(f"{checkpoint.origin}: {checkpoint.size} entries, continuing all that was seen before.")
        click.echo(line, nl=False)


@witness.command()
@click.argument("folder", metavar="DIR", type=_folder)
@click.option("--listen", default="127.0.0.1:8444", show_default=True, help="Address and port to listen on.")
@click.option("--certificate", type=_file, help="The certificate chain (PEM), with --key; else on loopback only.")
@click.option("--key", type=_file, help="Its private key (PEM).")
@options.passphrase_file
def serve(folder: Path, listen: str, certificate: Path | None, key: Path | None, passphrase_file: Path | None) -> None:
    """Answer gateways until Ctrl-C: over TLS, or without it on loopback behind a proxy that has it."""
    from gateway.device import open_device

    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) < 65_536:
        raise click.BadParameter("must be an address, a colon and a port", param_hint="'--listen'")
    if (certificate is None) is not (key is None):
        raise click.UsageError("--certificate and --key go together")
    if certificate is None and host not in ("127.0.0.1", "[::1]"):
        raise click.UsageError("without --certificate a witness listens on loopback only: 127.0.0.1 or [::1]")
    with open_device(folder, options.passphrase(passphrase_file, "the witness")) as device:
        asyncio.run(_serve(device, host.strip("[]"), int(port), certificate, key))


def _judged(device: Device, folder: Path) -> bytes:
    """The newest note of an export in which everything is in order, and which has what was seen before as its beginning."""
    from gateway.device import ContradictionError, DeviceError
    from gateway.evidence.files import CHECKPOINTS, VKEY, ExportFolder
    from gateway.evidence.verify import Brought, verify_export
    from gateway.tlog.checkpoint import NOTE_LIMIT, NoteKey
    from gateway.tlog.errors import NoteError

    export = ExportFolder(folder)
    try:
        origin = NoteKey.from_vkey(export.read(VKEY, NOTE_LIMIT).decode().partition("\n")[0]).name
    except (NoteError, UnicodeDecodeError) as error:
        raise DeviceError(f"{VKEY}: no key of a log") from error
    if origin not in device.logs:
        raise DeviceError("the export of a log that is not pinned here (safehand witness add)")
    numbers = [name.removesuffix(".note") for name in export.names(CHECKPOINTS)]
    newest = max((int(number) for number in numbers if number.isdecimal()), default=0)
    pinned = device.logs[origin]
    seen = {} if pinned.note is None or pinned.seen.size > newest else {"seen last": pinned.note}
    verdict = verify_export(folder, Brought(roots={}, policy=None, remembered=None, checkpoints=seen, receipts=()))
    if verdict.problems or verdict.head is None:
        for problem in verdict.problems:
            click.echo(f"index {problem.index}, {problem.column}: {problem.rule}", err=True)
        raise ContradictionError("this export is not in order, or does not continue what was seen before")
    return verdict.head.note


async def _serve(device: Device, host: str, port: int, certificate: Path | None, key: Path | None) -> None:
    import signal

    from aiohttp import web

    from gateway.app import now_utc
    from gateway.web.device import device_app
    from gateway.web.tls import server_context

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    context = None if certificate is None or key is None else server_context(certificate, key)
    runner = web.AppRunner(device_app(device, lambda: int(now_utc().timestamp())), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=context)
        await site.start()
        shown = runner.addresses[0]
        click.echo(f"witnessing as {device.key.name} at {shown[0]}, port {shown[1]}")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()
