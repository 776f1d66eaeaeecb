"""`safehand service`: something about a message that was exchanged; `safehand breach`: what must be decided in 72 hours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from contracts.service import BODIES
from gateway.cli import options
from gateway.cli.bridge import perform
from gateway.cli.output import show_json, show_pairs, show_table
from gateway.core.errors import SubmissionRefusedError

_LISTED = ("direction", "id", "partner", "type", "code", "about", "state", "age_days", "due", "overdue")
_BREACHES = ("id", "partner", "about", "code", "state", "opened", "decide_by", "overdue")
_VALUES_LIMIT = 256 * 1024

_id = click.argument("id_", metavar="ID")
_sender = click.option("--from", "sender", metavar="ORG", help="The sender of ID, where two partners used one id.")
_urgency = click.option(
    "--urgency", type=click.Choice(["routine", "priority", "immediate_risk"]), default="routine", show_default=True
)
_key = click.option("--key", help="Idempotency key: a repeat with the same key gets the first answer.")
_paths = click.option("--path", "paths", multiple=True, required=True, help="A field path; more than once for several.")


def _codes(message_type: str, member: str) -> click.Choice[str]:
    return click.Choice(BODIES[message_type][member].codes)


def _saying(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that everything said of a message has."""
    for option in reversed((_id, _sender, _urgency, _key, options.by, options.as_json)):
        command = option(command)
    return click.pass_context(command)


def _say(context: click.Context, message_type: str, id_: str, body: dict[str, Any], said: dict[str, Any]) -> None:
    as_json = said.pop("as_json")
    arguments = {"type": message_type, "about": id_, "body": body, "from": said.pop("sender"), **said}
    answer = perform(context, "service.send", {k: v for k, v in arguments.items() if v is not None})
    show_json(answer) if as_json else show_pairs(answer)


@click.group()
def service() -> None:
    """Service messages: about a message ID that was exchanged with a partner, also after the agreement has ended."""


@service.command("withdraw")
@click.option("--reason", type=_codes("exchange.withdrawal", "reason"), required=True)
@_saying
def withdraw(context: click.Context, /, id_: str, reason: str, **said: Any) -> None:
    """Take back a message that we sent: the partner destroys it, and signs for that."""
    _say(context, "exchange.withdrawal", id_, {"reason": reason}, said)


@service.command("question")
@_paths
@click.option("--reason", type=_codes("exchange.question", "reason"), required=True)
@_saying
def question(context: click.Context, /, id_: str, paths: tuple[str, ...], reason: str, **said: Any) -> None:
    """Ask about fields of a message that we received."""
    _say(context, "exchange.question", id_, {"paths": list(paths), "reason": reason}, said)


@service.command("correct")
@_paths
@click.option(
    "--values",
    type=click.File("rb", lazy=True),
    help='JSON: the right values, nested as in the message; "-" reads stdin.',
)
@_saying
def correct(context: click.Context, /, id_: str, paths: tuple[str, ...], values: Any, **said: Any) -> None:
    """Say which fields of a message that we sent are wrong, and what is right; values go only where a grant allows them."""
    right = {} if values is None else _read_values(values.read())
    _say(context, "exchange.correction", id_, {"paths": list(paths), "values": right}, said)


def _read_values(data: bytes) -> dict[str, Any]:
    from contracts.document import read_loose
    from contracts.errors import DocumentError

    options.text_of(data, "values", "message.malformed")
    try:
        values = read_loose(data, limit=_VALUES_LIMIT)
    except DocumentError as error:
        raise SubmissionRefusedError("message.malformed", "values", error.rule) from None
    if not isinstance(values, dict):
        raise SubmissionRefusedError("message.malformed", "values", "an object was expected")
    return values


@service.command("rights")
@_paths
@click.option("--right", type=_codes("rights.notice", "right"), required=True)
@click.option("--until", required=True, metavar="YYYY-MM-DD", help="The day by which it is to be done.")
@_saying
def rights(context: click.Context, /, id_: str, paths: tuple[str, ...], right: str, until: str, **said: Any) -> None:
    """Tell who got a message that a right was exercised over these fields (UK GDPR Article 19)."""
    _say(context, "rights.notice", id_, {"right": right, "paths": list(paths), "by": until}, said)


@service.command("breach")
@_paths
@click.option("--kind", type=_codes("breach.notice", "kind"), required=True)
@click.option("--found-on", required=True, metavar="YYYY-MM-DD", help="The day on which it was found.")
@_saying
def breach_notice(
    context: click.Context, /, id_: str, paths: tuple[str, ...], kind: str, found_on: str, **said: Any
) -> None:
    """Tell the partner of a personal data breach that concerns a message; the 72 hours run from the day it was found."""
    _say(context, "breach.notice", id_, {"found_on": found_on, "kind": kind, "paths": list(paths)}, said)


@service.command("close")
@click.option("--on", "on", required=True, metavar="YYYY-MM-DD", help="The day on which the case was closed.")
@click.option("--status", type=_codes("case.closed", "status"), required=True)
@_saying
def close(context: click.Context, /, id_: str, on: str, status: str, **said: Any) -> None:
    """Say that the case of the thread ID is closed: retention counts from that day."""
    _say(context, "case.closed", id_, {"on": on, "status": status}, said)


@service.command("ack")
@_id
@click.option("--done", is_flag=True, help="What it asks is done.")
@click.option("--not-done", "reason", type=_codes("exchange.ack", "reason"), help="It is not, and why.")
@_sender
@options.by
@options.as_json
@click.pass_context
def ack(
    context: click.Context, id_: str, done: bool, reason: str | None, sender: str | None, by: str | None, as_json: bool
) -> None:
    """Answer a partner's service message ID."""
    if done == (reason is not None):
        raise click.UsageError("say --done, or --not-done REASON")
    answer = perform(context, "service.ack", {"id": id_, "reason": reason, "from": sender, "by": by})
    show_json(answer) if as_json else show_pairs(answer)


@service.command("list")
@click.option("--all", "settled", is_flag=True, help="Also what is answered.")
@options.as_json
@click.pass_context
def service_list(context: click.Context, settled: bool, as_json: bool) -> None:
    """Show what we owe an answer to, what we await, and how old it is."""
    said = perform(context, "service.list", {"settled": settled})
    show_json(said) if as_json else show_table(said, _LISTED, empty="Nothing is owed, and nothing awaited.")


@click.group()
def breach() -> None:
    """Breaches that service messages opened."""


@breach.command("list")
@options.as_json
@click.pass_context
def breach_list(context: click.Context, as_json: bool) -> None:
    """Show every breach with the time by which it must be decided."""
    said = perform(context, "breach.list", {})
    show_json(said) if as_json else show_table(said, _BREACHES, empty="No breach.")


@breach.command("decide")
@_id
@click.option("--outcome", type=click.Choice(["reported", "not-reportable"]), required=True)
@_sender
@options.by_one
@options.as_json
@click.pass_context
def breach_decide(context: click.Context, id_: str, outcome: str, sender: str | None, by: str, as_json: bool) -> None:
    """Note the decision on the breach that the service message ID opened: reported to the Commissioner, or not reportable."""
    said = perform(context, "breach.decide", {"id": id_, "outcome": outcome, "by": by, "from": sender})
    show_json(said) if as_json else show_pairs(said)
