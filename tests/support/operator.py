"""An operator who types commands: a home of its own, keys published by a root of its own, keystores at the lowest cost."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from gateway.cli.main import main
from gateway.home import Home
from keys.sources.keystore import LOWEST, KeystoreFile, read_passphrase

PASSPHRASE = "an invented passphrase\n"
CANARY = "Zebulonia"


@dataclass(frozen=True)
class Operator:
    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, *arguments: str, home: Path | None = None) -> Result:
        return CliRunner().invoke(main, ["--home", str(home or self.home), *arguments])

    def serve(self, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """In a process of its own: a server sets up logging for all of the process it runs in."""
        return self.process("serve", home=home)

    def process(self, *arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """In a process of its own, as typed: with the logging of a command."""
        command = [sys.executable, "-m", "gateway", "--home", str(home or self.home), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def done(self, *arguments: str, home: Path | None = None) -> str:
        result = self.run(*arguments, home=home)
        assert result.exit_code == 0, result.output
        return result.stdout

    def ask(self, *arguments: str) -> Any:
        return json.loads(self.done(*arguments, "--json"))

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def init(self, home: Path) -> Result:
        return self.run(
            "init", "--org", "la-207", "--name", "Council A", "--public-url", "https://a.example",
            "--passphrase-file", self.file("passphrase", PASSPHRASE), home=home,
        )  # fmt: skip


def make_cheap(home: Home) -> None:
    """Write the keystores again at the lowest cost, as every command below opens them."""
    for name in ("gateway", "index"):
        keys, path = home.keystore(name).load(), home.secrets / f"{name}.keystore"
        path.unlink()
        KeystoreFile(path, read_passphrase(home.secrets / f"{name}.pass"), cost=LOWEST).create(keys)
