"""A small client of Safehand's interface for case systems. Python 3.11 or newer, standard library only: copy what you need.

    safehand_client.py --url https://gateway.example:8444 --token-file token --state DIR COMMAND ..

    send --job JOB FILE              FILE: {"partner", "type", "facts", "body"}; the same JOB is never sent twice
    state ID                         where a message of ours stands
    inbox                            headers of what came since the last call, a line each
    take SENDER ID                   our case system has it now
    open SENDER ID --role ROLE --out FILE    a person opened it; the record goes into FILE, never to the screen
    answer SENDER ID --job JOB FILE  FILE: {"type", "facts", "body"}
    listen --port PORT --secret-file FILE    receives webhooks, a line each (behind your own TLS)

What is worth copying: the idempotency key is on disk before anything is sent, so a crash at any point sends nothing twice;
a message of the inbox is told once, also where the list begins again after the gateway was restored from a backup; 429, 503 and a broken connection are tried again, with the same key; token and secret come from private files; nothing that
a record says is ever printed; a redirect is not followed, so the token goes nowhere else.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import http.client
import http.server
import json
import os
import re
import ssl
import stat
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

TRIES = 6
LONGEST_WAIT = 60  # seconds
TIMEOUT = 30  # seconds for one request
JOB = re.compile(r"[A-Za-z0-9_-]{1,100}")  # your own number for a piece of work; never a name or a case reference


class RefusedError(Exception):
    """The gateway said no: `code` is stable, `breaches` name every place and rule, and never a value."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", f"http.{status}"))
        self.breaches = problem.get("breaches", [])
        super().__init__(self.code)


class Gateway:
    """Requests to one gateway, each repeated until it is answered."""

    def __init__(self, url: str, token: str, ca_file: Path | None) -> None:
        parts = urlsplit(url)
        on_this_machine = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        if parts.scheme != "https" and not on_this_machine:
            raise SystemExit("the gateway's address must begin with https://")
        self._base = url.rstrip("/") + "/api/v1"
        self._token = token
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)),
            _NoRedirect(),
        )

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None, {})

    def post(self, path: str, key: str, body: Any = None) -> Any:
        """POST under an idempotency key: however often it is repeated, it happens once and gets the same answer."""
        data = json.dumps({} if body is None else body).encode()
        return self._ask("POST", path, data, {"Content-Type": "application/json", "Idempotency-Key": key})

    def _ask(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Any:
        wait = 1.0
        for left in reversed(range(TRIES)):
            try:
                return self._ask_once(method, path, data, headers)
            except urllib.error.HTTPError as error:
                with error:
                    problem = _problem(error)
                later = error.code in (429, 503) or problem.get("code") == "idempotency.running"
                if not later or not left:
                    raise RefusedError(error.code, problem) from None
                asked = error.headers.get("Retry-After", "")
                wait = float(asked) if asked.isdigit() else wait
            except (
                OSError,
                http.client.HTTPException,
            ) as error:  # no connection, or it broke: perhaps it was carried out
                if not left:
                    reason = getattr(error, "reason", error)  # of a certificate, for example
                    raise SystemExit(f"the gateway does not answer: {reason}") from None
            time.sleep(min(wait, LONGEST_WAIT))
            wait *= 2
        raise AssertionError("unreachable")

    def _ask_once(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(self._base + path, data=data, method=method, headers=headers)
        request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        with self._opener.open(request, timeout=TIMEOUT) as answer:
            return json.load(answer)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: the token is for this gateway alone."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Memory:
    """What this client must remember, in a folder of its own: idempotency keys, the cursor of the inbox and what was told of
    it, webhooks seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def key(self, job: str) -> str:
        """The idempotency key of a piece of work: made once, on disk before it is used, the same ever after."""
        if not JOB.fullmatch(job):
            raise SystemExit("a job is letters, digits, hyphens and underscores")
        known = self.read(f"job-{job}")
        if known is None:
            known = str(uuid.uuid4())
            self.write(f"job-{job}", known)
        return known

    def read(self, name: str) -> str | None:
        path = self._folder / name
        return path.read_text(encoding="utf-8") if path.exists() else None

    def add(self, name: str, line: str) -> None:
        """Add a line, on disk when this returns. It begins with a line's end: one that a crash cut off spoils no other."""
        with open(os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            file.write(f"\n{line}\n")
            file.flush()
            os.fsync(file.fileno())

    def write(self, name: str, text: str) -> None:
        """At once or not at all, and on disk when this returns."""
        descriptor, draft = tempfile.mkstemp(dir=self._folder, prefix=".draft-")  # mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(self._folder / name)


# --- what a case system does


def send(gateway: Gateway, memory: Memory, job: str, submission: Any) -> Any:
    return gateway.post("/messages", memory.key(job), submission)


def state(gateway: Gateway, message_id: str) -> Any:
    message = gateway.get(f"/messages/{quote(message_id)}")
    return {name: message[name] for name in ("id", "state", "held_for", "attempts")}


def inbox(gateway: Gateway, memory: Memory, deal_with: Callable[[Any], None]) -> None:
    """Everything since the last call. The cursor is kept when a page was dealt with: after a crash the page comes again, and
    what was told of it is on disk. Where the cursor has expired, the gateway was restored from a backup: from the beginning."""
    told = set((memory.read("inbox-told") or "").split())
    cursor, more = memory.read("inbox-cursor"), True
    while more:
        try:
            page = gateway.get("/inbox" + (f"?after={quote(cursor)}" if cursor else ""))
        except RefusedError as refused:
            if refused.code != "cursor.expired" or cursor is None:
                raise
            cursor = None
            continue
        for message in page["items"]:
            known = f"{message['sender']}/{message['id']}"  # an id is unique for its sender
            if known not in told:
                deal_with({name: message[name] for name in ("sender", "id", "type", "state", "urgency", "thread")})
                told.add(known)
                memory.add("inbox-told", known)
        cursor, more = page["next"], page["more"]
        memory.write("inbox-cursor", cursor)


def take(gateway: Gateway, memory: Memory, sender: str, message_id: str) -> Any:
    receipt = gateway.post(f"{_place(sender, message_id)}/taken", memory.key(f"taken-{sender}-{message_id}"))
    return {name: receipt[name] for name in ("event", "at")}


def open_record(gateway: Gateway, memory: Memory, sender: str, message_id: str, role: str, out: Path) -> Any:
    """Fetch the record for a person, then say that the person opened it: the sender is told by a signed receipt."""
    if out.exists():
        raise SystemExit(f"{out} exists")
    content = gateway.get(f"{_place(sender, message_id)}/content")
    # The job names the file: a repeat after a crash is the same opening, another file is another one.
    job = f"opened-{message_id}-{hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]}"
    receipt = gateway.post(f"{_place(sender, message_id)}/opened", memory.key(job), {"role": role})
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"facts": content["facts"], "body": content["body"]}, file)
    return {name: receipt[name] for name in ("event", "at")}


def answer(gateway: Gateway, memory: Memory, sender: str, message_id: str, job: str, said: Any) -> Any:
    return gateway.post(f"{_place(sender, message_id)}/answers", memory.key(job), said)


def _place(sender: str, message_id: str) -> str:
    return f"/inbox/{quote(sender)}/{quote(message_id)}"


# --- webhooks


def verify(headers: Any, body: bytes, secret: bytes, now: float) -> dict[str, Any]:
    """Return the event of a webhook that our gateway signed just now. Raises ValueError; act on nothing before this returns."""
    sent_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent_at.isdigit() or abs(now - int(sent_at)) > 300:
        raise ValueError("too old, or from the future")
    expected = hmac.digest(secret, f"{sent_id}.{sent_at}.".encode() + body, "sha256")
    for each in headers.get("webhook-signature", "").split():
        version, _, signature = each.partition(",")
        if version == "v1" and hmac.compare_digest(signature.encode(), base64.b64encode(expected)):
            event: dict[str, Any] = json.loads(body)
            return event
    raise ValueError("not signed with our secret")


def listen(memory: Memory, port: int, secret: bytes) -> None:
    """Print a line for each new event. An event can come twice, under the same id, and is told once."""
    seen = deque((memory.read("webhooks-seen") or "").split(), maxlen=1000)  # what comes again came lately
    one_at_a_time = threading.Lock()

    class Receiver(http.server.BaseHTTPRequestHandler):
        timeout = 10  # seconds

        def do_POST(self) -> None:
            size = self.headers.get("Content-Length", "")
            if not size.isdigit() or int(size) > 65536:
                return self._answer(413)
            try:
                event = verify(self.headers, self.rfile.read(int(size)), secret, time.time())
            except ValueError:
                return self._answer(401)
            with one_at_a_time:
                self._keep(self.headers["webhook-id"], event)
            return self._answer(204)  # also for types that we do not know: a refusal would hold up all that come later

        def _keep(self, event_id: str, event: dict[str, Any]) -> None:
            if event_id not in seen:
                seen.append(event_id)
                memory.write("webhooks-seen", "\n".join(seen))
                show({"type": event["type"], **event["data"]})

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing: what strangers send is not for our log."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver) as server:
        show({"listening": server.server_address[1]})
        server.serve_forever()


# --- the command line


def show(value: Any) -> None:
    print(json.dumps(value), flush=True)


def private(path: Path) -> str:
    """The one line of a file that nobody else may read."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SystemExit(f"{path} is open to others: chmod 600 it")
    return path.read_text(encoding="ascii").strip()


def secret_of(path: Path) -> bytes:
    return base64.b64decode(private(path).removeprefix("whsec_"), validate=True)


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        problem = json.loads(error.read(1_000_000))
    except (ValueError, OSError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A small client of Safehand's interface for case systems.")
    parser.add_argument("--url", help="of the gateway, without /api/v1")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--ca-file", type=Path, help="where the gateway's certificate is not of a public authority")
    parser.add_argument("--state", type=Path, required=True, help="folder for what this client must remember")
    commands = parser.add_subparsers(dest="command", required=True)
    of_message = argparse.ArgumentParser(add_help=False)
    of_message.add_argument("sender")
    of_message.add_argument("id")
    sending = commands.add_parser("send")
    sending.add_argument("--job", required=True)
    sending.add_argument("file", type=Path)
    commands.add_parser("state").add_argument("id")
    commands.add_parser("inbox")
    commands.add_parser("take", parents=[of_message])
    opening = commands.add_parser("open", parents=[of_message])
    opening.add_argument("--role", required=True)
    opening.add_argument("--out", type=Path, required=True)
    answering = commands.add_parser("answer", parents=[of_message])
    answering.add_argument("--job", required=True)
    answering.add_argument("file", type=Path)
    listening = commands.add_parser("listen")
    listening.add_argument("--port", type=int, default=0)
    listening.add_argument("--secret-file", type=Path, required=True)
    return parser.parse_args()


def main() -> int:
    given = _arguments()
    memory = Memory(given.state)
    if given.command == "listen":
        listen(memory, given.port, secret_of(given.secret_file))
        return 0
    if given.url is None or given.token_file is None:
        raise SystemExit("--url and --token-file are needed")
    gateway = Gateway(given.url, private(given.token_file), given.ca_file)
    try:
        match given.command:
            case "send":
                show(send(gateway, memory, given.job, json.loads(given.file.read_bytes())))
            case "state":
                show(state(gateway, given.id))
            case "inbox":
                inbox(gateway, memory, show)
            case "take":
                show(take(gateway, memory, given.sender, given.id))
            case "open":
                show(open_record(gateway, memory, given.sender, given.id, given.role, given.out))
            case "answer":
                said = json.loads(given.file.read_bytes())
                show(answer(gateway, memory, given.sender, given.id, given.job, said))
    except RefusedError as refused:
        print(f"refused: {refused.code} ({refused.status})", file=sys.stderr)
        for breach in refused.breaches:
            print(f"  {breach['code']}  {breach['path']}  {breach['rule']}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
