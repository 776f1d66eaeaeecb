"""Counters and gauges of a running gateway, in a registry of their own. Counts, decides nothing, and keeps no history.

Gauges are set from one `Condition` at each look; counters go up as things happen and begin at nought with the process.
INVARIANT: every label value is from a closed set: states, codes, roles, kinds, routes as declared, webhooks configured, partners
held. What comes from outside and is none of these counts as `other`, so no page of metrics can name a person, a case or a message.
"""

from __future__ import annotations

import math
import re
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from contracts.breach import BreachCode
from gateway.condition import Condition
from gateway.core.alarms import Alarm, AlarmCode
from gateway.core.commands import Command, Complete, Fail
from gateway.core.receipt import Code
from gateway.ports import Noted, Store
from gateway.readiness import Check, Process

R = TypeVar("R")

OTHER: Final = "other"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CODE: Final = re.compile(r"(?=.{1,64}\Z)[a-z][a-z0-9]*(?:[.-][a-z0-9]+){0,5}")
_MOST_CODES: Final = 200  # of one counter: codes are literals of ours, and a bug must not make them endless
_REFUSAL_CODES: Final = frozenset({*map(str, BreachCode), *get_args(Code)})
_LEVELS: Final = {"ok": 0, "late": 1, "failing": 2}
_RECEIPTS: Final[Mapping[tuple[str, str], tuple[str, str]]] = {  # (kind of an entry, its dir) -> (direction, event)
    ("delivered", "out"): ("in", "checked"),
    ("taken", "out"): ("in", "taken"),
    ("collected", "out"): ("in", "collected"),
    ("rejected", "out"): ("in", "rejected"),
    ("received", "in"): ("out", "checked"),
    ("handed-over", "in"): ("out", "taken"),
    ("collected", "in"): ("out", "collected"),
    ("refused-inbound", "in"): ("out", "rejected"),
}


@dataclass(frozen=True, slots=True)
class Described:
    """A meter as operators know it: its name as it is scraped, its labels, and what it says."""

    name: str
    labels: tuple[str, ...]
    text: str


class Meters:
    """The meters of one process. Counters may be counted in any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._seen: dict[str, set[str]] = {}
        self.described: list[Described] = []
        self.alarms: Tally[str] = Tally()

        self._messages = self._gauge(
            "messages", "Messages by direction, partner and state.", "direction", "partner", "state"
        )
        self._held = self._gauge("held", "Held messages by the code of what holds them.", "code")
        self._dead = self._gauge("dead_letters", "Messages given up: a person sends them again or cancels them.")
        self._owed = self._gauge("owed", "Receipts, events and bundles owed to partners, by state.", "state")
        self._queued_age = self._gauge("oldest_queued_seconds", "Age of the oldest message not yet delivered.")
        self._unopened_age = self._gauge(
            "oldest_unopened_seconds", "Age of the oldest message received that nobody took or opened."
        )
        self._log_size = self._gauge("log_entries", "Entries of the exchange log.")
        self._signed_size = self._gauge("checkpoint_entries", "Entries under the newest signed checkpoint.")
        self._signed_age = self._gauge("checkpoint_age_seconds", "Age of the newest signed checkpoint.")
        self._verified_age = self._gauge(
            "log_verified_age_seconds", "Since the signer last found the log as it was written."
        )
        self._differences = self._gauge(
            "statement_differences", "Differences ever found between partners' daily statements and our log."
        )
        self._overdue = self._gauge("overdue", "What a person must not forget, past its day.", "what")
        self._witnesses = self._gauge("witnesses", "Witnesses configured.")
        self._quorum_age = self._gauge(
            "witness_quorum_age_seconds", "For how long the log has been ahead of what a quorum of witnesses cosigned."
        )
        self._bundle = self._gauge("bundle_expires_seconds", "Until the own key bundle expires.")
        self._keys = self._gauge("key_covered_seconds", "Until the first gap in the keys of a role.", "role")
        self._certificate = self._gauge(
            "certificate_expires_seconds", "Until the certificate of the exchange listener expires."
        )
        self._partner_bundle = self._gauge(
            "partner_bundle_expires_seconds", "Until a partner's key bundle expires.", "partner"
        )
        self._partner_keys = self._gauge(
            "partner_keys_age_seconds", "Since a partner's keys were last asked for.", "partner"
        )
        self._partner_ahead = self._gauge(
            "partner_clock_ahead_seconds", "By how much a partner's clock seems ahead of ours.", "partner"
        )
        self._agreements = self._gauge("agreements", "Agreements by state.", "state")
        self._free = self._gauge("free_bytes", "Free space where the database lies.")
        self._writes = self._gauge("writes_waiting", "Commands that wait for the one writer.")
        self._webhooks = self._gauge(
            "webhook_waiting_seconds", "Age of the oldest event that a webhook's receiver has not taken.", "webhook"
        )
        self._checks = self._gauge("check", "What readiness looks at: 0 ok, 1 late, 2 failing.", "check")
        self._drift = self._gauge("clock_drift_seconds", "The clock against the machine's steady one since the start.")

        self._requests = self._counter(
            "requests",
            "Requests answered, by listener, method, route as declared, and status.",
            "listener",
            "method",
            "route",
            "status",
        )
        self._refusals = self._counter(
            "refusals",
            "Messages refused, by code (each code of one message once): ours before they left (out), partners' (in), ours by a partner (returned).",
            "direction",
            "code",
        )
        self._attempts = self._counter("attempts", "Attempts at delivery, by outcome.", "outcome")
        self._receipts = self._counter(
            "receipts", "Receipts taken from partners (in) and given to them (out), by event.", "direction", "event"
        )
        self._entries = self._counter(
            "entries", "Entries written to the exchange log, by kind and direction.", "kind", "direction"
        )
        self._alarms = self._counter("alarms", "Alarms raised, by code.", "code")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self.described.append(Described(f"safehand_{name}", labels, text))
        return Gauge(f"safehand_{name}", text, labels, registry=self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self.described.append(Described(f"safehand_{name}_total", labels, text))
        return Counter(f"safehand_{name}", text, labels, registry=self._registry)

    # --- as things happen

    def alarmed(self, alarm: Alarm) -> Alarm:
        """Return `alarm`, counted."""

        def counted(code: AlarmCode, details: Mapping[str, str]) -> None:
            self.alarms[code] += 1
            self._alarms.labels(self._known("alarm", code)).inc()
            alarm(code, details)

        return counted

    def answered(self, listener: str, method: str, route: str, status: int) -> None:
        """One request was answered; `route` as it was declared."""
        self._requests.labels(listener, method if method in METHODS else OTHER, route, str(status)).inc()

    def attempted(self, outcome: str) -> None:
        """One attempt at a delivery was settled."""
        self._attempts.labels(self._known("outcome", outcome)).inc()

    def noted(self, entries: Iterable[Noted]) -> None:
        """Entries that the log has grown by."""
        for entry in entries:
            self._entries.labels(self._known("kind", entry.kind), entry.dir).inc()
            if (entry.kind, entry.dir) in _RECEIPTS:
                self._receipts.labels(*_RECEIPTS[entry.kind, entry.dir]).inc()
            for code in entry.codes:
                direction = "returned" if entry.kind == "rejected" else entry.dir
                self._refusals.labels(direction, code if code in _REFUSAL_CODES else OTHER).inc()

    # --- at a look

    def show(self, condition: Condition | None, process: Process, found: Iterable[Check], at: int) -> bytes:
        """Set every gauge and return the page, in the text format that Prometheus reads."""
        if condition is not None:
            self._show_messages(condition)
            self._show_ends(condition, at)
            self._log_size.set(condition.log_size)
            self._signed_size.set(condition.checkpoint_size or 0)
            self._signed_age.set(_since(condition.signed_at, at))
            self._differences.set(condition.differences)
            for what, count in condition.overdue.items():
                self._overdue.labels(what).set(count)
            self._witnesses.set(condition.witnesses)
            self._quorum_age.set(0 if condition.unwitnessed_since is None else at - condition.unwitnessed_since)
        self._verified_age.set(_since(process.verified_at, at))
        self._certificate.set(_until(process.certificate_ends, at))
        self._free.set(process.free)
        self._writes.set(process.writes)
        self._drift.set(process.drift)
        for name, since in process.webhooks.items():
            self._webhooks.labels(name).set(0 if since is None else at - since)
        for check in found:
            self._checks.labels(check.name).set(_LEVELS[check.level])
        return generate_latest(self._registry)

    def _show_messages(self, condition: Condition) -> None:
        self._messages.clear()
        for pile in condition.piles:
            self._messages.labels(pile.direction, pile.partner, pile.state).inc(pile.count)
        self._held.clear()
        for code, count in condition.held.items():
            self._held.labels(self._known("held", code)).inc(count)
        self._owed.clear()
        for state, count in condition.owed.items():
            self._owed.labels(state).set(count)
        self._agreements.clear()
        for agreement in condition.agreements:
            self._agreements.labels(agreement.state).inc()
        self._dead.set(condition.count("out", "dead"))
        self._queued_age.set(_since(condition.oldest("out", "queued", "sending", "held"), condition.at))
        self._unopened_age.set(_since(condition.oldest("in", "received"), condition.at))

    def _show_ends(self, condition: Condition, at: int) -> None:
        self._bundle.set(_until(condition.bundle_ends, at))
        self._keys.clear()
        for key in condition.keys:
            self._keys.labels(key.role).set(_until(key.covered_until, at))
        for gauge in (self._partner_bundle, self._partner_keys, self._partner_ahead):
            gauge.clear()
        for partner in condition.partners:
            self._partner_bundle.labels(partner.org).set(_until(partner.bundle_ends, at))
            self._partner_keys.labels(partner.org).set(_since(partner.fetched_at, at))
            if partner.ahead is not None:
                self._partner_ahead.labels(partner.org).set(partner.ahead)

    def _known(self, what: str, code: str) -> str:
        """The code itself where it has the form of one, and few enough others were seen."""
        seen = self._seen.setdefault(what, set())
        if code in seen:
            return code
        if not _CODE.fullmatch(code) or len(seen) >= _MOST_CODES:
            return OTHER
        seen.add(code)
        return code


class MeteredStore:
    """`ports.Store`, with every settled attempt counted after its commit."""

    def __init__(self, store: Store, meters: Meters) -> None:
        self._store = store
        self._meters = meters

    async def write(self, command: Command[R]) -> R:
        """Carry out one command, as the store does."""
        answer = await self._store.write(command)
        match command:
            case Complete() if answer:
                self._meters.attempted("receipt")
            case Fail() if answer:
                self._meters.attempted(command.outcome)
        return answer


def _since(instant: int | None, at: int) -> float:
    """Seconds since an instant; NaN where there is none: nought would say `just now`."""
    return math.nan if instant is None else at - instant


def _until(instant: int | None, at: int) -> float:
    """Seconds until an instant, below nought where it has passed; NaN where there is none."""
    return math.nan if instant is None else instant - at
