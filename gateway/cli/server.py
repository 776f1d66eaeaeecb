"""`safehand serve` runs the gateway; `safehand demo` tells the story of two of them."""

from __future__ import annotations

import asyncio
import sys

import click

from gateway.cli.bridge import fail
from gateway.home import Home


@click.command()
@click.pass_obj
def serve(home: Home) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    from gateway import app
    from gateway.config import Settings
    from gateway.web.problems import problem_of

    def ready(settings: Settings) -> None:
        click.echo(f"serving {settings.org} at {settings.public_url}")
        sys.stdout.flush()

    try:
        asyncio.run(app.serve(home, ready))
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        fail(problem.detail, problem.exit)


@click.command()
@click.option("--keep", is_flag=True, help="Keep both gateways running at the end, until Ctrl-C.")
def demo(keep: bool) -> None:
    """Two councils hand over a child's record on this machine: the whole story in two minutes."""
    from gateway.demo.story import tell

    sys.exit(tell(keep=keep))
