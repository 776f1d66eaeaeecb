"""Aim: change what the log says, as somebody who may write anything into the database, and may have stolen keys.

The victim is la-850, which received messages of la-207. Each row of the table is one thing done to a real database, each
column somebody who might notice; a cell says what he finds. docs/log.md shows this table, and a test holds it to that.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Connection, delete, insert, select, text, update

from contracts.document import canonical
from gateway import integrity, protection
from gateway.core.errors import LogInconsistentError
from gateway.evidence.remembered import Remembered
from gateway.evidence.verify import REMEMBERED as REMEMBERED_HEAD
from gateway.evidence.verify import Brought, verify_export
from gateway.store.comparison import UNSTATED
from gateway.store.migrations.append_only import restore, triggers_of
from gateway.store.opening import StoreKeys
from gateway.store.rows import FOREIGN, RowSeal
from gateway.store.schema import (
    checkpoint,
    content,
    content_key,
    handoff,
    inbox,
    intention,
    log_detail,
    log_entry,
    log_head,
    log_node,
    log_path,
    log_subject,
    outgoing,
)
from gateway.store.schema import message as message_rows
from gateway.store.sqlite import reader_engine, writer_engine
from gateway.tlog.checkpoint import Checkpoint, NoteKey, parse_note, sign_checkpoint
from gateway.tlog.entry import leaf_hash, parse, row_mac
from gateway.tlog.fsck import Problem
from gateway.tlog.merkle import Frontier, root_of
from gateway.tlog.proof import consistency_proof
from gateway.tlog.witness import AddCheckpoint, Grown, Seen, decide
from tests.support.councils import (
    copy_history,
    council,
    export,
    live_problems,
    log_key,
    log_signer,
    make_history,
    open_councils,
    store_keys,
    transfer_one,
    write_export,
)
from tests.support.disk import OnDisk, on_disk
from tests.support.exchange import Town, make_town
from tests.support.keys import ed25519
from tests.support.messages import B
from tests.support.store import KEYS, good_signature, rows, tamper

PAGE = Path(__file__).parents[2] / "docs" / "log.md"
DATABASE, MEMORY = f"{B}.sqlite", f"{B}.signer"
ORIGIN = log_key(B).name

# Who might notice, and when they do. A cell says what they name; the signer and a witness name nothing, they refuse.
SIGNER: Final = "the signer, at its next look (2 s)"
LIVE: Final = "`log verify`, when run"
EXPORT: Final = "an export, when judged alone"
REMEMBERED: Final = "an export, with the head remembered"
RECEIPTS: Final = "an export, with the partner's receipts"
WITNESS: Final = "a witness, at its next round (20 s)"
OBSERVERS: Final = (SIGNER, LIVE, EXPORT, REMEMBERED, RECEIPTS, WITNESS)
NOTHING: Final = "-"
REFUSES: Final = "refuses"
HEAD: Final = "the head"
RECEIPT: Final = "a receipt without entry"
TRIGGERS: Final = "the triggers"


# --- what the victim had, and what others know of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Files of both councils. `head` is what the data protection officer remembers; `witnessed` what a witness cosigned
    after that; `size` is how far la-850 has signed since; then there are entries that nobody has signed."""

    folder: Path
    head: Remembered
    witnessed: Seen
    size: int


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("administrator")
    return asyncio.run(make_scene(folder))


async def make_scene(folder: Path) -> Scene:
    await make_history(folder)
    shutil.copyfile(folder / DATABASE, folder / "old.sqlite")
    shutil.copyfile(folder / MEMORY, folder / "old.signer")
    head = verify_export(folder / f"export-{B}", brought()).head
    assert head is not None
    async with open_councils(folder) as town:
        a, b = council(town.a), council(town.b)
        town.clock.forward(hours=1)
        await transfer_one(town, "after the officer looked")
        await b.note()
        await b.exchange.sign_log()
        signed = await b.exchange.log.checkpoint()
        assert signed is not None
        witnessed = Seen(signed.size, signed.root)
        town.clock.forward(hours=1)
        await transfer_one(town, "after the witness looked")
        await b.note()
        await b.exchange.sign_log()
        signed = await b.exchange.log.checkpoint()
        assert signed is not None
        await export(a, folder / "partner")
        await b.note(2)
    assert head.checkpoint.size < witnessed.size < signed.size
    return Scene(folder=folder, head=head, witnessed=witnessed, size=signed.size)


def brought(
    head: Remembered | None = None, receipts: Iterable[Path] = (), checkpoints: dict[str, bytes] | None = None
) -> Brought:
    return Brought(roots={}, policy=None, remembered=head, checkpoints=checkpoints or {}, receipts=tuple(receipts))


# --- who might notice


def told(problems: Sequence[Problem]) -> str:
    """The first fault as a cell of the table tells it."""
    if not problems:
        return NOTHING
    problem = problems[0]
    if some := re.match(r"entries (\d+) to (\d+) are not all", problem.rule):
        return f"entries {some[1]} to {some[2]}"
    if problem.column.endswith(".jws"):
        return RECEIPT
    if problem.column.startswith("trigger."):
        return TRIGGERS
    return HEAD if problem.column == REMEMBERED_HEAD else f"entry {problem.index}"


def ask(observer: str, scene: Scene, at: Path) -> str:
    """What one of them finds in the files under `at`."""
    if observer == SIGNER:
        return ask_signer(at)
    if observer == LIVE:
        return told(live_problems(B, at / DATABASE))
    if observer == WITNESS:
        return ask_witness(scene, at)
    out = at / "seized"
    shutil.rmtree(out, ignore_errors=True)
    try:
        write_export(B, at / DATABASE, out)
    except LogInconsistentError:
        return "no export"
    known = scene.head if observer == REMEMBERED else None
    kept = [scene.folder / "partner" / "receipts"] if observer == RECEIPTS else []
    return told(verify_export(out, brought(known, kept)).problems)


def ask_signer(at: Path) -> str:
    try:
        log_signer(B, at / DATABASE, at / MEMORY).advance()
    except LogInconsistentError:
        return REFUSES
    return NOTHING


def ask_witness(scene: Scene, at: Path) -> str:
    """The witness is brought the newest checkpoint, with the best proof that the database as it is now gives."""
    with reader_engine(at / DATABASE).connect() as connection:
        newest = connection.execute(select(checkpoint).order_by(checkpoint.c.size.desc())).first()
        assert newest is not None
        leaves = [row.leaf_hash for row in connection.execute(select(log_entry).order_by(log_entry.c.idx))]
    if newest.size < scene.witnessed.size:
        return REFUSES  # it answers the size that it has seen

    def node(level: int, index: int) -> bytes:
        return root_of(leaves[index << level : (index + 1) << level])

    proof = consistency_proof(scene.witnessed.size, newest.size, node)
    request = AddCheckpoint(old=scene.witnessed.size, proof=proof, note=parse_note(newest.note.encode()))
    decision = decide(request, [log_key(B)], scene.witnessed, good_signature)
    return NOTHING if isinstance(decision, Grown) else REFUSES


# --- the administrator


@dataclass(frozen=True, slots=True, kw_only=True)
class Stolen:
    """What he has besides the database."""

    append_key: bool = False
    log_key: bool = False
    memory: bool = False


class Administrator:
    """Writes to the files of the victim: every table is his; the triggers stand again when he goes, he would be seen else."""

    def __init__(self, scene: Scene, at: Path) -> None:
        self.scene = scene
        self.at = at
        self.engine = writer_engine(at / DATABASE)
        with self.engine.begin() as connection:
            self.triggers = triggers_of(connection)
            restore(connection, {})

    def act(self, change: Callable[[Connection], None]) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("PRAGMA defer_foreign_keys = ON"))
            change(connection)
        self.engine.dispose()

    def leave(self) -> None:
        """Put the triggers back."""
        with self.engine.begin() as connection:
            restore(connection, self.triggers)
        self.engine.dispose()

    def entries(self) -> list[bytes]:
        with self.engine.connect() as connection:
            return [row.entry for row in connection.execute(select(log_entry).order_by(log_entry.c.idx))]

    def find(self, kind: str, *, after: int = 0) -> int:
        """The first entry of a kind from a size on."""
        for index, entry in enumerate(self.entries()):
            if index >= after and json.loads(entry)["kind"] == kind:
                return index
        raise AssertionError(kind)

    def alter(self, index: int, *, hashes: bool) -> None:
        """Change what one entry says; with `hashes` everything that follows from it, as far as no key is needed."""
        entries = self.entries()
        entries[index] = lie(entries[index])
        if hashes:
            self.rewrite(entries, Stolen())
        else:
            self.act(
                lambda c: c.execute(update(log_entry).where(log_entry.c.idx == index).values(entry=entries[index]))
            )

    def rewrite(self, entries: list[bytes], stolen: Stolen) -> None:
        """Make every table say these entries: columns, hashes, nodes, the head; macs, notes and memory where he can."""
        self.act(lambda connection: self._rewrite(connection, entries, stolen))

    def _rewrite(self, connection: Connection, entries: list[bytes], stolen: Stolen) -> None:
        held = {row.idx: row for row in connection.execute(select(log_entry))}
        before = {row.leaf_hash: row for row in held.values()}
        notes = connection.execute(select(checkpoint).order_by(checkpoint.c.size)).all()
        kept_openings = connection.execute(select(log_detail)).mappings().all()
        kept_tags = connection.execute(select(log_subject)).mappings().all()
        for table in (log_path, log_detail, log_subject, log_node, checkpoint, log_entry):
            connection.execute(delete(table))
        tree, at_us = Frontier(), 0
        for index, entry in enumerate(entries):
            members, leaf = json.loads(entry), leaf_hash(entry)
            at_us = max(at_us, members["at"])
            old = before.get(leaf)
            mac = (
                row_mac(store_keys(B).append, ORIGIN, index, entry)
                if stolen.append_key
                else old.mac
                if old is not None
                else bytes(32)
            )
            connection.execute(
                insert(log_entry).values(
                    idx=index,
                    kind=members["kind"],
                    at_us=at_us,
                    message_id=members.get("msg"),
                    partner=members.get("partner"),
                    dir=members.get("dir"),
                    type=members.get("type"),
                    agreement=members.get("agreement", {}).get("id"),
                    outcome=members.get("outcome"),
                    role=members.get("role"),
                    leaf_hash=leaf,
                    entry=entry,
                    mac=mac,
                )
            )
            for path in members.get("paths", []):
                connection.execute(insert(log_path).values(path=path, idx=index))
            for node in tree.append(leaf):
                connection.execute(insert(log_node).values(level=node.level, idx=node.idx, hash=node.hash))
            self._note(connection, tree, notes, stolen)
        # Openings still open where the entry at their place commits to the same: their encryption names the index.
        same = {
            index
            for index, entry in enumerate(entries)
            if index in held and commits(entry) == commits(held[index].entry)
        }
        for table, kept in ((log_detail, kept_openings), (log_subject, kept_tags)):
            for row in kept:
                if row["entry_idx"] in same:
                    connection.execute(insert(table).values(**row))
        connection.execute(update(log_head).values(size=tree.size, frontier=tree.to_bytes(), updated_at=at_us))
        if stolen.memory:
            signed = max(note.size for note in notes if note.size <= tree.size)
            self._remember(entries[:signed])

    def _note(self, connection: Connection, tree: Frontier, notes: Sequence[Any], stolen: Stolen) -> None:
        """The checkpoint of this size, where there was one: as it was, or signed anew."""
        for note in notes:
            if note.size != tree.size:
                continue
            row = {"size": note.size, "root": note.root, "note": note.note, "signed_at": note.signed_at}
            if stolen.log_key:
                secret = ed25519(f"{B} log")
                head = Checkpoint(origin=ORIGIN, size=tree.size, root=tree.root())
                signed = sign_checkpoint(head, NoteKey(ORIGIN, secret.public.raw), secret.sign)
                row |= {"root": tree.root(), "note": signed.decode()}
            connection.execute(insert(checkpoint).values(**row))

    def _remember(self, entries: list[bytes]) -> None:
        """Put a signer's memory there that has seen these entries and no others."""
        tree = Frontier()
        for entry in entries:
            tree.append(leaf_hash(entry))
        memory = {"origin": ORIGIN, "size": tree.size, "frontier": tree.to_bytes().hex()}
        (self.at / MEMORY).write_text(json.dumps(memory))

    def forget_receipts(self, message: str) -> None:
        """Delete what the victim itself kept of the receipts it gave for a message."""

        def forget(connection: Connection) -> None:
            connection.execute(update(inbox).where(inbox.c.message_id == message).values(receipt=None))
            connection.execute(delete(outgoing).where(outgoing.c.ref.startswith(message)))

        self.act(forget)

    def forget_message(self, message: str) -> None:
        """Delete everything that the victim keeps of a message which it received."""
        self.forget_receipts(message)

        def forget(connection: Connection) -> None:
            for table, column in ((handoff, handoff.c.message_id), (inbox, inbox.c.message_id)):
                connection.execute(delete(table).where(column == message))
            body = select(message_rows.c.body_ref).where(message_rows.c.id == message)
            for table in (content, content_key):
                connection.execute(delete(table).where(table.c.id.in_(body)))
            connection.execute(delete(message_rows).where(message_rows.c.id == message))

        self.act(forget)


def lie(entry: bytes) -> bytes:
    """The same entry with another outcome: canonical, and untrue."""
    return canonical({**json.loads(entry), "outcome": "altered"})


def unsay(entry: bytes) -> bytes:
    """Another entry in its place, about nothing at all: nothing is asked for that belonged to the one before."""
    said = json.loads(entry)
    kept = {name: said[name] for name in ("v", "at", "nonce", "org", "origin")}
    return canonical({**kept, "kind": "clock-step", "dir": "own", "outcome": "forward"})


def commits(entry: bytes) -> dict[str, str]:
    """What it commits to."""
    return dict(json.loads(entry).get("commit", {}))


# --- what he does


def alter_old(admin: Administrator) -> None:
    admin.alter(admin.find("received"), hashes=False)


def alter_old_with_hashes(admin: Administrator) -> None:
    admin.alter(admin.find("received"), hashes=True)


def delete_old(admin: Administrator) -> None:
    index = admin.find("search")

    def gone(connection: Connection) -> None:
        for table in (log_path, log_detail, log_subject):
            column = table.c.idx if table is log_path else table.c.entry_idx
            connection.execute(delete(table).where(column == index))
        connection.execute(delete(log_entry).where(log_entry.c.idx == index))

    admin.act(gone)


def insert_old(admin: Administrator) -> None:
    entries, at = admin.entries(), admin.find("search")
    admin.rewrite([*entries[:at], lie(entries[at]), *entries[at:]], Stolen())


def reorder_old(admin: Administrator) -> None:
    entries, at = admin.entries(), admin.find("search")
    entries[at - 1], entries[at] = entries[at], entries[at - 1]
    admin.rewrite(entries, Stolen())


def truncate_old(admin: Administrator) -> None:
    """Back to the checkpoint before the one that the officer remembers."""
    with admin.engine.connect() as connection:
        sizes = connection.execute(select(checkpoint.c.size).order_by(checkpoint.c.size)).scalars().all()
    size = max(size for size in sizes if size < admin.scene.head.checkpoint.size)
    left = admin.entries()[:size]
    messages = [json.loads(entry).get("msg") for entry in admin.entries()]
    for message in {one for one in messages[size:] if one is not None and one not in messages[:size]}:
        admin.forget_message(message)
    admin.rewrite(left, Stolen())


def truncate_new(admin: Administrator) -> None:
    """Back to the checkpoint that the witness cosigned: no key is needed, every mac and note still holds."""
    admin.rewrite(admin.entries()[: admin.scene.witnessed.size], Stolen())
    admin.forget_message(newest_message(admin))


def newest_message(admin: Administrator) -> str:
    with admin.engine.connect() as connection:
        return str(
            connection.execute(select(inbox.c.message_id).order_by(inbox.c.received_at.desc())).scalars().first()
        )


def put_back(admin: Administrator) -> None:
    admin.engine.dispose()
    shutil.copyfile(admin.scene.folder / "old.sqlite", admin.at / DATABASE)


def put_back_with_memory(admin: Administrator) -> None:
    put_back(admin)
    shutil.copyfile(admin.scene.folder / "old.signer", admin.at / MEMORY)


def rewrite_old(stolen: Stolen) -> Callable[[Administrator], None]:
    """An old message that was received never was: other entries stand in the place of its three, everything else fits."""

    def change(admin: Administrator) -> None:
        entries, at = admin.entries(), admin.find("received")
        message = json.loads(entries[at])["msg"]
        changed = [unsay(entry) if json.loads(entry).get("msg") == message else entry for entry in entries]
        admin.rewrite(changed, stolen)
        admin.forget_message(message)

    return change


EVERYTHING = Stolen(append_key=True, log_key=True, memory=True)


def rewrite_new_received(admin: Administrator) -> None:
    entries, at = admin.entries(), admin.find("received", after=admin.scene.witnessed.size)
    message = json.loads(entries[at])["msg"]
    changed = [unsay(entry) if json.loads(entry).get("msg") == message else entry for entry in entries]
    admin.rewrite(changed, EVERYTHING)
    admin.forget_message(message)


def rewrite_new_search(admin: Administrator) -> None:
    entries, at = admin.entries(), admin.find("search", after=admin.scene.witnessed.size)
    entries[at] = lie(entries[at])
    admin.rewrite(entries, EVERYTHING)


def forget_who(admin: Administrator) -> None:
    """Delete the opening of a search: who made it."""
    gone = delete(log_detail).where(log_detail.c.entry_idx == admin.find("search"))
    admin.act(lambda connection: connection.execute(gone))


def hide_child(admin: Administrator) -> None:
    """Delete an old message's search tags: whoever looks for the child does not find it."""
    gone = delete(log_subject).where(log_subject.c.entry_idx == admin.find("received"))
    admin.act(lambda connection: connection.execute(gone))


def pass_for_another(admin: Administrator) -> None:
    """Put another child's tag in the place of an old message's."""
    at = admin.find("received")

    def swap(connection: Connection) -> None:
        connection.execute(delete(log_subject).where(log_subject.c.entry_idx == at))
        connection.execute(insert(log_subject).values(tag=bytes(32), entry_idx=at))

    admin.act(swap)


def forget_answer(admin: Administrator) -> None:
    """Delete the receipts that were given for an old message; its entries stay."""
    admin.forget_receipts(json.loads(admin.entries()[admin.find("received")])["msg"])


def lose_message(admin: Administrator) -> None:
    """Take an old message out of the inbox that case systems read."""
    message = json.loads(admin.entries()[admin.find("received")])["msg"]

    def lose(connection: Connection) -> None:
        connection.execute(delete(handoff).where(handoff.c.message_id == message))

    admin.act(lose)


def pass_off_message(admin: Administrator) -> None:
    """Say that an old message is of another type."""
    mine = json.loads(admin.entries()[admin.find("received")])["msg"]
    change = update(message_rows).where(message_rows.c.id == mine).values(type="cme.enquiry")
    admin.act(lambda connection: connection.execute(change))


def drop_triggers(admin: Administrator) -> None:
    """Nothing else: whoever comes next may change and delete by mistake."""
    admin.triggers = {}


def leave_alone(_: Administrator) -> None:
    """Nothing: nobody may cry wolf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One row: what he does, and what each of OBSERVERS finds, in their order."""

    says: str
    does: Callable[[Administrator], None]
    found: tuple[str, str, str, str, str, str]


ATTACKS: Final = (
    Attack(
        says="nothing",
        does=leave_alone,
        found=(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    Attack(
        says="alters an old entry",
        does=alter_old,
        found=(NOTHING, "entry 5", "entry 5", "entry 5", "entry 5", NOTHING),
    ),
    Attack(
        says="alters an old entry and every hash above it",
        does=alter_old_with_hashes,
        found=(REFUSES, "entry 5", "entries 0 to 7", "entries 0 to 7", "entries 0 to 7", REFUSES),
    ),
    Attack(
        says="deletes an old entry",
        does=delete_old,
        found=(NOTHING, "entry 8", "entry 8", "entry 8", "entry 8", REFUSES),
    ),
    Attack(
        says="inserts an entry between old ones",
        does=insert_old,
        found=(REFUSES, "entry 8", "entries 8 to 11", "entries 8 to 11", "entries 8 to 11", REFUSES),
    ),
    Attack(
        says="makes two old entries change places",
        does=reorder_old,
        found=(REFUSES, "entry 7", "entries 0 to 7", "entries 0 to 7", "entries 0 to 7", REFUSES),
    ),
    Attack(
        says="cuts the log off below what was remembered, with the receipts it gave",
        does=truncate_old,
        found=(REFUSES, NOTHING, NOTHING, HEAD, RECEIPT, REFUSES),
    ),
    Attack(
        says="cuts the log off at what was witnessed, with the receipts it gave",
        does=truncate_new,
        found=(REFUSES, NOTHING, NOTHING, NOTHING, RECEIPT, NOTHING),
    ),
    Attack(
        says="deletes who made an old search",
        does=forget_who,
        found=(NOTHING, "entry 8", NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    Attack(
        says="deletes the search tags of an old message",
        does=hide_child,
        found=(NOTHING, "entry 5", NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    Attack(
        says="gives an old message another child's search tags",
        does=pass_for_another,
        found=(NOTHING, "entry 5", NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    Attack(
        says="deletes the receipts it gave for an old message",
        does=forget_answer,
        found=(NOTHING, "entry 5", NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    Attack(
        says="takes an old message out of the inbox",
        does=lose_message,
        found=(NOTHING, "entry 5", NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    Attack(
        says="gives an old message another type",
        does=pass_off_message,
        found=(NOTHING, "entry 5", NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    Attack(
        says="drops the triggers",
        does=drop_triggers,
        found=(NOTHING, TRIGGERS, NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    Attack(
        says="puts an old database file back",
        does=put_back,
        found=(REFUSES, NOTHING, NOTHING, NOTHING, RECEIPT, REFUSES),
    ),
    Attack(
        says="puts an old database file and the signer's memory back",
        does=put_back_with_memory,
        found=(NOTHING, NOTHING, NOTHING, NOTHING, RECEIPT, REFUSES),
    ),
    Attack(
        says="rewrites old entries, with the log's key",
        does=rewrite_old(Stolen(log_key=True)),
        found=(REFUSES, "entry 5", NOTHING, HEAD, RECEIPT, REFUSES),
    ),
    Attack(
        says="the same, with the append key too",
        does=rewrite_old(Stolen(log_key=True, append_key=True)),
        found=(REFUSES, NOTHING, NOTHING, HEAD, RECEIPT, REFUSES),
    ),
    Attack(
        says="the same, with the signer's memory too",
        does=rewrite_old(EVERYTHING),
        found=(NOTHING, NOTHING, NOTHING, HEAD, RECEIPT, REFUSES),
    ),
    Attack(
        says="the same, of a message that came after the witness looked",
        does=rewrite_new_received,
        found=(NOTHING, NOTHING, NOTHING, NOTHING, RECEIPT, NOTHING),
    ),
    Attack(
        says="the same, of a search made after the witness looked",
        does=rewrite_new_search,
        found=(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
    ),
)


def table() -> str:
    """The table as docs/log.md shows it."""
    lines = [f"| the administrator .. | {' | '.join(OBSERVERS)} |", "|---" * (len(OBSERVERS) + 1) + "|"]
    lines += [f"| {attack.says} | {' | '.join(attack.found)} |" for attack in ATTACKS]
    return "\n".join(lines) + "\n"


def test_the_page_shows_the_table() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")


def test_the_page_tells_the_sizes_of_the_scene(scene: Scene) -> None:
    told = " ".join(PAGE.read_text(encoding="utf-8").split())
    sizes = (scene.head.checkpoint.size, scene.witnessed.size, scene.size)
    assert "remembers the head of {} entries, a witness cosigned {}, the log has signed {};".format(*sizes) in told


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.says for attack in ATTACKS])
def test_each_finds_what_the_table_says_and_nothing_else(attack: Attack, scene: Scene, tmp_path: Path) -> None:
    copy_history(scene.folder, tmp_path)
    admin = Administrator(scene, tmp_path)
    attack.does(admin)
    admin.leave()
    found = tuple(ask(observer, scene, tmp_path) for observer in OBSERVERS)
    assert found == attack.found


def test_what_nobody_finds_is_found_once_a_witness_has_looked(scene: Scene, tmp_path: Path) -> None:
    """The last row of the table ends with the next round: the same act on a log whose newest head was cosigned."""
    copy_history(scene.folder, tmp_path)
    with reader_engine(tmp_path / DATABASE).connect() as connection:
        row = connection.execute(select(checkpoint).where(checkpoint.c.size == scene.size)).one()
    admin = Administrator(scene, tmp_path)
    rewrite_new_search(admin)
    admin.leave()
    assert ask_witness(replace(scene, witnessed=Seen(scene.size, row.root)), tmp_path) == REFUSES


# --- halves of acts that need two people: rows that decide, of which the log says which count

RUNNING: Final = "the gateway that runs, at the next half"
STARTING: Final = "a gateway that starts, and daily"
VERIFYING: Final = "`log verify`, when run"
HALF_OBSERVERS: Final = (RUNNING, STARTING, VERIFYING)
CHILD: Final = {"child": {"upn": "A123456789012"}}
SIBLING: Final = {"child": {"upn": "P207000016049"}}
KINDS_LISTED: Final = frozenset({"location"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """A database in which both children are protected. For one, two people took the protection off and an officer listed
    it again: `used` is the first half of that, as it was. For the sibling one half waits."""

    town: Town
    path: Path
    used: Mapping[str, Any]


@pytest.fixture(scope="module")
def halves(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Halves:
    path = shutil.copyfile(template, tmp_path_factory.mktemp("halves") / "gateway.sqlite")
    return asyncio.run(make_halves(path))


async def make_halves(path: Path) -> Halves:
    town = make_town()
    async with on_disk(town.b, path) as disk:
        for child in (CHILD, SIBLING):
            await protection.add(child, KINDS_LISTED, disk.exchange, by="An Officer")
        await remove(disk, CHILD, "The First")
        used = read_half(path)
        assert await remove(disk, CHILD, "The Second") > 0
        await protection.add(CHILD, KINDS_LISTED, disk.exchange, by="An Officer")
        assert await remove(disk, SIBLING, "The First") == 0
    return Halves(town=town, path=path, used=used)


async def remove(disk: OnDisk, child: dict[str, Any], by: str) -> int:
    return (await protection.remove(child, KINDS_LISTED, disk.exchange, by=by, alone=False))[0]


def read_half(path: Path) -> Mapping[str, Any]:
    """The one half that waits, as it stands in the table."""
    (held,) = rows(path, "SELECT id, act, by, stated_at, mac FROM intention")
    return dict(zip(("id", "act", "by", "stated_at", "mac"), held, strict=True))


def put(row: Mapping[str, Any]) -> str:
    """The statement that puts this row in."""
    act, mac = row["act"].hex(), row["mac"].hex()
    cells = f"'{row['id']}', x'{act}', '{row['by']}', {row['stated_at']}, x'{mac}'"
    return f"INSERT INTO intention (id, act, by, stated_at, mac) VALUES ({cells})"  # noqa: S608 - hex and base64


def plant(scene: Halves, keys: StoreKeys) -> str:
    """A half of the first act by somebody who never stated one, made with these keys."""
    seal = RowSeal(key=keys.store, alarm=lambda _code, _details: None)
    row = {"id": "planted", "act": scene.used["act"], "by": "somebody", "stated_at": scene.used["stated_at"]}
    return put(seal.sealed(intention, row))


FORGED: Final = StoreKeys(append=bytes(32), store=bytes(32), kek=bytes(32))
UNSAY: Final = (
    "DELETE FROM log_detail WHERE field = 'rows' AND entry_idx = "
    "(SELECT max(idx) FROM log_entry WHERE kind = 'approval' AND idx < (SELECT max(idx) FROM log_entry "
    "WHERE kind = 'protection-removed'))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfAttack:
    """What he does, of which child he then states one half himself, and what each of HALF_OBSERVERS finds."""

    says: str
    does: Callable[[Halves], tuple[str, ...]]
    child: dict[str, Any]
    found: tuple[str, str, str]


HALF_ATTACKS: Final = (
    HalfAttack(says="nothing", does=lambda _: (), child=CHILD, found=(NOTHING, NOTHING, NOTHING)),
    HalfAttack(
        says="puts a used half back",
        does=lambda scene: (put(scene.used),),
        child=CHILD,
        found=("row.unknown",) * 3,
    ),
    HalfAttack(
        says="puts a used half back, without the opening that says it was used",
        does=lambda scene: (put(scene.used), UNSAY),
        child=CHILD,
        found=("row.unstated, row.unknown", "row.unstated", "row.unstated"),
    ),
    HalfAttack(
        says="plants a half",
        does=lambda scene: (plant(scene, FORGED),),
        child=CHILD,
        found=("row.mac",) * 3,
    ),
    HalfAttack(
        says="plants a half, with the store's keys",
        does=lambda scene: (plant(scene, KEYS),),
        child=CHILD,
        found=("row.unknown",) * 3,
    ),
    HalfAttack(
        says="makes a half that waits one of another act",
        does=lambda scene: (f"UPDATE intention SET act = x'{scene.used['act'].hex()}'",),  # noqa: S608 - hex
        child=CHILD,
        found=("row.mac, row.missing", "row.mac", "row.mac"),
    ),
    HalfAttack(
        says="takes a half out that waits",
        does=lambda _: ("DELETE FROM intention",),
        child=SIBLING,
        found=("row.missing",) * 3,
    ),
)


def half_table() -> str:
    """The table as docs/log.md shows it."""
    lines = [f"| the administrator .. | {' | '.join(HALF_OBSERVERS)} |", "|---" * (len(HALF_OBSERVERS) + 1) + "|"]
    lines += [f"| {attack.says} | {' | '.join(attack.found)} |" for attack in HALF_ATTACKS]
    return "\n".join(lines) + "\n"


async def causes(disk: OnDisk) -> str:
    """What the log is told that was refused, as a cell tells it; whatever is told was alarmed. That somebody else wrote at
    all, which a running gateway tells of each of them, is another table's (`test_put_back`)."""
    before = len(rows(disk.path, "SELECT idx FROM log_entry"))
    await integrity.record(disk.opened.refusals, disk.exchange)
    told = [parse(e) for (e,) in rows(disk.path, "SELECT entry FROM log_entry WHERE idx >= :n", n=before)]
    assert {entry.kind for entry in told} <= {"row-refused"}
    assert bool(told) == bool(disk.alarms.raised)
    return ", ".join(b.code for entry in told for b in entry.breaches or () if b.code != FOREIGN) or NOTHING


async def ask_about_halves(observer: str, attack: HalfAttack, scene: Halves, path: Path) -> str:
    """What one of them finds. Whoever it is, the administrator's own half is not enough."""
    statements = attack.does(scene)
    if observer == RUNNING:
        async with on_disk(scene.town.b, path) as disk:
            disk.opened.comparison.run()
            tamper(path, *statements)
            assert await remove(disk, attack.child, "A Colluder") == 0
            return await causes(disk)
    tamper(path, *statements)
    async with on_disk(scene.town.b, path) as disk:
        if observer == VERIFYING:
            found = disk.opened.comparison.look()
            return ", ".join([row.cause for row in found.rows] + [UNSTATED for _ in found.log]) or NOTHING
        disk.opened.comparison.run()
        told = await causes(disk)
        assert await remove(disk, attack.child, "A Colluder") == 0
        return told


def test_the_page_shows_the_table_of_halves() -> None:
    assert half_table() in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("attack", HALF_ATTACKS, ids=[attack.says for attack in HALF_ATTACKS])
async def test_nobody_does_alone_what_takes_two_and_each_finds_what_the_table_says(
    attack: HalfAttack, halves: Halves, tmp_path: Path
) -> None:
    found = []
    for number, observer in enumerate(HALF_OBSERVERS):
        path = tmp_path / f"{number}.sqlite"
        shutil.copyfile(halves.path, path)
        found.append(await ask_about_halves(observer, attack, halves, path))
    assert tuple(found) == attack.found


async def test_half_that_waits_still_counts_where_nobody_touched_it(halves: Halves, tmp_path: Path) -> None:
    shutil.copyfile(halves.path, tmp_path / "gateway.sqlite")
    async with on_disk(halves.town.b, tmp_path / "gateway.sqlite") as disk:
        disk.opened.comparison.run()
        assert await remove(disk, SIBLING, "The Second") > 0


async def test_half_taken_out_and_put_back_as_it_was_counts_once_and_no_more(halves: Halves, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite"
    shutil.copyfile(halves.path, path)
    waiting = put(read_half(path))
    async with on_disk(halves.town.b, path) as disk:
        disk.opened.comparison.run()
        tamper(path, "DELETE FROM intention")
        tamper(path, waiting)
        assert await remove(disk, SIBLING, "The Second") > 0
        await protection.add(SIBLING, KINDS_LISTED, disk.exchange, by="An Officer")
        tamper(path, waiting)
        assert await remove(disk, SIBLING, "The Second") == 0
        assert await causes(disk) == "row.unknown"
