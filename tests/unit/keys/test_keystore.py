"""Keystore files: what is on disk, who may read it, and what happens to a file that is not as it was written."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nacl.bindings
import nacl.pwhash
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keys import base64url
from keys.errors import KeystoreError
from keys.key import Ed25519Secret, XWingSecret
from keys.keyset import KeySet, StoredKey
from keys.sources.keystore import FILE_LIMIT, HIGHEST, LOWEST, STANDARD, Cost, KeystoreFile, read_passphrase

PASSPHRASE = b"an invented passphrase"
ED = StoredKey("http", Ed25519Secret.from_seed(b"\x11" * 32))
SET = KeySet(keys=(ED,), secrets={"append": b"\x22" * 32})
MEMBERS = ["v", "format", "kdf", "memory", "passes", "salt", "cipher", "nonce", "ciphertext", "sha256"]


def make_file(folder: Path, *, passphrase: bytes = PASSPHRASE, cost: Cost = LOWEST) -> KeystoreFile:
    return KeystoreFile(folder / "gateway.keystore", passphrase, cost=cost)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    make_file(tmp_path).create(SET)
    return tmp_path / "gateway.keystore"


def refused(folder: Path, code: str, *, passphrase: bytes = PASSPHRASE) -> str:
    with pytest.raises(KeystoreError) as caught:
        make_file(folder, passphrase=passphrase).load()
    assert caught.value.code == code
    return str(caught.value)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the file and make its checksum right again: what a person with the disk could do."""
    outer = json.loads(path.read_bytes())
    del outer["sha256"]
    change(outer)
    data = json.dumps(outer, separators=(",", ":")).encode()
    path.write_bytes(data[:-1] + b',"sha256":"' + hashlib.sha256(data[:-1]).hexdigest().encode() + b'"}')


def seal(inner: bytes) -> Callable[[dict[str, Any]], object]:
    """Put other contents under the right passphrase."""

    def change(outer: dict[str, Any]) -> None:
        salt, nonce = base64url.decode(outer["salt"]), base64url.decode(outer["nonce"])
        key = nacl.pwhash.argon2id.kdf(32, PASSPHRASE, salt, opslimit=outer["passes"], memlimit=outer["memory"])
        outer["ciphertext"] = base64url.encode(nacl.bindings.crypto_secretbox(inner, nonce, key))

    return change


def test_file_has_the_documented_members_and_no_secret(path: Path) -> None:
    data = path.read_bytes()
    outer = json.loads(data)
    assert list(outer) == MEMBERS
    assert json.dumps(outer, separators=(",", ":")).encode() == data
    assert (outer["v"], outer["format"], outer["kdf"], outer["cipher"]) == (
        1,
        "safehand-keystore",
        "argon2id",
        "xsalsa20-poly1305",
    )
    assert base64url.encode(ED.secret.seed).encode() not in data
    assert ED.kid.encode() not in data


def test_file_opens_without_this_code_as_the_module_text_says(path: Path) -> None:
    outer = json.loads(path.read_bytes())
    key = nacl.pwhash.argon2id.kdf(
        32, PASSPHRASE, base64url.decode(outer["salt"]), opslimit=outer["passes"], memlimit=outer["memory"]
    )
    inner = nacl.bindings.crypto_secretbox_open(
        base64url.decode(outer["ciphertext"]), base64url.decode(outer["nonce"]), key
    )
    assert json.loads(inner) == {
        "keys": [{"role": "http", "alg": "Ed25519", "seed": base64url.encode(b"\x11" * 32), "kid": ED.kid}],
        "secrets": {"append": base64url.encode(b"\x22" * 32)},
    }


def test_standard_cost_is_256_mib_and_3_passes_and_is_the_default(tmp_path: Path) -> None:
    assert Cost(memory=256 * 1024 * 1024, passes=3) == STANDARD
    source = KeystoreFile(tmp_path / "gateway.keystore", PASSPHRASE)
    source.create(SET)
    outer = json.loads((tmp_path / "gateway.keystore").read_bytes())
    assert (outer["memory"], outer["passes"]) == (256 * 1024 * 1024, 3)


def test_every_write_has_its_own_salt_and_nonce(path: Path) -> None:
    first = json.loads(path.read_bytes())
    make_file(path.parent).replace(SET)
    second = json.loads(path.read_bytes())
    assert all(first[name] != second[name] for name in ("salt", "nonce", "ciphertext"))


def test_replacing_raises_the_cost_to_the_present_one(path: Path) -> None:
    make_file(path.parent, cost=Cost(memory=16 * 1024, passes=2)).replace(SET)
    outer = json.loads(path.read_bytes())
    assert (outer["memory"], outer["passes"]) == (16 * 1024, 2)


def test_file_is_private_whatever_the_mask_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        source = make_file(tmp_path)
        source.create(SET)
        source.replace(SET)
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_a_crash_left_beside_the_file_goes_with_the_next_write(path: Path) -> None:
    left = path.with_name(".gateway.keystore.new")
    left.write_bytes(b"half a file")
    make_file(path.parent).replace(SET)
    assert not left.exists()
    assert make_file(path.parent).load() == SET


def test_write_cut_off_leaves_the_old_set(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeystoreError) as caught:
        make_file(path.parent).replace(KeySet(keys=(), secrets={}))
    assert caught.value.code == "keystore.io"
    assert list(path.parent.iterdir()) == [path]
    assert make_file(path.parent).load() == SET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601, 0o644])
def test_file_open_to_group_or_others_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert "gateway.keystore" in refused(path.parent, "keystore.permissions")


def test_link_to_a_keystore_is_refused(path: Path, tmp_path: Path) -> None:
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(tmp_path, "keystore.permissions")


def test_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    refused(path.parent, "keystore.permissions")


def test_folder_or_pipe_in_its_place_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "gateway.keystore"
    os.mkfifo(path, 0o600)
    refused(tmp_path, "keystore.permissions")
    path.unlink()
    path.mkdir(mode=0o700)
    refused(tmp_path, "keystore.permissions")


def test_wrong_passphrase_is_told_from_a_damaged_file(path: Path) -> None:
    refused(path.parent, "keystore.passphrase", passphrase=PASSPHRASE + b".")
    data = bytearray(path.read_bytes())
    place = data.index(b'"ciphertext":"') + 20
    data[place] = ord("A") if data[place] != ord("A") else ord("B")
    path.write_bytes(data)
    refused(path.parent, "keystore.malformed")


def test_wrong_passphrase_does_not_replace_the_file(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(KeystoreError) as caught:
        make_file(path.parent, passphrase=b"mistyped").replace(SET)
    assert caught.value.code == "keystore.passphrase"
    assert path.read_bytes() == before


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(min_value=0), difference=st.integers(1, 255))
def test_change_of_any_byte_is_noticed(path: Path, position: int, difference: int) -> None:
    whole = path.read_bytes()
    data = bytearray(whole)
    data[position % len(data)] ^= difference
    path.write_bytes(data)
    try:
        refused(path.parent, "keystore.malformed")
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "change",
    [
        lambda outer: outer.update(salt=base64url.encode(bytes(16))),
        lambda outer: outer.update(nonce=base64url.encode(bytes(24))),
        lambda outer: outer.update(passes=2),
        lambda outer: outer.update(memory=16 * 1024),
        lambda outer: outer.update(ciphertext=""),
    ],
)
def test_changed_file_with_a_right_checksum_still_does_not_open(
    path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(path, change)
    refused(path.parent, "keystore.passphrase")


@pytest.mark.parametrize(
    "change",
    [
        lambda outer: outer.update(memory=HIGHEST.memory + 1),
        lambda outer: outer.update(passes=HIGHEST.passes + 1),
        lambda outer: outer.update(memory=2**52, passes=2**52),
        lambda outer: outer.update(memory=LOWEST.memory - 1),
        lambda outer: outer.update(passes=0),
        lambda outer: outer.update(passes=-1),
        lambda outer: outer.update(passes=True),
        lambda outer: outer.update(memory="8192"),
    ],
)
def test_cost_beyond_the_caps_is_refused_before_it_is_paid(
    path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(path, change)
    start = time.process_time()
    refused(path.parent, "keystore.cost")
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "change",
    [
        lambda outer: outer.update(v=2),
        lambda outer: outer.update(v=True),
        lambda outer: outer.update(kdf="scrypt"),
        lambda outer: outer.update(cipher="none"),
        lambda outer: outer.update(format=None),
        lambda outer: outer.update(salt=base64url.encode(bytes(8))),
        lambda outer: outer.update(nonce=[]),
        lambda outer: outer.update(ciphertext=7),
        lambda outer: outer.update(extra="x"),
        lambda outer: outer.pop("kdf"),
    ],
)
def test_other_format_is_refused(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    rewrite(path, change)
    refused(path.parent, "keystore.malformed")


def _key(**changes: Any) -> dict[str, Any]:
    return {"role": "http", "alg": "Ed25519", "seed": base64url.encode(b"\x11" * 32), "kid": ED.kid, **changes}


@pytest.mark.parametrize(
    "inner",
    [
        {"keys": [_key(kid=XWingSecret.from_seed(bytes(32)).public.kid)], "secrets": {}},
        {"keys": [_key(alg="HPKE-9-KE")], "secrets": {}},
        {"keys": [_key(alg="RSA")], "secrets": {}},
        {"keys": [_key(seed="AAAA")], "secrets": {}},
        {"keys": [_key(role=7)], "secrets": {}},
        {"keys": [_key(role="")], "secrets": {}},
        {"keys": [_key(extra="x")], "secrets": {}},
        {"keys": [_key(), _key()], "secrets": {}},
        {"keys": {}, "secrets": {}},
        {"keys": [], "secrets": []},
        {"keys": [], "secrets": {"append": "AAAA"}},
        {"keys": [], "secrets": {"append": 7}},
        {"keys": []},
        [],
        "x",
    ],
)
def test_other_contents_are_refused_without_a_trace_of_them(path: Path, inner: Any) -> None:
    rewrite(path, seal(json.dumps(inner, separators=(",", ":")).encode()))
    message = refused(path.parent, "keystore.malformed")
    assert base64url.encode(b"\x11" * 32) not in message


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"\xff", b" " * (FILE_LIMIT + 1)])
def test_other_bytes_are_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    refused(path.parent, "keystore.malformed")


def test_errors_and_the_file_object_show_no_secret(path: Path) -> None:
    message = refused(path.parent, "keystore.passphrase", passphrase=b"another passphrase")
    assert "another passphrase" not in message
    assert "invented" not in repr(make_file(path.parent))


@pytest.mark.parametrize(
    "cost", [Cost(memory=HIGHEST.memory + 1, passes=3), Cost(memory=8192, passes=11), Cost(memory=0, passes=1)]
)
def test_cost_that_could_not_be_read_again_is_not_written(tmp_path: Path, cost: Cost) -> None:
    with pytest.raises(KeystoreError):
        make_file(tmp_path, cost=cost)


def test_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError) as caught:
        make_file(tmp_path / "absent").create(SET)
    assert caught.value.code == "keystore.io"


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [(b"words", b"words"), (b"words\n", b"words"), (b"words\r\n", b"words"), (b" two words \n", b" two words ")],
)
def test_passphrase_file_is_read_without_its_line_end(tmp_path: Path, content: bytes, passphrase: bytes) -> None:
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_bytes(content)
    assert read_passphrase(file) == passphrase


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"words\n\n", b"x" * 1025])
def test_passphrase_file_of_none_or_several_lines_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_bytes(content)
    with pytest.raises(KeystoreError):
        read_passphrase(file)


def test_passphrase_file_open_to_others_or_linked_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b"words")
    file.chmod(0o644)
    link = tmp_path / "link"
    link.symlink_to(file)
    for place in (file, link):
        with pytest.raises(KeystoreError) as caught:
            read_passphrase(place)
        assert caught.value.code == "keystore.permissions"


def test_empty_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError):
        make_file(tmp_path, passphrase=b"")


def test_a_process_pays_for_a_keystore_once_and_for_each_that_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid: list[bytes] = []

    def counted(size: int, passphrase: bytes, salt: bytes, opslimit: int, memlimit: int) -> bytes:
        paid.append(salt)
        return derive(size, passphrase, salt, opslimit=opslimit, memlimit=memlimit)

    derive = nacl.pwhash.argon2id.kdf
    monkeypatch.setattr(nacl.pwhash.argon2id, "kdf", counted)
    make_file(tmp_path).create(SET)
    assert make_file(tmp_path).load() == SET
    make_file(tmp_path).replace(SET)
    assert make_file(tmp_path).load() == SET
    assert len(paid) == len(set(paid)) == 2


def test_what_is_remembered_of_one_passphrase_opens_nothing_for_another(tmp_path: Path) -> None:
    make_file(tmp_path).create(SET)
    assert make_file(tmp_path).load() == SET
    for _ in range(2):
        refused(tmp_path, "keystore.passphrase", passphrase=b"another passphrase")
    assert make_file(tmp_path).load() == SET
