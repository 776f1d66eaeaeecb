"""`safehand agreement`: drawn up, proposed, signed, suspended, resumed, terminated; and the check for worked cases.

The agreement-sign pair is opened here, in the command's own process, and never by `serve`: only the signed event goes to it.
"""

from __future__ import annotations

import base64
import secrets
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import click

from gateway.cli import options
from gateway.cli.bridge import perform
from gateway.cli.output import show_json, show_pairs, show_table

_role = click.option(
    "--role", type=options.EVENT_ROLE, default="approver", show_default=True, help="Role of the person who acts."
)
_LINE = ("id", "version", "state", "reasons", "parties", "signed_by", "suspended_by", "digest")


@click.group()
def agreement() -> None:
    """Agreements: drafts, signatures, states, and the check."""


@agreement.command("draw-up")
@click.argument("template")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where the draft goes.")
@click.option("--from", "valid_from", metavar="DAY", help="First day (YYYY-MM-DD); else the template's.")
@click.option("--until", "valid_until", metavar="DAY", help="Last day; else the template's.")
@click.option("--review-by", metavar="DAY", help="Day of the review; else the template's.")
@click.pass_context
def draw_up(
    context: click.Context,
    template: str,
    out: Path,
    valid_from: str | None,
    valid_until: str | None,
    review_by: str | None,
) -> None:
    """Fill in TEMPLATE (a file, or the name of one in the library): vocabulary, roots of both parties, dates."""
    from contracts import library, register
    from contracts.drafting import fill_in

    path = Path(template)
    if not path.is_file() and template not in library.template_names():
        raise click.UsageError(f"no such file, and the library has: {', '.join(library.template_names())}")
    data = path.read_bytes() if path.is_file() else library.template_bytes(template)
    options.text_of(data, "template")
    own = perform(context, "partner.fingerprint", {"org": None})
    roots = {own["org"]: own["hex"]}
    roots |= {row["org"]: row["root"] for row in perform(context, "partner.list", {}) if row["verified"]}
    days = {"valid_from": _day(valid_from), "valid_until": _day(valid_until), "review_by": _day(review_by)}
    draft, drawn = fill_in(data, file=template, vocabulary=register.vocabulary(), roots=roots, days=days)
    out.write_bytes(draft)
    click.echo(f"{out}: {drawn.id} version {drawn.version}, {drawn.valid_from} to {drawn.valid_until}, {drawn.digest}")


@agreement.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.passphrase_file
@_role
@options.by
@options.as_json
@click.pass_context
def propose(
    context: click.Context, file: Path, passphrase_file: Path | None, role: str, by: str | None, as_json: bool
) -> None:
    """Sign the drawn-up FILE and propose it to the other party."""
    from contracts.agreement import read_agreement
    from gateway.agreements import first_act, write_event

    data = file.read_bytes()
    text = options.text_of(data, "toml")
    act = first_act(read_agreement(data, file=file.name), role)
    event_id, at = _moment()
    event = write_event(act, _signer(context, passphrase_file, at), event_id=event_id, at=at)
    said = perform(context, "agreement.propose", {"toml": text, "event": event.decode(), "by": by})
    _show(said, as_json)


def _signing_command(name: str, text: str) -> None:
    @agreement.command(name, help=text)
    @click.argument("agreement_", metavar="AGREEMENT")
    @options.passphrase_file
    @_role
    @options.by
    @options.as_json
    @click.pass_context
    def command(
        context: click.Context, agreement_: str, passphrase_file: Path | None, role: str, by: str | None, as_json: bool
    ) -> None:
        from contracts.events import Action
        from gateway.agreements import write_event

        said = perform(context, "agreement.context", {"agreement": agreement_})
        event_id, at = _moment()
        act = _act(said, Action(name), role, context, at)
        event = write_event(act, _signer(context, passphrase_file, at), event_id=event_id, at=at)
        _show(perform(context, "agreement.record", {"event": event.decode(), "by": by}), as_json)


def _urgent_command(name: str, text: str) -> None:
    @agreement.command(name, help=text)
    @click.argument("agreement_", metavar="AGREEMENT")
    @_role
    @options.by
    @options.as_json
    @click.pass_context
    def command(context: click.Context, agreement_: str, role: str, by: str | None, as_json: bool) -> None:
        arguments = {"agreement": agreement_, "action": name, "role": role, "by": by}
        _show(perform(context, "agreement.urgent", arguments), as_json)


_signing_command("sign", "Countersign AGREEMENT (its digest or id), which the other party proposed.")
_signing_command("resume", "Lift the suspensions of AGREEMENT; the other party must do so too.")
_urgent_command("suspend", "Suspend AGREEMENT at once: nothing goes and nothing comes under it.")
_urgent_command("terminate", "Terminate AGREEMENT for good.")


@agreement.command("list")
@options.as_json
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """Show every agreement and where it stands."""
    said = perform(context, "agreement.list", {})
    columns = ("id", "version", "state", "reasons", "parties", "digest")
    show_json(said) if as_json else show_table(said, columns, empty="No agreement yet.")


@agreement.command()
@click.argument("agreement_", metavar="AGREEMENT")
@options.as_json
@click.pass_context
def show(context: click.Context, agreement_: str, as_json: bool) -> None:
    """Show one agreement: state, events, and what each message may carry, on which grounds."""
    said = perform(context, "agreement.show", {"agreement": agreement_})
    if as_json:
        show_json(said)
        return
    click.echo(said["title"])
    show_pairs({name: said[name] for name in _LINE})
    click.echo("\nEvents")
    show_table(said["events"], ("org", "n", "action", "at", "role"), empty="None.")
    for message in said["content"]["message"]:
        click.echo(f"\n{message['type']}, from party {message['from']} to party {message['to']}")
        for grant in message["allow"]:
            condition = f", only when {' and '.join(grant['when'])}" if "when" in grant else ""
            click.echo(f"  {grant['need']}{condition}: {grant['why']}")
            click.echo(f"    {', '.join(grant['fields'])}")


@agreement.command()
@click.option(
    "--cases", required=True, type=click.File("rb", lazy=True), help="One JSON object a line; `-` reads standard input."
)
@click.option(
    "--agreements",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of agreement files (templates will do); else the library's.",
)
@options.as_json
def check(cases: Any, agreements: Path | None, as_json: bool) -> None:
    """Answer worked cases, one JSON line each, in order: is this body allowed, and if not, why not?

    A case names its agreement by the id inside the file, whatever the file is called. The answers are JSON in any case;
    with --json so is the refusal of a file.
    """
    import orjson

    from contracts import register
    from contracts.cases import run_case

    known = _compiled(agreements, register.vocabulary())
    for line in cases:
        sys.stdout.buffer.write(orjson.dumps(run_case(line.rstrip(b"\r\n"), known)) + b"\n")
    sys.stdout.flush()


def _compiled(folder: Path | None, vocabulary: Any) -> Mapping[str, Any]:
    from contracts import library
    from contracts.agreement import read_agreement
    from contracts.compiled import compile_agreement

    if folder is None:
        files = {name: library.template_bytes(name) for name in library.template_names()}
    else:
        files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.toml"))}
    read = [read_agreement(data, file=name) for name, data in files.items()]
    return {one.id: compile_agreement(one, vocabulary) for one in read}


def _act(said: Any, action: Any, role: str, context: click.Context, at: int) -> Any:
    """The act on an agreement that the gateway holds, from what it told us; every signature is verified again here."""
    from datetime import UTC, datetime

    from contracts import register
    from gateway import agreements, governing
    from gateway.core.commands import EventRow
    from gateway.core.envelope import digest
    from keys.bundle import replay_history

    read, compiled = governing.compiled_from(base64.b64decode(said["canonical"]), register.vocabulary())
    bundles = {
        org: replay_history([text.encode() for text in listed], org=org) for org, listed in said["bundles"].items()
    }
    events = []
    for row in said["events"]:
        jws = row["jws"].encode()
        event = EventRow(
            digest=said["digest"], org=row["org"], n=row["n"], hash=digest(jws), jws=jws, received_at=row["received_at"]
        )
        events.append(governing.verify_event(event, bundles[row["org"]]))
    held = governing.held_from(read, compiled, tuple(events), datetime.fromtimestamp(at, tz=UTC))
    return agreements.prepare(held, context.obj.settings().org, action, role)


def _signer(context: click.Context, passphrase_file: Path | None, at: int) -> Any:
    """Open the agreement keystore, in this process alone."""
    from gateway.agreements import Signer
    from gateway.app import NotReadyError
    from keys.bundle import replay_history
    from keys.ring import KeyRing

    home = context.obj
    org = home.settings().org
    listed = [text.encode() for text in perform(context, "keys.bundles", {})]
    if not listed:
        raise NotReadyError("no key bundle is published yet: safehand keys publish")
    passphrase = options.passphrase(passphrase_file, "the agreement keystore")
    keys = home.keystore("agreement", passphrase).load().keys
    ring = KeyRing(bundle=replay_history(listed, org=org)[-1], secrets=keys)
    return Signer(org=org, bundle=ring.bundle.digest, pair=ring.agreement(at).pair)


def _moment() -> tuple[str, int]:
    from gateway.app import now_utc
    from gateway.core.ids import new_message_id

    now = now_utc()
    return new_message_id(now, secrets.token_bytes), int(now.timestamp())


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.UsageError("a day is written YYYY-MM-DD") from None


def _show(said: Any, as_json: bool) -> None:
    show_json(said) if as_json else show_pairs({name: said[name] for name in _LINE})
