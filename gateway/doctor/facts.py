"""What the doctor judges: everything that was gathered of a gateway, once. Pure types; nothing is looked up here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from contracts.strict import Problem
from gateway.condition import Condition


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


ListenerState = Literal["free", "ours", "taken", "not-here"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An address of the configuration: free to listen on, ours (the running server has it), taken, or not this machine's."""

    key: str
    host: str
    port: int
    state: ListenerState


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
class Start:
    """What `serve` looks at as it starts, looked at while none runs: in words, where it would refuse or say so. `log_name` is
    the database's where it is another than the configuration's, `behind` a witness that contradicts the log, and the size."""

    log_name: str | None = None
    other_epoch: bool = False
    entries: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    behind: tuple[str, int] | None = None
    unreachable: tuple[str, ...] = ()


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
    unwritable: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()  # files that serve needs, and what is wrong with each
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
    start: Start | None = None
    free: int = 0
    floor: int = 0
    alarms: Mapping[str, int] = field(default_factory=dict)  # raised while the facts were gathered
