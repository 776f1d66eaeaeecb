"""Two real gateways in processes of their own, with an agreement in force, the API switched on and a token each.

The demonstration's councils, told nothing: for tests that speak to a gateway as a case system does.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gateway.demo.stage import Council, free_port
from gateway.demo.story import Story
from gateway.demo.tls import Authority

API = """
[api]
listen = "127.0.0.1:{port}"
requests_per_minute = 60000
burst = 10000
failures_per_minute = 1000
"""
SCOPES = ("send", "read", "open", "agreements", "protect")


@dataclass(slots=True)
class ApiCouncil(Council):
    """A council whose case system has a token for its API."""

    api_port: int = 0

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()

    def make_token(self) -> None:
        scopes = [part for scope in SCOPES for part in ("--scope", scope)]
        file = str(self.token_file.relative_to(self.folder.parent))
        self.run("token", "create", "--name", "case-system", "--role", "officer", *scopes, "--out", file, quiet=True)


More = Callable[[ApiCouncil], str]


class ApiStory(Story):
    """The demonstration's councils, their API on; `more` is added to the configuration of each (TOML)."""

    def __init__(self, folder: Path, console: Console, more: More) -> None:
        self._more = more
        super().__init__(folder, console)

    def _council(self, org: str, name: str) -> Council:
        folder = self.folder / org
        folder.mkdir()
        return ApiCouncil(
            org=org, name=name, folder=folder, port=free_port(), console=self.console, api_port=free_port()
        )

    def _make_home(self, council: Council, authority: Authority) -> None:
        super()._make_home(council, authority)
        assert isinstance(council, ApiCouncil)
        config = council.home.config
        text = config.read_text().replace("127.0.0.1:9464", f"127.0.0.1:{free_port()}")
        api = API.format(port=council.api_port)
        config.write_text(text + api + self._more(council))


@contextmanager
def two_councils(more: More = lambda _: "") -> Iterator[tuple[ApiCouncil, ApiCouncil]]:
    """Yield Kensington and Chelsea and Hampshire, introduced, agreed, and running."""
    folder = Path(tempfile.mkdtemp(prefix="sh-", dir="/tmp"))  # short: a socket's path has 107 bytes
    with Path(os.devnull).open("w") as nowhere:
        story = ApiStory(folder, Console(file=nowhere), more)
        try:
            story.set_up()
            story.introduce()
            story.agree()
            kc, hants = story.kc, story.hants
            assert isinstance(kc, ApiCouncil)
            assert isinstance(hants, ApiCouncil)
            for council in (kc, hants):
                council.make_token()
            yield kc, hants
        finally:
            for council in story.both:
                council.stop()
            shutil.rmtree(folder)
