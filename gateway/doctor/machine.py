"""What the doctor finds of the machine: the program, the home and its files, addresses, the server, the store, the disk. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.doctor.facts import Facts
from gateway.doctor.kinds import DAY, Finding, length, ok, or_ok, told

CERTIFICATE_SOON: Final = 14 * DAY


def program(facts: Facts) -> Iterator[Finding]:
    if facts.sqlite_sound:
        yield ok("program", f"Python {facts.python}, SQLite {facts.sqlite}")
    else:
        yield told("sqlite.wal-reset", f"SQLite {facts.sqlite} can lose committed data")


def home(facts: Facts) -> list[Finding]:
    if not facts.found:
        return [told("home.absent", "no gateway's home is here (it has no config.toml)")]
    found = [told("home.too-deep", "the admin socket's path may have 107 bytes")] if facts.too_deep else []
    found += [told("home.root-keystore", f"{name} lies in this home") for name in facts.roots]
    found += [told("home.open", f"{name} is open to its group or to others") for name in facts.open_to_others]
    found += [told("home.foreign", f"{name} belongs to another account") for name in facts.foreign]
    found += [told("home.unwritable", f"{name} cannot be written") for name in facts.unwritable]
    found += [told("home.file", words) for words in facts.unusable]
    found += [told("home.restored", "data/restored is still there")] if facts.restored else []
    found += [told("home.incomplete", f"{name} is missing") for name in facts.missing_files]
    return or_ok(found, "home", "the home is complete, and nobody else's to read")


def config(facts: Facts) -> list[Finding]:
    if not facts.found:
        return []
    found = [
        told("config.wrong", f"config.toml: {problem.key}: {problem.rule}" if problem.key else f"config.toml: {problem.rule}")
        for problem in facts.config
    ]  # fmt: skip
    return or_ok(found, "config", "config.toml is in order")


def tls(facts: Facts) -> list[Finding]:
    tls = facts.tls
    if tls is None:
        return []
    if tls.rule is not None:
        return [told("tls.unreadable", tls.rule)]
    found = []
    if not tls.key_fits:
        found.append(told("tls.key", "the TLS key is not that of the certificate"))
    if not tls.names_host:
        found.append(told("tls.host", "the certificate does not name the host of public_url"))
    if tls.begins > facts.at:
        found.append(told("tls.not-yet", f"the certificate is valid in {length(tls.begins - facts.at)}"))
    if tls.ends <= facts.at:
        found.append(told("tls.expired", f"the certificate expired {length(facts.at - tls.ends)} ago"))
    elif tls.ends - facts.at < CERTIFICATE_SOON:
        found.append(told("tls.ends-soon", f"the certificate ends in {length(tls.ends - facts.at)}"))
    return or_ok(found, "tls", f"the certificate fits, for {length(tls.ends - facts.at)} more")


def listening(facts: Facts) -> Iterator[Finding]:
    for listener in facts.listeners:
        place = f"{listener.key} ({listener.host}, port {listener.port})"
        match listener.state:
            case "taken":
                yield told("listen.taken", f"{place}: another process has it")
            case "not-here":
                yield told("listen.not-here", f"{place}: not an address of this machine")
            case "free":
                yield ok("listen", f"{place} is free")
            case "ours":
                yield ok("listen", f"{place} is the running server's")
        if listener.key == "metrics.listen" and not _is_loopback(listener.host):
            yield told("metrics.open", f"{place} is no loopback address")
    yield from _server(facts)


def _server(facts: Facts) -> Iterator[Finding]:
    match facts.server:
        case "stopped":
            yield ok("server", "no server is running")
            return
        case "silent":
            yield told("server.silent", "a server holds this home and does not answer on its admin socket")
        case "running":
            yield ok("server", "the server is running")
    if facts.watched is None:
        yield told("metrics.silent", "the running server does not answer /readyz")
    elif facts.watched.ready:
        yield ok("ready", "the server says that it is ready")
    else:
        yield told("server.not-ready", f"the server is not ready: {', '.join(facts.watched.failing)}")


def store(facts: Facts) -> Iterator[Finding]:
    for keystore in facts.keystores:
        if keystore.rule is None:
            yield ok("keystore", f"the keystore {keystore.name} opens")
        else:
            yield told("keystore.closed", f"the keystore {keystore.name}: {keystore.rule}")
    match facts.database:
        case None if facts.condition is not None:
            yield ok("database", "the database answers, at the program's revision")
        case None if facts.unread is not None:
            yield told("condition.unread", f"the store could not be read: {facts.unread}")
        case "absent":
            yield told("database.absent", "there is no database")
        case "revision":
            yield told("database.revision", "the database is at another revision than the program")
        case "unreadable":
            yield told("database.unreadable", "the database does not answer")
        case _:
            pass
    yield from _alarms(facts)


_INTEGRITY: Final[Mapping[str, tuple[str, str]]] = {
    "row-tampered": ("rows.tampered", "rows that decide fail their mac, and count as absent"),
    "row-not-as-logged": ("rows.tampered", "rows that decide are not as the log says, and count as it does"),
    "trigger-not-ours": ("triggers.not-ours", "triggers are not as they were made"),
    "log-altered": ("log.altered", "faults in the log, or in what stands beside it"),
}


def _alarms(facts: Facts) -> Iterator[Finding]:
    raised = dict(facts.alarms)
    for code, count in (facts.watched.alarms if facts.watched else {}).items():
        raised[code] = max(raised.get(code, 0), count)
    compared = facts.start is not None and facts.start.rows
    for alarm, (code, words) in _INTEGRITY.items():
        count = raised.pop(alarm, 0)
        if count and not (compared and code == "rows.tampered"):
            yield told(code, f"{count} {words}")
    if raised:
        listed = ", ".join(f"{code} ({count})" for code, count in sorted(raised.items()))
        yield told("alarms.raised", f"alarms: {listed}")


def space(facts: Facts) -> Iterator[Finding]:
    if not facts.found:
        return
    free = f"{facts.free // 2**20} MiB free, the floor is {facts.floor // 2**20} MiB"
    if facts.free < facts.floor:
        yield told("space.full", free)
    elif facts.free < 4 * facts.floor:
        yield told("space.low", free)
    else:
        yield ok("space", free)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
