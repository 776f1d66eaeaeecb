"""An exported log, judged: every file, every signature, every hash, and what the judge brought along (log A5).

In this order, numbered alike in docs/log.md: 1 the log's keys, 2 bundles, 3 whose log it is, 4 the policy, 5 checkpoints,
6 receipts and openings by themselves, 7 entries against all of these, 8 what entries and receipts say of each other, 9 the
time of keys, 10 witnesses. Nothing stops at the first fault, but where no key of the log can be read there is no log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from gateway.evidence.files import BUNDLES, POLICY, VKEY, EvidenceError, ExportFolder, NoLogError
from gateway.evidence.notes import NoteJudge, SignedHead, check_times, read_heads, read_policy
from gateway.evidence.openings import OpeningCheck
from gateway.evidence.organisations import Organisations, Trust, check_roots, read_organisations
from gateway.evidence.receipts import ReceiptCheck
from gateway.evidence.remembered import Remembered
from gateway.evidence.stretches import open_blocks
from gateway.quorum import verify
from gateway.tlog.blocks import Digest, within
from gateway.tlog.checkpoint import NoteKey
from gateway.tlog.cosignature import CosignerKey
from gateway.tlog.entry import Entry
from gateway.tlog.errors import NoteError
from gateway.tlog.exported import ENTRIES, LEAVES, Head, LogCheck, check_lines, note_name
from gateway.tlog.fsck import Problem
from gateway.tlog.policy import NONE, Policy

REMEMBERED: Final = "remembered head"

_VKEY_LIMIT: Final = 64 * 1024  # bytes: hundreds of keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What the judge brought along, from somewhere else than the export: fingerprints by organisation, a policy, a
    remembered head, checkpoints of this log by the name they are told under, folders of receipts that others kept."""

    roots: Mapping[str, str]
    policy: Policy | None
    remembered: Remembered | None
    checkpoints: Mapping[str, bytes]
    receipts: Sequence[Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found. `keys` are the log's, as verifier keys; `entries` those that could be read and are in no doubt; `witnessed` is the largest size that a quorum of the policy's witnesses cosigned, None where the
    policy asks for none; `head` what is to be remembered, where all is in order."""

    origin: str
    org: str
    keys: tuple[str, ...]
    size: int
    entries: int
    checkpoints: int
    witnesses: int
    witnessed: int | None
    given: int
    received: int
    unnamed: int
    others: int
    elsewhere: int
    openings: int
    leaves: bool
    trust: tuple[Trust, ...]
    ignored: tuple[str, ...]
    head: Remembered | None
    problems: tuple[Problem, ...]


def verify_export(path: Path, brought: Brought) -> Verdict:
    """Judge the export in the folder `path`. Raises NoLogError where it holds no log that could be judged,
    EvidenceError where it is no export at all."""
    folder, problems = ExportFolder(path), list[Problem]()
    # 1 the log's keys
    keys = _read_keys(folder)
    origin = keys[0].name
    # 2 bundles
    organisations = read_organisations(folder, problems)
    check_roots(organisations, brought.roots, problems)
    # 3 whose log it is
    org = _owner(keys, organisations, problems)
    # 4 the policy
    own_policy = read_policy(folder, keys, problems)
    policy = brought.policy or own_policy or Policy(logs=(), witnesses=(), groups=(), quorum=NONE)
    # 5 checkpoints
    judge = NoteJudge(keys=keys, policy=policy, further=_further(organisations, policy, own_policy), verify=verify)
    heads = read_heads(folder, judge, problems)
    if not heads:
        problems.append(Problem(index=-1, column="checkpoints", rule="not one whose signatures hold"))
    # 6 receipts and openings
    receipts = ReceiptCheck(own=org, origin=origin, organisations=organisations)
    receipts.read(folder, problems)
    others = sum(receipts.read_others(kept, problems) for kept in brought.receipts)
    openings = OpeningCheck(folder)
    # 7 entries
    size = heads[-1].size if heads else 0
    claims = [Head(head.size, head.checkpoint.root, note_name(head.size)) for head in heads]
    claims += _brought_heads(brought, origin, keys, problems)
    seen = _Seen(receipts, openings, frozenset(head.size for head in heads))
    has_leaves = _leaves_fit(folder, size, problems)
    heads_of_it = sorted(claims, key=lambda head: head.size)
    earlier = organisations.log_origins(org) - {origin}
    rules = LogCheck(origin=origin, org=org, heads=heads_of_it, reader=seen, earlier=earlier)
    if folder.has(ENTRIES):
        leaves = folder.leaves() if has_leaves else nullcontext()
        with open_blocks(folder.path / ENTRIES, rules) as blocks, leaves as stored:
            problems += check_lines(blocks, stored, rules)
    else:
        problems.append(Problem(index=0, column=ENTRIES, rule="missing"))
    # 8 entries and receipts
    receipts.end(problems)
    openings.end(size)
    problems += openings.problems
    # 9 the time of keys
    check_times(heads, seen.entered.get, lambda key: _end_of(key, org, organisations), problems)
    _check_continues(brought.remembered, org, organisations, problems)
    # 10 witnesses
    witnessed = None if policy.quorum == NONE else max((head.size for head in heads if head.witnessed), default=0)
    if witnessed == 0:
        problems.append(
            Problem(index=size, column=POLICY, rule="no checkpoint has the quorum that the policy asks for")
        )
    if brought.policy is not None and brought.policy.logs:
        _check_trusted(heads, brought.policy, problems)
    trust = organisations.trust(brought.roots)
    return Verdict(
        origin=origin,
        org=org,
        keys=tuple(key.vkey() for key in keys),
        size=size,
        entries=seen.count,
        checkpoints=len(heads),
        witnesses=len(policy.witnesses),
        witnessed=witnessed,
        given=len(receipts.given),
        received=len(receipts.received),
        unnamed=receipts.unnamed,
        others=others,
        elsewhere=receipts.elsewhere,
        openings=openings.count,
        leaves=has_leaves,
        trust=trust,
        ignored=folder.unknown(),
        head=None if problems else _to_remember(folder, org, size, trust),
        problems=tuple(problems),
    )


class _Seen:
    """What every entry is shown to, as it is read."""

    def __init__(self, receipts: ReceiptCheck, openings: OpeningCheck, sizes: frozenset[int]) -> None:
        self._receipts = receipts
        self._openings = openings
        self._sizes = sizes
        self._ascending = sorted(sizes)
        self.entered: dict[int, int] = {}  # size of a checkpoint -> when the last entry below it was made, in seconds
        self.count = 0

    def see(self, index: int, entry: Entry, leaf: bytes) -> None:
        """Show one entry to all."""
        self.count += 1
        self._receipts.see(index, entry, leaf)
        if 0 <= self._openings.next_index <= index:
            self._openings.see(index, entry)
        if index + 1 in self._sizes:
            self.entered[index + 1] = entry.at // 1_000_000

    def pick(self, index: int, digest: Digest) -> Iterator[int]:
        """Of a whole block, choose the entries of which somebody wants to know more; the others are counted."""
        self.count += digest.length
        end = index + digest.length
        asked = deque(
            sorted({*(size - 1 for size in within(self._ascending, index, digest.length)), *self._held(index, digest)})
        )
        at = index
        while True:
            opened = [max(at, self._openings.next_index)] if self._openings.next_index >= 0 else []
            at = min((*islice(asked, 1), *opened), default=end)
            if at >= end:
                return
            if asked and asked[0] == at:
                asked.popleft()
            self.count -= 1  # `see` counts it
            yield at - index
            at += 1

    def _held(self, index: int, digest: Digest) -> Iterator[int]:
        return (index + offset for offset in self._receipts.pick(digest))


def _read_keys(folder: ExportFolder) -> tuple[NoteKey, ...]:
    if not folder.is_export():
        raise EvidenceError(f"{folder.path.name}: nothing of an exported log lies there")
    try:
        lines = folder.read(VKEY, _VKEY_LIMIT).decode().split("\n")
        keys = tuple(NoteKey.from_vkey(line) for line in lines[:-1])
    except (OSError, EvidenceError, UnicodeDecodeError, NoteError) as error:
        raise _no_log("no keys of a log can be read there") from error
    if not keys or lines[-1] or len({key.name for key in keys}) != 1 or len(set(keys)) != len(keys):
        raise _no_log("not the keys of one log, one a line")
    return keys


def _no_log(rule: str) -> NoLogError:
    return NoLogError(Problem(index=-1, column=VKEY, rule=rule))


def _owner(keys: Sequence[NoteKey], organisations: Organisations, problems: list[Problem]) -> str:
    """The organisation whose bundles list the log's keys; nobody's name where none does."""
    owners = {}
    for key in keys:
        found = organisations.log_key(key)
        if found is None:
            problems.append(Problem(index=-1, column=VKEY, rule="a key that no bundle here lists for this log"))
        else:
            owners[found[0]] = key
    if len(owners) > 1:
        problems.append(Problem(index=-1, column=VKEY, rule="keys of several organisations"))
    return next(iter(owners), "")


def _further(organisations: Organisations, policy: Policy, own: Policy | None) -> frozenset[CosignerKey]:
    """Witnesses that are known, and not counted; where one has name and id of one that is counted, it is not known."""
    counted = {(witness.key.name, witness.key.id) for witness in policy.witnesses}
    found = {witness.key for witness in own.witnesses} if own is not None else set()
    for name, public in organisations.witness_keys():
        try:
            found.add(CosignerKey(name, public))
        except NoteError:
            continue
    distinct: dict[tuple[str, bytes], CosignerKey] = {}
    for key in sorted(found, key=CosignerKey.vkey):
        if (key.name, key.id) not in counted:
            distinct.setdefault((key.name, key.id), key)
    return frozenset(distinct.values())


def _leaves_fit(folder: ExportFolder, size: int, problems: list[Problem]) -> bool:
    if not folder.has(LEAVES):
        return False
    if folder.leaves_fit(size):
        return True
    problems.append(
        Problem(index=size, column=LEAVES, rule=f"not {size} leaf hashes of 32 bytes: the file is left out")
    )
    return False


def _brought_heads(brought: Brought, origin: str, keys: Sequence[NoteKey], problems: list[Problem]) -> Iterable[Head]:
    """Heads of this log from elsewhere: entries must have their roots too."""
    if brought.remembered is not None:
        claimed = brought.remembered.checkpoint
        if claimed.origin == origin:
            yield Head(claimed.size, claimed.root, REMEMBERED)
        else:
            problems.append(Problem(index=claimed.size, column=REMEMBERED, rule="that of another log"))
    judge = NoteJudge(
        keys=keys, policy=Policy(logs=(), witnesses=(), groups=(), quorum=NONE), further=(), verify=verify
    )
    for name, data in brought.checkpoints.items():
        try:
            claimed = judge.judge(data, strangers=True).checkpoint
        except NoteError as error:
            problems.append(Problem(index=-1, column=name, rule=f"{error}: it says nothing of this log"))
            continue
        if claimed.size:
            yield Head(claimed.size, claimed.root, name)


def _end_of(key: NoteKey, org: str, organisations: Organisations) -> tuple[int, int | None] | None:
    found = organisations.log_key(key)
    if found is None or found[0] != org:
        return None  # told of already
    listed = found[1]
    newest = organisations.histories[org][-1]
    return listed.exp, next((revoked.since for revoked in newest.revoked if revoked.kid == listed.kid), None)


def _check_continues(
    remembered: Remembered | None, org: str, organisations: Organisations, problems: list[Problem]
) -> None:
    """The organisation's roots are those remembered, or were announced by them."""
    if remembered is None:
        return
    trusted = {trust.org: trust for trust in organisations.trust({remembered.org: remembered.root})}
    if remembered.org != org or org not in trusted or not trusted[org].compared:
        rule = "the organisation's roots are not those remembered, nor announced by them"
        problems.append(Problem(index=-1, column=f"{BUNDLES}/{org}", rule=rule))


def _check_trusted(heads: Sequence[SignedHead], policy: Policy, problems: list[Problem]) -> None:
    trusted = {log.key for log in policy.logs}
    if heads and not trusted.intersection(heads[-1].keys):
        size = heads[-1].size
        problems.append(Problem(index=size, column=note_name(size), rule="signed by no log key of the policy given"))


def _to_remember(folder: ExportFolder, org: str, size: int, trust: Sequence[Trust]) -> Remembered:
    note = folder.read(note_name(size), 1 << 20)
    return Remembered.of(org=org, root=next(found.newest for found in trust if found.org == org), note=note)
