"""An operator's mistakes: each is answered by a sentence that names file and rule, the right exit code, and no traceback."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any, get_type_hints

import click
import pysqlite3
import pytest

from contracts.events import EventPayload
from gateway.cli import options
from gateway.cli.main import main
from gateway.core.roles import StaffRole
from gateway.home import Home
from gateway.tlog import entry
from tests.support.operator import CANARY, PASSPHRASE, Operator, make_cheap
from tests.support.tls import LOOPBACK, make_ca, make_cert

NOT_UTF8 = CANARY.encode() + b'\xff{"child":'
TO_SEND = ("send", "--to", "la-850", "--type", "cme.enquiry", "--urgency", "routine")
READING: dict[str, tuple[str, ...]] = {
    "agreement check": ("--cases", "CASES"),
    "agreement list": (),
    "agreement show": ("nosuch",),
    "breach list": (),
    "inbox list": (),
    "inbox show": ("nosuch",),
    "keys bundle": (),
    "keys list": (),
    "log verify": (),
    "message list": (),
    "message show": ("nosuch",),
    "partner fingerprint": (),
    "partner list": (),
    "protect list": (),
    "service list": (),
    "status": (),
}


@pytest.fixture(scope="module")
def fresh(operator: Operator) -> Path:
    """A home in which nothing is published yet."""
    home = operator.folder / "nothing-yet"
    assert operator.init(home).exit_code == 0
    make_cheap(Home(home))
    return home


@pytest.fixture
def copy(operator: Operator, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The operator's home once more, to be spoilt."""
    home = operator.folder / f"copy-{abs(hash(request.node.name)) % 10**6}"
    shutil.copytree(operator.home, home)
    yield home
    shutil.rmtree(home)


def reading(operator: Operator, name: str) -> list[str]:
    cases = operator.file("cases.jsonl", "")
    return [*name.split(), *(cases if word == "CASES" else word for word in READING[name]), "--json"]


# --- programs


def test_every_command_that_only_reads_is_in_the_table_above() -> None:
    def with_json(group: click.Group, prefix: str = "") -> Iterator[str]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from with_json(command, f"{prefix}{name} ")
            elif any(param.name == "as_json" for param in command.params):
                yield prefix + name

    assert set(READING) <= set(with_json(main))


@pytest.mark.parametrize("name", READING)
def test_reading_commands_answer_json_in_an_empty_home(operator: Operator, fresh: Path, name: str) -> None:
    said = operator.run(*reading(operator, name), home=fresh)
    assert said.exit_code in {0, 2, 4}
    if name != "agreement check":  # one line for each case, and there is none
        json.loads(said.stdout)


@pytest.mark.parametrize("name", [name for name in READING if name != "agreement check"])
def test_reading_commands_answer_json_where_no_home_is(operator: Operator, name: str) -> None:
    said = operator.run(*reading(operator, name), home=operator.folder / "nowhere")
    assert said.exit_code == 2
    assert json.loads(said.stdout)["code"] == "home"
    assert said.stderr == ""


def test_a_wrong_option_is_told_in_json_too(operator: Operator) -> None:
    said = operator.run("agreement", "suspend", "one", "--role", f"{CANARY}!", "--json")
    assert said.exit_code == 2
    assert "--role" in json.loads(said.stdout)["detail"]
    assert CANARY not in said.output


def test_the_bundle_is_printed_as_it_was_published_with_json_and_without(operator: Operator) -> None:
    assert operator.ask("keys", "bundle") == json.loads(operator.done("keys", "bundle"))
    assert operator.done("keys", "bundle", "--json") == operator.done("keys", "bundle")


def test_an_alarm_goes_to_standard_error_and_leaves_the_answer_whole(operator: Operator, copy: Path) -> None:
    connection = pysqlite3.connect(copy / "data" / "safehand.db", isolation_level=None)
    connection.execute("update bundle set mac = zeroblob(32)")
    connection.close()
    said = operator.process("keys", "list", "--json", home=copy)
    json.loads(said.stdout)
    assert any(json.loads(line)["event"] == "alarm" for line in said.stderr.splitlines())


def test_the_log_of_a_home_just_made_verifies(operator: Operator, fresh: Path) -> None:
    assert json.loads(operator.done("log", "verify", "--json", home=fresh)) == {"entries": 0, "problems": []}


# --- bytes that are no text


@pytest.mark.parametrize("command", [TO_SEND, ("protect", "add", "--kind", "location", "--by", "Officer One")])
def test_input_that_is_not_utf8_is_refused_and_not_mangled(operator: Operator, command: tuple[str, ...]) -> None:
    path = operator.folder / "body.bin"
    path.write_bytes(NOT_UTF8)
    refused = operator.run(*command, str(path), "--json")
    assert refused.exit_code == 4
    assert json.loads(refused.stdout)["code"] in {"message.malformed", "argument.malformed"}
    assert "not UTF-8" in json.loads(refused.stdout)["detail"]
    assert CANARY not in refused.output


def test_further_fields_that_are_not_utf8_are_refused(operator: Operator) -> None:
    path = operator.folder / "extra.bin"
    path.write_bytes(NOT_UTF8)
    refused = operator.run(*TO_SEND, operator.file("body.json", "{}"), "--with", str(path), "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["code"]) == (4, "message.malformed")


@pytest.mark.parametrize(
    "command",
    [
        ("partner", "add", "la-860", "--duty-number", "01632 960000", "--bundle", "FILE"),
        ("keys", "publish", "FILE", "--passphrase-file", "SECRET"),
        ("agreement", "propose", "FILE", "--passphrase-file", "SECRET"),
        ("agreement", "draw-up", "FILE", "--out", "OUT"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_documents_that_are_not_utf8_are_refused(operator: Operator, command: tuple[str, ...]) -> None:
    path = operator.folder / "document.bin"
    path.write_bytes(NOT_UTF8)
    places = {"FILE": str(path), "SECRET": operator.file("passphrase", PASSPHRASE), "OUT": str(operator.folder / "out")}
    refused = operator.run(*(places.get(word, word) for word in command))
    assert refused.exit_code == 4
    assert "not UTF-8" in refused.stderr
    assert "argument.malformed" in refused.stderr
    assert CANARY not in refused.output


def test_an_option_that_is_not_utf8_is_refused_by_its_name(operator: Operator) -> None:
    child = operator.file("child.json", '{"child": {"upn": "P207000016049"}}')
    refused = operator.run("protect", "add", child, "--kind", "location", "--by", f"{CANARY}\udcff")
    assert refused.exit_code == 4
    assert "by: not UTF-8" in refused.stderr
    assert CANARY not in refused.output


# --- homes that are not as they must be


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("log", "verify"),
        ("db", "upgrade"),
        ("serve",),
        ("inbox", "take", "nosuch"),
        ("keys", "request", "--out", "request"),
        (*TO_SEND, "BODY"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_no_home_gets_the_same_answer_from_every_command(operator: Operator, command: tuple[str, ...]) -> None:
    nowhere, body = operator.folder / "nowhere", operator.file("body.json", "{}")
    arguments = [body if word == "BODY" else word for word in command]
    said = operator.process(*arguments, home=nowhere)
    assert said.returncode == 2
    assert said.stderr == (
        f"safehand: The gateway is not set up: {nowhere}: no gateway's home (it has no config.toml): "
        "safehand init makes one, --home names another [home]\n"
    )


def test_a_home_without_a_database_says_which_command_makes_one(operator: Operator, copy: Path) -> None:
    for file in (copy / "data").iterdir():
        file.unlink()
    refused = operator.run("status", home=copy)
    assert refused.exit_code == 2
    assert "safehand db upgrade" in refused.stderr


def test_a_home_whose_path_is_too_long_is_refused_at_init(operator: Operator) -> None:
    refused = operator.init(operator.folder / ("d" * 120))
    assert refused.exit_code == 2
    assert "too long" in refused.stderr


def test_a_file_that_others_can_read_is_no_passphrase_file(operator: Operator) -> None:
    path = Path(operator.file("shared-passphrase", PASSPHRASE))
    path.chmod(0o640)
    secret = ("--passphrase-file", str(path))
    root = ("root", "init", str(operator.folder / "other-root"), "--org", "la-207", *secret)
    init = ("init", "--org", "la-207", "--name", "A", "--public-url", "https://a.example", *secret)
    for command in (root, init):
        refused = operator.run(*command, home=operator.folder / "unmade")
        assert refused.exit_code == 2
        assert "shared-passphrase: is open to its group or to others" in refused.stderr


def test_a_root_keystore_is_not_written_over(operator: Operator) -> None:
    secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    before = (operator.folder / "root.keystore").read_bytes()
    refused = operator.run("root", "init", str(operator.folder / "root.keystore"), "--org", "la-207", *secret)
    assert refused.exit_code == 2
    assert "root.keystore: exists and is not overwritten" in refused.stderr
    assert (operator.folder / "root.keystore").read_bytes() == before


def test_a_wrong_setting_is_refused_at_init_with_key_and_rule(operator: Operator) -> None:
    secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    init = ("init", "--org", "la-207", "--name", "A", "--public-url", "http://a.example", *secret)
    refused = operator.run(*init, home=operator.folder / "unmade")
    assert refused.exit_code == 2
    assert "public_url: must be https://" in refused.stderr
    assert not (operator.folder / "unmade").exists()


def test_an_answer_that_cannot_be_written_names_the_file(operator: Operator) -> None:
    refused = operator.run("keys", "bundle", "--out", str(operator.folder / "no-folder" / "bundle.jws"))
    assert refused.exit_code == 2
    assert "no-folder/bundle.jws: No such file or directory" in refused.stderr


def test_commands_that_need_a_bundle_say_that_none_is_published(operator: Operator, fresh: Path) -> None:
    refused = operator.run("keys", "bundle", home=fresh)
    assert refused.exit_code == 2
    assert "safehand keys publish" in refused.stderr


# --- serving


def test_serve_names_the_tls_file_that_is_missing(operator: Operator, copy: Path) -> None:
    refused = operator.serve(copy)
    assert refused.returncode == 2
    assert "tls.crt: the certificate chain of the listener cannot be read" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_serve_names_the_tls_files_that_are_none(operator: Operator, copy: Path) -> None:
    for name in ("tls.crt", "tls.key"):
        (copy / "secrets" / name).write_text("no certificate")
    refused = operator.serve(copy)
    assert refused.returncode == 2
    assert "must be a certificate chain and its private key" in refused.stderr


def test_serve_names_the_address_that_another_process_has(operator: Operator, copy: Path) -> None:
    certificate, key = make_cert(make_ca(), copy / "secrets")
    certificate.rename(copy / "secrets" / "tls.crt")
    key.rename(copy / "secrets" / "tls.key")
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = copy / "config.toml"
        config.write_text(config.read_text().replace("127.0.0.1:8443", f"{LOOPBACK}:{port}"))
        refused = operator.serve(copy)
    assert refused.returncode == 2
    assert f"listen: cannot listen at {LOOPBACK}, port {port} (Address already in use)" in refused.stderr
    assert "Traceback" not in refused.stderr


# --- beside a running server


@contextmanager
def listening(path: Path, answers: dict[str, tuple[int, Any]]) -> Iterator[list[tuple[str, Any]]]:
    """Something on a home's admin socket that gives prepared answers; yields what it was asked."""
    asked: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = self.path.removeprefix("/acts/")
            asked.append((name, json.loads(self.rfile.read(int(self.headers["content-length"])))))
            status, answer = answers[name]
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - the library's name

        def address_string(self) -> str:
            return "socket"

    with ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()
    path.unlink()


def sent(name: str, to: str, *held_for: str) -> dict[str, Any]:
    return {"id": name, "to": to, "held_for": list(held_for)}


def test_all_messages_that_a_partner_kept_refusing_are_freed_and_no_other(operator: Operator, copy: Path) -> None:
    outbox = [
        sent("3", "la-850", "lane.held"),
        sent("2", "la-850", "agreement.suspended"),
        sent("4", "la-851", "lane.held"),
        sent("1", "la-850", "lane.held"),
    ]
    answers = {"outbox.list": (200, outbox), "message.resend": (200, {"id": "x", "state": "queued"})}
    with listening(Home(copy).socket, answers) as asked:
        said = operator.run("message", "resend", "--held", "la-850", "--by", "Officer", "--json", home=copy)
    assert said.exit_code == 0
    assert [given["id"] for name, given in asked if name == "message.resend"] == ["1", "3"]
    assert len(json.loads(said.stdout)) == 2


@pytest.mark.parametrize("more", [(), ("one", "--held", "la-850")], ids=["neither", "both"])
def test_resend_wants_one_message_or_one_partner(operator: Operator, more: tuple[str, ...]) -> None:
    assert operator.run("message", "resend", *more).exit_code == 2


@pytest.mark.parametrize(
    ("answer", "code", "leaves"),
    [((500, b"no json"), "busy", 75), ((413, b""), "argument.too-large", 4)],
    ids=["no-answer", "too-large"],
)
def test_a_server_that_does_not_answer_is_told_in_json(
    operator: Operator, copy: Path, answer: tuple[int, bytes], code: str, leaves: int
) -> None:
    with listening(Home(copy).socket, {"status": answer}):
        said = operator.run("status", "--json", home=copy)
    assert (said.exit_code, json.loads(said.stdout)["code"]) == (leaves, code)


# --- roles


@pytest.mark.parametrize("action", ["suspend", "resume", "terminate", "sign"])
def test_a_role_that_no_event_can_carry_is_refused_by_the_option(operator: Operator, action: str) -> None:
    refused = operator.run("agreement", action, "one", "--role", "Bad Role!")
    assert refused.exit_code == 2
    assert "--role" in refused.stderr
    assert "Bad Role!" not in refused.stderr


@pytest.mark.parametrize("role", ["officer 12345", "chaplain"])
def test_a_role_that_no_staff_has_is_refused_by_the_option_which_names_those_that_are(
    operator: Operator, role: str
) -> None:
    refused = operator.run("inbox", "open", "one", "--role", role)
    assert refused.exit_code == 2
    assert "--role" in refused.stderr
    assert all(known in refused.stderr for known in StaffRole)
    assert role not in refused.stderr


def test_roles_are_held_to_the_grammar_of_what_they_are_written_into() -> None:
    declared = get_type_hints(EventPayload, include_extras=True)["actor_role"].__metadata__[0].pattern
    assert rf"\A{options.EVENT_ROLE.pattern.pattern}\Z" == declared
    assert all(entry._GRAMMAR["role"].fullmatch(role) for role in StaffRole)
