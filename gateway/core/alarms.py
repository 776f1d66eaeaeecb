"""Every alarm there is: its code, what it means, what to do, and how soon. A registry, not what raises or tells them. Pure.

An alarm is one line of the gateway's own log (`"event":"alarm"`) and one count in the metrics, and wants a person. Whoever
raises one takes its code from here: the type checker refuses any other, and the operators' page is this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

AlarmCode = Literal[
    "agreement-chain",
    "answer-awaited-overdue",
    "answer-owed-overdue",
    "breach-undecided",
    "bundle-refused",
    "bundle-unreadable",
    "clock-step",
    "cosignature-refused",
    "destruction-untold",
    "event-unverifiable",
    "expired",
    "expiring",
    "foreign-write",
    "log-altered",
    "log-behind-witness",
    "log-contradicted",
    "log-has-no-witness",
    "log-inconsistent",
    "log-not-extended",
    "log-unsigned",
    "log-unwitnessed",
    "message-dead-lettered",
    "message-expired",
    "message-held",
    "message-id-reused",
    "no-witness-key",
    "owed-given-up",
    "receipt-proof-refused",
    "receipt-refused",
    "receipt-unproven",
    "restored",
    "row-not-as-logged",
    "row-tampered",
    "rows-unreadable",
    "seeds-not-destroyed",
    "split-view",
    "statement-differs",
    "trigger-not-ours",
    "webhook-failing",
    "webhook-gone",
    "witness-unreachable",
]
Alarm = Callable[[AlarmCode, Mapping[str, str]], None]
"""Called with a code and details that hold no personal value; MUST return at once and may be called in any thread."""


class Soon(StrEnum):
    """How soon a person looks."""

    NOW = "at once"  # at any hour
    TODAY = "today"
    WEEK = "this week"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one alarm says, and the first thing to do about it."""

    what: str
    do: str
    soon: Soon


_N, _T, _W = Soon.NOW, Soon.TODAY, Soon.WEEK

ALARMS: Final[Mapping[AlarmCode, Meaning]] = {
    "agreement-chain": Meaning(
        "a partner's events of an agreement fork, or leave a gap: it is out of force",
        "`agreement show`; speak to the partner",
        _T,
    ),
    "answer-awaited-overdue": Meaning("a partner's answer to a service message is late", "ring the partner", _T),
    "answer-owed-overdue": Meaning("our answer to a service message is late", "`service list`, then `service ack`", _T),
    "breach-undecided": Meaning(
        "72 hours are over, and nobody decided on a breach", "`breach list`, then `breach decide`", _N
    ),
    "bundle-refused": Meaning(
        "a partner's new key bundle is not in order, and not taken",
        "ring the partner on a known number: a mishap in its ceremony, or somebody else",
        _T,
    ),
    "bundle-unreadable": Meaning(
        "stored key bundles are no history any more: that partner counts as absent",
        "keep everything; `log verify`; find out who wrote to the database",
        _N,
    ),
    "clock-step": Meaning("the clock was set while the gateway ran", "look at NTP, and at who sets the clock", _T),
    "cosignature-refused": Meaning(
        "a witness answered with a cosignature that does not hold", "look at its key in `config.toml`; ask it", _W
    ),
    "destruction-untold": Meaning(
        "something was destroyed, and its partner cannot be told so", "`service list`; tell the partner", _T
    ),
    "event-unverifiable": Meaning(
        "a stored event of an agreement does not verify: the agreement is suspended",
        "keep everything; `log verify`; find out who wrote to the database",
        _N,
    ),
    "expired": Meaning(
        "a bundle, the keys of a role or the certificate has ended (`kind`, `source`)",
        "ours: hold the key ceremony, renew the certificate; a partner's: ring it",
        _N,
    ),
    "expiring": Meaning(
        "the same ends in 14, 7 or 1 days",
        "ours: hold the key ceremony, renew the certificate; a partner's: ring it",
        _W,
    ),
    "foreign-write": Meaning(
        "somebody else wrote to the database while the gateway had it open; rows that decide were compared with the log",
        "keep everything; `log verify`; find out who wrote to the database",
        _N,
    ),
    "log-altered": Meaning(
        "the whole log was verified, and an entry is not what was written",
        "keep everything; `log verify`; find out who wrote to the database",
        _N,
    ),
    "log-behind-witness": Meaning(
        "a witness shows, under our signature, a longer log than ours",
        "stop the gateway; was an old database put back? Bring the newest",
        _N,
    ),
    "log-contradicted": Meaning(
        "a witness says that our log is not the one it knew", "keep everything; `log verify`; ask the witness", _N
    ),
    "log-has-no-witness": Meaning(
        "nobody could tell if this log were rewritten", "verify a partner, or set up a device (docs/witnesses.md)", _W
    ),
    "log-inconsistent": Meaning(
        "the log's signer found other entries than it had seen; it signs no more",
        "keep everything; stop the gateway; `log verify`",
        _N,
    ),
    "log-not-extended": Meaning(
        "what calls itself a partner's log does not continue what we witnessed; anybody can send such a thing",
        "where it comes again, ask the partner",
        _W,
    ),
    "log-unsigned": Meaning(
        "the log's epoch has no key of its own yet",
        "hold the key ceremony: `keys request`, `root sign`, `keys publish`",
        _T,
    ),
    "log-unwitnessed": Meaning(
        "no quorum for an hour; after four, routine messages wait",
        "are the witnesses reachable? (docs/witnesses.md)",
        _T,
    ),
    "message-dead-lettered": Meaning(
        "a message was given up", "`message show`; then `message resend` or `message cancel`", _T
    ),
    "message-expired": Meaning(
        "a message was not delivered in time: the child stays with you", "ring the partner; send anew", _N
    ),
    "message-held": Meaning(
        "a partner kept refusing: its thread waits for a person",
        "speak to the partner; then `message resend --held PARTNER`",
        _T,
    ),
    "message-id-reused": Meaning(
        "a partner sent other bytes under an id that it had used", "refused; ask the partner what its system did", _T
    ),
    "no-witness-key": Meaning(
        "we have no key to cosign partners' logs with", "`keys request` makes one: hold the key ceremony", _W
    ),
    "owed-given-up": Meaning(
        "a partner never took a receipt, an event or a bundle", "ring the partner: it lacks it", _T
    ),
    "receipt-proof-refused": Meaning(
        "what a partner sent to prove a receipt proves nothing",
        "keep everything; compare both logs with the partner",
        _T,
    ),
    "receipt-refused": Meaning(
        "a partner's receipt does not hold; the message is tried again", "where it comes again, ring the partner", _T
    ),
    "receipt-unproven": Meaning(
        "a day after its receipt a partner has not shown the entry in its log",
        "ring the partner; compare both logs",
        _T,
    ),
    "restored": Meaning(
        "this home was made of a backup, and not every partner has answered since", "disaster recovery, below", _T
    ),
    "row-not-as-logged": Meaning(
        "a row that decides is not as the log says; it counts as the log says",
        "keep everything; find out who wrote to the database",
        _N,
    ),
    "row-tampered": Meaning(
        "a row does not carry our mac; it counts as absent", "keep everything; find out who wrote to the database", _N
    ),
    "rows-unreadable": Meaning(
        "an entry that rows are held against does not hold itself", "keep everything; `log verify`", _N
    ),
    "seeds-not-destroyed": Meaning(
        "the keystore cannot be written: KEM seeds outlive their day", "look at `secrets/`, its owner and the disk", _T
    ),
    "split-view": Meaning(
        "a partner's log was shown to us with two histories, both signed",
        "keep everything; speak to the partner and its other partners",
        _N,
    ),
    "statement-differs": Meaning(
        "a partner's daily statement differs from our log",
        "`log verify` on both sides; speak to the partner; keep everything",
        _T,
    ),
    "trigger-not-ours": Meaning(
        "a trigger of the database is missing, changed or not ours",
        "keep everything; find out who wrote to the database; `db upgrade` puts them back",
        _N,
    ),
    "webhook-failing": Meaning(
        "events wait for a receiver for a day, or its address is not allowed",
        "look at the receiver: `webhook test`",
        _T,
    ),
    "webhook-gone": Meaning(
        "a receiver answered 410 and is told nothing more", "mend or remove it in `config.toml`; start again", _T
    ),
    "witness-unreachable": Meaning(
        "a witness did not answer when the gateway started", "is it reachable? Look again tomorrow", _W
    ),
}
