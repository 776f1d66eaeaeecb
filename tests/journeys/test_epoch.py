"""A database is put back from a backup: the gateway does not start, and the log goes on under its next name, for all to see."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import witnessed
from gateway.app import open_exchange
from gateway.home import Home
from gateway.tlog.checkpoint import NoteKey
from keys.listed import Role
from keys.sources.keystore import LOWEST, KeystoreFile
from tests.support.https import authority
from tests.support.operator import PASSPHRASE, Operator, make_cheap
from tests.support.tls import LOOPBACK, make_cert, open_port

FIRST, SECOND = (f"safehand.la-207/exchange-log/{number}" for number in (1, 2))


@dataclass(frozen=True)
class Case:
    """A home of its own, watched by a data protection officer's device that answers over TLS."""

    operator: Operator
    home: Path
    device: Path
    port: int
    tls: tuple[Path, Path]

    def run(self, *arguments: str) -> tuple[int, str]:
        result = self.operator.run(*arguments, home=self.home)
        return result.exit_code, result.output

    def done(self, *arguments: str) -> str:
        status, output = self.run(*arguments)
        assert status == 0, output
        return output

    @property
    def secret(self) -> tuple[str, str]:
        return "--passphrase-file", self.operator.file("passphrase", PASSPHRASE)

    def pin(self, origin: str) -> None:
        """What the officer does when the newest bundle lists a log key: pin it."""
        listed = json.loads(self.done("keys", "list", "--json"))
        kids = {key["kid"] for key in listed if key["role"] == "log"}
        held = Home(self.home).keystore("gateway").load()
        for key in held.keys:
            if key.role == Role.LOG and key.kid in kids:
                vkey = NoteKey(origin, key.secret.public.raw).vkey()
        self.operator.done("witness", "add", str(self.device), vkey)

    def be_witnessed(self) -> list[str]:
        """What the jobs of a running gateway do; return the alarms raised."""
        return asyncio.run(self._be_witnessed())

    async def _be_witnessed(self) -> list[str]:
        with self.serving():
            async with open_exchange(Home(self.home), lambda error: None) as running:
                await running.exchange.sign_log()
                await witnessed.Rounds(running.exchange).round()
                return sorted(running.exchange.told)

    def serving(self) -> subprocess.Popen[str]:
        """The device, in a process of its own; leaving it ends it."""
        certificate, key = self.tls
        listen = ["--listen", f"{LOOPBACK}:{self.port}", "--certificate", str(certificate), "--key", str(key)]
        command = [sys.executable, "-m", "gateway", "witness", "serve", str(self.device), *listen, *self.secret]
        return Served(command, stdout=subprocess.PIPE, text=True)


class Served(subprocess.Popen[str]):
    """Answers by the time it is entered, and is gone when it was left."""

    def __enter__(self) -> Served:
        assert self.stdout is not None
        assert "witnessing" in self.stdout.readline()
        super().__enter__()
        return self

    def __exit__(self, *caught: object) -> None:
        self.terminate()
        super().__exit__(*caught)


@pytest.fixture
def case(operator: Operator) -> Iterator[Case]:
    with tempfile.TemporaryDirectory(prefix="sh-", dir="/tmp") as name:
        folder = Path(name)
        home = Path(shutil.copytree(operator.home, folder / "home"))
        device, passphrase = folder / "device", PASSPHRASE.strip().encode()
        secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
        vkey = json.loads(operator.done("witness", "init", str(device), "--name", "dpo.example/w", *secret, "--json"))[
            "key"
        ]
        keystore = device / "witness.keystore"
        keys = KeystoreFile(keystore, passphrase).load()
        keystore.unlink()
        KeystoreFile(keystore, passphrase, cost=LOWEST).create(keys)
        bound = open_port()
        port = bound.getsockname()[1]
        bound.close()
        authority().write(folder).rename(home / "ca.crt")
        config = (home / "config.toml").read_text()
        config = config.replace("allowed_private = []", f'allowed_private = ["{LOOPBACK}"]\nca_file = "ca.crt"')
        config = config.replace("keys = []", f'keys = ["{vkey} https://{LOOPBACK}:{port}/witness/v1"]')
        (home / "config.toml").write_text(config)
        yield Case(operator, home, device, port, make_cert(authority(), folder))


def interrupt(case: Case, kept: Path) -> None:
    """Put the home back to where the next epoch was in the database alone, and run it until it is about to rename."""

    def killed(home: Home, origin: str) -> None:
        raise OSError("killed")

    home = Home(case.home)
    home.rename_log(FIRST)
    shutil.copy(kept / "log-signer", home.signer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Home, "rename_log", killed)
        assert case.run("log", "new-epoch", "--yes")[0] != 0
    assert not home.signer.exists()  # with the next name in the configuration, nothing would mend it any more
    served = case.operator.serve(case.home)
    assert served.returncode == 3, served.stderr


def test_the_log_goes_on_under_its_next_name(case: Case, tmp_path: Path) -> None:
    case.pin(FIRST)
    assert case.be_witnessed() == []
    assert case.run("log", "new-epoch")[0] == 2  # not without --yes
    with case.serving():
        assert case.run("log", "new-epoch", "--yes")[0] == 4  # no cause

    kept = Path(shutil.copytree(case.home / "data", tmp_path / "kept"))
    for number in (1, 2):
        case.done("log", "export", "--out", str(tmp_path / f"export-{number}"))  # an entry each
    assert case.be_witnessed() == []
    shutil.rmtree(case.home / "data")
    shutil.copytree(kept, case.home / "data")

    with case.serving():
        served = case.operator.serve(case.home)
        assert served.returncode == 3, served.stderr
        assert "log.behind" in served.stderr
        assert "log.behind-witness" in case.run("doctor")[1]
        opened = json.loads(case.done("log", "new-epoch", "--yes", "--by", "A Person", "--json"))
    assert (opened["origin"], opened["witness"]) == (SECOND, "dpo.example/w")
    assert opened["remembered"] > opened["left"]
    interrupt(case, kept)
    case.done("log", "new-epoch", "--yes")
    assert Home(case.home).settings().log_origin == SECOND
    case.done("log", "verify")
    served = case.operator.serve(case.home)
    assert (served.returncode, "keys request" in served.stderr) == (2, True)
    assert "keys.other-epoch" in case.run("doctor")[1]

    request, bundle = (str(tmp_path / name) for name in ("request", "bundle.jws"))
    root = str(case.operator.folder / "root.keystore")
    case.done("keys", "request", "--out", request, *case.secret)
    case.done("root", "sign", request, "--root", root, "--out", bundle, "--yes", *case.secret)
    case.done("keys", "publish", bundle, *case.secret)
    make_cheap(Home(case.home))
    case.pin(SECOND)
    assert case.be_witnessed() == []
    case.done("log", "verify")
    exported = tmp_path / "exported"
    case.done("log", "export", "--out", str(exported))
    case.done("log", "verify", str(exported))
    entries = (exported / "entries.jsonl").read_text().splitlines()
    first = json.loads(entries[opened["left"]])
    assert (first["kind"], first["origin"]) == ("epoch-opened", SECOND)
    assert json.loads(entries[opened["left"] - 1])["origin"] == FIRST
    with case.serving():
        assert case.run("log", "new-epoch", "--yes")[0] == 4
