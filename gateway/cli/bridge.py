"""How a command reaches the exchange: over the admin socket where a server runs, else by opening the home itself.

A reading act without a server opens the database read-only; a writing one takes the home's lock first. Heavy imports stand
inside the functions: beside a running server a command needs none of them.
"""

from __future__ import annotations

import contextlib
import http
import http.client
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import orjson

from gateway.cli.ending import begin_logging, leave
from gateway.cli.options import check_text
from gateway.core.errors import BusyError, SafehandError, SubmissionRefusedError
from keys.errors import KeysError

_WAIT = 120.0  # seconds for an act beside a running server


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_WAIT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_WAIT)
        self.sock.connect(str(self._path))


def perform(context: click.Context, name: str, arguments: Mapping[str, Any]) -> Any:
    """Carry out one act and return its answer; a refusal ends the process with the problem's exit code."""
    home = context.obj
    for argument, value in arguments.items():
        if isinstance(value, str):
            check_text(value, argument)
    answered = over_socket(home.socket, name, arguments)
    if answered is None:
        begin_logging(context)
        return orjson.loads(_alone(home, name, arguments))
    status, answer = answered
    if status != http.HTTPStatus.OK:
        leave(answer)
    return answer


def over_socket(path: Path, name: str, arguments: Mapping[str, Any]) -> tuple[int, Any] | None:
    """Ask a running server; None where nobody listens on its socket. Raises BusyError where it does not answer."""
    connection = _SocketConnection(path)
    try:
        connection.connect()
    except OSError:
        connection.close()
        return None  # nobody listens
    with contextlib.closing(connection):
        try:
            connection.request("POST", f"/acts/{name}", body=orjson.dumps(arguments))
            with connection.getresponse() as response:
                if response.status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                    raise SubmissionRefusedError("argument.too-large", "request", "larger than the gateway takes")
                return response.status, orjson.loads(response.read())
        except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
            raise BusyError("the running server did not answer") from error


def _alone(home: Any, name: str, arguments: Mapping[str, Any]) -> bytes:
    import asyncio

    return asyncio.run(_act(home, name, arguments))


async def _act(home: Any, name: str, arguments: Mapping[str, Any]) -> bytes:
    import asyncio

    from gateway import acts, app

    if name in acts.READING:
        async with app.open_readonly_exchange(home) as running:
            return await acts.perform(name, arguments, running.exchange)
    failures: list[BaseException] = []
    with home.locked():
        async with app.open_exchange(home, failures.append) as running:
            await asyncio.to_thread(running.comparison.run)  # a row put back, or taken out, must not be decided by
            try:
                return await acts.perform(name, arguments, running.exchange)
            finally:  # what was just logged is in the signer's memory: the database before it cannot be put back unseen
                with contextlib.suppress(SafehandError, KeysError):
                    await running.exchange.sign_log()
