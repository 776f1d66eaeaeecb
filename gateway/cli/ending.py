"""How every command ends: with its answer, or with a sentence that names the rule, and an exit code of `web.problems`.

The command line's outermost place. A refusal goes to standard error, or with `--json` as a problem to standard output; a
bug is told by its type and its place in the code, for its text can hold a value. Nothing ends in a traceback.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from gateway.cli.output import show_json
from gateway.cli.usage import without_values

if TYPE_CHECKING:
    from gateway.web.problems import Problem

_OURS = ("contracts", "keys", "adapters", "gateway")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # told where a file is written, which names no file
_JSON = "safehand.json"  # in the meta of the context, which all commands of one call share
_PROCESS = "safehand.process"  # there too, until logging is set up: this call is a process of its own


def answer_in_json(context: click.Context, _: click.Parameter, wanted: bool) -> bool:
    """Callback of `--json`: refusals are JSON too, wherever they come from."""
    context.meta[_JSON] = context.meta.get(_JSON, False) or wanted
    return wanted


def begin_logging(context: click.Context) -> None:
    """Before anything that can log: what is logged goes to standard error, for standard output is the answer's."""
    if context.meta.pop(_PROCESS, False):
        from gateway.watch import configure_logging

        configure_logging()


def inside(error: Exception) -> Exception:
    """What a group of tasks that ended for one reason ended for."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class Commands(click.Group):
    """The outermost group: whatever a command raises is turned into its ending here."""

    process = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run as a process of its own, whose logging is set up by `begin_logging`.

        Who calls `main` instead, as tests do, keeps the logging that is there.
        """
        self.process = True
        return self.main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options that stand before the command."""
        try:
            context = super().make_context(*args, **kwargs)
        except click.ClickException as error:
            raise without_values(error) from None
        context.meta[_PROCESS] = self.process
        return context

    def invoke(self, context: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(context)
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.ClickException as error:
            told = without_values(error)
            if not context.meta.get(_JSON):
                raise told from None
            leave(_usage(told.format_message()).members())
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read the answer has gone: click ends quietly
            leave(_problem(inside(error)).members())


def leave(problem: Mapping[str, Any]) -> NoReturn:
    """End with a problem's exit code, its breaches named one a line."""
    if click.get_current_context().meta.get(_JSON):
        show_json(problem)
    else:
        click.echo(f"safehand: {problem['title']}: {problem['detail']} [{problem['code']}]", err=True)
        for breach in problem["breaches"]:
            click.echo(f"  {breach['code']:<28} {breach['path'] or '(whole message)':<40} {breach['rule']}", err=True)
    sys.exit(int(problem["exit"]))


def _problem(error: Exception) -> Problem:
    from dataclasses import replace

    from gateway.web.problems import fault_of, problem_of

    known = problem_of(error)
    if known is not None:
        return known
    if isinstance(error, OSError) and error.filename is not None:
        name = os.fsencode(error.filename).decode("utf-8", "replace")
        return _usage(f"{name}: {error.strerror}")
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return _usage(f"{os.strerror(error.errno)}: make room, then do it again")
    fault = fault_of(error)
    return replace(fault, detail=f"{fault.detail} at {_place(error)}")


def _usage(rule: str) -> Problem:
    from gateway.web.problems import EXIT_USAGE, Problem

    return Problem(status=400, exit=EXIT_USAGE, code="usage", title="Not possible so", detail=rule, breaches=())


def _place(error: Exception) -> str:
    """Where in our code it was raised."""
    places = [
        f"{module}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if (module := str(frame.f_globals.get("__name__", ""))).split(".")[0] in _OURS
    ]
    return places[-1] if places else "?"
