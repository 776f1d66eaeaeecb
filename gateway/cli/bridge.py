"""How a command reaches the exchange: over the admin socket where a server runs, else by opening the home itself.

A reading act without a server opens the database read-only; a writing one takes the home's lock first. Heavy imports stand
inside the functions: beside a running server a command needs none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from gateway.cli.output import EXIT_FAULT, leave

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


def perform(context: click.Context, name: str, arguments: Mapping[str, Any], *, as_json: bool = False) -> Any:
    """Carry out one act and return its answer; ends the process with the problem's exit code where it is refused."""
    home = context.obj
    status, answer = over_socket(home.socket, name, arguments) or _alone(home, name, arguments)
    if status != 200:
        leave(answer, as_json=as_json)
    return answer


def over_socket(path: Path, name: str, arguments: Mapping[str, Any]) -> tuple[int, Any] | None:
    """Ask a running server; None where nobody listens on its socket."""
    connection = _SocketConnection(path)
    try:
        connection.connect()
    except OSError:
        connection.close()
        return None  # nobody listens
    with contextlib.closing(connection):
        try:
            connection.request("POST", f"/acts/{name}", body=orjson.dumps(arguments))
            response = connection.getresponse()
            return response.status, orjson.loads(response.read())
        except (OSError, http.client.HTTPException, orjson.JSONDecodeError):
            click.echo("safehand: the running server did not answer: try again", err=True)
            sys.exit(75)


def _alone(home: Any, name: str, arguments: Mapping[str, Any]) -> tuple[int, Any]:
    from gateway.web.problems import problem_of

    try:
        return 200, orjson.loads(asyncio.run(_act(home, name, arguments)))
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        return problem.status, problem.members()


async def _act(home: Any, name: str, arguments: Mapping[str, Any]) -> bytes:
    from gateway import acts, app

    if name in acts.READING:
        async with app.open_readonly_exchange(home) as running:
            return await acts.perform(name, arguments, running.exchange)
    failures: list[BaseException] = []
    with home.locked():
        async with app.open_exchange(home, failures.append) as running:
            return await acts.perform(name, arguments, running.exchange)


def fail(text: str, code: int = EXIT_FAULT) -> NoReturn:
    """End with a plain sentence on standard error."""
    click.echo(f"safehand: {text}", err=True)
    sys.exit(code)
