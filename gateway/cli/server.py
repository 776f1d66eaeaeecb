"""`safehand serve` runs the gateway; `safehand demo` tells the story of two of them."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys

import click

from gateway.cli.ending import inside
from gateway.home import Home, HomeError

_NOT_OURS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)  # addresses of another process, or of another machine


@click.command()
@click.pass_obj
def serve(home: Home) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    from gateway import serving
    from gateway.config import Settings

    def ready(settings: Settings) -> None:
        click.echo(f"serving {settings.org} at {settings.public_url}")
        sys.stdout.flush()

    try:
        asyncio.run(serving.serve(home, ready))
    except (OSError, ExceptionGroup) as caught:
        error = inside(caught)
        if not isinstance(error, OSError):
            raise
        if error.errno not in _NOT_OURS and not isinstance(error, socket.gaierror):
            raise
        host, port = home.settings().listen
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise HomeError(f"{home.config.name}: listen: cannot listen at {host}, port {port} ({why})") from error


@click.command()
@click.option("--keep", is_flag=True, help="Keep both gateways running at the end, until Ctrl-C.")
def demo(keep: bool) -> None:
    """Two councils hand over a child's record on this machine: the whole story in a few minutes."""
    from gateway.demo.telling import tell

    sys.exit(tell(keep=keep))
