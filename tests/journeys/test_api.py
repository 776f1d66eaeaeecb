"""A case system meets a gateway that runs as it would: a token is made by command, used over TLS, and ended."""

from __future__ import annotations

import shutil
import ssl
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from gateway.demo.stage import Council, free_port
from tests.support.api import CaseSystem, raw
from tests.support.operator import Operator
from tests.support.tls import make_ca, make_cert

CREATE = ("token", "create", "--name", "Case system", "--role", "officer", "--scope", "read", "--scope", "protect")
BESIDE_LOOPBACK = "127.1"  # resolves to this machine, and does not say so: a listener there has TLS


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway with an API, and what a client needs to reach it."""

    council: Council
    port: int
    context: ssl.SSLContext

    def client(self, token: str | None) -> CaseSystem:
        return CaseSystem(port=self.port, token=token, context=self.context)


@pytest.fixture(scope="module")
def running(operator: Operator) -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="sh-", dir="/tmp") as name:
        folder, authority = Path(name), make_ca()
        home = folder / "home"
        shutil.copytree(operator.home, home)
        certificate, key = make_cert(authority, folder)
        api, exchange, metrics = free_port(), free_port(), free_port()
        config = home / "config.toml"
        lines = [line for line in config.read_text().splitlines() if not line.startswith("listen = ")]
        head, _, tables = "\n".join(lines).partition("\n[")
        (home / "secrets/tls.crt").write_bytes(certificate.read_bytes())
        (home / "secrets/tls.key").write_bytes(key.read_bytes())
        config.write_text(
            f'{head}\nlisten = "127.0.0.1:{exchange}"\n[{tables}\n[api]\nlisten = "{BESIDE_LOOPBACK}:{api}"\n'.replace(
                "[metrics]\n", f'[metrics]\nlisten = "127.0.0.1:{metrics}"\n'
            )
        )
        council = Council(
            org="la-207",
            name="Council A",
            folder=folder,
            port=exchange,
            metrics=metrics,
            console=Console(quiet=True),
        )
        council.start()
        try:
            trusting = ssl.create_default_context(cafile=str(authority.write(folder)))
            yield Running(council, api, trusting)
        finally:
            council.stop()


async def test_token_made_by_command_is_good_at_once_until_it_is_revoked(running: Running) -> None:
    made = running.council.ask(*CREATE)
    ours = running.client(made["token"])
    assert (await ours.get("/status")).said["organisation"] == "la-207"
    assert (await ours.get("/agreements")).code == "token.scope"
    listed = running.council.ask("token", "list")
    assert [(one["id"], one["state"], one["scopes"]) for one in listed if one["id"] == made["id"]] == [
        (made["id"], "in force", ["protect", "read"])
    ]
    assert made["token"] not in str(listed)
    running.council.run("token", "revoke", made["id"])
    assert (await ours.get("/status")).code == "token.unknown"


async def test_token_in_a_file_is_nobody_else_s_to_read(running: Running) -> None:
    path = running.council.folder / "token"
    said = running.council.run(*CREATE, "--out", str(path))
    text = path.read_text().strip()
    assert text not in said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await running.client(text).get("/status")).status == 200
    running.council.run(*CREATE, "--out", str(path), expect=2)
    assert path.read_text().strip() == text


async def test_child_is_listed_once_for_one_key_over_restarts(running: Running) -> None:
    ours = running.client(running.council.ask(*CREATE)["token"])
    child = {"child": {"upn": "P207000016049"}, "kind": "identity"}
    first = await ours.post("/protection", child, key="list-1")
    running.council.stop()
    running.council.start()
    again = await ours.post("/protection", child, key="list-1")
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert (await ours.get("/protection")).said == {"location": 1, "identity": 1}


async def test_listener_that_is_not_plainly_loopback_speaks_tls_alone(running: Running) -> None:
    assert b"HTTP" not in await raw(running.port, b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n")


def test_log_holds_the_making_and_the_end_of_a_token_and_verifies(running: Running) -> None:
    made = running.council.ask(*CREATE)
    running.council.run("token", "revoke", made["id"])
    running.council.run("token", "revoke", made["id"], expect=4)
    assert running.council.ask("log", "verify")["problems"] == []


@pytest.mark.parametrize(
    ("option", "value"), [("--scope", "everything"), ("--role", "Officer 7"), ("--expires-days", "401")]
)
def test_token_that_would_allow_too_much_is_not_made(operator: Operator, option: str, value: str) -> None:
    assert operator.run(*CREATE, option, value).exit_code == 2


def test_token_s_name_is_no_sentence(operator: Operator) -> None:
    refused = operator.run("token", "create", "--name", "a\nb", "--role", "officer", "--scope", "read")
    assert (refused.exit_code, "token.name" in refused.stderr) == (4, True)


def test_address_that_another_process_has_is_named_by_its_key(running: Running, operator: Operator) -> None:
    """A second gateway on a copy of the home, whose API is to listen where the first one's does."""
    home = running.council.folder / "second"
    shutil.copytree(operator.home, home)
    shutil.copytree(running.council.home.path / "secrets", home / "secrets", dirs_exist_ok=True)
    config = (running.council.home.path / "config.toml").read_text()
    for taken in (running.council.port, running.council.metrics):
        config = config.replace(f'listen = "127.0.0.1:{taken}"', f'listen = "127.0.0.1:{free_port()}"', 1)
    (home / "config.toml").write_text(config)
    refused = operator.serve(home)
    assert (refused.returncode, f"api.listen: cannot listen at {BESIDE_LOOPBACK}" in refused.stderr) == (2, True), (
        refused.stderr
    )
