"""`safehand log`: verifies the exchange log, live or exported, writes it out, proves an entry; `safehand db upgrade`.

`log erase` and `log cosign` have modules of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from gateway.cli import options
from gateway.cli.bridge import perform
from gateway.cli.cosign import cosign
from gateway.cli.erase import erase
from gateway.cli.output import show_json, show_pairs
from gateway.home import Home

if TYPE_CHECKING:
    from gateway.evidence.verify import Brought, Verdict
    from gateway.tlog.fsck import Problem

_SHOWN = 100  # faults told one by one

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_folder = click.Path(exists=True, file_okay=False, path_type=Path)


class _Root(click.ParamType[tuple[str, str]]):
    """ORG=sha256:<64 hex>."""

    name = "root"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return organisation and fingerprint."""
        from contracts.names import is_digest, is_organisation

        org, _, fingerprint = str(value).partition("=")
        if not is_organisation(org) or not is_digest(fingerprint):
            self.fail("must be an organisation id, an equals sign and sha256: with 64 hexadecimal digits", param, ctx)
        return org, fingerprint


@click.group()
def log() -> None:
    """The exchange log."""


@log.command()
@click.argument("exported", required=False, metavar="[DIR|PROOF]", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--remember",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What was found last time: this log must continue it. Written where all is in order.",
)
@click.option(
    "--root",
    "roots",
    type=_Root(),
    multiple=True,
    metavar="ORG=sha256:HEX",
    help="A fingerprint that came another way: that organisation's roots must have it, or follow from it.",
)
@click.option("--policy", type=_file, help="Your own policy (C2SP tlog-policy), in place of the export's.")
@click.option(
    "--checkpoint", "checkpoints", type=_file, multiple=True, help="A checkpoint that somebody else was shown."
)
@click.option("--receipts", type=_folder, multiple=True, help="Receipts of this organisation that somebody else kept.")
@options.as_json
@click.pass_obj
def verify(
    home: Home,
    exported: Path | None,
    remember: Path | None,
    roots: tuple[tuple[str, str], ...],
    policy: Path | None,
    checkpoints: tuple[Path, ...],
    receipts: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Verify the log: the live database; with DIR an export, needing no home; with PROOF one entry under --policy.

    Exit 3 names index and column or file. The live database by itself proves nothing against someone who can rebuild all
    of it: what others hold does, and the options bring that along.
    """
    offline = bool(remember or roots or policy or checkpoints or receipts)
    if exported is None:
        if offline:
            raise click.UsageError("these options judge an export: name its folder")
        _verify_live(home, as_json)
    elif exported.is_file():
        if policy is None or remember or roots or checkpoints or receipts:
            raise click.UsageError("a proof is judged by --policy, and by nothing else")
        _verify_proof(exported, policy, as_json)
    else:
        from gateway.evidence.files import read_capped
        from gateway.evidence.remembered import recall
        from gateway.evidence.verify import Brought
        from gateway.tlog.checkpoint import NOTE_LIMIT

        brought = Brought(
            roots=dict(roots),
            policy=None if policy is None else _policy(policy),
            remembered=None if remember is None else recall(remember),
            checkpoints={path.name: read_capped(path, NOTE_LIMIT) for path in checkpoints},
            receipts=receipts,
        )
        _verify_export(exported, brought, remember, as_json)


@log.command()
@click.option(
    "--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="A folder that is empty, or not there."
)
@click.option("--openings", is_flag=True, help="With who did what: names. Only where the reader may know them.")
@options.by
@options.as_json
@click.pass_context
def export(context: click.Context, out: Path, openings: bool, by: str | None, as_json: bool) -> None:
    """Write the whole log out for an auditor: entries, checkpoints, receipts, key bundles. The export itself is logged."""
    from gateway import auditing
    from gateway.store.export import check_folder

    check_folder(out)
    allowed = perform(context, "log.export", {"openings": openings, "by": by})
    written = auditing.export_log(context.obj, out, allowed["policy"].encode(), openings=openings)
    answer = {
        "entries": written.size,
        "checkpoints": written.checkpoints,
        "receipts": written.receipts,
        "bundles": written.bundles,
        **({"openings": written.openings, "unreadable": written.unreadable} if openings else {}),
    }
    show_json(answer) if as_json else show_pairs(answer)


@log.command()
@click.option("--message", metavar="ID", help="The first entry that names this message.")
@click.option("--kind", help="With --message: the first of this kind, for example delivered.")
@click.option("--index", metavar="N", help="The entry of this index.")
@click.option("--leaf", metavar="HEX", help="The entry with this leaf hash, which a receipt gives.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Instead of standard output."
)
@options.as_json
@click.pass_context
def prove(
    context: click.Context,
    message: str | None,
    kind: str | None,
    index: str | None,
    leaf: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Prove that one entry is in the log: its bytes, and hashes to a signed checkpoint (C2SP tlog-proof)."""
    if sum(given is not None for given in (message, index, leaf)) != 1 or (kind and not message):
        raise click.UsageError("name the entry by --message (and --kind), by --index or by --leaf")
    answer = perform(context, "log.prove", {"message": message, "kind": kind, "index": index, "leaf": leaf})
    if out is not None:
        out.write_text(answer["proof"])
    if as_json:
        show_json(answer)
    elif out is None:
        click.echo(answer["proof"], nl=False)
    else:
        click.echo(f"Entry {answer['index']} is in the log of {answer['size']} entries: {out.name}")


@log.command("new-epoch")
@click.option("--yes", is_flag=True, help="Do it: the log goes on under another name, and everybody will see that.")
@options.by
@options.as_json
@click.pass_obj
def new_epoch(home: Home, yes: bool, by: str | None, as_json: bool) -> None:
    """Begin the next epoch of a log that went back in time: only where its newest database is lost for good.

    The gateway must not be running, and its witnesses must answer: the first entry of the new epoch commits to the largest
    checkpoint that one of them holds.
    """
    import asyncio

    from gateway import epoch

    if not yes:
        raise click.UsageError("say --yes: this ends the log under its present name")
    opened = asyncio.run(epoch.new_epoch(home, by=by))
    if as_json:
        show_json(
            {
                "origin": opened.origin,
                "left": opened.left,
                "witness": opened.witness,
                "remembered": opened.remembered,
            }
        )
        return
    click.echo(f"The log goes on as {opened.origin}, from entry {opened.left} on.")
    if opened.witness:
        click.echo(f"Its first entry commits to the {opened.remembered} entries that {opened.witness} saw.")
    click.echo(
        "Next: keys request, root sign (offline), keys publish; then serve. Partners are told by the new bundle."
    )


# --- live


def _verify_live(home: Home, as_json: bool) -> None:
    import asyncio

    from gateway import auditing

    report = asyncio.run(auditing.verify_log(home))
    if as_json:
        show_json({"entries": report.entries, "problems": _listed(report.problems)})
    elif not report.problems:
        click.echo(f"{report.entries} entries, their tree and its checkpoints are as they were written.")
    _leave(report.problems, report.entries, as_json)


def _listed(problems: tuple[Problem, ...]) -> list[dict[str, Any]]:
    return [{"index": p.index, "column": p.column, "rule": p.rule} for p in problems]


def _leave(problems: tuple[Problem, ...], entries: int, as_json: bool) -> NoReturn:
    from gateway.web.problems import EXIT_INTEGRITY

    if problems and not as_json:
        for problem in problems[:_SHOWN]:
            click.echo(f"index {problem.index}, {problem.column}: {problem.rule}", err=True)
        if len(problems) > _SHOWN:
            click.echo(f"and {len(problems) - _SHOWN} more (--json lists all)", err=True)
        click.echo(f"safehand: {len(problems)} faults in {entries} entries", err=True)
    sys.exit(EXIT_INTEGRITY if problems else 0)


log.add_command(erase)
log.add_command(cosign)


# --- exported


def _policy(path: Path) -> Any:
    from gateway.evidence.files import EvidenceError, read_capped
    from gateway.tlog.errors import PolicyError
    from gateway.tlog.policy import POLICY_LIMIT, parse_policy

    try:
        return parse_policy(read_capped(path, POLICY_LIMIT))
    except PolicyError as error:
        raise EvidenceError(f"{path.name}: {error}") from error


def _verify_proof(path: Path, policy: Path, as_json: bool) -> None:
    from gateway.evidence.proofs import verify_proof

    proven = verify_proof(path, _policy(policy))
    if as_json:
        show_json({"index": proven.index, "size": proven.size, "origin": proven.origin, "problems": []})
    else:
        click.echo(f"Entry {proven.index} is in the log {proven.origin} of {proven.size} entries:")
        click.echo(proven.entry.decode())


def _verify_export(path: Path, brought: Brought, remember: Path | None, as_json: bool) -> None:
    from gateway.evidence.files import NoLogError
    from gateway.evidence.remembered import remember as keep
    from gateway.evidence.verify import verify_export

    try:
        verdict = verify_export(path, brought)
    except NoLogError as error:
        if as_json:
            show_json({"problems": _listed((error.problem,))})
        _leave((error.problem,), 0, as_json)
    kept = remember is not None and verdict.head is not None
    if remember is not None and verdict.head is not None:
        keep(remember, verdict.head)
    if as_json:
        show_json(_as_json(verdict, brought, kept))
    else:
        _tell(verdict, brought, remember)
    _leave(verdict.problems, verdict.size, as_json)


def _as_json(verdict: Verdict, brought: Brought, kept: bool) -> dict[str, Any]:
    return {
        "origin": verdict.origin,
        "organisation": verdict.org,
        "keys": list(verdict.keys),
        "entries": verdict.entries,
        "size": verdict.size,
        "checkpoints": verdict.checkpoints,
        "witnesses": verdict.witnesses,
        "witnessed": verdict.witnessed,
        "receipts": {
            "given": verdict.given,
            "received": verdict.received,
            "named_by_no_entry": verdict.unnamed,
            "kept_by_others": verdict.others,
            "of_other_logs": verdict.elsewhere,
        },
        "openings": verdict.openings,
        "leaves": verdict.leaves,
        "trust": [{"org": t.org, "root": t.newest, "words": t.words, "compared": t.compared} for t in verdict.trust],
        "remembered": brought.remembered is not None,
        "remembers": kept,
        "ignored": list(verdict.ignored),
        "problems": _listed(verdict.problems),
    }


def _tell(verdict: Verdict, brought: Brought, remember: Path | None) -> None:
    """What was found, and what it rests on."""
    whole = "are what was signed" if not verdict.problems else "are not all what was signed"
    click.echo(
        f"{verdict.origin}: {verdict.size} entries, {verdict.checkpoints} checkpoints up to {verdict.size}, "
        f"{verdict.given} receipts given, {verdict.received} received, {verdict.openings} openings {whole}."
    )
    if verdict.unnamed:
        click.echo(f"{verdict.unnamed} receipts received are named by no entry here: evidence that changed no state.")
    if verdict.elsewhere:
        click.echo(
            f"{verdict.elsewhere} receipts given are bound to another epoch of the log: their entries may be lost."
        )
    if not verdict.leaves:
        click.echo("Without the file of leaf hashes a change is placed between two checkpoints.")
    for name in verdict.ignored:
        click.echo(f"Not a file of an export, and not read: {name}")
    click.echo("What this rests on:")
    for line in _grounds(verdict, brought, remember):
        click.echo(f"  {line}")


def _grounds(verdict: Verdict, brought: Brought, remember: Path | None) -> list[str]:
    lines = [f"The log's key, which {verdict.org or 'nobody'} lists in its bundles: {key}" for key in verdict.keys]
    for trust in verdict.trust:
        whose = "its own roots" if trust.org == verdict.org else "a partner's roots"
        if trust.compared:
            lines.append(f"{trust.org}: {whose} are those of the fingerprint given.")
        else:
            lines.append(
                f"{trust.org}: {whose} were compared with nothing. Ask it, on a number from a known source, for"
            )
            lines.append(f"    {trust.words}")
            lines.append(f"    {trust.newest}  (then --root {trust.org}=..)")
    if verdict.witnessed is None:
        lines.append("Witnesses: none are asked for. Whoever holds the log's key could have shown others another log.")
    else:
        lines.append(f"Witnesses: {verdict.witnesses}; their quorum vouches for the first {verdict.witnessed} entries.")
        if verdict.witnessed < verdict.size:
            lines.append(f"    For entries {verdict.witnessed} to {verdict.size - 1} the log's signature stands alone.")
        if brought.policy is None:
            lines.append("    Who they are, and how many, says the export itself: --policy holds it to yours.")
    if brought.remembered is not None and not verdict.problems:
        lines.append(f"Continues the log of {brought.remembered.checkpoint.size} entries that was remembered.")
    elif remember is not None and not verdict.problems:
        lines.append("First trust: nothing was remembered of this log. From now on it must continue this head.")
    if remember is not None and verdict.problems:
        lines.append("Because of the faults below nothing is remembered of this export.")
    elif remember is None:
        lines.append("Nothing was remembered of this log: --remember FILE finds a log that was begun anew next time.")
    if verdict.others:
        lines.append(f"{verdict.others} receipts that others kept have their entries here.")
    return lines


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
