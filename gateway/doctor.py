"""What is wrong with a gateway, in words, and how to mend it: findings over facts that others gathered. Pure.

Nothing is looked up here: `gateway.examining` gathers the facts, beside a running server or alone. `KINDS` is the whole list
of what can be found, each with its level and its mend; the operators' page shows it, and a test holds the two together.
Organisations, agreements, files and codes are named, never a person, a case or a message.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, Literal

from contracts.lifecycle import REVIEW_GRACE, REVIEW_WARNING, State
from contracts.strict import Problem
from gateway.condition import AgreementCondition, Condition, PartnerCondition
from gateway.delivery import STALE_AFTER
from gateway.readiness import CLOCK_DOUBT, CLOCK_STEP, QUEUED_LATE, URGENT_LATE

Level = Literal["ok", "warning", "wrong"]

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
BUNDLE_SOON: Final = 20 * _DAY  # a ceremony is held every 60 to 80 of its 90 days
KEY_SOON: Final = 14 * _DAY
CERTIFICATE_SOON: Final = 14 * _DAY
PARTNER_SOON: Final = 7 * _DAY
REFRESH_LATE: Final = 2 * _DAY
UNSIGNED_LATE: Final = 10 * _MINUTE
QUORUM_LATE: Final = _HOUR
STUCK: Final = _DAY
OWED_LATE: Final = _DAY
UNOPENED_LATE: Final = 3 * _DAY
UNOPENED_URGENT: Final = _HOUR
UNACKNOWLEDGED_LATE: Final = 5 * _DAY
AGREEMENT_SOON: Final = timedelta(days=30)
_LANE_HELD: Final = "lane.held"


# --- facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Keystore:
    """Whether a keystore opens; `rule` says what is wrong where it does not."""

    name: str
    rule: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The listener's certificate: `rule` where it cannot be read, else its time, and whether key and public host fit."""

    rule: str | None = None
    begins: int = 0
    ends: int = 0
    key_fits: bool = False
    names_host: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An address of the configuration: free to listen on, ours (the running server has it), taken, or not this machine's."""

    key: str
    host: str
    port: int
    state: Literal["free", "ours", "taken", "not-here"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the log's signer remembers: the size and root of its tree; `rule` where it cannot be read, size None where it
    has none."""

    rule: str | None = None
    size: int | None = None
    root: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the running server's own listener said of readiness: the codes of what is late or failing, alarms by code."""

    ready: bool
    late: tuple[str, ...]
    failing: tuple[str, ...]
    alarms: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was gathered. What could not be looked at, because something before it is wrong, is None or empty."""

    at: int
    today: date
    python: str
    sqlite: str
    sqlite_sound: bool
    found: bool = True
    too_deep: bool = False
    restored: bool = False
    open_to_others: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    missing_files: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    config: tuple[Problem, ...] = ()
    keystores: tuple[Keystore, ...] = ()
    database: str | None = None  # what is wrong with it: absent, revision, unreadable
    tls: Tls | None = None
    listeners: tuple[Listener, ...] = ()
    server: Literal["stopped", "running", "silent"] = "stopped"
    watched: Watched | None = None
    condition: Condition | None = None
    unread: str | None = None  # the code of why there is no condition, where nothing before it explains that
    memory: Memory | None = None
    free: int = 0
    floor: int = 0
    alarms: Mapping[str, int] = field(default_factory=dict)  # raised while the facts were gathered


# --- findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One thing that can be found: its level, what it means, the mend. `integrity`: something is not what was written."""

    level: Level
    what: str
    mend: str
    integrity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. Where `level` is ok there is nothing to mend."""

    code: str
    level: Level
    words: str
    mend: str
    integrity: bool


def _warning(what: str, mend: str) -> Kind:
    return Kind(level="warning", what=what, mend=mend)


def _wrong(what: str, mend: str, *, integrity: bool = False) -> Kind:
    return Kind(level="wrong", what=what, mend=mend, integrity=integrity)


KINDS: Final[Mapping[str, Kind]] = {
    "sqlite.wal-reset": _wrong("this SQLite can lose commits", "install pysqlite3 0.6.1 or later"),
    "home.absent": _wrong("there is no home", "safehand init makes one, --home names another"),
    "home.too-deep": _wrong("the path is too long for the admin socket", "move the home to a shorter path"),
    "home.open": _wrong("a file or folder is open to others", "chmod 0700 for folders, 0600 for files"),
    "home.foreign": _wrong("a file belongs to somebody else", "chown it to the account that runs the gateway"),
    "home.incomplete": _wrong("a file is missing", "put it back from a backup; safehand init makes a new home"),
    "home.root-keystore": _wrong("a root keystore lies in the home", "move it away from this machine; serve refuses"),
    "home.restored": _warning("this home was made of a backup, and not every partner has answered since", "leave it running; docs/operators.md, disaster recovery"),
    "config.wrong": _wrong("config.toml is not in order", "mend the key that is named; every fault is listed"),
    "keystore.closed": _wrong("a keystore does not open", "put keystore and passphrase file back from a backup"),
    "database.absent": _wrong("there is no database", "safehand db upgrade, or put it back from a backup"),
    "database.revision": _wrong("the database is at another revision", "stop the gateway, safehand db upgrade"),
    "database.unreadable": _wrong("the database does not answer", "look at the file, its owner and the disk"),
    "tls.unreadable": _wrong("certificate or key cannot be used", "PEM files, the key without a passphrase"),
    "tls.key": _wrong("the key is not that of the certificate", "put the right pair in place, start again"),
    "tls.host": _wrong("the certificate does not name the public host", "get one that names it"),
    "tls.not-yet": _wrong("the certificate is not valid yet", "look at the clock, or get another certificate"),
    "tls.expired": _wrong("the certificate has expired", "put a new one in place, start again"),
    "tls.ends-soon": _warning("the certificate ends soon", "put a new one in place, start again"),
    "listen.taken": _wrong("another process has the address", "end it, or choose another address"),
    "listen.not-here": _wrong("the address is not this machine's", "mend the address in config.toml"),
    "metrics.open": _warning("metrics are told beyond loopback", "let only your own network reach that address"),
    "metrics.silent": _wrong("health is not answered", "look at what the gateway logged, start again"),
    "server.silent": _wrong("the server holds the home and does not answer", "look at what it logged, start again"),
    "server.not-ready": _wrong("the server is not ready", "see the checks named; docs/operators.md, Health"),
    "bundle.none": _wrong("no key bundle is published", "safehand keys request, root sign, keys publish"),
    "bundle.expired": _wrong("the own bundle has expired: partners refuse us", "hold the key ceremony today"),
    "bundle.ends-soon": _warning("the own bundle ends soon", "hold the key ceremony: keys request, root sign, keys publish"),
    "keys.missing": _wrong("a role has no key in force", "safehand keys request, root sign, keys publish"),
    "keys.end-soon": _warning("the keys of a role end soon", "hold the key ceremony: keys request, root sign, keys publish"),
    "keys.last-period": _warning("the last KEM period has begun", "hold the key ceremony: keys request, root sign, keys publish"),
    "partner.unverified": _warning("a partner is not verified", "compare fingerprints by telephone: partner verify"),
    "partner.keys-expired": _wrong("a partner's bundle has expired", "ask the partner to hold its key ceremony"),
    "partner.keys-end-soon": _warning("a partner's bundle ends soon", "ask the partner to hold its key ceremony"),
    "partner.keys-stale": _wrong("a partner's keys were not refreshed for 72 hours: nothing is sent", "is it reachable? look at its address and at the network"),
    "partner.keys-late": _warning("a partner's keys were not refreshed lately", "is it reachable? look at its address and at the network"),
    "partner.no-key": _wrong("a partner has no key to seal to", "ask the partner to hold its key ceremony"),
    "partner.duty-number": _wrong("a partner has no duty number that can be rung", "safehand partner change, with --duty-number"),
    "agreement.unsound": _wrong("a chain of events is not sound", "agreement show; speak to the partner at once", integrity=True),
    "agreement.waiting": _warning("an agreement waits for a signature", "safehand agreement show, then agreement sign"),
    "agreement.suspended": _warning("an agreement is suspended", "both parties resume it, or one terminates it"),
    "agreement.ends-soon": _warning("an agreement ends soon", "draw up and sign the next version"),
    "agreement.review-due": _warning("an agreement is to be reviewed", "hold the review by its day"),
    "agreement.review-overdue": _wrong("an agreement's review is overdue", "hold the review: it is suspended 30 days after its day"),
    "log.memory-unreadable": _wrong("the signer's memory cannot be read", "keep the file, safehand log verify, compare with partners", integrity=True),
    "log.memory-absent": _warning("the signer has no memory", "none before the first start; else find out who removed it"),
    "log.went-back": _wrong("the log is shorter than the signer remembers", "keep everything; safehand log verify; was a backup put back?", integrity=True),
    "log.differs": _wrong("the signer remembers another log", "keep everything; safehand log verify; compare with partners", integrity=True),
    "log.unsigned": _warning("the newest entries are not signed yet", "is the gateway running? look at what it logged"),
    "statements.differ": _wrong("a partner's daily statement differs from our log", "log verify on both sides; speak to the partner; keep everything", integrity=True),
    "rows.tampered": _wrong("a row that decides is not what was written", "keep everything; find out who wrote to the database", integrity=True),
    "alarms.raised": _warning("alarms were raised since the start", "read the alarm lines of what the gateway logged"),
    "waiting.urgent": _wrong("something urgent is not delivered", "telephone the partner's duty officer now"),
    "waiting.stuck": _wrong("a message has waited for more than a day", "safehand message list; is the partner reachable?"),
    "waiting.queued": _warning("a message has waited for more than an hour", "safehand message list; is the partner reachable?"),
    "waiting.lane": _wrong("a partner keeps refusing messages", "speak to the partner, then message resend --held PARTNER"),
    "waiting.held": _warning("messages are held", "safehand message list: held_for says by what"),
    "waiting.dead": _wrong("messages were given up", "safehand message list, then message resend or cancel"),
    "waiting.owed-dead": _wrong("receipts, events or bundles were given up", "speak to the partner: it lacks them"),
    "waiting.owed": _warning("a partner has not taken what is owed for more than a day", "is the partner reachable?"),
    "waiting.unopened-urgent": _wrong("something urgent was received and nobody opened it", "safehand inbox list, then inbox open"),
    "waiting.unopened": _warning("messages received were not opened for more than three days", "safehand inbox list, then inbox open"),
    "waiting.unacknowledged": _warning("messages arrived and nobody there took them for more than five days", "ring the partner"),
    "waiting.returned": _warning("partners' gateways returned messages this week", "message show says why; the child stays with you"),
    "waiting.expired": _warning("messages expired undelivered this week", "send anew: the child stays with you"),
    "clock.behind-log": _wrong("the clock is behind the newest entry of the log", "set the clock; keep it by NTP"),
    "clock.partners": _warning("the clock differs from a partner's", "compare both with NTP: 300 seconds are the limit"),
    "space.full": _wrong("there is too little free space: nothing is written", "make room; it goes on by itself"),
    "space.low": _warning("free space is near the floor", "make room"),
    "answers.owed": _warning("answers to service messages are overdue", "safehand service list, then service ack"),
    "answers.awaited": _warning("partners owe answers to service messages", "safehand service list; ring the partner"),
    "breaches.open": _wrong("a breach is not decided", "safehand breach list, then breach decide: within 72 hours"),
    "receipts.unproven": _wrong("a partner did not prove its receipts within a day", "speak to the partner; compare both logs; keep everything", integrity=True),
    "witness.none": _warning("no witness is configured", "let partners, or a device of the DPO's, witness the log"),
    "witness.no-quorum": _warning("the witnesses have not signed lately", "are they reachable?"),
    "condition.unread": _wrong("the store could not be read", "see the code that is named, and what was logged"),
}  # fmt: skip


def examine(facts: Facts) -> tuple[Finding, ...]:
    """Return everything found, in the order in which it is best mended."""
    return (
        *_program(facts),
        *_home(facts),
        *_config(facts),
        *_tls(facts),
        *_listening(facts),
        *_store(facts),
        *_space(facts),
        *(_of_condition(facts, facts.condition) if facts.condition else ()),
    )


def _of_condition(facts: Facts, condition: Condition) -> Iterator[Finding]:
    yield from _keys(condition)
    yield from _partners(condition)
    yield from _agreements(condition, facts.today)
    yield from _log(facts, condition)
    yield from _waiting(condition)
    yield from _clock(condition)
    yield from _witnesses(condition)
    yield from _overdue(condition)


def _found(code: str, words: str) -> Finding:
    kind = KINDS[code]
    return Finding(code=code, level=kind.level, words=words, mend=kind.mend, integrity=kind.integrity)


def _ok(code: str, words: str) -> Finding:
    return Finding(code=code, level="ok", words=words, mend="", integrity=False)


def _or_ok(found: list[Finding], code: str, words: str) -> list[Finding]:
    return found or [_ok(code, words)]


# --- the machine


def _program(facts: Facts) -> Iterator[Finding]:
    if facts.sqlite_sound:
        yield _ok("program", f"Python {facts.python}, SQLite {facts.sqlite}")
    else:
        yield _found("sqlite.wal-reset", f"SQLite {facts.sqlite} can lose committed data")


def _home(facts: Facts) -> list[Finding]:
    if not facts.found:
        return [_found("home.absent", "no gateway's home is here (it has no config.toml)")]
    found = [_found("home.too-deep", "the admin socket's path may have 107 bytes")] if facts.too_deep else []
    found += [_found("home.root-keystore", f"{name} lies in this home") for name in facts.roots]
    found += [_found("home.open", f"{name} is open to its group or to others") for name in facts.open_to_others]
    found += [_found("home.foreign", f"{name} belongs to another account") for name in facts.foreign]
    found += [_found("home.restored", "data/restored is still there")] if facts.restored else []
    found += [_found("home.incomplete", f"{name} is missing") for name in facts.missing_files]
    return _or_ok(found, "home", "the home is complete, and nobody else's to read")


def _config(facts: Facts) -> list[Finding]:
    if not facts.found:
        return []
    found = [
        _found("config.wrong", f"config.toml: {problem.key}: {problem.rule}" if problem.key else f"config.toml: {problem.rule}")
        for problem in facts.config
    ]  # fmt: skip
    return _or_ok(found, "config", "config.toml is in order")


def _tls(facts: Facts) -> list[Finding]:
    tls = facts.tls
    if tls is None:
        return []
    if tls.rule is not None:
        return [_found("tls.unreadable", tls.rule)]
    found = []
    if not tls.key_fits:
        found.append(_found("tls.key", "the TLS key is not that of the certificate"))
    if not tls.names_host:
        found.append(_found("tls.host", "the certificate does not name the host of public_url"))
    if tls.begins > facts.at:
        found.append(_found("tls.not-yet", f"the certificate is valid in {_length(tls.begins - facts.at)}"))
    if tls.ends <= facts.at:
        found.append(_found("tls.expired", f"the certificate expired {_length(facts.at - tls.ends)} ago"))
    elif tls.ends - facts.at < CERTIFICATE_SOON:
        found.append(_found("tls.ends-soon", f"the certificate ends in {_length(tls.ends - facts.at)}"))
    return _or_ok(found, "tls", f"the certificate fits, for {_length(tls.ends - facts.at)} more")


def _listening(facts: Facts) -> Iterator[Finding]:
    for listener in facts.listeners:
        place = f"{listener.key} ({listener.host}, port {listener.port})"
        match listener.state:
            case "taken":
                yield _found("listen.taken", f"{place}: another process has it")
            case "not-here":
                yield _found("listen.not-here", f"{place}: not an address of this machine")
            case "free":
                yield _ok("listen", f"{place} is free")
            case "ours":
                yield _ok("listen", f"{place} is the running server's")
        if listener.key == "metrics.listen" and not _is_loopback(listener.host):
            yield _found("metrics.open", f"{place} is no loopback address")
    yield from _server(facts)


def _server(facts: Facts) -> Iterator[Finding]:
    match facts.server:
        case "stopped":
            yield _ok("server", "no server is running")
            return
        case "silent":
            yield _found("server.silent", "a server holds this home and does not answer on its admin socket")
        case "running":
            yield _ok("server", "the server is running")
    if facts.watched is None:
        yield _found("metrics.silent", "the running server does not answer /readyz")
    elif facts.watched.ready:
        yield _ok("ready", "the server says that it is ready")
    else:
        yield _found("server.not-ready", f"the server is not ready: {', '.join(facts.watched.failing)}")


def _store(facts: Facts) -> Iterator[Finding]:
    for keystore in facts.keystores:
        if keystore.rule is None:
            yield _ok("keystore", f"the keystore {keystore.name} opens")
        else:
            yield _found("keystore.closed", f"the keystore {keystore.name}: {keystore.rule}")
    match facts.database:
        case None if facts.condition is not None:
            yield _ok("database", "the database answers, at the program's revision")
        case None if facts.unread is not None:
            yield _found("condition.unread", f"the store could not be read: {facts.unread}")
        case "absent":
            yield _found("database.absent", "there is no database")
        case "revision":
            yield _found("database.revision", "the database is at another revision than the program")
        case "unreadable":
            yield _found("database.unreadable", "the database does not answer")
        case _:
            pass
    yield from _alarms(facts)


def _alarms(facts: Facts) -> Iterator[Finding]:
    raised = dict(facts.alarms)
    for code, count in (facts.watched.alarms if facts.watched else {}).items():
        raised[code] = max(raised.get(code, 0), count)
    tampered = raised.pop("row-tampered", 0)
    if tampered:
        yield _found("rows.tampered", f"{tampered} rows that decide fail their mac, and count as absent")
    if raised:
        told = ", ".join(f"{code} ({count})" for code, count in sorted(raised.items()))
        yield _found("alarms.raised", f"alarms: {told}")


def _space(facts: Facts) -> Iterator[Finding]:
    if not facts.found:
        return
    free = f"{facts.free // 2**20} MiB free, the floor is {facts.floor // 2**20} MiB"
    if facts.free < facts.floor:
        yield _found("space.full", free)
    elif facts.free < 4 * facts.floor:
        yield _found("space.low", free)
    else:
        yield _ok("space", free)


# --- keys, partners, agreements


def _keys(condition: Condition) -> list[Finding]:
    if condition.bundle_ends is None:
        return [_found("bundle.none", "no key bundle is published yet")]
    found = []
    left = condition.bundle_ends - condition.at
    if left <= 0:
        found.append(_found("bundle.expired", f"the bundle expired {_length(-left)} ago"))
    elif left < BUNDLE_SOON:
        found.append(_found("bundle.ends-soon", f"the bundle ends in {_length(left)}"))
    for key in condition.keys:
        covered = None if key.covered_until is None else key.covered_until - condition.at
        if covered is None or key.role in condition.missing:
            found.append(_found("keys.missing", f"no {key.role} key is in force"))
        elif covered < KEY_SOON:
            found.append(_found("keys.end-soon", f"keys of role {key.role} end in {_length(covered)}"))
        elif key.role == "message-kem" and not key.waiting:
            found.append(_found("keys.last-period", f"no further message-kem key waits; this one ends in {_length(covered)}"))  # fmt: skip
    return _or_ok(found, "keys", f"keys of every role are in force; the bundle lasts {_length(left)} more")


def _partners(condition: Condition) -> list[Finding]:
    found = [finding for partner in condition.partners for finding in _partner(partner, condition.at)]
    return _or_ok(found, "partners", f"partners: {len(condition.partners)}, all of them verified, their keys fresh")


def _partner(partner: PartnerCondition, at: int) -> Iterator[Finding]:
    if not partner.verified:
        yield _found("partner.unverified", f"{partner.org}: nothing is exchanged until its fingerprint is compared")
    if not partner.reachable_by_telephone:
        yield _found("partner.duty-number", f"{partner.org}: no duty number that can be rung")
    if partner.bundle_ends <= at:
        yield _found(
            "partner.keys-expired", f"{partner.org}: its bundle expired {_length(at - partner.bundle_ends)} ago"
        )
        return
    if partner.sealable_until is None:
        yield _found("partner.no-key", f"{partner.org}: its bundle has no key to seal to now")
    if partner.bundle_ends - at < PARTNER_SOON:
        yield _found("partner.keys-end-soon", f"{partner.org}: its bundle ends in {_length(partner.bundle_ends - at)}")
    age = at - partner.fetched_at
    if age > STALE_AFTER.total_seconds():
        yield _found("partner.keys-stale", f"{partner.org}: its keys were last asked for {_length(age)} ago")
    elif age > REFRESH_LATE:
        yield _found("partner.keys-late", f"{partner.org}: its keys were last asked for {_length(age)} ago")


def _agreements(condition: Condition, today: date) -> list[Finding]:
    found = [finding for agreement in condition.agreements for finding in _agreement(agreement, today)]
    return _or_ok(found, "agreements", f"agreements: {len(condition.agreements)}, none of them waiting for anybody")


def _agreement(agreement: AgreementCondition, today: date) -> Iterator[Finding]:
    name = f"{agreement.id} version {agreement.version}"
    if agreement.unsound:
        yield _found("agreement.unsound", f"{name}: the events of a party do not form one chain")
    if agreement.state in (State.PROPOSED, State.PART_SIGNED):
        yield _found("agreement.waiting", f"{name} is {agreement.state}")
    if agreement.state == State.SUSPENDED:
        yield _found("agreement.suspended", f"{name}: {', '.join(agreement.reasons)}")
    if agreement.state not in (State.IN_FORCE, State.SIGNED, State.SUSPENDED):
        return
    if agreement.valid_until - today < AGREEMENT_SOON:
        yield _found("agreement.ends-soon", f"{name} ends on {agreement.valid_until}")
    if agreement.review_by < today:
        yield _found("agreement.review-overdue", f"{name}: its review was due on {agreement.review_by}; it is suspended after {agreement.review_by + REVIEW_GRACE}")  # fmt: skip
    elif agreement.review_by - today <= REVIEW_WARNING:
        yield _found("agreement.review-due", f"{name}: its review is due on {agreement.review_by}")


# --- the log


def _log(facts: Facts, condition: Condition) -> list[Finding]:
    found, memory = [], facts.memory
    if memory is not None:
        if memory.rule is not None:
            found.append(_found("log.memory-unreadable", memory.rule))
        elif memory.size is None:
            if condition.log_size:
                found.append(_found("log.memory-absent", "data/log-signer is not there: the whole log is read again"))
        elif memory.size > condition.log_size:
            found.append(
                _found("log.went-back", f"the signer saw {memory.size} entries, the log has {condition.log_size}")
            )
        elif memory.size == condition.checkpoint_size and memory.root != condition.checkpoint_root:
            found.append(_found("log.differs", f"another root at {memory.size} entries than the checkpoint signed"))
    signed = condition.checkpoint_size or 0
    age = condition.at - (condition.signed_at or condition.log_at)
    if signed < condition.log_size and condition.at - condition.log_at > UNSIGNED_LATE:
        found.append(_found("log.unsigned", f"{condition.log_size - signed} entries are under no checkpoint"))
    if condition.differences:
        found.append(_found("statements.differ", f"{condition.differences} differences between statements and the log"))
    words = f"{condition.log_size} entries; the newest checkpoint has {signed}, and is {_length(age)} old"
    return _or_ok(found, "log", words if condition.log_size else "the log is empty")


_OVERDUE: Final[Mapping[str, str]] = {
    "answers-owed": "answers.owed",
    "answers-awaited": "answers.awaited",
    "breaches-open": "breaches.open",
    "receipts-unproven": "receipts.unproven",
}


def _overdue(condition: Condition) -> Iterator[Finding]:
    for what, code in _OVERDUE.items():
        if count := condition.overdue.get(what, 0):
            yield _found(code, f"{count} of them")


def _witnesses(condition: Condition) -> Iterator[Finding]:
    if not condition.witnesses:
        yield _found("witness.none", "the log is witnessed by nobody")
    elif condition.unwitnessed_since is not None and condition.at - condition.unwitnessed_since > QUORUM_LATE:
        length = _length(condition.at - condition.unwitnessed_since)
        yield _found(
            "witness.no-quorum", f"{condition.witnesses} witnesses; for {length} the log is ahead of their quorum"
        )
    else:
        yield _ok("witnesses", f"{condition.witnesses} witnesses, and a quorum lately")


# --- nothing waits silently


def _waiting(condition: Condition) -> list[Finding]:
    return _or_ok(
        [*_going(condition), *_owed(condition), *_came(condition), *_ended(condition)],
        "waiting",
        "nothing waits for too long",
    )


def _going(condition: Condition) -> Iterator[Finding]:
    open_states = ("queued", "sending", "held")
    urgent = _age(condition, condition.oldest("out", *open_states, urgent=True))
    if urgent > URGENT_LATE:
        yield _found("waiting.urgent", f"undelivered for {_length(urgent)}, and at immediate risk")
    queued = _age(condition, condition.oldest("out", "queued", "sending"))
    if queued > STUCK:
        yield _found("waiting.stuck", f"undelivered for {_length(queued)}")
    elif queued > QUEUED_LATE:
        yield _found("waiting.queued", f"undelivered for {_length(queued)}")
    if lane := condition.held.get(_LANE_HELD):
        yield _found("waiting.lane", f"{lane} held because the partner kept refusing them")
    codes = ", ".join(f"{code} ({n})" for code, n in sorted(condition.held.items()) if code != _LANE_HELD)
    if codes:
        yield _found("waiting.held", f"held: {codes}")
    if dead := condition.count("out", "dead"):
        yield _found("waiting.dead", f"{dead} given up after days of attempts")


def _owed(condition: Condition) -> Iterator[Finding]:
    if dead := condition.owed.get("dead"):
        yield _found("waiting.owed-dead", f"{dead} receipts, events or bundles given up")
    age = _age(condition, condition.owed_since)
    if age > OWED_LATE:
        yield _found("waiting.owed", f"receipts, events or bundles tried for {_length(age)}")


def _came(condition: Condition) -> Iterator[Finding]:
    urgent = _age(condition, condition.oldest("in", "received", urgent=True))
    if urgent > UNOPENED_URGENT:
        yield _found("waiting.unopened-urgent", f"at immediate risk, and unopened for {_length(urgent)}")
    unopened = _age(condition, condition.oldest("in", "received", urgent=False))
    if unopened > UNOPENED_LATE:
        yield _found("waiting.unopened", f"unopened for {_length(unopened)}")


def _ended(condition: Condition) -> Iterator[Finding]:
    arrived = _age(condition, condition.oldest("out", "delivered"))
    if arrived > UNACKNOWLEDGED_LATE:
        yield _found("waiting.unacknowledged", f"arrived {_length(arrived)} ago, and nobody there took it")
    for state, code in (("rejected", "waiting.returned"), ("expired", "waiting.expired")):
        recent = sum(pile.recent for pile in condition.piles if pile.direction == "out" and pile.state == state)
        if recent:
            yield _found(code, f"{recent} written this week")


def _clock(condition: Condition) -> list[Finding]:
    found = []
    if condition.log_at - condition.at > CLOCK_STEP:
        found.append(
            _found("clock.behind-log", f"the newest entry is {_length(condition.log_at - condition.at)} ahead")
        )
    for partner in condition.partners:
        if partner.ahead is not None and abs(partner.ahead) > CLOCK_DOUBT:
            way = "ahead of" if partner.ahead > 0 else "behind"
            found.append(_found("clock.partners", f"{partner.org}'s clock is {abs(partner.ahead)} s {way} ours"))
    return _or_ok(found, "clock", "the clock agrees with the log and with partners' receipts")


def _age(condition: Condition, instant: int | None) -> int:
    return 0 if instant is None else condition.at - instant


def _length(seconds: int) -> str:
    """A length of time as people say it, to the nearest unit below."""
    for name, unit in (("days", _DAY), ("hours", _HOUR), ("minutes", _MINUTE)):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{max(0, seconds)} seconds"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
