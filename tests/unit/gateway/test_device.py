"""A witness on a device of its own: it remembers across restarts, before it answers, and never goes back."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.errors import BusyError
from gateway.device import (
    CONFLICTS,
    STATE,
    STILL_GOOD,
    ContradictionError,
    Device,
    DeviceError,
    make_device,
    open_device,
)
from gateway.tlog.checkpoint import NoteKey, parse_note
from keys.errors import KeystoreError
from keys.key import Ed25519Secret
from tests.support.independent_log import IndependentLog, cosigned_at
from tests.support.keys import NOW, seed

NAME = "dpo.hants.example/witness"
ORIGIN = "safehand.hants.example/exchange-log/1"
PASSPHRASE = b"an invented passphrase"


def log_key(log: IndependentLog) -> NoteKey:
    return NoteKey(log.origin, Ed25519Secret.from_seed(log.seed).public.raw)


def make_log(count: int = 5, what: str = "entry", label: str = "hants log") -> IndependentLog:
    return IndependentLog(ORIGIN, seed(label), [f"{what} {number}".encode() for number in range(count)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: a keystore costs half a second."""
    folder = tmp_path_factory.mktemp("device") / "witness"
    make_device(folder, NAME, PASSPHRASE)
    with open_device(folder, None) as device:
        device.pin(log_key(make_log()))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "witness"))


@pytest.fixture
def device(folder: Path) -> Iterator[Device]:
    with open_device(folder, PASSPHRASE) as opened:
        yield opened


def test_a_log_that_is_pinned_is_cosigned_as_it_grows(device: Device) -> None:
    log = make_log()
    for old, new in ((0, 5), (5, 9)):
        log.entries = make_log(new).entries
        reply = device.add_checkpoint(log.request(old), NOW)
        assert reply.status == 200
        assert cosigned_at(log.text(), reply.body.decode(), NAME, device.key.public) == NOW


def test_the_same_checkpoint_asked_for_again_is_neither_signed_nor_written(device: Device, folder: Path) -> None:
    """It is public: anybody could have the disk written without end."""
    log = make_log()
    first = device.add_checkpoint(log.request(0), NOW)
    written = (folder / STATE).stat().st_ino
    again = device.add_checkpoint(log.request(5), NOW + STILL_GOOD - 1)
    assert again == first
    assert (folder / STATE).stat().st_ino == written
    later = device.add_checkpoint(log.request(5), NOW + STILL_GOOD)
    assert cosigned_at(log.text(), later.body.decode(), NAME, device.key.public) == NOW + STILL_GOOD


def test_what_was_seen_is_there_after_a_restart(folder: Path) -> None:
    log = make_log()
    with open_device(folder, PASSPHRASE) as device:
        assert device.add_checkpoint(log.request(0), NOW).status == 200
    with open_device(folder, PASSPHRASE) as device:
        reply = device.add_checkpoint(make_log(9).request(0), NOW)
        assert (reply.status, reply.body, reply.media) == (409, b"5\n", "text/x.tlog.size")
        note = device.last_note(hashlib.sha256(ORIGIN.encode()).hexdigest())
        assert note is not None
        assert [one.name for one in parse_note(note).signatures] == [ORIGIN, NAME]


def test_nothing_is_answered_that_could_not_be_kept(device: Device, folder: Path) -> None:
    """The state is a folder now: replacing it fails."""
    (folder / STATE).unlink()
    (folder / STATE).mkdir()
    with pytest.raises(OSError, match=STATE):
        device.add_checkpoint(make_log().request(0), NOW)
    assert device.logs[ORIGIN].note is None


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"", 400),
        (b"old 0\n\nno checkpoint\n", 400),
        (IndependentLog("another.example/log", seed("x"), [b"x"]).request(0), 404),
        (make_log(label="a thief").request(0), 403),
        (make_log(9).request(7), 409),
    ],
)
def test_every_other_request_is_refused(device: Device, request_: bytes, status: int) -> None:
    assert device.add_checkpoint(request_, NOW).status == status


def test_a_second_history_is_refused_and_kept_as_proof(device: Device, folder: Path) -> None:
    device.add_checkpoint(make_log().request(0), NOW)
    other = make_log(what="rewritten")
    assert device.add_checkpoint(other.request(5), NOW).status == 409
    assert device.add_checkpoint(make_log(9, "rewritten").request(5), NOW).status == 422
    (kept,) = (folder / CONFLICTS).iterdir()
    assert kept.read_bytes() == other.note()


def test_a_new_key_of_the_same_log_goes_on_where_the_old_one_was(device: Device) -> None:
    device.add_checkpoint(make_log().request(0), NOW)
    later = make_log(9, label="a new key")
    assert device.add_checkpoint(later.request(5), NOW).status == 403
    device.pin(log_key(later))
    assert device.add_checkpoint(later.request(5), NOW).status == 200


def test_a_note_is_compared_with_what_was_seen_last(device: Device) -> None:
    device.add_checkpoint(make_log().request(0), NOW)
    assert device.compare(make_log().note()).size == 5
    with pytest.raises(ContradictionError):
        device.compare(make_log(what="rewritten").note())
    with pytest.raises(DeviceError, match="export"):
        device.compare(make_log(9).note())
    with pytest.raises(DeviceError):
        device.compare(make_log(label="a thief").note())
    with pytest.raises(DeviceError):
        device.compare(b"no note")


def test_an_older_tree_is_not_cosigned(device: Device) -> None:
    device.add_checkpoint(make_log(9).request(0), NOW)
    with pytest.raises(DeviceError, match="older"):
        device.vouch_for(make_log(5).note(), NOW)


def test_one_process_at_a_time(device: Device, folder: Path) -> None:
    assert device.logs
    with pytest.raises(BusyError), open_device(folder, None):
        pass


def test_without_the_passphrase_nothing_is_cosigned(folder: Path) -> None:
    with open_device(folder, None) as device, pytest.raises(DeviceError):
        device.add_checkpoint(make_log().request(0), NOW)
    with pytest.raises(KeystoreError), open_device(folder, b"another passphrase"):
        pass


def test_a_witness_is_made_once(folder: Path) -> None:
    with pytest.raises(DeviceError, match="already"):
        make_device(folder, NAME, PASSPHRASE)


@pytest.mark.parametrize("name", ["", "a name", "a+b"])
def test_a_name_that_no_note_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DeviceError):
        make_device(tmp_path / "witness", name, PASSPHRASE)


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"{}",
        b'{"v":2,"name":"x","logs":[]}',
        b'{"v":1,"name":"x","logs":[{"keys":[]}]}',
        b'{"v":1,"name":"x","logs":[{"keys":["x"]}]}',
        b'{"v":1,"name":"x","logs":[{}]}',
        b'{"v":1,"name":"x","logs":{}}',
        b'{"v":1,"name":"x","logs":[1]}',
    ],
)
def test_a_state_that_is_not_whole_never_passes_for_an_empty_one(folder: Path, state: bytes) -> None:
    (folder / STATE).write_bytes(state)
    with pytest.raises(DeviceError), open_device(folder, None):
        pass


def test_a_state_that_is_gone_is_not_made_anew(folder: Path) -> None:
    (folder / STATE).unlink()
    with pytest.raises(DeviceError, match="safehand witness init"), open_device(folder, None):
        pass
