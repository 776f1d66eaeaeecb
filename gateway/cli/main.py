"""The command line `safehand`: translates what an operator types into acts, and answers in words or JSON.

The environment is read here and nowhere else: `SAFEHAND_HOME`.
"""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli import (
    agreement,
    backup,
    doctor,
    init,
    keys,
    log,
    message,
    partner,
    protect,
    server,
    service,
    token,
    webhook,
    witness,
)
from gateway.cli.ending import Commands
from gateway.home import Home


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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


for command in (
    init.init,
    init.root,
    keys.keys,
    server.serve,
    server.demo,
    partner.partner,
    agreement.agreement,
    message.send,
    message.inbox,
    message.message,
    message.status,
    protect.protect,
    service.service,
    service.breach,
    token.token,
    log.log,
    log.db,
    doctor.doctor,
    backup.backup,
    backup.restore,
    witness.witness,
    webhook.webhook,
):
    main.add_command(command)
