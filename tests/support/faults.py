"""A bad line: it passes bytes on to a listener, slowly, in part, or not at all. TLS goes through it unread.

Each new connection meets the next of the faults that were asked for; when there are none left, the line is a good one.
It runs in a thread of its own, so that processes on both sides can be driven and killed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from types import TracebackType

from tests.support.tls import LOOPBACK

REQUEST = 8_000  # bytes from a client: a TLS handshake has about 2,000, with a message about 12,000
ANSWER = 4_000  # bytes of what follows: session tickets have a few hundred, a receipt has 7,000
PATIENCE = 30.0  # seconds for the thread to start and to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one connection: after `request` bytes from the client, or after `answer` bytes of the answer to a
    whole message (once the listener surely gave one), both ends are reset; a `silent` one stays open and passes nothing.
    `latency` in seconds, on every piece."""

    name: str
    latency: float = 0.0
    request: int | None = None
    answer: int | None = None
    silent: bool = False


GOOD = Fault(name="good")


class _OverError(Exception):
    """One end hung up: the connection ends, with all that was said."""


class _ResetError(Exception):
    """The fault happens."""


@dataclass(slots=True)
class Line:
    """A line to `target`, a port of loopback that may be known later. `met` counts the faults that happened, by name."""

    target: int = 0
    port: int = 0
    met: Counter[str] = field(default_factory=Counter)
    _coming: deque[Fault] = field(default_factory=deque)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _ready: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None

    def __enter__(self) -> Line:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="line")
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)

    def meet(self, *faults: Fault) -> None:
        """Reset every connection; the next ones meet these faults, one each."""

        def change() -> None:
            self._coming.extend(faults)
            for writer in self._open:
                _reset(writer)

        assert self._loop is not None
        self._loop.call_soon_threadsafe(change)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, LOOPBACK, 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()
            for writer in self._open:
                _reset(writer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._coming.popleft() if self._coming else GOOD
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            _reset(writer)  # nobody listens
            return
        self._open |= {writer, far_writer}
        passing = _Passing(fault, self.met)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(passing.up(reader, far_writer), name="up")
                both.create_task(passing.down(far_reader, writer), name="down")
        except* (_OverError, OSError):
            pass
        except* _ResetError:
            _reset(writer)
            _reset(far_writer)
        finally:
            self._open -= {writer, far_writer}
            for end in (writer, far_writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()


@dataclass(slots=True)
class _Passing:
    """One connection: what has passed, and when it is enough."""

    fault: Fault
    met: Counter[str]
    sent: int = 0
    answered: int = 0
    happened: bool = False

    async def up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = self.fault.request
        while data := await reader.read(65_536):
            await self._late()
            passed = data if limit is None else data[: max(0, limit - self.sent)]
            self.sent += len(data)
            await _pass_on(passed, writer)
            if limit is not None and self.sent >= limit:
                self._happen()
        raise _OverError

    async def down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = self.fault.answer
        while data := await reader.read(65_536):
            await self._late()
            if limit is None or self.sent < REQUEST:
                await _pass_on(data, writer)
                continue
            passed = data[: max(0, limit - self.answered)]
            self.answered += len(data)
            await _pass_on(passed, writer)
            if self.answered >= ANSWER:
                self._happen()
        raise _OverError

    async def _late(self) -> None:
        if self.fault.latency:
            self._count()
            await asyncio.sleep(self.fault.latency)

    def _happen(self) -> None:
        self._count()
        if not self.fault.silent:
            raise _ResetError

    def _count(self) -> None:
        if not self.happened:
            self.happened = True
            self.met[self.fault.name] += 1


async def _pass_on(data: bytes, writer: asyncio.StreamWriter) -> None:
    if data:
        writer.write(data)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST, and nothing that still waits to be sent."""
    with contextlib.suppress(OSError):
        end: socket.socket = writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
