"""The key bundles of an export: every organisation's history, verified, and who these organisations are (envelope section 5).

Whose roots they are is proven by a fingerprint that came another way; without one they are taken at their own word, and
the report says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.evidence.files import BUNDLES, EvidenceError, ExportFolder
from gateway.tlog.checkpoint import NoteKey
from gateway.tlog.fsck import Problem
from keys.bundle import KeyBundle, replay_history, roots_chain
from keys.bundle_payload import BUNDLE_LIMIT
from keys.errors import BundleError
from keys.fingerprint import to_text, to_words
from keys.listed import ListedKey, Mark, Role

_NAME: Final = re.compile(r"([a-z0-9-]{1,63})-(0|[1-9][0-9]{0,18})\.jws")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Who an organisation says it is: the fingerprint of its first roots here and of its newest, and whether the judge
    brought one of those along."""

    org: str
    first: str
    newest: str
    words: str
    compared: bool


@dataclass(slots=True)
class Organisations:
    """Verified histories of bundles by organisation, ascending by seq."""

    histories: dict[str, tuple[KeyBundle, ...]] = field(default_factory=dict)

    def log_key(self, key: NoteKey) -> tuple[str, ListedKey] | None:
        """Whose log this key signs, and how the newest bundle that has it lists it."""
        for org, history in self.histories.items():
            for bundle in reversed(history):
                for listed in bundle.keys:
                    if listed.role is Role.LOG and listed.public.raw == key.public and listed.origin == key.name:
                        return org, listed
        return None

    def log_origins(self, org: str) -> frozenset[str]:
        """Every log that an organisation's bundles name."""
        found = (key.origin for bundle in self.histories.get(org, ()) for key in bundle.keys if key.role is Role.LOG)
        return frozenset(origin for origin in found if origin is not None)

    def witness_keys(self) -> Iterator[tuple[str, bytes]]:
        """Name and public key of every witness that any bundle names."""
        for history in self.histories.values():
            for bundle in history:
                for key in bundle.keys:
                    if key.role is Role.WITNESS and key.name is not None:
                        yield key.name, key.public.raw

    def trust(self, roots: Mapping[str, str]) -> tuple[Trust, ...]:
        """Say of each organisation what its trust rests on; `roots` are fingerprints that came another way."""
        found = []
        for org, history in sorted(self.histories.items()):
            chain = [to_text(value) for value in roots_chain(history)]
            found.append(
                Trust(
                    org=org,
                    first=chain[0],
                    newest=chain[-1],
                    words=" ".join(to_words(history[-1].fingerprint)),
                    compared=roots.get(org) in chain,
                )
            )
        return tuple(found)


def read_organisations(folder: ExportFolder, problems: list[Problem]) -> Organisations:
    """Read and verify every bundle; an organisation with one that fails is left out, and told of."""
    files: dict[str, dict[int, bytes]] = {}
    for name in folder.names(BUNDLES):
        match = _NAME.fullmatch(name)
        if match is None:
            problems.append(Problem(index=-1, column=f"{BUNDLES}/{name}", rule="no name of a bundle"))
            continue
        try:
            files.setdefault(match[1], {})[int(match[2])] = folder.read(f"{BUNDLES}/{name}", BUNDLE_LIMIT)
        except (EvidenceError, OSError) as error:
            problems.append(Problem(index=-1, column=f"{BUNDLES}/{name}", rule=str(error)))
    found = Organisations()
    for org, by_seq in sorted(files.items()):
        history = _history(org, by_seq, problems)
        if history:
            found.histories[org] = history
    _check_foreign(found, problems)
    return found


def check_roots(found: Organisations, roots: Mapping[str, str], problems: list[Problem]) -> None:
    """Hold the organisations to the fingerprints that the judge brought along."""
    trusted = {trust.org: trust for trust in found.trust(roots)}
    for org in sorted(roots):
        if org not in trusted:
            problems.append(Problem(index=-1, column=BUNDLES, rule=f"none of {org}, whose fingerprint was given"))
        elif not trusted[org].compared:
            rule = f"the roots are {trusted[org].newest}, not those of the fingerprint given, nor announced by them"
            problems.append(Problem(index=-1, column=f"{BUNDLES}/{org}", rule=rule))


def _history(org: str, by_seq: dict[int, bytes], problems: list[Problem]) -> tuple[KeyBundle, ...]:
    """As far as they can be verified: what comes after one that fails is no history any more."""
    try:
        whole = replay_history([jws for _, jws in sorted(by_seq.items())], org=org)
        if [bundle.seq for bundle in whole] == sorted(by_seq):
            return whole
    except BundleError:
        pass  # once more, to say which one
    history: tuple[KeyBundle, ...] = ()
    for seq, jws in sorted(by_seq.items()):
        name = f"{BUNDLES}/{org}-{seq}.jws"
        try:
            grown = replay_history([*(bundle.jws for bundle in history), jws], org=org)
        except BundleError as error:
            problems.append(Problem(index=-1, column=name, rule=f"{error.code}: {error.rule}"))
            return history
        if grown[-1].seq != seq:
            problems.append(Problem(index=-1, column=name, rule="another seq than its name says"))
            return history
        history = grown
    return history


def _check_foreign(found: Organisations, problems: list[Problem]) -> None:
    owners: dict[Mark, str] = {}
    for org, history in found.histories.items():
        for bundle in history:
            for mark in bundle.marks:
                if owners.setdefault(mark, org) != org:
                    column = f"{BUNDLES}/{org}-{bundle.seq}.jws"
                    problems.append(Problem(index=-1, column=column, rule=f"a key that {owners[mark]} lists too"))
                    break
