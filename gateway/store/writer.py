"""The group committer (log B1): the one connection that writes, in the one thread that uses it.

Commands wait in a bounded queue and are taken as they stand there, up to a hundred at a time, into one transaction;
their futures resolve after the COMMIT. No handler is known here, and no table.

What a caller may rely on: an answer means durable; answers and entries follow the order of arrival; a caller that goes
away leaves nothing open. What stops the writer for good: a COMMIT whose outcome nobody knows.

Nobody else writes while this connection is open. Where somebody did, `foreign` looks what, before the next transaction or
within a second; nothing that was decided before that is written: its caller decides again.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from gateway.core.commands import Command
from gateway.core.errors import BusyError, SafehandError, StoreChangedError
from gateway.store.sqlite import DISK_FULL, data_version, empty_wal, error_name
from gateway.store.transaction import AtIndex, Transaction

R = TypeVar("R")

BATCH: Final = 100
WAITING: Final = 1_000
LOOK_EVERY: Final = 1.0  # seconds without a command, between two looks whether somebody else wrote

Fatal = Callable[[BaseException], None]
"""Called once, in the writer's thread, when the process must stop and read its state again."""


class WriterStoppedError(SafehandError):
    """The writer was closed, or stopped because it does not know what was committed."""

    code = "store.stopped"


class _ForeignWriteError(Exception):
    """Somebody else committed something since the last transaction."""


class _CommitUnknownError(Exception):
    """COMMIT failed in a way that leaves its outcome open."""


@dataclass(frozen=True, slots=True)
class _Job:
    command: Command[Any]
    touches: frozenset[str]
    future: Future[Any]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one command: a value, or the error it is answered with."""

    value: object = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Free space, in bytes: below `floor` nothing is written until there is room again."""

    free: Callable[[], int]
    floor: int


class Writer:
    """Carries commands out, in order of arrival. Opened by its constructor; MUST be closed."""

    def __init__(
        self,
        engine: Engine,
        *,
        begin: Callable[[Any], Transaction],
        handle: Callable[[Transaction, Command[Any]], object],
        finish: Callable[[Transaction], None],
        room: Room,
        foreign: Callable[[], None],
        fatal: Fatal,
        waiting: int = WAITING,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._connection = engine.connect()
        self._begin = begin
        self._handle = handle
        self._finish = finish
        self._room = room
        self._foreign = foreign
        self._look_every = look_every
        self._version = data_version(self._connection.connection.driver_connection)
        self._fatal = fatal
        self._scrub = False  # something was erased, and the write-ahead log not emptied since
        self._queue: queue.Queue[_Job | None] = queue.Queue(waiting)
        self._gate = threading.Lock()
        self._stopped: WriterStoppedError | None = None
        self._thread = threading.Thread(target=self._run, name="safehand-writer", daemon=True)
        self._thread.start()

    async def write(self, command: Command[R]) -> R:
        """Carry out one command; answers after the commit. Raises what the command may raise, BusyError, and
        WriterStoppedError. A caller that is cancelled does not undo the command."""
        future = self.submit(command)
        return await asyncio.shield(asyncio.wrap_future(future))

    def submit(self, command: Command[R]) -> Future[R]:
        """Queue one command; the future resolves after the commit."""
        job = _Job(command, command.touches(), Future())
        with self._gate:
            if self._stopped is not None:
                raise self._stopped
            try:
                self._queue.put_nowait(job)
            except queue.Full:
                raise BusyError("too many writes are waiting") from None
        return cast("Future[R]", job.future)

    @property
    def waiting(self) -> int:
        """How many commands wait, about: those under way are not among them."""
        return self._queue.qsize()

    def close(self) -> None:
        """Carry out what is waiting, then let go of the connection."""
        with self._gate:
            closing, self._stopped = self._stopped is None, self._stopped or WriterStoppedError("the store is closed")
        if closing:
            self._queue.put(None)
        self._thread.join()
        self._connection.close()

    # --- everything below runs in the writer's thread

    def _run(self) -> None:
        waiting: deque[_Job] = deque()
        batch: Sequence[_Job] = ()
        try:
            while batch := self._next_batch(waiting):
                for job, outcome in zip(batch, self._carry_out(batch), strict=True):
                    _resolve(job, outcome)
        except _CommitUnknownError as error:
            self._stop(error, [*batch, *waiting])

    def _next_batch(self, waiting: deque[_Job]) -> Sequence[_Job]:
        """Return the longest run of waiting commands that touch different things, or nothing when closed and done."""
        if not waiting:
            job = self._wait()
            if job is None:
                return ()
            waiting.append(job)
        while len(waiting) < BATCH:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._queue.put_nowait(None)  # nothing comes after it: to be read again when all of this is done
                break
            waiting.append(job)
        batch: list[_Job] = []
        touched: set[str] = set()
        while waiting and touched.isdisjoint(waiting[0].touches):
            job = waiting.popleft()
            touched |= job.touches
            batch.append(job)
        return batch

    def _wait(self) -> _Job | None:
        while True:
            try:
                return self._queue.get(timeout=self._look_every)
            except queue.Empty:
                self._look()

    def _look(self) -> bool:
        """Where somebody else wrote, say so. False where that failed: it is tried again before anything is written."""
        try:
            version = data_version(self._connection.connection.driver_connection)
            if version != self._version:
                self._foreign()
                self._version = version
        except Exception:  # noqa: BLE001 - nothing is written before a look succeeds
            return False
        return True

    def _carry_out(self, batch: Sequence[_Job], again: bool = True) -> Sequence[_Outcome]:
        if self._room.free() < self._room.floor:
            return [_Outcome(error=BusyError("too little free space on the disk"))] * len(batch)
        try:
            return self._transact(batch)
        except _CommitUnknownError:
            raise
        except _ForeignWriteError:
            return self._after_foreign_write(batch, again)
        except Exception as error:  # noqa: BLE001 - swallows nothing: it answers the one command that is guilty
            if len(batch) > 1:
                return [outcome for job in batch for outcome in self._carry_out([job], again)]
            return [_Outcome(error=_answerable(error))]

    def _after_foreign_write(self, batch: Sequence[_Job], again: bool) -> Sequence[_Outcome]:
        """What has happened already is kept; what was decided on what was read is decided again by whoever asked. Tried
        `again` once: who keeps writing keeps everything else waiting."""
        looked = self._look()
        settled = [job for job in batch if looked and again and job.command.settled]
        outcomes = dict(zip(map(id, settled), self._carry_out(settled, again=False) if settled else (), strict=True))
        refused = _Outcome(error=StoreChangedError("somebody else wrote to the database"))
        return [outcomes.get(id(job), refused) for job in batch]

    def _transact(self, batch: Sequence[_Job]) -> Sequence[_Outcome]:
        """Carry out the batch in one transaction. Raises, with everything rolled back, where it cannot be whole."""
        transaction = self._connection.begin()
        try:
            self._refuse_foreign_write()
            tx = self._begin(self._connection)
            answers = self._answers(tx, batch)
        except BaseException:
            transaction.rollback()
            raise
        try:
            transaction.commit()
        except DBAPIError as error:
            if error_name(error) != DISK_FULL:
                raise _CommitUnknownError from error
            self._connection.connection.rollback()  # nothing was committed; SQLAlchemy holds the transaction ended
            transaction.close()
            raise
        tx.committed()
        if self._scrub:
            # What was erased must not lie in the write-ahead log; where a reader is in the way, after the next commit.
            self._scrub = not empty_wal(self._connection.connection.driver_connection)
        return [_outcome(answer) for answer in answers]

    def _refuse_foreign_write(self) -> None:
        if data_version(self._connection.connection.driver_connection) != self._version:
            raise _ForeignWriteError

    def _answers(self, tx: Transaction, batch: Sequence[_Job]) -> Sequence[object]:
        answers: list[object] = []
        for job in batch:
            before = tx.changes
            try:
                answers.append(self._handle(tx, job.command))
            except SafehandError as error:
                if tx.changes != before:
                    raise  # it changed something before it refused: only a rollback undoes that
                answers.append(_Outcome(error=error))
        self._finish(tx)
        self._scrub = self._scrub or tx.erased
        return answers

    def _stop(self, error: BaseException, unanswered: list[_Job]) -> None:
        with self._gate:
            self._stopped = WriterStoppedError("the outcome of a commit is unknown")
            while True:
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break
                if job is not None:
                    unanswered.append(job)
        for job in unanswered:
            _resolve(job, _Outcome(error=WriterStoppedError("the outcome of a commit is unknown")))
        self._fatal(error)


def _outcome(answer: object) -> _Outcome:
    match answer:
        case _Outcome():
            return answer
        case AtIndex():
            return _Outcome(value=answer.answer(answer.slot.index))
        case _:
            return _Outcome(value=answer)


def _answerable(error: Exception) -> Exception:
    if isinstance(error, DBAPIError) and error_name(error) == DISK_FULL:
        busy = BusyError("the disk is full")
        busy.__cause__ = error
        return busy
    return error


def _resolve(job: _Job, outcome: _Outcome) -> None:
    if not job.future.set_running_or_notify_cancel():
        return
    if outcome.error is not None:
        job.future.set_exception(outcome.error)
    else:
        job.future.set_result(outcome.value)
