"""`safehand log verify` checks the exchange log (`log erase` has its own module); `safehand db upgrade` brings the database to this version."""

from __future__ import annotations

import sys

import click

from gateway.cli import options
from gateway.cli.erase import erase
from gateway.cli.output import show_json
from gateway.home import Home


@click.group()
def log() -> None:
    """The exchange log."""


@log.command()
@options.as_json
@click.pass_obj
def verify(home: Home, as_json: bool) -> None:
    """Verify the live database: every entry, hash, node, checkpoint, mac and copied column. Exit 3 names index and column.

    It proves nothing against someone who can rebuild all of it: for that, compare with partners' receipts and witnesses.
    """
    import asyncio

    from gateway import auditing
    from gateway.web.problems import EXIT_INTEGRITY

    report = asyncio.run(auditing.verify_log(home))
    problems = [{"index": p.index, "column": p.column, "rule": p.rule} for p in report.problems]
    if as_json:
        show_json({"entries": report.entries, "problems": problems})
    elif problems:
        for problem in problems:
            click.echo(f"index {problem['index']}, {problem['column']}: {problem['rule']}", err=True)
        click.echo(f"safehand: {len(problems)} faults in {report.entries} entries", err=True)
    else:
        click.echo(f"{report.entries} entries, their tree and its checkpoints are as they were written.")
    sys.exit(EXIT_INTEGRITY if problems else 0)


log.add_command(erase)


def prepare_database(home: Home) -> None:
    """Make or upgrade the database, and begin its log: an empty log verifies too."""
    from gateway.store.log import begin_log
    from gateway.store.migrations import upgrade as migrate
    from gateway.store.sqlite import writer_engine

    migrate(home.database)
    engine = writer_engine(home.database)
    try:
        with engine.begin() as connection:
            begin_log(connection, home.settings().log_origin)
    finally:
        engine.dispose()


@click.group()
def db() -> None:
    """The database."""


@db.command()
@click.pass_obj
def upgrade(home: Home) -> None:
    """Bring the database to the revision of this program; the gateway must not be running."""
    with home.locked():
        prepare_database(home)
    click.echo("The database is at the newest revision.")
