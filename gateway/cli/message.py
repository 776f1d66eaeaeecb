"""`safehand send`, `inbox`, `message` and `status`: what goes out, what came in, where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gateway.cli import options
from gateway.cli.bridge import perform
from gateway.cli.output import show_json, show_pairs, show_table
from gateway.core.errors import SubmissionRefusedError

_sender = click.option("--from", "sender", metavar="ORG", help="The sender, where two partners used one id.")
_STUCK = "lane.held"  # in `held_for`: the partner kept refusing it, and a person frees it
_HEADERS = ("id", "from", "type", "state", "urgency", "received")


@click.command()
@click.option("--to", "partner", required=True, help="Organisation id of the recipient.")
@click.option("--type", "message_type", required=True, help="Message type, for example cme.transfer.")
@click.option(
    "--urgency", required=True, type=click.Choice(["routine", "priority", "immediate_risk"]), help="Always stated."
)
@click.option("--ctf", is_flag=True, help="FILE is a Common Transfer File of one pupil, not JSON.")
@click.option(
    "--with", "extra", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON with further fields."
)
@click.option(
    "--subject-informed-risk", type=click.Choice(["yes", "no"]), help="Asserted fact, where a condition asks."
)
@click.option("--agreement", help="Agreement id, where several would do.")
@click.option("--thread", help="Id of the message that this answers.")
@click.option("--replaces", help="Id of the message that this replaces.")
@click.option("--on-behalf-of", help="The controller we act for, where the agreement lists one.")
@click.option("--for", "partner_for", help="The controller that the recipient acts for.")
@click.option("--key", help="Idempotency key: a repeat with the same key gets the first answer.")
@options.by
@options.as_json
@click.argument("file", type=click.File("rb", lazy=True))
@click.pass_context
def send(context: click.Context, /, file: Any, ctf: bool, extra: Path | None, as_json: bool, **said: Any) -> None:
    """Check FILE against the agreement, seal it and queue it. `-` reads standard input."""
    body = file.read()
    if ctf:
        body = _from_ctf(context, body, said)
    if extra is not None:
        body = _merged(body, extra.read_bytes())
    facts: dict[str, Any] = {"urgency": said["urgency"]}
    if said["subject_informed_risk"] is not None:
        facts["subject_informed_risk"] = said["subject_informed_risk"] == "yes"
    arguments = {
        "partner": said["partner"],
        "type": said["message_type"],
        "facts": facts,
        "body": options.text_of(body, "body", "message.malformed"),
        **{
            name: said[name] for name in ("agreement", "thread", "replaces", "on_behalf_of", "partner_for", "key", "by")
        },
    }
    from gateway.summaries import moment

    answer = perform(context, "send", {k: v for k, v in arguments.items() if v is not None})
    if as_json:
        show_json(answer)
    else:
        agreed = answer["agreement"]
        shown = {"agreement": f"{agreed['id']} version {agreed['version']}", "expires_at": moment(answer["expires_at"])}
        show_pairs(answer | shown)


def _from_ctf(context: click.Context, data: bytes, said: dict[str, Any]) -> bytes:
    """The body of a file's one pupil, cut to what the agreement's message may carry; what was left out is named."""
    import orjson

    from adapters.s2s.ctf import CtfError, read_transfer_file

    only = perform(
        context,
        "agreement.fields",
        {"partner": said["partner"], "type": said["message_type"], "agreement": said["agreement"]},
    )
    try:
        pupils = read_transfer_file(data, only=only).pupils
    except CtfError as error:
        raise SubmissionRefusedError("message.malformed", "file", str(error)) from error
    if len(pupils) != 1:
        raise SubmissionRefusedError(
            "message.malformed", "file", f"it has {len(pupils)} pupils: one message is about one child"
        )
    pupil = pupils[0]
    for left in pupil.left_out:
        click.echo(f"left out  {left.element}: {left.rule}", err=True)
    if pupil.court_order:
        click.echo("The file says that there is a court order: the child goes on the protection list first.", err=True)
        child = orjson.dumps(pupil.body).decode()
        by = said["by"] or "common-transfer-file"
        perform(context, "protect.add", {"child": child, "kind": "location", "by": by})
    return orjson.dumps(pupil.body)


def _merged(body: bytes, extra: bytes) -> bytes:
    """`body` with the members of `extra` added; a member in both is refused, never overwritten."""
    import orjson

    from contracts.document import read_loose
    from contracts.errors import DocumentError

    for data in (body, extra):
        options.text_of(data, "body", "message.malformed")
    try:
        first, second = read_loose(body, limit=len(body)), read_loose(extra, limit=1 << 20)
        return orjson.dumps(_union(first, second))
    except DocumentError as error:
        raise SubmissionRefusedError(
            "message.malformed", "body", f"the two files do not make one: {error.rule}"
        ) from None


def _union(first: Any, second: Any) -> Any:
    from contracts.errors import DocumentError

    if not isinstance(first, dict) or not isinstance(second, dict):
        raise DocumentError("a member stands in both files")
    merged = dict(first)
    for name, value in second.items():
        merged[name] = _union(merged[name], value) if name in merged else value
    return merged


@click.group()
def inbox() -> None:
    """Messages from partners: headers, states and receipts; only `open` shows a body."""


@inbox.command("list")
@options.as_json
@click.pass_context
def inbox_list(context: click.Context, as_json: bool) -> None:
    """Show what came in."""
    said = perform(context, "inbox.list", {})
    show_json(said) if as_json else show_table(said, _HEADERS, empty="Nothing has come in.")


@inbox.command("show")
@click.argument("id_", metavar="ID")
@_sender
@options.as_json
@click.pass_context
def inbox_show(context: click.Context, id_: str, sender: str | None, as_json: bool) -> None:
    """Show header, state and receipts of one message, never its body."""
    said = perform(context, "inbox.show", {"id": id_, "from": sender})
    show_json(said) if as_json else show_pairs(said)


@inbox.command("take")
@click.argument("id_", metavar="ID")
@_sender
@options.by
@options.as_json
@click.pass_context
def inbox_take(context: click.Context, id_: str, sender: str | None, by: str | None, as_json: bool) -> None:
    """Acknowledge that a case system has the message; the sender gets a `taken` receipt."""
    said = perform(context, "inbox.take", {"id": id_, "by": by, "from": sender})
    show_json(said) if as_json else click.echo(f"{id_} is in the case system; the sender is told.")


@inbox.command("open")
@click.argument("id_", metavar="ID")
@_sender
@click.option(
    "--role",
    type=options.STAFF_ROLE,
    required=True,
    help="Role of the person who opens it: officer, duty, approver, dpo or admin.",
)
@options.by
@options.as_json
@click.pass_context
def inbox_open(context: click.Context, id_: str, sender: str | None, role: str, by: str | None, as_json: bool) -> None:
    """Show the body to a person. It is logged, and the sender gets a `collected` receipt."""
    said = perform(context, "inbox.open", {"id": id_, "role": role, "by": by, "from": sender})
    show_json(said if as_json else said["body"])


@inbox.command("destroy")
@click.argument("id_", metavar="ID")
@_sender
@options.by_one
@options.as_json
@click.pass_context
def inbox_destroy(context: click.Context, id_: str, sender: str | None, by: str, as_json: bool) -> None:
    """Destroy a message that its sender withdrew, or asked to erase; the sender gets a destruction receipt."""
    said = perform(context, "inbox.destroy", {"id": id_, "by": by, "from": sender})
    show_json(said) if as_json else click.echo(f"{id_} is destroyed; the sender is told by {said['receipt']}.")


@click.group()
def message() -> None:
    """Own messages: where each stands, and sending again."""


@message.command("list")
@options.as_json
@click.pass_context
def message_list(context: click.Context, as_json: bool) -> None:
    """Show what was sent."""
    said = perform(context, "outbox.list", {})
    columns = ("id", "to", "type", "state", "held_for", "urgency", "created")
    show_json(said) if as_json else show_table(said, columns, empty="Nothing was sent yet.")


@message.command("show")
@click.argument("id_", metavar="ID")
@options.as_json
@click.pass_context
def message_show(context: click.Context, id_: str, as_json: bool) -> None:
    """Show state, attempts and receipts of one own message."""
    said = perform(context, "message.show", {"id": id_})
    show_json(said) if as_json else show_pairs(said)


@message.command("resend")
@click.argument("id_", metavar="[ID]", required=False)
@click.option(
    "--held", metavar="PARTNER", help="Instead of one ID: all that are held because PARTNER kept refusing them."
)
@options.by
@options.as_json
@click.pass_context
def message_resend(context: click.Context, id_: str | None, held: str | None, by: str | None, as_json: bool) -> None:
    """Send a dead or stuck message again: the same bytes, while it has not expired."""
    if (id_ is None) == (held is None):
        raise click.UsageError("name one ID, or --held PARTNER")
    if held is None:
        said = perform(context, "message.resend", {"id": id_, "by": by})
        show_json(said) if as_json else show_pairs(said)
        return
    stuck = [m["id"] for m in perform(context, "outbox.list", {}) if m["to"] == held and _STUCK in m["held_for"]]
    freed = [perform(context, "message.resend", {"id": one, "by": by}) for one in sorted(stuck)]  # the oldest first
    show_json(freed) if as_json else show_table(freed, ("id", "state"), empty=f"Nothing waits for a person: {held}.")


@message.command("cancel")
@click.argument("id_", metavar="ID")
@options.by
@options.as_json
@click.pass_context
def message_cancel(context: click.Context, id_: str, by: str | None, as_json: bool) -> None:
    """Give up a message that has not gone out."""
    said = perform(context, "message.cancel", {"id": id_, "by": by})
    show_json(said) if as_json else show_pairs(said)


@click.command()
@options.as_json
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show what waits, what went and what came, and every agreement's state."""
    said = perform(context, "status", {})
    if as_json:
        show_json(said)
        return
    log = said["log"]
    shown = {
        "organisation": f"{said['organisation']} ({said['name']})",
        **said["counts"],
        "log.witnessed": f"{log['witnessed']}, by {log['quorum']} of {len(log['witnesses'])} witnesses",
        **({"log.unwitnessed since": log["unwitnessed_since"]} if log["unwitnessed_since"] else {}),
        **{f"receipts unproven, {one['partner']}": f"{one['overdue']} overdue" for one in said["receipts"]},
    }
    show_pairs(shown)
    click.echo()
    if log["witnesses"]:
        show_table(log["witnesses"], ("id", "cosigned", "address"), empty="")
        click.echo()
    show_table(said["agreements"], ("id", "version", "parties", "state", "reasons"), empty="No agreement yet.")
    waiting = said["service"]
    click.echo()
    show_pairs({"answers owed": waiting["owed"], "answers awaited": waiting["awaited"]})
    if waiting["overdue"]:
        show_table(waiting["overdue"], ("direction", "id", "partner", "type", "code", "due"), empty="")
    if said["breaches"]:
        show_table(said["breaches"], ("id", "partner", "about", "code", "decide_by", "overdue"), empty="")
