"""An operator sets a webhook up: what is wrong with it is named with file, key and rule, and the secret is never told."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.operator import Operator


class Answering(BaseHTTPRequestHandler):
    """Answers the status that its path names."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(int(self.path.strip("/")))
        for name, value in (("Content-Length", "0"), ("Location", "/204")):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def secret(operator: Operator) -> Iterator[Path]:
    path = operator.home / "secrets" / "hook.whsec"
    said = operator.done("webhook", "secret", "--out", str(path))
    assert path.read_text().strip() not in said
    yield path
    path.unlink()


@contextmanager
def configured(operator: Operator, **keys: str) -> Iterator[None]:
    """The operator's configuration with one more table."""
    config = operator.home / "config.toml"
    before = config.read_text()
    values = {"name": "hook", "url": "http://127.0.0.1:9/", "secret": "secrets/hook.whsec", **keys}
    config.write_text(before + "\n[[webhook]]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items()))
    try:
        yield
    finally:
        config.write_text(before)


def test_a_secret_is_for_its_owner_and_never_made_over_another(operator: Operator, secret: Path) -> None:
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    before = secret.read_bytes()
    assert before.startswith(b"whsec_")
    again = operator.run("webhook", "secret", "--out", str(secret))
    assert again.exit_code == 2
    assert secret.read_bytes() == before


def test_a_ping_is_told_as_it_was_answered(operator: Operator, secret: Path, receiver: str) -> None:
    with configured(operator, url=f"{receiver}/204"):
        assert operator.ask("webhook", "test", "hook") == {
            "webhook": "hook",
            "taken": True,
            "outcome": "answered.204",
        }


@pytest.mark.parametrize("status", [302, 401, 500])
def test_a_ping_that_is_not_taken_ends_as_temporary(
    operator: Operator, secret: Path, receiver: str, status: int
) -> None:
    with configured(operator, url=f"{receiver}/{status}"):
        told = operator.run("webhook", "test", "hook", "--json")
    assert told.exit_code == 75
    assert json.loads(told.stdout)["outcome"] == f"answered.{status}"


def test_an_unknown_webhook_is_refused_by_name(operator: Operator) -> None:
    assert operator.run("webhook", "test", "nobody").exit_code == 4


def test_a_secret_that_others_can_read_is_refused_with_file_key_and_rule(operator: Operator, secret: Path) -> None:
    secret.chmod(0o640)
    with configured(operator):
        refused = operator.run("webhook", "test", "hook")
        served = operator.serve()
    assert (refused.exit_code, served.returncode) == (2, 2)
    for said in (refused.output, served.stderr):
        assert "config.toml: webhook[0].secret: hook.whsec: is open to its group or to others" in said


@pytest.mark.parametrize("text", ["", "whsec_short", "not a secret at all"])
def test_what_is_no_secret_is_refused_and_not_repeated(operator: Operator, secret: Path, text: str) -> None:
    secret.write_text(text)
    with configured(operator):
        refused = operator.run("webhook", "test", "hook")
    assert refused.exit_code == 2
    assert "webhook[0].secret" in refused.output
    assert not text or text not in refused.output


def test_a_missing_file_of_authorities_is_named(operator: Operator, secret: Path) -> None:
    with configured(operator, ca_file="secrets/none.crt"):
        refused = operator.run("webhook", "test", "hook")
    assert refused.exit_code == 2
    assert "config.toml: webhook[0].ca_file" in refused.output
