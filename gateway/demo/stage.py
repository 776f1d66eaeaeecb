"""The stage of the demonstration: two homes, their processes, the commands as an operator types them, and what is expected.

Everything is done with the command `safehand` in processes of its own; the burst alone speaks to the admin socket, because
forty commands would measure the start of Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from gateway.cli.bridge import over_socket
from gateway.core.errors import BusyError
from gateway.home import Home

_PATIENCE = 90.0  # seconds for something that must happen
_GLANCE = 0.1
_LOWEST_PORT, _PORTS = 20_000, 12_000


class NotAsToldError(Exception):
    """A step of the story came out otherwise than told."""


@dataclass(slots=True)
class Council:
    """One council's gateway: its home, its address, and its process while it runs."""

    org: str
    name: str
    folder: Path
    port: int
    console: Console
    metrics: int = field(default_factory=lambda: free_port())
    api_port: int = field(default_factory=lambda: free_port())
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def more(self) -> str:
        """What stands in `config.toml` besides what `init` writes."""
        return f'[api]\nlisten = "127.0.0.1:{self.api_port}"\n'

    @property
    def passphrase(self) -> Path:
        return self.folder / "passphrase"

    @property
    def secret(self) -> tuple[str, str]:
        """The option with which a command opens the agreement or root keystore."""
        return ("--passphrase-file", f"{self.org}/passphrase")

    def run(self, *arguments: str, expect: int = 0, quiet: bool = False) -> str:
        """Run a command of this council's operator, in the folder of the demonstration, and return what it printed; the exit code must be as expected."""
        if not quiet:
            self.console.print(
                f"  [dim]{self.org}$[/] safehand {shlex.join(arguments)}", highlight=False, soft_wrap=True
            )
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "gateway", "--home", str(self.home.path), *arguments],
            cwd=self.folder.parent,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        if done.returncode != expect:
            self.console.print(done.stdout + done.stderr, markup=False, highlight=False)
            raise NotAsToldError(f"exit code {done.returncode}, expected {expect}")
        return done.stdout + (done.stderr if expect else "")

    def ask(self, *arguments: str, quiet: bool = True) -> Any:
        """Run a reading command with --json."""
        return json.loads(self.run(*arguments, "--json", quiet=quiet))

    def act(self, name: str, **arguments: Any) -> Any:
        """Ask the running gateway over its socket, as a command would."""
        try:
            answered = over_socket(self.home.socket, name, arguments)
        except BusyError:
            answered = None  # it went while an answer was waited for
        if answered is None or answered[0] != 200:
            raise NotAsToldError(f"{name} was not answered: {answered and answered[1].get('code')}")
        return answered[1]

    def start(self) -> None:
        """Start the gateway and wait until it takes requests."""
        log = (self.folder / "gateway.log").open("ab")
        with log:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "gateway", "--home", str(self.home.path), "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None  # noqa: S101 - asked for above
        if not self.process.stdout.readline().startswith(b"serving"):
            raise NotAsToldError(f"the gateway of {self.org} did not start: see {self.folder / 'gateway.log'}")

    def kill(self) -> None:
        """kill -9: no warning, no last word."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self._gone()

    def stop(self) -> None:
        """Ask the gateway to stop, and wait for it."""
        if self.process is not None:
            self.process.terminate()
            self._gone()

    def _gone(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.wait(_PATIENCE)
            if process.stdout is not None:
                process.stdout.close()


def wait_for(what: str, look: Callable[[], bool]) -> None:
    """Look until it is so, or the patience is at an end."""
    until = time.monotonic() + _PATIENCE
    while not look():
        if time.monotonic() > until:
            raise NotAsToldError(f"waited in vain: {what}")
        time.sleep(_GLANCE)


def free_port() -> int:
    """A loopback port that nobody listens on now, below those that the system gives to outgoing connections meanwhile."""
    while True:
        port = _LOWEST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def expect(condition: bool, what: str) -> None:
    """The story goes on only if it is as told."""
    if not condition:
        raise NotAsToldError(what)
