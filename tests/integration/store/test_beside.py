"""`log verify` on the live database finds what was taken from beside the log, put there, or moved: openings, search tags,
receipts, triggers. What was erased, and logs from before entries committed to their tags, are no fault."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from gateway.core.commands import LogEntry, Record, TakeReceipt
from gateway.core.erasure import AtEntry, Erase, OfMessage
from gateway.core.lifecycle import State
from gateway.store import migrations
from gateway.store.migrations import upgrade
from gateway.store.migrations.append_only import protect
from gateway.store.sqlite import reader_engine, snapshot, writer_engine
from gateway.store.triggers import differing
from tests.support.store import (
    PARTNER,
    Lab,
    at,
    by_hand,
    digest,
    make_entry,
    make_receipt_in,
    make_submit,
    message_id,
    open_lab,
    problems,
    rows,
    tamper,
)

CHILD, OTHER = b"c" * 32, b"o" * 32
ONE, TWO, THREE = message_id(), message_id(), message_id()


@pytest.fixture(scope="module")
def filled(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0 an event, 1 and 2 messages whose entries commit to their tags, 3 a search, 4 a message and 5 its receipt."""
    path = tmp_path_factory.mktemp("filled") / "gateway.sqlite"
    shutil.copyfile(template, path)

    async def fill() -> None:
        async with open_lab(path) as lab:
            for own, tags in ((ONE, {CHILD, OTHER}), (TWO, {CHILD})):
                await lab.open.store.write(Record(entry=submitted(own, tags)))
            await lab.open.store.write(Record(entry=make_entry(by="a searcher", tags=frozenset())))
            await receive_receipt(lab)

    asyncio.run(fill())
    return path


def submitted(own: str, tags: set[bytes]) -> LogEntry:
    return make_entry("submitted", by="a person", tags=frozenset(tags), msg=own, dir="out", partner=PARTNER)


async def receive_receipt(lab: Lab) -> None:
    """A message goes, and its receipt comes."""
    await lab.open.store.write(replace(make_submit(id=THREE), entry=submitted(THREE, {CHILD})))
    receipt = make_receipt_in(THREE)
    entry = make_entry("delivered", tags=frozenset(), msg=THREE, dir="out", receipt=digest(receipt.data))
    await lab.open.store.write(TakeReceipt(receipt=receipt, entries={State.DELIVERED: entry}, now=at(1)))


@pytest.fixture
def log(filled: Path, tmp_path: Path) -> Path:
    path = tmp_path / "log.sqlite"
    shutil.copyfile(filled, path)
    return path


def erase(path: Path, *what: AtEntry | OfMessage) -> None:
    async def act() -> None:
        async with open_lab(path, agreement=False) as lab:
            for one in what:
                msg = one.message_id if isinstance(one, OfMessage) else None
                entry = make_entry("erased", by="dpo", erased=one.text(), tags=frozenset(), dir="own", **said(msg))
                await lab.open.store.write(Erase(what=one, entry=entry))

    asyncio.run(act())


def said(msg: str | None) -> dict[str, str]:
    return {} if msg is None else {"msg": msg}


def test_the_log_as_it_was_written_has_no_problem(log: Path) -> None:
    assert rows(log, "SELECT kind FROM log_entry WHERE idx > 0 ORDER BY idx") == [
        ("submitted",), ("submitted",), ("search",), ("submitted",), ("delivered",)
    ]  # fmt: skip
    assert problems(log) == []


CHANGES = [
    ("DELETE FROM log_detail WHERE entry_idx = 3", [(3, "log_detail.by")]),
    ("DELETE FROM log_detail WHERE entry_idx = 1", [(1, "log_detail.by"), (1, "log_detail.subjects")]),
    ("DELETE FROM log_detail WHERE field = 'rows'", [(0, "log_detail.rows")]),
    ("UPDATE log_detail SET field = 'by2' WHERE entry_idx = 3", [(3, "log_detail.by2"), (3, "log_detail.by")]),
    ("DELETE FROM log_subject WHERE entry_idx = 1", [(1, "log_subject.tag")]),
    ("DELETE FROM log_subject WHERE entry_idx = 1 AND tag = '{other}'", [(1, "log_subject.tag")]),
    ("INSERT INTO log_subject VALUES ('{other}', 2)", [(2, "log_subject.tag")]),
    ("INSERT INTO log_subject VALUES ('{other}', 3)", [(3, "log_subject.tag")]),
    (
        "UPDATE log_subject SET entry_idx = 2 WHERE tag = '{other}'",
        [(1, "log_subject.tag"), (2, "log_subject.tag")],
    ),
    ("UPDATE log_subject SET tag = '{other}' WHERE entry_idx = 2", [(2, "log_subject.tag")]),
    ("DELETE FROM receipt_in", [(5, "receipt_in.bytes")]),
    ("UPDATE receipt_in SET bytes = x'7b7d'", [(5, "receipt_in.bytes")]),
    ("UPDATE receipt_in SET bytes = 5", [(5, "receipt_in.bytes")]),
]


@pytest.mark.parametrize(("change", "found"), CHANGES, ids=[change for change, _ in CHANGES])
def test_what_was_changed_beside_an_entry_is_named_at_it(log: Path, change: str, found: list[tuple[int, str]]) -> None:
    tamper(log, change.replace("'{other}'", f"x'{OTHER.hex()}'"))
    assert problems(log) == found


STRAYS = [
    (
        "UPDATE log_detail SET entry_idx = 90 WHERE entry_idx = 3",
        [(3, "log_detail.by"), (90, "log_detail.entry_idx")],
    ),
    ("INSERT INTO log_subject VALUES (x'00', 90)", [(90, "log_subject.entry_idx")]),
    ("INSERT INTO log_subject VALUES (x'00', -1)", [(-1, "log_subject.entry_idx")]),
    ("INSERT INTO log_subject VALUES (x'00', 'ninety')", [(-1, "log_subject.entry_idx")]),
]


@pytest.mark.parametrize(("change", "found"), STRAYS, ids=[change for change, _ in STRAYS])
def test_what_belongs_to_no_entry_is_named(log: Path, change: str, found: list[tuple[int, str]]) -> None:
    by_hand(log, change)
    assert problems(log) == found


ERASURES: list[Callable[[], AtEntry | OfMessage]] = [lambda: AtEntry(index=1), lambda: OfMessage(message_id=ONE)]


@pytest.mark.parametrize("what", ERASURES, ids=["by index", "by message"])
def test_what_was_erased_is_not_missing(log: Path, what: Callable[[], AtEntry | OfMessage]) -> None:
    erase(log, what())
    assert rows(log, "SELECT * FROM log_detail WHERE entry_idx = 1") == []
    assert problems(log) == []


@pytest.mark.parametrize("what", ERASURES, ids=["by index", "by message"])
def test_tags_put_back_after_they_were_erased_are_named(log: Path, what: Callable[[], AtEntry | OfMessage]) -> None:
    erase(log, what())
    tamper(log, f"INSERT INTO log_subject VALUES (x'{CHILD.hex()}', 1)")  # noqa: S608 - a test's own words
    assert problems(log) == [(1, "log_subject.tag")]


def test_an_erasure_explains_nothing_but_what_it_names(log: Path) -> None:
    erase(log, AtEntry(index=1), OfMessage(message_id=TWO))
    tamper(log, "DELETE FROM log_detail WHERE entry_idx = 3", "DELETE FROM log_detail WHERE entry_idx = 4")
    assert problems(log) == [(3, "log_detail.by"), (4, "log_detail.by"), (4, "log_detail.subjects")]


def test_an_erasure_of_a_message_does_not_explain_what_came_after_it(log: Path) -> None:
    erase(log, OfMessage(message_id=ONE))

    async def later() -> None:
        async with open_lab(log, agreement=False) as lab:
            await lab.open.store.write(Record(entry=make_entry("released", by="a person", tags=frozenset(), msg=ONE)))

    asyncio.run(later())
    assert problems(log) == []
    tamper(log, "DELETE FROM log_detail WHERE entry_idx = 7")
    assert problems(log) == [(7, "log_detail.by")]


def test_an_erasure_that_was_itself_erased_still_explains(log: Path) -> None:
    erase(log, AtEntry(index=1), AtEntry(index=6))
    assert rows(log, "SELECT field FROM log_detail WHERE entry_idx = 6") == [("erased",)]
    assert problems(log) == []


def test_a_log_that_lost_the_opening_of_an_erasure_says_so(log: Path) -> None:
    erase(log, AtEntry(index=1))
    tamper(log, "DELETE FROM log_detail WHERE entry_idx = 6 AND field = 'erased'")
    assert problems(log) == [(1, "log_detail.by"), (1, "log_detail.subjects"), (6, "log_detail.erased")]


def test_an_erased_entry_of_a_message_needs_no_opening_to_explain(log: Path) -> None:
    """As it was before that opening was kept: erased together with all others of its message."""
    erase(log, OfMessage(message_id=ONE))
    erase(log, OfMessage(message_id=ONE))
    tamper(log, "DELETE FROM log_detail WHERE entry_idx = 6")
    assert problems(log) == []


async def test_tags_of_entries_older_than_the_commitment_are_no_fault(template: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    shutil.copyfile(template, path)
    async with open_lab(path) as lab:
        await lab.open.store.write(Record(entry=make_entry()))
        await lab.open.store.write(Record(entry=submitted(ONE, {CHILD})))
        assert problems(path) == []
        await lab.open.store.write(Record(entry=make_entry()))  # with a tag that it does not commit to
    assert problems(path) == [(3, "log_subject.tag")]


SCHEMA = [
    ("DROP TRIGGER log_entry_no_update", "trigger.log_entry_no_update"),
    ("DROP TRIGGER checkpoint_no_replace", "trigger.checkpoint_no_replace"),
    ("CREATE TRIGGER mine AFTER INSERT ON message BEGIN DELETE FROM inbox; END", "trigger.mine"),
]


@pytest.mark.parametrize(("change", "column"), SCHEMA, ids=[change for change, _ in SCHEMA])
def test_triggers_are_those_that_were_made_until_an_upgrade_puts_them_back(log: Path, change: str, column: str) -> None:
    by_hand(log, change)
    assert problems(log) == [(-1, column)]
    upgrade(log)
    assert problems(log) == []


def test_a_trigger_of_the_same_name_that_says_something_else_is_named(log: Path) -> None:
    by_hand(log, "DROP TRIGGER log_entry_no_update")
    by_hand(log, "CREATE TRIGGER log_entry_no_update BEFORE UPDATE ON log_entry BEGIN SELECT 1; END")
    assert problems(log) == [(-1, "trigger.log_entry_no_update")]


def test_a_database_that_was_upgraded_step_by_step_and_copied_has_the_triggers_of_a_new_one(tmp_path: Path) -> None:
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    engine = writer_engine(tmp_path / "old.sqlite")
    for step in reversed(list(script.walk_revisions())):
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(Path(migrations.__file__).parent))
            config.attributes[migrations.CONNECTION] = connection
            command.upgrade(config, step.revision)
            protect(connection)
    engine.dispose()
    snapshot(tmp_path / "old.sqlite", tmp_path / "copy.sqlite")
    for name in ("old.sqlite", "copy.sqlite"):
        with reader_engine(tmp_path / name).connect() as connection:
            assert differing(connection) == ()
