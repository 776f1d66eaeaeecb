"""How a wrong use of the command line is told: by the option and the rule, and never by what was typed there.

What was typed can be a name put in the wrong place, and what a terminal shows is kept by somebody. The library's own
sentences repeat it, so those are said anew; sentences of ours are left as they are.
"""

from __future__ import annotations

import click

_EXTRA = "Got unexpected extra argument"  # how the library begins the one sentence that has no class of its own


def without_values(error: click.ClickException) -> click.ClickException:
    """Return an error of the same kind, whose sentence repeats nothing of what was typed."""
    match error:
        case click.NoSuchOption():
            return click.UsageError("There is no such option.", ctx=error.ctx)
        case click.NoSuchCommand():
            return click.UsageError("There is no such command.", ctx=error.ctx)
        case click.MissingParameter():
            return error
        case click.BadParameter(param=click.Parameter(type=kind)) if rule := _rule(kind):
            return click.BadParameter(rule, ctx=error.ctx, param=error.param, param_hint=error.param_hint)
        case click.FileError():
            return click.UsageError("A file cannot be opened.")
        case click.UsageError() if error.message.startswith(_EXTRA):
            return click.UsageError("There are more arguments than the command takes.", ctx=error.ctx)
        case _:
            return error


def _rule(kind: click.ParamType[object]) -> str | None:
    """What the library's own types ask for; None for a type of ours, which words its rule itself."""
    match kind:
        case click.Choice():
            return f"must be one of {', '.join(map(str, kind.choices))}."
        case click.Path() | click.File():
            return "there is no such file or folder, or it cannot be used here."
        case click.types.IntParamType() | click.types.FloatParamType():
            return "must be a number that is allowed here."
        case _:
            return None
