"""A home is made once, its parts are answered for by name, and what is destroyed is gone from its keystore."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import Settings, settings_from, write_settings
from gateway.home import Home, HomeError, create
from keys.bundle import KeyBundle
from keys.errors import KeystoreError
from keys.keyset import KeySet
from keys.listed import Role
from keys.rotation import RotationPlan, plan_request
from keys.sources.keystore import LOWEST, KeystoreFile
from tests.support.keys import NOW, ORG, accept, make_endpoints, make_jws, make_makers, make_origin

PASSPHRASE = b"an invented passphrase"
SETTINGS: Settings = settings_from(
    {"org": "la-207", "name": "Council A", "public_url": "https://a.example", "listen": "127.0.0.1:8443"}, file="test"
)


def publish(newest: KeyBundle | None, now: int) -> tuple[RotationPlan, KeyBundle]:
    plan = plan_request(
        org=ORG,
        name="Council A",
        endpoints=make_endpoints(),
        origin=make_origin(),
        newest=newest,
        revoke=(),
        now=now,
        makers=make_makers(str(now)),
    )
    return plan, accept(make_jws(plan.request), history=(newest,) if newest else (), now=now)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home that is not made yet, on a path short enough for a socket; its keystores cost nothing."""
    monkeypatch.setattr(KeystoreFile.__init__, "__kwdefaults__", {"cost": LOWEST})
    with tempfile.TemporaryDirectory(prefix="sh-") as folder:
        yield Home(Path(folder) / "home")


def test_settings_written_at_the_beginning_read_back_the_same(home: Home) -> None:
    create(home, SETTINGS, PASSPHRASE)
    assert home.settings() == SETTINGS


def test_an_interrupted_init_is_repeated(home: Home) -> None:
    create(home, SETTINGS, PASSPHRASE)
    home.config.unlink()
    (home.secrets / "index.keystore").unlink()
    (home.secrets / "agreement.keystore").write_bytes(b"half")
    create(home, SETTINGS, PASSPHRASE)
    assert set(home.keystore("gateway").load().secrets) == {"append", "store", "kek"}
    assert set(home.keystore("index").load().secrets) == {"index"}
    assert home.keystore("agreement", PASSPHRASE).load() == KeySet(keys=(), secrets={})


def test_a_passphrase_file_that_an_operator_put_there_is_used(home: Home) -> None:
    """As a secret of a container is: mounted before there is a home, and not to be written."""
    home.secrets.mkdir(parents=True, mode=0o700)
    given = home.secrets / "gateway.pass"
    given.write_text("an invented secret of a container\n")
    given.chmod(0o600)
    create(home, SETTINGS, PASSPHRASE)
    assert given.read_text() == "an invented secret of a container\n"
    assert set(home.keystore("gateway", b"an invented secret of a container").load().secrets) == {
        "append",
        "store",
        "kek",
    }


@pytest.mark.parametrize("text", ["", "two\nlines\n"])
def test_a_passphrase_file_that_is_none_is_refused_and_no_home_is_made(home: Home, text: str) -> None:
    home.secrets.mkdir(parents=True, mode=0o700)
    (home.secrets / "gateway.pass").write_text(text)
    (home.secrets / "gateway.pass").chmod(0o600)
    with pytest.raises(KeystoreError):
        create(home, SETTINGS, PASSPHRASE)
    assert not home.config.exists()


@pytest.mark.parametrize("there", ["config", "database"])
def test_keystores_of_a_home_in_use_are_never_made_anew(home: Home, there: str) -> None:
    create(home, SETTINGS, PASSPHRASE)
    if there == "database":
        home.config.unlink()
        home.database.touch()
    before = {path: path.read_bytes() for path in home.secrets.iterdir()}
    with pytest.raises(HomeError):
        create(home, SETTINGS, PASSPHRASE)
    assert {path: path.read_bytes() for path in home.secrets.iterdir()} == before


def test_a_home_too_deep_for_its_socket_is_not_begun(home: Home) -> None:
    deep = Home(home.path / ("d" * 120))
    with pytest.raises(HomeError, match="too long"):
        create(deep, SETTINGS, PASSPHRASE)
    assert not home.path.exists()


def test_no_home_is_answered_alike_for_settings_and_lock(home: Home) -> None:
    said = []
    for ask in (home.settings, lambda: home.locked().__enter__()):
        with pytest.raises(HomeError) as refused:
            ask()
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert str(home.path) in said[0]
    assert "safehand init" in said[0]


def test_an_unreadable_configuration_is_named(home: Home) -> None:
    home.config.mkdir(parents=True)
    with pytest.raises(HomeError, match=r"config\.toml: cannot be read"):
        home.settings()


def test_a_lock_that_cannot_be_opened_is_named(home: Home) -> None:
    create(home, SETTINGS, PASSPHRASE)
    shutil.rmtree(home.database.parent)
    with pytest.raises(HomeError, match="lock: cannot be opened"), home.locked():
        pass


def test_seeds_named_are_destroyed_and_no_other_key_is(home: Home) -> None:
    plan, first = publish(None, NOW)
    create(home, SETTINGS, PASSPHRASE)
    home.change_keystore("gateway", lambda held: held.add(*plan.gateway))
    kem = next(key.kid for key in first.keys if key.role is Role.MESSAGE_KEM)

    assert home.destroy_seeds({kem}) == {kem}
    left = home.keystore("gateway").load()
    assert {key.kid for key in plan.gateway} - {key.kid for key in left.keys} == {kem}
    assert set(left.secrets) == {"append", "store", "kek"}
    before = (home.secrets / "gateway.keystore").read_bytes()
    assert home.destroy_seeds({kem}) == frozenset()
    assert (home.secrets / "gateway.keystore").read_bytes() == before


def test_two_processes_that_change_a_keystore_do_not_undo_each_other(home: Home) -> None:
    """A command makes keys beside a server that destroys seeds: whoever comes second waits."""
    plan, _ = publish(None, NOW)
    create(home, SETTINGS, PASSPHRASE)
    kems = [key for key in plan.gateway if key.role == Role.MESSAGE_KEM]
    home.change_keystore("gateway", lambda held: held.add(*kems))
    loaded, go_on = threading.Event(), threading.Event()

    def slowly(held: KeySet) -> KeySet:
        loaded.set()
        assert go_on.wait(10)
        return held.add(*(key for key in plan.gateway if key.role != Role.MESSAGE_KEM))

    with ThreadPoolExecutor() as pool:
        making = pool.submit(home.change_keystore, "gateway", slowly)
        assert loaded.wait(10)
        destroying = pool.submit(home.destroy_seeds, {kems[0].kid})
        go_on.set()
        making.result(20)
        assert destroying.result(20) == {kems[0].kid}
    held = {key.kid for key in home.keystore("gateway").load().keys}
    assert held == {key.kid for key in plan.gateway} - {kems[0].kid}


@pytest.mark.parametrize(
    "text",
    [
        'org = "la-207"\nname = "Council A"\npublic_url = "https://a.example"\nlisten = "127.0.0.1:8443"\n',
        'org = "la-207"\nlog_origin = "safehand.la-207/exchange-log/1" # ours\nname = "Council A"\n'
        'public_url = "https://a.example"\nlisten = "127.0.0.1:8443"\n\n# addresses\n[partners]\nca_file = "ca"\n',
    ],
)
def test_the_log_is_renamed_and_nothing_else_in_the_file(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    home.config.write_text(text)
    before = home.settings()
    home.rename_log("safehand.la-207/exchange-log/2")
    assert home.settings() == replace(before, log_origin="safehand.la-207/exchange-log/2")
    kept = [line for line in text.splitlines() if not line.startswith("log_origin")]
    assert [line for line in home.config.read_text().splitlines() if not line.startswith("log_origin")] == kept


def test_the_new_name_is_on_the_disk_before_anything_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draft before it takes the place of the file, the folder's names after."""
    home = Home(tmp_path)
    home.config.write_text(write_settings(SETTINGS))
    origin = "safehand.la-207/exchange-log/2"
    synced: list[tuple[str, bool]] = []

    def note(descriptor: int) -> None:
        synced.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")).name, origin in home.config.read_text()))

    monkeypatch.setattr(os, "fsync", note)
    home.rename_log(origin)
    assert synced == [(".config.toml.new", False), (tmp_path.name, True)]
