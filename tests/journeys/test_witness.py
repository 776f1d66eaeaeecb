"""A data protection officer's own witness, typed: it pins the log, cosigns what continues it, and finds what does not."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.peer import PeerAdapter
from gateway.tlog.checkpoint import NoteKey
from keys.sources.keystore import LOWEST, KeystoreFile
from tests.support.https import authority
from tests.support.independent_log import IndependentLog, cosigned_at
from tests.support.keys import seed
from tests.support.operator import PASSPHRASE, Operator
from tests.support.tls import LOOPBACK, make_cert

NAME = "dpo.la-207.example/witness"
LOG = IndependentLog("safehand.la-299.example/exchange-log/1", seed("la-299 log"), [b"one", b"two", b"three"])


@pytest.fixture
def home(operator: Operator, tmp_path: Path) -> Path:
    """A home of its own, to be put back and rewritten."""
    return Path(shutil.copytree(operator.home, tmp_path / "home"))


@pytest.fixture(scope="module")
def made(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A witness's folder, its keystore written again at the lowest cost."""
    folder = tmp_path_factory.mktemp("dpo") / "witness"
    operator.done("witness", "init", str(folder), "--name", NAME, *secret(operator))
    path, passphrase = folder / "witness.keystore", PASSPHRASE.strip().encode()
    keys = KeystoreFile(path, passphrase).load()
    path.unlink()
    KeystoreFile(path, passphrase, cost=LOWEST).create(keys)
    return folder


@pytest.fixture
def device(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "witness"))


def secret(operator: Operator) -> tuple[str, str]:
    return "--passphrase-file", operator.file("witness-passphrase", PASSPHRASE)


def export(operator: Operator, home: Path, out: Path) -> Path:
    operator.done("log", "export", "--out", str(out), home=home)
    return out


def check(operator: Operator, device: Path, shown: Path) -> tuple[int, str]:
    result = operator.run("witness", "check", str(device), str(shown), *secret(operator))
    return result.exit_code, result.output


def pin(operator: Operator, device: Path, exported: Path) -> None:
    vkey = (exported / "log.vkey").read_text().split("\n")[0]
    operator.done("witness", "add", str(device), vkey)


def newest_note(exported: Path) -> Path:
    return max((exported / "checkpoints").iterdir(), key=lambda path: int(path.stem))


def test_an_export_that_continues_what_was_seen_is_cosigned(
    operator: Operator, home: Path, device: Path, tmp_path: Path
) -> None:
    first = export(operator, home, tmp_path / "first")
    assert check(operator, device, first)[0] == 4  # not pinned yet
    pin(operator, device, first)
    for exported in (first, export(operator, home, tmp_path / "second")):
        status, output = check(operator, device, exported)
        assert status == 0, output
        (line,) = re.findall(r"^\u2014 .*\n", output, re.MULTILINE)
        text = newest_note(exported).read_text().rpartition("\n\n")[0] + "\n"
        assert cosigned_at(text, line, NAME, public_of(device)) is not None
        (listed,) = json.loads(operator.done("witness", "list", str(device), "--json"))
        assert listed["seen"] == int(newest_note(exported).stem)
    status, output = check(operator, device, newest_note(tmp_path / "second"))
    assert (status, "very log" in output) == (0, True)
    assert check(operator, device, first)[0] == 4  # older than what was seen


def test_a_home_put_back_shows_another_history(operator: Operator, home: Path, device: Path, tmp_path: Path) -> None:
    """Everything in the second export is signed by the right keys, and verifies by itself."""
    pin(operator, device, export(operator, home, tmp_path / "kept"))
    kept = Path(shutil.copytree(home, tmp_path / "put-back"))
    assert check(operator, device, export(operator, home, tmp_path / "seen"))[0] == 0
    export(operator, kept, tmp_path / "in-between")
    other = export(operator, kept, tmp_path / "other")
    operator.done("log", "verify", str(other))
    status, output = check(operator, device, other)
    assert (status, "seen last" in output) == (3, True)
    alike = next(path for path in (other / "checkpoints").iterdir() if path.stem == newest_note(tmp_path / "seen").stem)
    assert check(operator, device, alike)[0] == 3
    assert list((device / "conflicts").iterdir())


def test_an_export_with_a_changed_byte_is_not_cosigned(
    operator: Operator, home: Path, device: Path, tmp_path: Path
) -> None:
    exported = export(operator, home, tmp_path / "exported")
    pin(operator, device, exported)
    data = bytearray((exported / "entries.jsonl").read_bytes())
    data[20] ^= 1
    (exported / "entries.jsonl").write_bytes(data)
    assert check(operator, device, exported)[0] == 3
    assert '"note"' not in (device / "witness.json").read_text()


def test_what_cannot_be_a_key_is_refused(operator: Operator, device: Path) -> None:
    assert operator.run("witness", "add", str(device), "no key").exit_code == 4
    assert operator.run("witness", "list", str(device.parent / "nothing")).exit_code == 4
    assert operator.run("witness", "serve", str(device), "--listen", "0.0.0.0:0", *secret(operator)).exit_code == 2


@pytest.fixture
def served(operator: Operator, device: Path, tmp_path: Path) -> Iterator[str]:
    """The device answering over TLS in a process of its own, to la-299; its address."""
    certificate, key = make_cert(authority(), tmp_path)
    public = LOG.secret.public_key().public_bytes_raw()
    operator.done("witness", "add", str(device), NoteKey(LOG.origin, public).vkey())
    options = ["--listen", f"{LOOPBACK}:0", "--certificate", str(certificate), "--key", str(key), *secret(operator)]
    command = [sys.executable, "-m", "gateway", "witness", "serve", str(device), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            yield f"https://{LOOPBACK}:{said.rpartition(' ')[2].strip()}/witness/v1"
        finally:
            process.terminate()
            process.wait(30)


def test_gateways_ask_it_as_they_ask_each_other(device: Path, served: str, tmp_path: Path) -> None:
    ca_file = authority().write(tmp_path)
    one, two = (IndependentLog(LOG.origin, LOG.seed, LOG.entries[:size]) for size in (2, 3))

    async def ask() -> list[tuple[int, bytes]]:
        peer = PeerAdapter(sign=lambda *_: {}, ca_file=ca_file, allowed_private=(ipaddress.ip_network(LOOPBACK),))
        try:
            replies = [
                await peer.add_checkpoint(served, body) for body in (one.request(0), two.request(0), two.request(2))
            ]
            return [(reply.status, reply.body) for reply in replies]
        finally:
            await peer.close()

    first, stale, second = asyncio.run(ask())
    assert (first[0], stale, second[0]) == (200, (409, b"2\n"), 200)
    assert cosigned_at(two.text(), second[1].decode(), NAME, public_of(device)) is not None


def public_of(device: Path) -> bytes:
    held = KeystoreFile(device / "witness.keystore", PASSPHRASE.strip().encode()).load()
    return held.keys[0].secret.public.raw
