"""Which logs and witnesses are trusted, and how many of the witnesses must have cosigned a checkpoint (C2SP tlog-policy).

Pure. A policy file:

    log safehand.hants.example/exchange-log/1+<key id>+<key>
    witness safehand.la-850/witness/1 safehand.la-850/witness/1+<key id>+<key> https://exchange.kc.example/witness/v1
    group witnesses 1 safehand.la-850/witness/1
    quorum witnesses

Read as the specification has it, nested groups included; written in one form, with one group of more than half. A file is
octets, of which those above 7F are opaque: they are kept as they came (surrogate escapes inside, the same octets outside).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.tlog.checkpoint import NoteKey
from gateway.tlog.cosignature import CosignerKey
from gateway.tlog.errors import NoteError, PolicyError

POLICY_LIMIT: Final = 256 * 1024  # bytes: over a thousand witnesses
NONE: Final = "none"
MAJORITY_GROUP: Final = "more-than-half"

_FORBIDDEN: Final = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_SPACE: Final = re.compile(r"[ \t]+")
_THRESHOLD: Final = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log whose checkpoints are accepted; the key's name is its origin."""

    key: NoteKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness under the name that groups call it by."""

    name: str
    key: CosignerKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """So many of the members, witnesses or groups, make the group count as one that has witnessed."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a file of this format says. `quorum` is the name of a witness or a group, or `none`."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def __post_init__(self) -> None:
        _check(self)

    def satisfied_by(self, cosigners: Collection[CosignerKey]) -> bool:
        """Whether these keys, each with a good cosignature under one checkpoint, are the quorum."""
        if self.quorum == NONE:
            return True
        met = {witness.name for witness in self.witnesses if witness.key in cosigners}
        for group in self.groups:  # members stand before their group
            if len(met.intersection(group.members)) >= group.threshold:
                met.add(group.name)
        return self.quorum in met

    def to_bytes(self) -> bytes:
        """Return the file: logs, witnesses, groups, the quorum, one a line."""
        lines = [_line("log", log.key.vkey(), log.url) for log in self.logs]
        lines += [_line("witness", witness.name, witness.key.vkey(), witness.url) for witness in self.witnesses]
        lines += [_line("group", group.name, str(group.threshold), *group.members) for group in self.groups]
        return "".join([*lines, _line("quorum", self.quorum)]).encode("utf-8", "surrogateescape")


def majority(count: int) -> int:
    """Return how many of `count` witnesses are more than half."""
    return count // 2 + 1


def majority_policy(logs: Sequence[PolicyLog], witnesses: Sequence[Sequence[PolicyWitness]]) -> Policy:
    """Return the policy of more than half of those configured. Each of `witnesses` is one, with each of its keys in force.

    One with several keys (around a change of keys) counts once, whichever of them cosigned: it is a group of its own.
    """
    groups, members = [], []
    for number, keys in enumerate(witnesses, start=1):
        members.append(keys[0].name)
        if len(keys) > 1:
            groups.append(Group(f"witness-{number}", 1, tuple(key.name for key in keys)))
            members[-1] = groups[-1].name
    if members:
        groups.append(Group(MAJORITY_GROUP, majority(len(members)), tuple(members)))
    return Policy(
        logs=tuple(logs),
        witnesses=tuple(key for keys in witnesses for key in keys),
        groups=tuple(groups),
        quorum=MAJORITY_GROUP if members else NONE,
    )


def parse_policy(data: bytes) -> Policy:
    """Return the policy of a file. Raises PolicyError with the number of the line."""
    if len(data) > POLICY_LIMIT:
        raise PolicyError(0, f"larger than {POLICY_LIMIT} bytes")
    if _FORBIDDEN.search(data):
        raise PolicyError(0, "a control character other than tab and line feed")
    if data and not data.endswith(b"\n"):
        raise PolicyError(0, "the last line does not end")
    found = _Found()
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n")[:-1], start=1):
        words = [word for word in _SPACE.split(line) if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            found.take(words)
        except NoteError as error:
            raise PolicyError(number, str(error)) from None
    if found.quorum is None:
        raise PolicyError(0, "there is exactly one quorum line")
    return Policy(
        logs=tuple(found.logs), witnesses=tuple(found.witnesses), groups=tuple(found.groups), quorum=found.quorum
    )


@dataclass(slots=True)
class _Found:
    """What the lines so far have said; names defined, and which of them are members already."""

    logs: list[PolicyLog] = field(default_factory=list)
    witnesses: list[PolicyWitness] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    quorum: str | None = None
    names: set[str] = field(default_factory=set)

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self.logs.append(PolicyLog(NoteKey.from_vkey(vkey), words[2] if len(words) > 2 else None))
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                url = words[3] if len(words) > 3 else None
                self.witnesses.append(PolicyWitness(name, CosignerKey.from_vkey(vkey), url))
                self.names.add(name)
            case ["group", name, threshold, *members]:
                self._know(members)
                self.groups.append(Group(name, _threshold(threshold, len(members)), tuple(members)))
                self.names.add(name)
            case ["quorum", name] if self.quorum is None:
                if name != NONE:
                    self._know([name])
                self.quorum = name
            case ["quorum", _]:
                raise NoteError("a second quorum line")
            case _:
                raise NoteError("neither log, witness, group nor quorum, or with other members than that has")

    def _know(self, names: list[str]) -> None:
        if not self.names.issuperset(names):
            raise NoteError("a name that no line before defines")


def _threshold(text: str, members: int) -> int:
    named: Mapping[str, int] = {"all": members, "any": 1}
    if text in named:
        return named[text]
    if not _THRESHOLD.fullmatch(text):
        raise NoteError("a threshold is all, any or a number from 1")
    return int(text)


def _check(policy: Policy) -> None:
    """The rules that hold for the whole, wherever the policy came from."""
    defined = [witness.name for witness in policy.witnesses] + [group.name for group in policy.groups]
    if len(set(defined)) != len(defined) or NONE in defined:
        raise PolicyError(0, "a name is defined twice, or is none")
    for name in (*defined, policy.quorum):
        if not name or re.search(r"[\x00-\x20]", name):
            raise PolicyError(0, "a name is empty or has a space")
    # Two keys that are one inside: the log's and the witness's names and ids could hide it.
    publics = [[log.key.public for log in policy.logs], [witness.key.public for witness in policy.witnesses]]
    if any(len(set(keys)) != len(keys) for keys in publics):
        raise PolicyError(0, "a key is listed twice")
    known = {witness.name for witness in policy.witnesses}
    used: set[str] = set()
    for group in policy.groups:
        if not known.issuperset(group.members) or used.intersection(group.members):
            raise PolicyError(0, "a group's member is not defined before it, or is one of another group")
        if len(set(group.members)) != len(group.members) or not 1 <= group.threshold <= len(group.members):
            raise PolicyError(0, "a group has at least one member, each once, and asks for at most all of them")
        used.update(group.members)
        known.add(group.name)
    if policy.quorum != NONE and policy.quorum not in known:
        raise PolicyError(0, "the quorum is a name that is defined")


def _line(*words: str | None) -> str:
    return " ".join(word for word in words if word is not None) + "\n"
