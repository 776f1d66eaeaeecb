"""The whole list of what can be found, each with its level and its mend; the operators' page shows it, and a test holds
the two together. And the making of one finding. Pure.

Organisations, agreements, files and codes are named, never a person, a case or a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "warning", "wrong"]

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


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
    "home.unwritable": _wrong("serve cannot write here", "chown or chmod it; is the disk mounted read-only?"),
    "home.file": _wrong("a file that serve needs cannot be used", "put the file that is named in place"),
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
    "keys.other-epoch": _wrong("no log key of this epoch is in force: serve refuses", "safehand keys request, root sign, keys publish"),
    "partner.unverified": _warning("a partner is not verified", "compare fingerprints by telephone: partner verify"),
    "partner.keys-expired": _wrong("a partner's bundle has expired", "ask the partner to hold its key ceremony"),
    "partner.keys-end-soon": _warning("a partner's bundle ends soon", "ask the partner to hold its key ceremony"),
    "partner.keys-stale": _wrong("a partner's keys were not refreshed for 72 hours: nothing is sent", "is it reachable? look at its address and at the network"),
    "partner.keys-late": _warning("a partner's keys were not refreshed lately", "is it reachable? look at its address and at the network"),
    "partner.no-key": _wrong("a partner has no key to seal to", "ask the partner to hold its key ceremony"),
    "partner.duty-number": _wrong("a partner has no duty number that can be rung", "safehand partner add, with --duty-number"),
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
    "log.other-name": _wrong("the database holds the log of another name: serve refuses", "set log_origin in config.toml to the name that is told"),
    "log.unreadable": _wrong("an entry, or what it states of rows, is not what was written: serve refuses", "keep everything; safehand log verify; restore a backup", integrity=True),
    "log.altered": _wrong("the running gateway verified its log and found faults", "keep everything; safehand log verify names them", integrity=True),
    "log.behind-witness": _wrong("a witness holds more of the log, or another one: serve refuses", "keep everything; restore a newer backup; else safehand log new-epoch", integrity=True),
    "log.unsigned": _warning("the newest entries are not signed yet", "is the gateway running? look at what it logged"),
    "statements.differ": _wrong("a partner's daily statement differs from our log", "log verify on both sides; speak to the partner; keep everything", integrity=True),
    "rows.tampered": _wrong("a row that decides is not what was written", "keep everything; find out who wrote to the database", integrity=True),
    "triggers.not-ours": _wrong("a trigger of the database is missing, changed or not ours", "keep everything; find out who wrote to the database; safehand db upgrade puts them back", integrity=True),
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
    "witness.unreachable": _warning("a witness does not answer: serve starts without it", "is it reachable?"),
    "condition.unread": _wrong("the store could not be read", "see the code that is named, and what was logged"),
}  # fmt: skip


def told(code: str, words: str) -> Finding:
    """One thing that is not as it should be."""
    kind = KINDS[code]
    return Finding(code=code, level=kind.level, words=words, mend=kind.mend, integrity=kind.integrity)


def ok(code: str, words: str) -> Finding:
    """One thing that is."""
    return Finding(code=code, level="ok", words=words, mend="", integrity=False)


def or_ok(found: list[Finding], code: str, words: str) -> list[Finding]:
    """What was found, or that there was nothing."""
    return found or [ok(code, words)]


def length(seconds: int) -> str:
    """A length of time as people say it, to the nearest unit below."""
    for name, unit in (("days", DAY), ("hours", HOUR), ("minutes", MINUTE)):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{max(0, seconds)} seconds"
