"""Halves of acts that need two people: what is kept of one, which of them make a whole, and which of them go then.

Pure. A half from the command line has no credential beside it; one that came through a token has the token's id. Two halves
make a whole only where names differ and credentials do too: whoever stole one token can type two names.
A half is a row that decides (`core.deciding`): it counts only while the log states it, and is stated gone by the entry of
the half that it met. The log knows it by a random id, and says nothing of who stated what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.core.commands import Command, LogEntry
from gateway.core.errors import SafehandError

_BETWEEN: Final = "\n"  # in no name: white space in names was made single spaces


class HalvesMovedError(SafehandError):
    """Other halves wait than those that a command was decided by: the flow runs again."""

    code = "halves.moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One half that waits: `act` is the SHA-256 of the act in full, `by` who stated it as `half` makes it."""

    id: str
    act: bytes
    by: str = field(repr=False)
    stated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The halves of every act that wait, and the ids of those that wait by the log and are not to be found (any more)."""

    halves: tuple[Half, ...]
    lost: frozenset[str]

    @property
    def ids(self) -> frozenset[str]:
        """Those of the halves that are there."""
        return frozenset({half.id for half in self.halves})


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What one more half leads to: the names that state its act, the half to keep (None: it waits for nobody), the ids
    of those that go."""

    names: tuple[str, ...]
    kept: Half | None
    gone: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepHalves(Command[None]):
    """Keep a half, where there is one, and take out those that go. `seen` is what waited when this was decided: raises
    HalvesMovedError where that is not so now. `entry` states what is kept and what goes."""

    kept: Half | None
    gone: frozenset[str]
    seen: Waiting
    entry: LogEntry

    def touches(self) -> frozenset[str]:
        return frozenset({"halves"})


def meet(waiting: Waiting, mine: Half, *, not_before: int, alone: bool) -> Met:
    """State one more half. Halves older than `not_before` do not count. Those that met are used up, so that the next such
    act needs two again; so is a half that is enough `alone`."""
    old = {half.id for half in waiting.halves if half.stated_at < not_before}
    same = [half for half in waiting.halves if half.act == mine.act and half.id not in old]
    others = [half for half in same if independent(half.by, mine.by)]
    whole = alone or bool(others)
    used = {half.id for half in same if whole or half.by == mine.by}
    return Met(
        names=tuple(sorted({name_of(half.by) for half in (*others, mine)})),
        kept=None if whole else mine,
        gone=frozenset(old | used | waiting.lost),
    )


def half(name: str, through: str | None) -> str:
    """Return how a half says who stated it: the name, and the id of the token that it came through."""
    return name if through is None else f"{name}{_BETWEEN}{through}"


def independent(one: str, other: str) -> bool:
    """Whether two halves are two people's, as far as a gateway can tell."""
    name, _, through = one.partition(_BETWEEN)
    other_name, _, other_through = other.partition(_BETWEEN)
    return name != other_name and (through != other_through or not through)


def name_of(by: str) -> str:
    """Return the name in what `half` made."""
    return by.partition(_BETWEEN)[0]
