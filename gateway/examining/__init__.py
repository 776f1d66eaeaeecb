"""Gathering what `safehand doctor` judges: from the home's files, the machine, and the exchange, beside a server or alone.

Reads only, and goes on where something is wrong: what cannot be looked at because of it stays unsaid. What the exchange
knows comes from the running server where there is one, so that no second opinion on keys and rows is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import platform
import shutil
import socket
import stat
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
import orjson
from sqlalchemy.exc import SQLAlchemyError

from contracts.errors import ContractError
from contracts.facts import civil_date
from contracts.strict import FileError, Problem
from gateway.app import now_utc, unusable_files
from gateway.backups import read_mark
from gateway.certificates import CertificateError, public_of, read_chain
from gateway.condition import Condition
from gateway.config import Settings, read_settings
from gateway.core.errors import BusyError, LogInconsistentError, SafehandError
from gateway.doctor import Facts, Keystore, Listener, ListenerState, Memory, Tls, Watched
from gateway.examining.start import look
from gateway.home import Home, HomeError
from gateway.store.migrations import at_head
from gateway.store.opening import FLOOR
from gateway.store.signer import LogSigner
from gateway.store.sqlite import (
    SqliteVersionError,
    StoreUnavailableError,
    check_version,
    opening,
    reader_engine,
    sqlite_version,
)
from gateway.web.tls import TlsError, server_context
from keys.errors import KeysError, KeystoreError

_PATIENCE: Final = 5.0  # seconds for the running server to answer
_KEYSTORES: Final = ("gateway", "index")  # that of the agreement keys is opened with a person's passphrase alone
_SECRETS: Final = {"gateway": frozenset({"append", "store", "kek"}), "index": frozenset({"index"})}
_OWN_FILES: Final = ("secrets", "data", "run")

Ask = Callable[[], tuple[int, Any] | None]
"""Asks the running server for the act `doctor`; its status and answer, None where nobody listens. Raises BusyError."""


def gather(home: Home, ask: Ask) -> Facts:
    """Look at everything once."""
    now = now_utc()
    version = sqlite_version()
    known: dict[str, Any] = {
        "at": int(now.timestamp()),
        "today": civil_date(now),
        "python": platform.python_version(),
        "sqlite": ".".join(map(str, version)),
        "sqlite_sound": _is_sound(version),
    }
    if not home.config.is_file():
        return Facts(**known, found=False)
    settings, problems = _settings(home)
    server, asked = _server(home, ask)
    known |= _files(home) | {
        "config": problems,
        "server": server,
        "free": shutil.disk_usage(home.path).free,
        "floor": FLOOR,
    }
    if settings is not None:
        known |= {
            "tls": _tls(home, settings),
            "listeners": tuple(_listeners(settings, running=server != "stopped")),
            "watched": _watched(settings) if server != "stopped" else None,
            "unusable": tuple(_unusable(home, settings)),
        }
    known |= _store(home, settings, asked, unusable=bool(known.get("unusable")))
    return Facts(**known)


def _is_sound(version: tuple[int, int, int]) -> bool:
    try:
        check_version(version)
    except SqliteVersionError:
        return False
    return True


# --- files


def _settings(home: Home) -> tuple[Settings | None, tuple[Problem, ...]]:
    try:
        return read_settings(home.config.read_bytes(), file=home.config.name), ()
    except FileError as error:
        return None, error.problems
    except (ContractError, OSError) as error:
        return None, (Problem(key="", rule=getattr(error, "strerror", None) or "cannot be read"),)


def _files(home: Home) -> dict[str, Any]:
    open_to_others, foreign = [], []
    for path in (home.path, *_own(home)):
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            name = str(path.relative_to(home.path)) if path != home.path else "the home itself"
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) and not stat.S_ISLNK(status.st_mode):
                open_to_others.append(name)
            if status.st_uid != os.geteuid():
                foreign.append(name)
    secrets = [home.secrets / f"{name}.{kind}" for name in _KEYSTORES for kind in ("keystore", "pass")]
    expected = (*secrets, home.secrets / "agreement.keystore")
    return {
        "too_deep": _is_too_deep(home),
        "restored": home.restored.exists(),
        "open_to_others": tuple(open_to_others),
        "foreign": tuple(foreign),
        "unwritable": tuple(_unwritable(home)),
        "missing_files": tuple(str(path.relative_to(home.path)) for path in expected if not path.is_file()),
        "roots": tuple(str(path.relative_to(home.path)) for path in sorted(home.path.rglob("root*.keystore"))),
    }


def _own(home: Home) -> Iterator[Path]:
    """The folders that nobody else may read, and what lies in them; certificates are public."""
    for name in _OWN_FILES:
        folder = home.path / name
        yield folder
        with contextlib.suppress(OSError):
            yield from (path for path in sorted(folder.iterdir()) if path.suffix != ".crt" and not path.is_socket())


def _unwritable(home: Home) -> Iterator[str]:
    """What a server writes, as far as it is there."""
    folders = (home.path / "secrets", home.database.parent, home.socket.parent)
    for path in (*folders, home.database, home.lock, home.signer, home.secrets / "gateway.keystore"):
        if not os.access(path, os.W_OK) and (path in folders or path.exists()):
            yield str(path.relative_to(home.path))


def _unusable(home: Home, settings: Settings) -> Iterator[str]:
    """What is wrong with files that only a server reads."""
    yield from asyncio.run(unusable_files(home, settings))
    try:
        read_mark(home)
    except (HomeError, OSError) as error:
        yield str(error)
    try:
        with home.locked():
            pass
    except HomeError as error:
        yield str(error)
    except BusyError:
        pass


def _is_too_deep(home: Home) -> bool:
    try:
        home.check_socket()
    except SafehandError:
        return True
    return False


def _tls(home: Home, settings: Settings) -> Tls:
    try:
        chain = read_chain((home.path / settings.tls_certificate).read_bytes())
        public = public_of((home.path / settings.tls_key).read_bytes())
        if public == chain.public:
            server_context(home.path / settings.tls_certificate, home.path / settings.tls_key)
    except OSError as error:
        return Tls(rule=f"{settings.tls_certificate}, {settings.tls_key}: cannot be read ({error.strerror})")
    except (CertificateError, TlsError) as error:
        return Tls(rule=f"{settings.tls_certificate}, {settings.tls_key}: {error}")
    return Tls(
        begins=chain.begins,
        ends=chain.ends,
        key_fits=public == chain.public,
        names_host=chain.is_for(urlsplit(settings.public_url).hostname or ""),
    )


# --- the machine, and the running server


def _listeners(settings: Settings, *, running: bool) -> Iterator[Listener]:
    addresses = [("listen", settings.listen), ("metrics.listen", settings.metrics_listen)]
    if settings.api is not None:
        addresses.append(("api.listen", settings.api.listen))
    for place, (key, (host, port)) in enumerate(addresses):
        twice = port != 0 and (host, port) in (address for _, address in addresses[:place])
        state = "taken" if twice else _address(host, port, running=running)
        yield Listener(key=key, host=host, port=port, state=state)


def _address(host: str, port: int, *, running: bool) -> ListenerState:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return "not-here"
        return "ours" if running else "taken"
    return "free"


def _server(home: Home, ask: Ask) -> tuple[Literal["stopped", "running", "silent"], tuple[int, Any] | None]:
    try:
        answered = ask()
    except BusyError:
        return "silent", None
    if answered is not None:
        return "running", answered
    try:
        with home.locked():
            return "stopped", None
    except BusyError:
        return "silent", None
    except HomeError:  # nobody can hold what cannot be opened: told of the files
        return "stopped", None


def _watched(settings: Settings) -> Watched | None:
    host, port = settings.metrics_listen
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared with, not bound to
    shown = f"[{asked}]" if ":" in asked else asked
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{shown}:{port}/readyz", timeout=_PATIENCE) as answer:
            said = orjson.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            said = _loads(error.read())
    except (OSError, ValueError):
        return None
    try:
        checks = said["checks"].items()
        return Watched(
            ready=said["status"] == "ready",
            late=tuple(f"{name}.{check['code']}" for name, check in checks if check["level"] == "late"),
            failing=tuple(f"{name}.{check['code']}" for name, check in checks if check["level"] == "failing"),
            alarms={str(code): int(count) for code, count in said["alarms"].items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


def _loads(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


# --- the store


def _store(home: Home, settings: Settings | None, asked: tuple[int, Any] | None, *, unusable: bool) -> dict[str, Any]:
    keystores = tuple(_keystore(home, name) for name in _KEYSTORES)
    known: dict[str, Any] = {"keystores": keystores, "database": _database(home)}
    if settings is None:
        return known
    known["memory"] = _memory(home, settings)
    if asked is not None:
        return known | _converted(asked)
    if known["database"] is not None or any(keystore.rule for keystore in keystores):
        return known
    alarms: Counter[str] = Counter()

    def alarm(code: str, _: Mapping[str, str]) -> None:
        alarms[code] += 1

    try:
        read, start = asyncio.run(look(home, alarm, asking=not unusable))
        return known | {"condition": read, "start": start, "alarms": alarms}
    except (SafehandError, KeysError, ContractError) as error:
        return known | {"unread": error.code, "alarms": alarms}
    except SQLAlchemyError as error:
        return known | {"database": "unreadable", "unread": type(error).__name__, "alarms": alarms}


def _converted(asked: tuple[int, Any]) -> dict[str, Any]:
    status, answer = asked
    if status != HTTPStatus.OK:
        return {"unread": answer.get("code", "no answer")}
    try:
        return {"condition": msgspec.convert(answer, Condition)}
    except msgspec.ValidationError:
        return {"unread": "another version of this program is running"}


def _keystore(home: Home, name: str) -> Keystore:
    try:
        held = home.keystore(name).load().secrets
    except KeystoreError as error:
        return Keystore(name=name, rule=error.rule)
    lacking = sorted(_SECRETS[name] - held.keys())
    return Keystore(name=name, rule=f"holds no {', '.join(lacking)}" if lacking else None)


def _database(home: Home) -> str | None:
    if not home.database.is_file():
        return "absent"
    try:
        with opening(home.database), reader_engine(home.database).connect() as connection:
            return None if at_head(connection) else "revision"
    except (StoreUnavailableError, SqliteVersionError):
        return "unreadable"


def _memory(home: Home, settings: Settings) -> Memory:
    """What the signer remembers; nothing is compared here."""
    if not home.signer.exists():
        return Memory()
    try:
        seen = LogSigner(home.database, home.signer, origin=settings.log_origin, mac=lambda _, __: b"").seen
    except LogInconsistentError as error:
        return Memory(rule=str(error))
    except OSError as error:
        return Memory(rule=f"data/{home.signer.name}: {error.strerror}")
    return Memory(size=seen.size, root=seen.root().hex())
