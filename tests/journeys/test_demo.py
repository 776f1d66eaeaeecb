"""The story of `make demo`, told as a newcomer would see it; and afterwards, what it left behind names nobody."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.canary import by_chance

# What stands in the records that the story sends: the child, the family, addresses, what people wrote.
CANARIES = (
    "Fennimore",
    "Adeyemisola",
    "Imaradonna",
    "Odilettina",
    "Tobiahtine",
    "Robinetta",
    "Sibling",
    "Quince Lane",
    "Example Street",
    "ZZ99 3",
    "invented account",
    "KC/2026/0001",
    "2016-03-14",
    "2014-03-12",
    "U207299920016",
)


@dataclass(frozen=True)
class Told:
    """What the story printed, and every file of both councils as it was while both gateways still ran."""

    text: str
    files: dict[Path, bytes] = field(repr=False)
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
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
            found = Path(name).glob("safehand-demo-*/la-*/**/*")
            yield Told(
                text="".join(lines),
                files={path: path.read_bytes() for path in found if path.is_file()},
                process=process,
            )
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=150)


@pytest.mark.parametrize("canary", CANARIES)
def test_what_is_searched_for_stands_in_no_signature_by_chance(canary: str) -> None:
    assert by_chance(canary) < 1e-10


def test_every_step_comes_out_as_told(told: Told) -> None:
    assert "Every step came out as told" in told.text, told.text[-3000:]
    assert told.text.count("  as told\n") == 15
    assert "\x1b[" not in told.text, "plain where it is no terminal"


def test_what_the_gateways_logged_and_stored_names_nobody(told: Told) -> None:
    """Bodies lie encrypted, the log holds field names and codes, and standard error holds events."""
    assert {"gateway.log", "safehand.db", "safehand.db-wal"} <= {path.name for path in told.files}
    for path, data in told.files.items():
        for canary in CANARIES:
            assert canary.encode() not in data, f"{canary} stands in {path.name}"
            assert canary not in str(path)


def test_what_the_demonstration_printed_names_no_value(told: Told) -> None:
    for canary in CANARIES:
        assert canary not in told.text


def test_it_ends_at_ctrl_c_and_leaves_no_process(told: Told) -> None:
    sockets = [path.parents[1] / "run" / "admin.sock" for path in told.files if path.name == "safehand.db"]
    assert len(sockets) == 2
    told.process.send_signal(signal.SIGINT)
    assert told.process.wait(timeout=150) == 0
    assert not [path for path in sockets if path.exists()], "a gateway that stopped takes its socket with it"
