"""The gateway starts on a database that somebody changed: what it refuses, what it says of it, and when it does not start."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pysqlite3
import pytest

from gateway.demo.stage import free_port
from gateway.tlog.entry import parse
from tests.support.operator import Operator
from tests.support.tls import LOOPBACK, make_ca, make_cert

PATIENCE = 60.0  # seconds for a process to end


@pytest.fixture
def home(operator: Operator) -> Iterator[Path]:
    """A copy of the operator's home that can serve, with a child that was protected and taken off again."""
    with tempfile.TemporaryDirectory(prefix="sh-", dir="/tmp") as folder:
        path = Path(folder) / "home"
        shutil.copytree(operator.home, path)
        certificate, key = make_cert(make_ca(), path / "secrets")
        certificate.rename(path / "secrets" / "tls.crt")
        key.rename(path / "secrets" / "tls.key")
        config = path / "config.toml"
        config.write_text(config.read_text().replace("127.0.0.1:8443", f"{LOOPBACK}:{free_port()}"))
        yield path


def ask(home: Path, statement: str) -> list[tuple[object, ...]]:
    connection = pysqlite3.connect(home / "data" / "safehand.db")
    try:
        with connection:
            return [tuple(row) for row in connection.execute(statement).fetchall()]
    finally:
        connection.close()


def serve_and_stop(home: Path) -> str:
    """Serve until requests are taken, then stop; return what was said on stderr."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "--home", str(home), "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving")
        os.kill(process.pid, signal.SIGTERM)
        return process.communicate(timeout=PATIENCE)[1]


def test_an_old_row_put_back_is_refused_alarmed_and_logged_before_anything_is_served(
    operator: Operator, home: Path
) -> None:
    child = operator.file("child.json", json.dumps({"child": {"upn": "A123456789012"}}))
    who = ("--kind", "location", "--by", "Officer One")
    operator.done("protect", "add", child, *who, home=home)
    ((tag, kind, added_at, mac),) = ask(home, "SELECT tag, kind, added_at, mac FROM protection WHERE kind = 'location'")
    operator.done("protect", "remove", child, *who, "--single-person-demo", home=home)
    assert isinstance(tag, bytes)
    assert isinstance(mac, bytes)
    ask(home, f"INSERT INTO protection VALUES (x'{tag.hex()}', '{kind}', {added_at}, x'{mac.hex()}')")  # noqa: S608
    verified = operator.run("log", "verify", "--json", home=home)
    assert verified.exit_code == 3
    assert [p["column"] for p in json.loads(verified.output)["problems"]] == ["protection"]
    said = serve_and_stop(home)
    assert '"alarm": "row-not-as-logged"' in said
    assert tag.hex() not in said
    entries = [parse(entry) for (entry,) in ask(home, "SELECT entry FROM log_entry WHERE kind = 'row-refused'")]
    assert [(entry.outcome, [b.code for b in entry.breaches or ()]) for entry in entries] == [
        ("protection", ["row.unknown"])
    ]


def test_a_used_half_put_back_completes_nothing_at_the_command_line(operator: Operator, home: Path) -> None:
    child = operator.file("child.json", json.dumps({"child": {"upn": "A123456789012"}}))
    off = ("protect", "remove", child, "--kind", "location", "--json", "--by")
    operator.done("protect", "add", child, "--kind", "location", "--by", "Officer One", home=home)
    operator.done(*off, "The First", home=home)
    ((one, act, by, stated_at, mac),) = ask(home, "SELECT id, act, by, stated_at, mac FROM intention")
    assert json.loads(operator.done(*off, "The Second", home=home))["removed"] == 1
    operator.done("protect", "add", child, "--kind", "location", "--by", "Officer One", home=home)
    assert isinstance(act, bytes)
    assert isinstance(mac, bytes)
    used = f"'{one}', x'{act.hex()}', '{by}', {stated_at}, x'{mac.hex()}'"
    ask(home, f"INSERT INTO intention (id, act, by, stated_at, mac) VALUES ({used})")  # noqa: S608 - hex and base64
    verified = operator.run("log", "verify", "--json", home=home)
    assert verified.exit_code == 3
    assert [p["rule"] for p in json.loads(verified.output)["problems"]] == [f"row.unknown: {one}"]
    said = operator.done(*off, "The Second", home=home)
    assert "row-not-as-logged" in said
    assert json.loads(said[said.index("{") :]) == {"confirmed": 1, "removed": 0}
    assert ask(home, "SELECT outcome FROM log_entry WHERE kind = 'row-refused'") == [("intention",)]


def test_serve_refuses_to_start_where_an_opening_of_rows_is_missing(operator: Operator, home: Path) -> None:
    ask(home, "DELETE FROM log_detail WHERE field = 'rows' AND entry_idx = 0")
    refused = operator.serve(home)
    assert refused.returncode == 3
    assert "entry 0" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_erasure_by_command_leaves_a_log_that_verifies(operator: Operator, home: Path) -> None:
    said = operator.run("log", "erase", "--index", "0", "--reason", "retention", "--by", "DPO", "--json", home=home)
    assert said.exit_code in (0, 4), said.output
    child = operator.file("child.json", json.dumps({"child": {"upn": "A123456789012"}}))
    operator.done("protect", "add", child, "--kind", "location", "--by", "Officer One", home=home)
    index = str(json.loads(operator.done("status", "--json", home=home))["counts"]["log.size"] - 1)
    erase = ("log", "erase", "--index", index, "--reason", "retention", "--by", "DPO", "--json")
    assert json.loads(operator.done(*erase, home=home)) == {"entries": 1}
    assert operator.run(*erase, home=home).exit_code == 4
    assert operator.run("log", "verify", home=home).exit_code == 0


def test_erase_wants_one_of_index_and_message(operator: Operator, home: Path) -> None:
    for what in ((), ("--index", "1", "--message", "x")):
        refused = operator.run("log", "erase", *what, "--reason", "retention", "--by", "DPO", home=home)
        assert refused.exit_code == 2


def test_a_gateway_that_cannot_say_any_more_which_rows_stand_stops(home: Path) -> None:
    """As it would not start: without the opening of its rows an entry that revokes says nothing."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "--home", str(home), "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving")
        ask(home, "DELETE FROM log_detail WHERE field = 'rows'")
        said = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 3, said
        assert "nobody can say which rows stand" in said
