"""The home directory of one gateway: where everything lies, and the reading and making of what is a plain file there.

`config.toml` (no secret), `secrets/` (0700: keystores, passphrases, TLS), `data/` (database, lock, the log signer's memory),
`run/` (the admin socket). `root.keystore` never lies here: `serve` refuses to start beside one.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Settings, read_settings
from gateway.core.errors import BusyError, SafehandError
from keys.keyset import SYMMETRIC_SIZE, KeySet
from keys.sources.keystore import KeystoreFile, read_passphrase

_PASSPHRASE_BYTES = 32
_SOCKET_PATH = 107  # bytes of sun_path on Linux, its final zero apart


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
    def socket(self) -> Path:
        return self.path / "run" / "admin.sock"

    def settings(self) -> Settings:
        """Read `config.toml`; raises HomeError or a contract error naming key and rule."""
        try:
            data = self.config.read_bytes()
        except OSError:
            raise HomeError(f"no {self.config.name} in this home: safehand init makes one") from None
        return read_settings(data, file=self.config.name)

    def keystore(self, name: str, passphrase: bytes | None = None) -> KeystoreFile:
        """The keystore of `name` (gateway, index, agreement); without a passphrase it is read from `<name>.pass` beside it."""
        if passphrase is None:
            passphrase = read_passphrase(self.secrets / f"{name}.pass")
        return KeystoreFile(self.secrets / f"{name}.keystore", passphrase)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home: one server, or one writing command. Raises BusyError where another holds it."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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


def create(home: Home, config: str, agreement_passphrase: bytes) -> None:
    """Make folders, configuration and the three keystores; raises HomeError where a home is there already."""
    if home.config.exists():
        raise HomeError("a home is here already")
    home.check_socket()
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (home.secrets, home.database.parent, home.socket.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    _keystore(home, "gateway", ("append", "store", "kek"))
    _keystore(home, "index", ("index",))
    home.keystore("agreement", agreement_passphrase).create(KeySet(keys=(), secrets={}))
    home.config.write_text(config)  # last: with it the home is complete


def _keystore(home: Home, name: str, symmetric: tuple[str, ...]) -> None:
    passphrase = home.secrets / f"{name}.pass"
    _write_private(passphrase, secrets.token_hex(_PASSPHRASE_BYTES) + "\n")
    made = {secret: secrets.token_bytes(SYMMETRIC_SIZE) for secret in symmetric}
    home.keystore(name).create(KeySet(keys=(), secrets=made))


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
