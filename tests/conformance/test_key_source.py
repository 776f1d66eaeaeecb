"""What every key source owes its callers; run over the file and over memory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from keys.errors import KeystoreError
from keys.key import Ed25519Secret, MlDsa65Secret, XWingSecret
from keys.keyset import KeySet, StoredKey
from keys.sources.keystore import LOWEST, KeystoreFile
from keys.sources.memory import MemorySource
from keys.sources.port import KeySource

MakeSource = Callable[[Path], KeySource]
SET = KeySet(
    keys=(
        StoredKey("message-sign", Ed25519Secret.from_seed(b"\1" * 32)),
        StoredKey("message-sign", MlDsa65Secret.from_seed(b"\2" * 32)),
        StoredKey("message-kem", XWingSecret.from_seed(b"\3" * 32)),
    ),
    secrets={"append": b"\4" * 32, "store": b"\5" * 32},
)
EMPTY = KeySet(keys=(), secrets={})


def make_file(folder: Path) -> KeySource:
    return KeystoreFile(folder / "gateway.keystore", b"an invented passphrase", cost=LOWEST)


def make_memory(folder: Path) -> KeySource:
    del folder
    return MemorySource()


@pytest.fixture(params=[make_file, make_memory], ids=["file", "memory"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> KeySource:
    make: MakeSource = request.param
    return make(tmp_path)


def test_what_was_created_is_loaded_with_every_seed(source: KeySource) -> None:
    source.create(SET)
    loaded = source.load()
    assert loaded == SET
    assert [key.secret.seed for key in loaded.keys] == [key.secret.seed for key in SET.keys]


def test_empty_set_is_a_set(source: KeySource) -> None:
    source.create(EMPTY)
    assert source.load() == EMPTY


def test_replaced_set_is_loaded_and_destroyed_keys_are_gone(source: KeySource) -> None:
    source.create(SET)
    source.replace(SET.destroy(SET.keys[2].kid))
    assert source.load().keys == SET.keys[:2]
    source.replace(SET)
    assert source.load() == SET


def test_set_that_is_there_is_not_created_again(source: KeySource) -> None:
    source.create(SET)
    with pytest.raises(KeystoreError) as caught:
        source.create(EMPTY)
    assert caught.value.code == "keystore.exists"
    assert source.load() == SET


@pytest.mark.parametrize("act", [lambda source: source.load(), lambda source: source.replace(SET)])
def test_where_there_is_no_set_there_is_none_to_load_or_replace(
    source: KeySource, act: Callable[[KeySource], object]
) -> None:
    with pytest.raises(KeystoreError) as caught:
        act(source)
    assert caught.value.code == "keystore.absent"
    source.create(SET)
    assert source.load() == SET
