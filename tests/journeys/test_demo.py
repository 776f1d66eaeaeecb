"""The story of `make demo`, told as a newcomer would see it; and afterwards, what it left behind names nobody."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# What stands in the records that the story sends: the child, the family, addresses, what people wrote.
CANARIES = (
    "Fennimore",
    "Adeyo",
    "Imara",
    "Odile",
    "Tobiah",
    "Robin",
    "Sibling",
    "Quince Lane",
    "Example Street",
    "ZZ99",
    "invented account",
    "KC/2026/0001",
    "2016-03-14",
    "2014-03-12",
    "U207299920016",
)


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[str, Path, subprocess.Popen[str]]]:
    with tempfile.TemporaryDirectory(prefix="sh-") as name:  # a short path: admin sockets lie below it
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", "--keep"],
            env={"TMPDIR": name, "PATH": "", "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "Ctrl-C ends them" in line:
                    break
            yield "".join(lines), Path(name), process
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def test_every_step_comes_out_as_told(told: tuple[str, Path, subprocess.Popen[str]]) -> None:
    text, _, _ = told
    assert "Every step came out as told" in text, text[-3000:]
    assert text.count("  as told\n") == 11
    assert "\x1b[" not in text, "plain where it is no terminal"


def test_what_the_gateways_logged_and_stored_names_nobody(told: tuple[str, Path, subprocess.Popen[str]]) -> None:
    """Bodies lie encrypted, the log holds field names and codes, and standard error holds events."""
    _, folder, _ = told
    looked_at = [
        path
        for council in ("la-207", "la-850")
        for path in folder.glob(f"safehand-demo-*/{council}/**/*")
        if path.is_file()
    ]
    assert {"gateway.log", "safehand.db", "safehand.db-wal"} <= {path.name for path in looked_at}
    for path in looked_at:
        data = path.read_bytes()
        for canary in CANARIES:
            assert canary.encode() not in data, f"{canary} stands in {path.name}"


def test_what_the_demonstration_printed_names_no_value(told: tuple[str, Path, subprocess.Popen[str]]) -> None:
    text, _, _ = told
    for canary in CANARIES:
        assert canary not in text


def test_it_ends_at_ctrl_c_and_leaves_no_process(told: tuple[str, Path, subprocess.Popen[str]]) -> None:
    _, folder, process = told
    sockets = list(folder.glob("safehand-demo-*/*/home/run/admin.sock"))
    assert sockets, "both gateways are still there"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert not [path for path in sockets if path.exists()], "a gateway that stopped takes its socket with it"
