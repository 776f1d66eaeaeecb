"""Two real gateways in processes of their own, with an agreement in force, the API switched on, a token and a webhook each.

The demonstration's councils, told nothing: for tests that speak to a gateway as a case system does.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gateway.demo.stage import Council, free_port
from gateway.demo.story import Story
from gateway.demo.tls import Authority

MORE = """requests_per_minute = 60000
burst = 10000
failures_per_minute = 1000
[[webhook]]
name = "case-system"
url = "http://127.0.0.1:{webhook_port}/safehand"
secret = "secrets/case-system.whsec"
"""
SCOPES = ("send", "read", "open", "agreements", "protect")


@dataclass(slots=True)
class ApiCouncil(Council):
    """A council whose case system has a token for its API."""

    webhook_port: int = 0  # where its case system may listen

    @property
    def more(self) -> str:
        """The API's limits out of the way of the tests, and a receiver of events."""
        return super(ApiCouncil, self).more + MORE.format(webhook_port=self.webhook_port)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()

    @property
    def webhook_secret(self) -> Path:
        return self.home.secrets / "case-system.whsec"

    def restart(self) -> None:
        """kill -9, and start again."""
        self.kill()
        self.start()

    def make_token(self) -> None:
        scopes = [part for scope in SCOPES for part in ("--scope", scope)]
        file = str(self.token_file.relative_to(self.folder.parent))
        self.run("token", "create", "--name", "case-system", "--role", "officer", *scopes, "--out", file, quiet=True)


Councils = tuple[ApiCouncil, ApiCouncil]


class ApiStory(Story):
    """The demonstration's councils, their API on."""

    def _council(self, org: str, name: str) -> Council:
        folder = self.folder / org
        folder.mkdir()
        ports = {name: free_port() for name in ("port", "metrics", "api_port", "webhook_port")}
        return ApiCouncil(org=org, name=name, folder=folder, console=self.console, **ports)

    def _make_home(self, council: Council, authority: Authority) -> None:
        super()._make_home(council, authority)
        assert isinstance(council, ApiCouncil)
        secret = str(council.webhook_secret.relative_to(self.folder))
        council.run("webhook", "secret", "--out", secret, quiet=True)


@contextmanager
def two_councils() -> Iterator[Councils]:
    """Yield Kensington and Chelsea and Hampshire, introduced, agreed, and running."""
    folder = Path(tempfile.mkdtemp(prefix="sh-", dir="/tmp"))  # short: a socket's path has 107 bytes
    with Path(os.devnull).open("w") as nowhere:
        story = ApiStory(folder, Console(file=nowhere))
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
