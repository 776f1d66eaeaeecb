"""An operator with files that are not what they must be is told which file, which key and which rule, and by what exit code."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from tests.support.operator import Operator


@pytest.fixture
def copy(operator: Operator) -> Iterator[Path]:
    home = operator.folder / "bad-files"
    shutil.copytree(operator.home, home)
    yield home
    shutil.rmtree(home)


def gone(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    """A file that cannot be read, whoever runs the tests."""
    path.unlink()
    path.symlink_to(path)


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage")


def shared(path: Path) -> None:
    path.chmod(0o644)


def text(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(change(path.read_bytes())), None)[1]


CONFIG = {
    "bom": (text(lambda good: b"\xef\xbb\xbf" + good), "byte order mark"),
    "utf-16": (text(lambda good: good.decode().encode("utf-16")), "not UTF-8"),
    "utf-16 without a mark": (text(lambda good: good.decode().encode("utf-16-le")), "not valid TOML (line 1"),
    "latin-1": (text(lambda good: good.replace(b"Council", b"Coun\xe7il")), "not UTF-8"),
    "empty": (text(lambda _: b""), "org: missing"),
    "zero byte": (text(lambda good: good + b"\x00"), "not valid TOML (line "),
    "too large": (text(lambda _: b"#" * 2_000_000), "larger than 1048576 bytes"),
    "key twice": (text(lambda good: b'org = "la-850"\n' + good), "given twice (line 2"),
    "table twice": (text(lambda good: good + b"[tls]\n"), "given twice"),
    "unknown key": (text(lambda good: b"surprise = 1\n" + good), "surprise: unknown key"),
    "unknown key in a table": (
        text(lambda good: good.replace(b"[partners]\n", b"[partners]\nverify = false\n")),
        "partners.verify: unknown key",
    ),
    "number for a text": (text(lambda good: good.replace(b'"la-207"', b"207", 1)), "org: must be text"),
    "text for a table": (text(lambda good: good.replace(b"[tls]", b"[[tls]]")), "tls: must be a table"),
    "folder": (folder, "cannot be read (Is a directory)"),
    "unreadable": (loop, "cannot be read (Too many levels"),
    "gone": (gone, "safehand init makes one"),
}


def refused(result: Result, *words: str, exit_code: int = 2) -> None:
    assert result.exit_code == exit_code, result.output
    for word in words:
        assert word in result.stderr
    assert "fault of ours" not in result.stderr


@pytest.mark.parametrize("case", CONFIG)
def test_configuration_is_refused_with_file_key_and_rule(operator: Operator, copy: Path, case: str) -> None:
    harm, rule = CONFIG[case]
    harm(copy / "config.toml")
    refused(operator.run("status", home=copy), "config.toml", rule)


@pytest.mark.parametrize("name", ["gateway.keystore", "gateway.pass", "index.keystore", "index.pass"])
@pytest.mark.parametrize(
    ("harm", "rule"),
    [
        (gone, "there is no such file"),
        (folder, "is not a regular file"),
        (loop, "cannot be opened, or is a link"),
        (shared, "is open to its group or to others: chmod 600 it"),
    ],
    ids=["gone", "folder", "link", "shared"],
)
def test_secret_file_is_named_with_what_to_do(
    operator: Operator, copy: Path, name: str, harm: Callable[[Path], None], rule: str
) -> None:
    harm(copy / "secrets" / name)
    refused(operator.run("status", home=copy), f"{name}: {rule}")


def test_keystore_that_is_none_and_one_under_another_passphrase_are_told_apart(operator: Operator, copy: Path) -> None:
    (copy / "secrets" / "index.pass").write_bytes((copy / "secrets" / "gateway.pass").read_bytes())
    refused(operator.run("status", home=copy), "index.keystore: the passphrase does not open the keystore")
    garbage(copy / "secrets" / "gateway.keystore")
    refused(operator.run("status", home=copy), "gateway.keystore: cannot be read")


@pytest.mark.parametrize(
    ("harm", "rule"),
    [(gone, "there is no database"), (garbage, "cannot be opened: file is not a database"), (folder, "no database")],
    ids=["gone", "garbage", "folder"],
)
def test_database_that_is_none_is_named(
    operator: Operator, copy: Path, harm: Callable[[Path], None], rule: str
) -> None:
    for path in (copy / "data").glob("safehand.db-*"):
        path.unlink()
    harm(copy / "data" / "safehand.db")
    refused(operator.run("status", home=copy), rule)


@pytest.mark.parametrize("made", ["none", "folder", "garbage"])
def test_authorities_of_partners_that_cannot_be_read_are_named_by_their_key(
    operator: Operator, copy: Path, made: str
) -> None:
    text(lambda good: good.replace(b"[partners]\n", b'[partners]\nca_file = "secrets/authorities.crt"\n'))(
        copy / "config.toml"
    )
    path = copy / "secrets" / "authorities.crt"
    if made == "folder":
        path.mkdir()
    elif made == "garbage":
        path.write_text("no certificate\n")
    asked = operator.run("partner", "add", "la-850", "https://b.example", "--duty-number", "01632 960000", home=copy)
    refused(asked, "config.toml: partners.ca_file: ", "authorities.crt must be a file of certificates")


@pytest.mark.parametrize("made", ["folder", "garbage"])
def test_signers_memory_that_cannot_be_read_is_no_fresh_start(operator: Operator, copy: Path, made: str) -> None:
    memory = copy / "data" / "log-signer"
    memory.unlink(missing_ok=True)
    memory.mkdir() if made == "folder" else memory.write_text("{")
    child = operator.file("child.json", '{"child": {"upn": "P207000016049"}}')
    asked = operator.run("protect", "add", child, "--kind", "location", "--by", "Officer", home=copy)
    refused(asked, "log-signer: the signer's memory is unreadable", exit_code=3)


def test_a_full_disk_is_told_where_an_answer_is_written(operator: Operator) -> None:
    """`/dev/full` takes nothing."""
    refused(operator.run("keys", "bundle", "--out", "/dev/full"), "No space left", "make room")
