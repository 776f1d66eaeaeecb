"""`safehand doctor`: everything that can be wrong with this gateway, in words, and how to mend it."""

from __future__ import annotations

import dataclasses
import sys

import click

from gateway.cli import options
from gateway.cli.bridge import over_socket
from gateway.cli.output import show_json
from gateway.home import Home


@click.command()
@options.as_json
@click.pass_obj
def doctor(home: Home, as_json: bool) -> None:
    """Look at everything that can be wrong, and say how to mend it: beside a running server or alone.

    Ends with 0 where nothing is wrong (warnings may stand), 3 where something is not what was written, else 2.
    """
    from gateway.doctor import examine
    from gateway.examining import gather

    found = examine(gather(home, lambda: over_socket(home.socket, "doctor", {})))
    wrong = [finding for finding in found if finding.level == "wrong"]
    warnings = sum(finding.level == "warning" for finding in found)
    if as_json:
        findings = [dataclasses.asdict(finding) for finding in found]
        show_json({"wrong": len(wrong), "warnings": warnings, "findings": findings})
    else:
        for finding in found:
            click.echo(f"{finding.level:<8} {finding.code:<24} {finding.words}")
            if finding.mend:
                click.echo(f"{'':<8} {'':<24} -> {finding.mend}")
        click.echo(f"{len(wrong)} wrong, {warnings} to look at.")
    sys.exit(_ending(integrity=any(finding.integrity for finding in wrong), wrong=bool(wrong)))


def _ending(*, integrity: bool, wrong: bool) -> int:
    from gateway.web.problems import EXIT_INTEGRITY, EXIT_USAGE

    if integrity:
        return EXIT_INTEGRITY
    return EXIT_USAGE if wrong else 0
