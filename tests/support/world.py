"""Two councils' gateways as an operator runs them: real homes, real processes, real TLS, and everything they say kept.

What commands print, what both gateways log, what travels between them (read in the clear by a `Recorder` in the middle of
each line), what listeners answer and what pages of metrics say goes through `World.hear`; `World.leaks` greps all of it, and
every file of both homes by content and by name, for the canaries. Output that may show a body is named where it is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from click.testing import CliRunner

from gateway.cli.main import main
from gateway.demo.stage import free_port
from gateway.home import Home
from keys.sources.keystore import LOWEST, KeystoreFile
from tests.support.canary import leaks
from tests.support.tls import LOOPBACK, Authority, make_ca, make_cert

AGREEMENT = "rbkc-hants-cme-transfer"
PATIENCE = 60.0  # seconds for what must happen
GLANCE = 0.05

Hear = Callable[[str, bytes], None]


class Recorder:
    """Ends the TLS of a gateway's public address and begins it anew towards its listener; hears every byte between."""

    def __init__(
        self, name: str, port: int, target: int, server: ssl.SSLContext, client: ssl.SSLContext, hear: Hear
    ) -> None:
        self._name, self._port, self._target = name, port, target
        self._server, self._client, self._hear = server, client, hear
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        listening = asyncio.start_server(self._pass_on, LOOPBACK, self._port, ssl=self._server)
        self._listener = asyncio.run_coroutine_threadsafe(listening, self._loop).result(PATIENCE)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _end(self) -> None:
        self._listener.close()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=5) if others else None

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs, ours = await asyncio.open_connection(LOOPBACK, self._target, ssl=self._client)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pipe(reader, ours, "to"))
                both.create_task(self._pipe(theirs, writer, "from"))
        except* (OSError, ssl.SSLError):
            pass
        finally:
            ours.transport.abort()
            writer.transport.abort()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        while data := await reader.read(65_536):
            self._hear(f"on the line {way} {self._name}", data)
            writer.write(data)
            await writer.drain()
        writer.close()


class Receiver:
    """A case system that takes every event, and hears all of it; `heard` counts them."""

    def __init__(self, name: str, port: int, hear: Hear) -> None:
        self.heard = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805 - the library's name, and two selves
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                hear(f"event to {name}", str(handler.headers).encode() + body)
                self.heard += 1
                handler.send_response(204)
                handler.end_headers()

            def log_message(handler, *_: object) -> None:  # noqa: N805 - two selves
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer((LOOPBACK, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


@dataclass
class Site:
    """One council: its home, its ports, its process, and what it logged."""

    org: str
    name: str
    folder: Path
    hear: Hear
    public: int = field(default_factory=free_port)
    listen: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    api: int = field(default_factory=free_port)
    receiver: int = field(default_factory=free_port)  # where its case system listens for events
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    @property
    def url(self) -> str:
        return f"https://{LOOPBACK}:{self.public}"

    @property
    def secret(self) -> tuple[str, str]:
        return "--passphrase-file", str(self.folder / "passphrase")

    @property
    def log(self) -> Path:
        return self.folder / "gateway.log"

    def run(self, *arguments: str, expect: int | None = 0, shows_a_body: bool = False) -> str:
        """Run a command as the operator types it, beside the server or without; hear what it says."""
        done = CliRunner().invoke(main, ["--home", str(self.home.path), *arguments])
        place = f"safehand {' '.join(arguments[:2])} at {self.org}"
        if not shows_a_body:
            self.hear(place, done.stdout.encode())
        self.hear(f"{place}, standard error", done.stderr.encode())
        assert done.exception is None or isinstance(done.exception, SystemExit), place
        assert expect is None or done.exit_code == expect, f"{place}: {done.exit_code}: {done.output}"
        return done.stdout

    def ask(self, *arguments: str, expect: int | None = 0, shows_a_body: bool = False) -> Any:
        return json.loads(self.run(*arguments, "--json", expect=expect, shows_a_body=shows_a_body))

    def file(self, name: str, content: str | bytes | dict[str, object]) -> str:
        """Write a file beside the home, with a name that says nothing."""
        path = self.folder / name
        if isinstance(content, dict):
            content = json.dumps(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o600)
        return str(path)

    def send(self, to: Site, message_type: str, body: dict[str, object], *more: str, **options: Any) -> str:
        urgency = () if "--urgency" in more else ("--urgency", "routine")
        file = self.file("body.json", body)
        return str(self.ask("send", "--to", to.org, "--type", message_type, *urgency, *more, file, **options)["id"])

    def reaches(self, message_id: str, state: str) -> None:
        wait_for(lambda: self.ask("message", "show", message_id)["state"] == state, f"{message_id} is {state}")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "--home", str(self.home.path), "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith(b"serving"), self.log.read_text()[-2000:]

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None and process.stdout is not None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.stdout.close()
                process.wait(PATIENCE)

    def call(
        self, method: str, path: str, body: bytes | None = None, *, shows_a_body: bool = False, **headers: str
    ) -> tuple[int, Any]:
        """Ask the listener of case systems; hear the whole answer."""
        connection = http.client.HTTPConnection(LOOPBACK, self.api, timeout=PATIENCE)
        with contextlib.closing(connection):
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, f"/api/v1{path}", body=body, headers=given)
            answer = connection.getresponse()
            data = answer.read()
        if not shows_a_body:
            self.hear(f"api of {self.org}", str(answer.getheaders()).encode() + data)
        return answer.status, json.loads(data) if data else None

    def page(self, path: str) -> tuple[int, str]:
        """Ask the listener of whoever watches."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.metrics}{path}", timeout=PATIENCE) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read().decode()
        self.hear(f"{path} of {self.org}", text.encode())
        return status, text


@dataclass
class World:
    """Both councils, partners of each other, with the transfer agreement in force."""

    folder: Path
    authority: Authority
    said: list[tuple[str, bytes]] = field(default_factory=list, repr=False)
    recorders: list[Recorder] = field(default_factory=list, repr=False)
    receivers: list[Receiver] = field(default_factory=list, repr=False)
    kc: Site = field(init=False)
    hants: Site = field(init=False)

    def __post_init__(self) -> None:
        self.kc = self._site("la-207", "Council A")
        self.hants = self._site("la-850", "Council B")

    @property
    def both(self) -> tuple[Site, Site]:
        return self.kc, self.hants

    def hear(self, place: str, data: bytes) -> None:
        """Keep something that was said, to be searched."""
        self.said.append((place, data))

    def leaks(self) -> dict[str, set[str]]:
        """Everything since the last look in which a canary stands, and every file as it is: place -> canaries."""
        for site in self.both:
            if site.process is not None:
                site.page("/metrics")
                site.page("/readyz")
        said, self.said = self.said, []
        found: dict[str, set[str]] = {}
        for place, data in [*said, *self._files()]:
            if here := leaks(data):
                found.setdefault(place, set()).update(here)
        return found

    def _files(self) -> Iterator[tuple[str, bytes]]:
        for site in self.both:
            yield f"log of {site.org}", site.log.read_bytes()
            for path in sorted(site.home.path.rglob("*")):
                name = str(path.relative_to(site.folder))
                yield f"the name of {name}", name.encode()
                if path.is_file():
                    with contextlib.suppress(FileNotFoundError):
                        yield f"{name} of {site.org}", path.read_bytes()

    def _site(self, org: str, name: str) -> Site:
        folder = self.folder / org
        folder.mkdir()
        return Site(org=org, name=name, folder=folder, hear=self.hear)

    # --- setting up

    def open(self) -> None:
        """Make both homes, start both gateways, let them know each other and sign the agreement."""
        ca = self.authority.write(self.folder)
        client = ssl.create_default_context(cafile=ca)
        for site in self.both:
            self._make_home(site, ca)
            server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            server.load_cert_chain(site.home.secrets / "tls.crt", site.home.secrets / "tls.key")
            recorder = Recorder(site.org, site.public, site.listen, server, client, self.hear)
            recorder.start()
            self.recorders.append(recorder)
            site.start()
        for one, other in (self.both, self.both[::-1]):
            one.run("partner", "add", other.org, other.url, "--duty-number", "01632 960000")
            words = other.ask("partner", "fingerprint")["words"]
            one.run("partner", "verify", other.org, "--words", words, "--by", "duty one", "--single-person-demo")
        self._agree()

    def _make_home(self, site: Site, ca: Path) -> None:
        site.file("passphrase", "an invented passphrase\n")
        site.run(
            "init", "--org", site.org, "--name", site.name, "--public-url", site.url,
            "--listen", f"{LOOPBACK}:{site.listen}", "--metrics-listen", f"{LOOPBACK}:{site.metrics}",
            "--allow-private", "127.0.0.0/8", "--ca-file", "secrets/ca.crt", *site.secret,
        )  # fmt: skip
        site.run("webhook", "secret", "--out", str(site.home.secrets / "events.whsec"))
        with site.home.config.open("a") as config:
            config.write(f'[api]\nlisten = "{LOOPBACK}:{site.api}"\n[[webhook]]\nname = "case-system"\n')
            config.write(f'url = "http://{LOOPBACK}:{site.receiver}/"\nsecret = "secrets/events.whsec"\n')
        self.receivers.append(Receiver(site.org, site.receiver, self.hear))
        shutil.copyfile(ca, site.home.secrets / "ca.crt")
        for path, name in zip(make_cert(self.authority, site.home.secrets), ("tls.crt", "tls.key"), strict=True):
            path.rename(site.home.secrets / name)
        root, request, bundle = (str(site.folder / name) for name in ("root.keystore", "request", "bundle.jws"))
        site.run("root", "init", root, "--org", site.org, *site.secret)
        site.run("keys", "request", "--out", request, *site.secret)
        site.run("root", "sign", request, "--root", root, "--out", bundle, "--yes", *site.secret)
        site.run("keys", "publish", bundle, *site.secret)

    def _agree(self) -> None:
        today, draft = datetime.now(UTC).date(), str(self.folder / "agreement.toml")  # noqa: TID251 - a real gateway's day
        days = [(today + timedelta(days=after)).isoformat() for after in (0, 700, 350)]
        self.kc.run(
            "agreement", "draw-up", "la-la-cme-transfer.toml", "--out", draft,
            "--from", days[0], "--until", days[1], "--review-by", days[2],
        )  # fmt: skip
        self.kc.run("agreement", "propose", draft, *self.kc.secret)
        wait_for(lambda: bool(self.hants.ask("agreement", "list")), "the proposal arrives")
        self.hants.run("agreement", "sign", AGREEMENT, *self.hants.secret)
        self.in_state("in-force")

    def in_state(self, state: str) -> None:
        """Wait until the agreement is so, in both gateways."""
        for site in self.both:
            wait_for(lambda site=site: site.ask("agreement", "list")[0]["state"] == state, f"{site.org}: {state}")

    def close(self) -> None:
        for site in self.both:
            site.stop()
        for ended in (*self.recorders, *self.receivers):
            ended.stop()


def wait_for(look: Callable[[], bool], what: str) -> None:
    """Look until it is so, or the patience is at an end."""
    until = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < until, f"waited in vain: {what}"
        time.sleep(GLANCE)


@contextmanager
def opened_world() -> Iterator[World]:
    """A world, with keystores at the lowest cost; everything ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="sh-", dir="/tmp"))  # a short path: admin sockets lie below it
    with mock.patch.object(KeystoreFile.__init__, "__kwdefaults__", {"cost": LOWEST}):
        world = World(folder, make_ca())
        try:
            world.open()
            yield world
        finally:
            world.close()
            shutil.rmtree(folder, ignore_errors=True)


def say_raw(address: tuple[str, int] | Path, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Send bytes to a listener as they are, and return all that it answers before it hangs up or says no more."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as plain:
        plain.settimeout(1)
        plain.connect(str(address) if isinstance(address, Path) else address)
        line = plain if context is None else context.wrap_socket(plain, server_hostname=LOOPBACK)
        answer = b""
        with contextlib.suppress(OSError), line:
            line.sendall(data)
            while piece := line.recv(65_536):
                answer += piece
        return answer
