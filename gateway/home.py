"""The home directory of one gateway: where everything lies, and the reading and making of what is a plain file there.

`config.toml` (no secret), `secrets/` (0700: keystores, passphrases, TLS), `data/` (database, lock, the log signer's memory),
`run/` (the admin socket). `root.keystore` never lies here: `serve` refuses to start beside one.

Every command knows its home: what reads settings and keystores is imported where it is needed, inside the functions.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from contracts.errors import ContractError
from gateway.core.errors import BusyError, SafehandError
from keys.errors import KeystoreError
from keys.sources.durable import create_file, remove_file, replace_file

if TYPE_CHECKING:
    from gateway.config import Settings, Webhook
    from keys.key import Kid
    from keys.keyset import KeySet
    from keys.sources.keystore import KeystoreFile

_LOG_ORIGIN = re.compile(r"^log_origin[ \t]*=.*$", re.MULTILINE)
_PASSPHRASE_BYTES = 32
_SOCKET_PATH = 107  # bytes of sun_path on Linux, its final zero apart
_KEYSTORE_WAIT = 30.0  # seconds until another process has changed a keystore; argon2id takes it two or three
_GLANCE = 0.1


class HomeError(SafehandError):
    """The home is not as it must be; says which file, and what to do."""

    code = "home"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one home; making the value touches nothing."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def database(self) -> Path:
        return self.path / "data" / "safehand.db"

    @property
    def lock(self) -> Path:
        return self.path / "data" / "lock"

    @property
    def signer(self) -> Path:
        return self.path / "data" / "log-signer"

    @property
    def restored(self) -> Path:
        """Stands only in a home that was made of a backup, until its gateway has come back to its partners."""
        return self.path / "data" / "restored"

    @property
    def socket(self) -> Path:
        return self.path / "run" / "admin.sock"

    def settings(self) -> Settings:
        """Read `config.toml`; raises HomeError, naming file, key and rule."""
        from gateway.config import read_settings

        try:
            return read_settings(self._config_bytes(), file=self.config.name)
        except ContractError as error:
            raise HomeError(str(error)) from error

    def keystore(self, name: str, passphrase: bytes | None = None) -> KeystoreFile:
        """The keystore of `name` (gateway, index, agreement); without a passphrase it is read from `<name>.pass` beside it."""
        from keys.sources.keystore import KeystoreFile, read_passphrase

        if passphrase is None:
            passphrase = read_passphrase(self.secrets / f"{name}.pass")
        return KeystoreFile(self.secrets / f"{name}.keystore", passphrase)

    def webhook_secret(self, settings: Settings, webhook: Webhook) -> bytes:
        """The key that a webhook signs with; raises HomeError, naming file, key and rule."""
        from gateway.core.webhook import read_secret
        from keys.sources.keystore import read_passphrase

        try:
            return read_secret(read_passphrase(self.path / webhook.secret))
        except (KeystoreError, ValueError) as error:
            raise self.webhook_fault(settings, webhook, "secret", str(error)) from None

    def webhook_fault(self, settings: Settings, webhook: Webhook, key: str, rule: str) -> HomeError:
        """The error for one key of a `[[webhook]]` table."""
        place = settings.webhooks.index(webhook)
        return HomeError(f"{self.config.name}: webhook[{place}].{key}: {rule}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home: one server, or one writing command. Raises BusyError where another holds it, HomeError."""
        self._config_bytes()  # no home is answered alike by whoever asks first
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeError(
                f"{self.lock}: cannot be opened ({error.strerror}): "
                "the folder must be there, and the account that runs the gateway must be able to write it"
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BusyError("another process holds this home") from None
            yield
        finally:
            os.close(descriptor)

    def check_socket(self) -> None:
        """The system caps the path of a socket: a home too deep is refused before anything depends on it."""
        if len(os.fsencode(self.socket)) > _SOCKET_PATH:
            raise HomeError(f"the path of this home is too long: its admin socket may have {_SOCKET_PATH} bytes")

    def refuse_root(self) -> None:
        """A root seed signs for the whole organisation and stays offline: nothing starts beside one."""
        if any(self.path.rglob("root*.keystore")):
            raise HomeError("a root keystore lies in this home: move it away from this machine")

    def change_keystore(self, name: str, change: Callable[[KeySet], KeySet], passphrase: bytes | None = None) -> KeySet:
        """Load a keystore, put what `change` makes of it in its place, and return what it then holds.

        One process at a time: a command makes keys beside a server that destroys some, and neither may undo the other.
        Raises BusyError where another process does not let go.
        """
        keystore = self.keystore(name, passphrase)
        with self._changing():
            held = keystore.load()
            changed = change(held)
            if changed != held:
                keystore.replace(changed)
            return changed

    def new_keystore(self, name: str, keys: KeySet) -> None:
        """Make a keystore, and a passphrase beside it unless one was put there before."""
        passphrase = self.secrets / f"{name}.pass"
        if not passphrase.exists():
            create_file(passphrase, (secrets.token_hex(_PASSPHRASE_BYTES) + "\n").encode())
        self.keystore(name).create(keys)

    def destroy_seeds(self, kids: Set[Kid]) -> frozenset[Kid]:
        """Drop these KEM seeds from the gateway keystore (envelope section 5); return those that it held."""
        gone: set[Kid] = set()

        def without(held: KeySet) -> KeySet:
            gone.update(key.kid for key in held.keys if key.kid in kids)
            return held.destroy(*kids)

        self.change_keystore("gateway", without)
        return frozenset(gone)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        path = self.secrets / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeError(f"{path}: cannot be opened ({error.strerror})") from error
        try:
            until = time.monotonic() + _KEYSTORE_WAIT
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if time.monotonic() > until:
                        raise BusyError("another process is changing the keystores of this home") from None
                    time.sleep(_GLANCE)
            yield
        finally:
            os.close(descriptor)

    def rename_log(self, origin: str) -> None:
        """Write the log's name of today into `config.toml`, at once or not at all; nothing else in it changes."""
        from gateway.config import read_settings

        text, settings = self._config_bytes().decode(), self.settings()
        line = f"log_origin = {orjson.dumps(origin).decode()}"
        top, table, rest = text.partition("\n[")
        changed, found = _LOG_ORIGIN.subn(lambda _: line, top)
        grown = changed if found else top.removesuffix("\n") + f"\n{line}" + ("" if table else "\n")
        renamed = grown + table + rest
        if read_settings(renamed.encode(), file=self.config.name) != replace(settings, log_origin=origin):
            raise HomeError(f"{self.config.name}: log_origin cannot be set here: set it by hand to {origin}")
        replace_file(self.config, renamed.encode())

    def forget_signer(self) -> None:
        """Remove the memory of the log's signer; it is off the disk before anything follows."""
        remove_file(self.signer)

    def _config_bytes(self) -> bytes:
        try:
            return self.config.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise HomeError(
                f"{self.path}: no gateway's home (it has no {self.config.name}): "
                "safehand init makes one, --home names another"
            ) from None
        except OSError as error:
            raise HomeError(f"{self.config}: cannot be read ({error.strerror})") from error


def create(home: Home, settings: Settings, agreement_passphrase: bytes) -> None:
    """Make folders, the three keystores and the configuration; raises HomeError where a home is there already.

    The configuration comes last, and the database after it: what an interrupted run left without them protects nothing
    yet and is made anew, but for a passphrase file, which is used as it is: an operator may have put it there. Keystores
    beside a database are never touched.
    """
    from gateway.config import write_settings
    from keys.keyset import KeySet

    home.check_socket()
    if home.config.exists():
        raise HomeError(f"{home.path}: a home is here already")
    if home.database.exists():
        raise HomeError(f"{home.config}: is missing, but a database is here: put the file back from a backup")
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (home.secrets, home.database.parent, home.socket.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    for name in ("gateway.keystore", "index.keystore", "agreement.keystore"):
        (home.secrets / name).unlink(missing_ok=True)
    _keystore(home, "gateway", ("append", "store", "kek"))
    _keystore(home, "index", ("index",))
    home.keystore("agreement", agreement_passphrase).create(KeySet(keys=(), secrets={}))
    replace_file(home.config, write_settings(settings).encode())  # with it the home is complete


def _keystore(home: Home, name: str, symmetric: tuple[str, ...]) -> None:
    from keys.keyset import SYMMETRIC_SIZE, KeySet

    home.new_keystore(
        name, KeySet(keys=(), secrets={secret: secrets.token_bytes(SYMMETRIC_SIZE) for secret in symmetric})
    )
