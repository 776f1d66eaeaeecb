"""Wherever `serve` refuses to start, `safehand doctor` says beforehand that something is wrong, and what."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from gateway.demo.stage import free_port
from gateway.demo.tls import write_certificate
from gateway.home import Home
from keys.keyset import KeySet
from keys.sources.keystore import LOWEST, KeystoreFile, read_passphrase
from tests.support.operator import Operator
from tests.support.store import by_hand, rows, tamper
from tests.support.tls import LOOPBACK, make_ca

ORIGIN: Final = "safehand.la-207/exchange-log/1"


@pytest.fixture(scope="module")
def sound(operator: Operator) -> Path:
    """A home that `serve` would start in, on ports that are free."""
    home = operator.home
    for path, name in zip(
        write_certificate(make_ca(), home / "secrets", "a.example"), ("tls.crt", "tls.key"), strict=True
    ):
        path.rename(home / "secrets" / name)
    change(home, 'listen = "127.0.0.1:8443"', f'listen = "{LOOPBACK}:{free_port()}"')
    change(home, 'listen = "127.0.0.1:9464"', f'listen = "{LOOPBACK}:{free_port()}"')
    return home


@pytest.fixture
def copy(operator: Operator, sound: Path) -> Iterator[Path]:
    home = operator.folder / "copy"
    shutil.copytree(sound, home)
    yield home
    shutil.rmtree(home)


def change(home: Path, old: str, new: str) -> None:
    config = home / "config.toml"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new, 1))


def addresses(home: Path) -> list[str]:
    return [line for line in (home / "config.toml").read_text().splitlines() if line.startswith("listen = ")]


# --- each of the states: what is done to a sound home, and what the doctor then finds


def database(*statements: str) -> Callable[[Path], None]:
    return lambda home: tamper(Home(home).database, *statements)


def written(name: str, data: bytes) -> Callable[[Path], None]:
    def write(home: Path) -> None:
        (home / name).write_bytes(data)
        (home / name).chmod(0o600)

    return write


def gone(name: str) -> Callable[[Path], None]:
    return lambda home: (home / name).unlink()


def configured(old: str, new: str) -> Callable[[Path], None]:
    return lambda home: change(home, old, new)


def unlockable(home: Path) -> None:
    (home / "data" / "lock").unlink(missing_ok=True)
    (home / "data" / "lock").mkdir()


def one_address(home: Path) -> None:
    exchange, metrics = addresses(home)
    change(home, metrics, exchange)


def without_keys(home: Path) -> None:
    """The keystore of a gateway that lost its keys."""
    held = Home(home).keystore("gateway").load()
    (home / "secrets" / "gateway.keystore").unlink()
    passphrase = read_passphrase(home / "secrets" / "gateway.pass")
    KeystoreFile(home / "secrets" / "gateway.keystore", passphrase, cost=LOWEST).create(
        KeySet(keys=(), secrets=held.secrets)
    )


def without_store_key(home: Path) -> None:
    held = Home(home).keystore("gateway").load()
    (home / "secrets" / "gateway.keystore").unlink()
    passphrase = read_passphrase(home / "secrets" / "gateway.pass")
    kept = {name: secret for name, secret in held.secrets.items() if name != "store"}
    KeystoreFile(home / "secrets" / "gateway.keystore", passphrase, cost=LOWEST).create(
        KeySet(keys=held.keys, secrets=kept)
    )


def next_epoch(home: Path) -> None:
    """The log goes on under the next name, and no key of that name was made."""
    name = str(rows(Home(home).database, "SELECT origin FROM log_head")[0][0])
    following = f"{name[:-1]}2"
    tamper(
        Home(home).database,
        "INSERT INTO log_epoch SELECT size, origin, x'00' FROM log_head",
        f"UPDATE log_head SET origin = '{following}'",  # noqa: S608 - a test's own words
    )
    Home(home).rename_log(following)


SEEN_MORE = json.dumps({"origin": ORIGIN, "size": 1024, "frontier": "ab" * 32}).encode()

STATES: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "a root keystore in the home": (written("data/root.keystore", b""), "home.root-keystore"),
    "a configuration with a fault": (configured('org = "la-207"', 'org = "LA-207"'), "config.wrong"),
    "no passphrase": (gone("secrets/index.pass"), "keystore.closed"),
    "a keystore without a store key": (without_store_key, "keystore.closed"),
    "no database": (gone("data/safehand.db"), "database.absent"),
    "a database of another version": (
        database("UPDATE alembic_version SET version_num = '0001'"),
        "database.revision",
    ),
    "a file that is no database": (written("data/safehand.db", b"no database" * 100), "database.unreadable"),
    "a log of another name": (database("UPDATE log_head SET origin = 'other.example/log/1'"), "log.other-name"),
    "a signer that saw more": (written("data/log-signer", SEEN_MORE), "log.went-back"),
    "a signer's memory that is none": (written("data/log-signer", b"{}"), "log.memory-unreadable"),
    "a mark of a restore that is none": (written("data/restored", b"{}"), "home.file"),
    "a lock that cannot be opened": (unlockable, "home.file"),
    "an entry whose mac fails": (database("UPDATE log_entry SET mac = zeroblob(32) WHERE idx = 0"), "log.unreadable"),
    "an entry that is missing": (
        database("DELETE FROM log_detail WHERE entry_idx = 0", "DELETE FROM log_entry WHERE idx = 0"),
        "log.unreadable",
    ),
    "no opening of the rows of an entry": (database("DELETE FROM log_detail WHERE field = 'rows'"), "log.unreadable"),
    "no bundle, and it was there": (database("DELETE FROM bundle"), "rows.tampered"),
    "no keys in the keystore": (without_keys, "keys.missing"),
    "no log key of this epoch": (next_epoch, "keys.other-epoch"),
    "no certificate": (gone("secrets/tls.crt"), "tls.unreadable"),
    "one address for two listeners": (one_address, "listen.taken"),
    "authorities that are no certificates": (
        configured("allowed_private = []", 'allowed_private = []\nca_file = "config.toml"'),
        "home.file",
    ),
    "a webhook without its secret": (
        configured(
            "[metrics]",
            '[[webhook]]\nname = "cases"\nurl = "https://cases.example/"\nsecret = "secrets/none"\n'
            'events = ["message.received"]\n[metrics]',
        ),
        "home.file",
    ),
}


def found(operator: Operator, home: Path) -> set[str]:
    """What the doctor says is wrong."""
    done = operator.run("doctor", "--json", home=home)
    said = json.loads(done.stdout)
    wrong = {finding["code"] for finding in said["findings"] if finding["level"] == "wrong"}
    assert bool(done.exit_code) == bool(wrong)
    return wrong


def test_a_sound_home_has_nothing_wrong(operator: Operator, copy: Path) -> None:
    assert found(operator, copy) == set()


@pytest.mark.parametrize("state", STATES)
def test_where_serve_refuses_the_doctor_says_why(state: str, operator: Operator, copy: Path) -> None:
    spoil, code = STATES[state]
    spoil(copy)
    assert code in found(operator, copy)
    done = operator.serve(home=copy)
    assert done.returncode != 0


def test_an_address_that_is_taken_is_told(operator: Operator, copy: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        change(copy, addresses(copy)[0], f'listen = "{LOOPBACK}:{taken.getsockname()[1]}"')
        assert found(operator, copy) == {"listen.taken"}
        assert operator.serve(home=copy).returncode != 0


def test_a_home_that_lies_too_deep_is_told(operator: Operator, copy: Path) -> None:
    deep = operator.folder / ("d" * 100)
    copy.rename(deep)
    try:
        assert found(operator, deep) == {"home.too-deep"}
        assert operator.serve(home=deep).returncode != 0
    finally:
        deep.rename(copy)


def test_a_home_that_another_process_holds_is_told(operator: Operator, copy: Path) -> None:
    with Home(copy).locked():
        assert "server.silent" in found(operator, copy)
        assert operator.serve(home=copy).returncode != 0


def test_a_trigger_that_was_dropped_is_told_until_an_upgrade_puts_it_back(operator: Operator, copy: Path) -> None:
    by_hand(Home(copy).database, "DROP TRIGGER log_entry_no_update")
    assert found(operator, copy) == {"triggers.not-ours"}
    operator.done("db", "upgrade", home=copy)
    assert found(operator, copy) == set()
