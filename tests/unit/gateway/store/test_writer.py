"""The group committer: batches, order, refusals, and what stops it. Its handlers here write one row a command."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pysqlite3.dbapi2 as pysqlite3
import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import IntegrityError, OperationalError

from gateway.core.commands import Command
from gateway.core.errors import BusyError, ConflictError, StoreChangedError
from gateway.store import schema
from gateway.store.logged import MessageLog
from gateway.store.migrations import upgrade
from gateway.store.rows import RowSeal
from gateway.store.sqlite import DISK_FULL, empty_wal, reader_engine, writer_engine
from gateway.store.transaction import Transaction
from gateway.store.vault import Vault
from gateway.store.writer import BATCH, Room, Writer, WriterStoppedError
from tests.support.store import Alarms


@dataclass(frozen=True, slots=True, kw_only=True)
class Put(Command[str]):
    """Write one row named `key`; what else it does is `act`, before and after writing."""

    key: str
    things: frozenset[str] = frozenset()
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None

    def touches(self) -> frozenset[str]:
        return self.things


@dataclass(slots=True)
class Bench:
    """A writer on a scratch database, and what happened to it."""

    path: Path
    engine: Engine
    writer: Writer
    looks: list[str]
    batches: list[list[str]] = field(default_factory=list)
    fatal: list[BaseException] = field(default_factory=list)

    def rows(self) -> list[str]:
        with reader_engine(self.path).connect() as connection:
            return list(connection.execute(select(schema.command.c.client)).scalars())


@contextmanager
def bench(
    path: Path,
    *,
    waiting: int = 1_000,
    free: Callable[[], int] = lambda: 10,
    foreign: Callable[[], None] = lambda: None,
    look_every: float = 3600,
) -> Iterator[Bench]:
    upgrade(path)
    engine = writer_engine(path)
    batches: list[list[str]] = []
    fatal: list[BaseException] = []

    looks: list[str] = []

    def look() -> None:
        looks.append("somebody else wrote")
        foreign()

    def begin(connection: Any) -> Transaction:
        batches.append([])
        seal, told = RowSeal(key=b"s" * 32, alarm=Alarms()), MessageLog(mac=lambda _index, _data: bytes(32))
        return Transaction(connection, own="la-901", seal=seal, vault=Vault(b"k" * 32), told=told)

    def handle(tx: Transaction, command: Command[Any]) -> object:
        assert isinstance(command, Put)
        batches[-1].append(command.key)
        command.before()
        tx.insert(schema.command, client=command.key, idempotency_key="", request_digest=b"", response=b"")
        command.after()
        return command.key

    writer = Writer(
        engine,
        begin=begin,
        handle=handle,
        finish=lambda tx: tx.flush(),
        room=Room(free=free, floor=5),
        foreign=look,
        look_every=look_every,
        fatal=fatal.append,
        waiting=waiting,
    )
    try:
        yield Bench(path=path, engine=engine, writer=writer, looks=looks, batches=batches, fatal=fatal)
    finally:
        writer.close()
        engine.dispose()


@contextmanager
def occupied(writer: Writer) -> Iterator[None]:
    """Keep the writer's thread in a transaction, so that what is submitted meanwhile waits for it together."""
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        entered.set()
        leave.wait(10)

    first = writer.submit(Put(key="first", before=stay))
    assert entered.wait(10)
    try:
        yield
    finally:
        leave.set()
    first.result(10)


def results(futures: list[Future[str]]) -> list[str]:
    return [future.result(10) for future in futures]


def test_what_waits_goes_into_one_transaction_and_answers_in_order(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        with occupied(bed.writer):
            futures = [bed.writer.submit(Put(key=f"k{number}")) for number in range(5)]
        assert results(futures) == [f"k{number}" for number in range(5)]
        assert bed.batches == [["first"], [f"k{number}" for number in range(5)]]


def test_a_batch_has_at_most_a_hundred_commands(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        with occupied(bed.writer):
            futures = [bed.writer.submit(Put(key=f"k{number}")) for number in range(BATCH + 1)]
        results(futures)
        assert [len(batch) for batch in bed.batches] == [1, BATCH, 1]


def test_commands_that_touch_the_same_thing_never_share_a_batch(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        with occupied(bed.writer):
            things = ["lane:1", "lane:2", "lane:1", "lane:3", "lane:1"]
            futures = [
                bed.writer.submit(Put(key=f"k{number}", things=frozenset({thing})))
                for number, thing in enumerate(things)
            ]
        results(futures)
        assert bed.batches == [["first"], ["k0", "k1"], ["k2", "k3"], ["k4"]]


def test_an_answer_comes_after_the_commit(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        bed.writer.submit(Put(key="one")).result(10)
        assert bed.rows() == ["one"]


def test_no_answer_is_given_before_the_commit(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        answered: list[bool] = []
        future: list[Future[str]] = []
        event.listen(bed.engine, "commit", lambda _: answered.append(future[0].done()))
        with occupied(bed.writer):
            future.append(bed.writer.submit(Put(key="one")))
        future[0].result(10)
        assert answered == [False, False]


def test_a_refused_command_leaves_the_others_of_its_batch_alone(tmp_path: Path) -> None:
    def refuse() -> None:
        raise ConflictError("no")

    with bench(tmp_path / "db") as bed:
        with occupied(bed.writer):
            good = [bed.writer.submit(Put(key="good")), bed.writer.submit(Put(key="fine"))]
            bad = bed.writer.submit(Put(key="bad", before=refuse))
        assert results(good) == ["good", "fine"]
        with pytest.raises(ConflictError):
            bad.result(10)
        assert len(bed.batches) == 2  # it had changed nothing: no need to begin again
        assert sorted(bed.rows()) == ["fine", "first", "good"]


def test_what_a_command_changed_before_it_refused_is_undone(tmp_path: Path) -> None:
    def refuse() -> None:
        raise ConflictError("too late")

    with bench(tmp_path / "db") as bed:
        with occupied(bed.writer):
            good = bed.writer.submit(Put(key="good"))
            bad = bed.writer.submit(Put(key="bad", after=refuse))
        assert good.result(10) == "good"
        with pytest.raises(ConflictError):
            bad.result(10)
        assert sorted(bed.rows()) == ["first", "good"]


def test_the_guilty_command_alone_gets_the_error_of_its_batch(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        with occupied(bed.writer):
            good = [bed.writer.submit(Put(key=f"k{number}")) for number in range(3)]
            bad = bed.writer.submit(Put(key="k1"))
            last = bed.writer.submit(Put(key="last"))
        assert results([*good, last]) == ["k0", "k1", "k2", "last"]
        with pytest.raises(IntegrityError):
            bad.result(10)
        assert sorted(bed.rows()) == ["first", "k0", "k1", "k2", "last"]


def test_a_full_queue_is_refused_at_once(tmp_path: Path) -> None:
    with bench(tmp_path / "db", waiting=2) as bed:
        with occupied(bed.writer):
            futures = [bed.writer.submit(Put(key="one")), bed.writer.submit(Put(key="two"))]
            with pytest.raises(BusyError):
                bed.writer.submit(Put(key="three"))
        results(futures)


def test_below_the_floor_nothing_is_written_until_there_is_room_again(tmp_path: Path) -> None:
    free = [4]
    with bench(tmp_path / "db", free=lambda: free[0]) as bed:
        with pytest.raises(BusyError):
            bed.writer.submit(Put(key="one")).result(10)
        assert bed.rows() == []
        free[0] = 5
        assert bed.writer.submit(Put(key="one")).result(10) == "one"


async def test_a_caller_that_goes_away_leaves_nothing_open(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        with occupied(bed.writer):
            async with asyncio.TaskGroup() as tasks:
                gone = tasks.create_task(bed.writer.write(Put(key="gone")), name="gone")
                await asyncio.sleep(0)
                gone.cancel()
        assert gone.cancelled()
        assert await bed.writer.write(Put(key="next")) == "next"
        assert sorted(bed.rows()) == ["first", "gone", "next"]


def test_closing_carries_out_what_waits_and_refuses_what_comes(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        with occupied(bed.writer):
            futures = [bed.writer.submit(Put(key=f"k{number}")) for number in range(3)]
        bed.writer.close()
        assert results(futures) == ["k0", "k1", "k2"]
        with pytest.raises(WriterStoppedError):
            bed.writer.submit(Put(key="late"))


class _SqliteError(Exception):
    def __init__(self, name: str) -> None:
        self.sqlite_errorname = name
        super().__init__(name)


def fail_next_commit(engine: Engine, name: str) -> None:
    """Let the next COMMIT fail as SQLite would."""
    armed = [True]

    @event.listens_for(engine, "commit")
    def commit(_: object) -> None:
        if armed and armed.pop():
            raise OperationalError("COMMIT", {}, _SqliteError(name))


def test_an_unknown_outcome_of_a_commit_stops_the_writer_for_good(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        with occupied(bed.writer):
            arm = partial(fail_next_commit, bed.engine, "SQLITE_IOERR_FSYNC")
            things = frozenset({"thing"})
            unknown = bed.writer.submit(Put(key="unknown", things=things, before=arm))
            behind = [bed.writer.submit(Put(key=f"k{number}", things=things)) for number in range(3)]
        for future in [unknown, *behind]:
            with pytest.raises(WriterStoppedError):
                future.result(10)
        with pytest.raises(WriterStoppedError):
            bed.writer.submit(Put(key="late"))
        bed.writer.close()
        assert len(bed.fatal) == 1
        assert bed.batches == [["first"], ["unknown"]]  # never tried again: it may have been committed


def test_a_disk_that_is_full_at_the_commit_is_no_unknown_outcome(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        with pytest.raises(BusyError):
            bed.writer.submit(Put(key="one", before=partial(fail_next_commit, bed.engine, DISK_FULL))).result(10)
        assert bed.rows() == []
        assert bed.writer.submit(Put(key="one")).result(10) == "one"
        assert bed.rows() == ["one"]
        assert bed.fatal == []


def test_a_disk_that_is_full_inside_a_transaction_refuses_and_goes_on(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        with bed.engine.connect() as connection:  # the writer's own connection, idle now
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
        blob = "x" * 100_000
        with pytest.raises(BusyError):
            bed.writer.submit(Put(key=blob)).result(10)
        with bed.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        assert bed.writer.submit(Put(key=blob)).result(10) == blob


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(Put):
    """As `Put`, of what has happened already."""

    settled: ClassVar[bool] = True


def write_beside(path: Path) -> None:
    """What an administrator's own connection commits."""
    with closing(pysqlite3.connect(path)) as other, other:
        other.execute("REPLACE INTO command VALUES ('other', '', x'', x'')")


def test_what_it_writes_itself_is_nobody_else(tmp_path: Path) -> None:
    with bench(tmp_path / "db", look_every=0.01) as bed:
        for number in range(20):
            bed.writer.submit(Put(key=f"k{number}")).result(10)
        with reader_engine(bed.path).connect() as connection:
            connection.execute(select(schema.command.c.client)).all()
        assert empty_wal(bed.engine.raw_connection().driver_connection)
        bed.writer.submit(Put(key="last")).result(10)
        assert bed.looks == []


def test_after_somebody_else_wrote_only_what_had_happened_already_is_kept(tmp_path: Path) -> None:
    with bench(tmp_path / "db") as bed:
        bed.writer.submit(Put(key="before")).result(10)
        write_beside(bed.path)
        decided, settled = bed.writer.submit(Put(key="decided")), bed.writer.submit(Settled(key="settled"))
        with pytest.raises(StoreChangedError):
            decided.result(10)
        assert settled.result(10) == "settled"
        assert bed.looks == ["somebody else wrote"]
        assert bed.writer.submit(Put(key="decided again")).result(10) == "decided again"
        assert set(bed.rows()) == {"before", "other", "settled", "decided again"}
        assert bed.looks == ["somebody else wrote"]


def test_of_one_batch_each_command_is_told_what_became_of_it(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        entered.set()
        assert leave.wait(10)

    with bench(tmp_path / "db", foreign=stay) as bed:
        write_beside(bed.path)
        bed.writer.submit(Put(key="first"))
        assert entered.wait(10)  # the writer looks, and holds no lock: what comes now waits together
        write_beside(bed.path)
        waiting = [
            bed.writer.submit(kind(key=f"{kind.__name__}{number}")) for number in range(2) for kind in (Put, Settled)
        ]
        leave.set()
        outcomes = [future.exception(10) for future in waiting]
        assert [type(outcome) for outcome in outcomes] == [StoreChangedError, type(None)] * 2
        assert set(bed.rows()) >= {"Settled0", "Settled1"}
        assert not {"Put0", "Put1"} & set(bed.rows())


def test_nothing_is_written_before_a_look_succeeds(tmp_path: Path) -> None:
    def fails() -> None:
        if len(bed.looks) < 3:
            raise RuntimeError("the disk is away")

    with bench(tmp_path / "db", foreign=fails) as bed:
        write_beside(bed.path)
        for number in range(3):
            with pytest.raises(StoreChangedError):
                bed.writer.submit(Settled(key=f"k{number}") if number < 2 else Put(key="k2")).result(10)
        assert bed.rows() == ["other"]
        assert bed.writer.submit(Put(key="at last")).result(10) == "at last"


def test_a_write_by_somebody_else_is_noticed_without_a_command(tmp_path: Path) -> None:
    looked = threading.Event()
    with bench(tmp_path / "db", foreign=looked.set, look_every=0.01) as bed:
        write_beside(bed.path)
        assert looked.wait(10)
        bed.writer.submit(Put(key="next")).result(10)
        assert bed.looks == ["somebody else wrote"]
