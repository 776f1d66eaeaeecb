"""The command line `safehand`: translates what an operator types into acts, and answers in words or JSON.

The environment is read here and nowhere else: `SAFEHAND_HOME`. A command's module is imported when it is asked for: beside
a running server the start of Python is most of what a command takes.
"""

from __future__ import annotations

from collections import UserDict
from importlib import import_module
from pathlib import Path

import click

from gateway.cli.ending import Commands, begin_logging
from gateway.home import Home

_MODULES = {
    "init": "init",
    "root": "init",
    "keys": "keys",
    "serve": "server",
    "demo": "server",
    "partner": "partner",
    "agreement": "agreement",
    "send": "message",
    "inbox": "message",
    "message": "message",
    "status": "message",
    "protect": "protect",
    "service": "service",
    "breach": "service",
    "token": "token",
    "log": "log",
    "db": "log",
    "doctor": "doctor",
    "backup": "backup",
    "restore": "backup",
    "witness": "witness",
    "webhook": "webhook",
}  # command -> the module of `gateway.cli` that has it under its own name
_BRIDGED = frozenset(
    {"message", "partner", "protect", "service", "token"}
)  # act through `bridge.perform` and log nothing


class _Commands(UserDict[str, "click.Command | str"]):
    """The commands by name; one that stands here as its module is imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        found = self.data[name]
        if isinstance(found, str):
            found = self.data[name] = getattr(import_module(f"gateway.cli.{found}"), name)
        return found


class _Outermost(Commands):
    """The outermost group, which knows its commands by name."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command; what does more than ask over the bridge can log."""
        if _MODULES.get(cmd_name) not in _BRIDGED:
            begin_logging(ctx)
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=_Outermost,
    commands=_Commands(_MODULES),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="SAFEHAND_HOME",
    default=Path("safehand-home"),
    show_default=True,
    help="The gateway's home directory (also SAFEHAND_HOME).",
)
@click.version_option(package_name="safehand")
@click.pass_context
def main(context: click.Context, home: Path) -> None:
    """Exchange records about children missing education, under agreements a machine enforces.

    Exit codes: 0 done, 1 a fault of ours, 2 usage or set-up, 3 integrity, 4 refused by policy, 75 temporary.
    """
    context.obj = Home(home)
