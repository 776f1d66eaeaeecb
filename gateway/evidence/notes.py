"""The checkpoints of an export: their signatures, and which of them the policy's witnesses vouch for."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.evidence.files import CHECKPOINTS, POLICY, EvidenceError, ExportFolder
from gateway.tlog.checkpoint import (
    NOTE_LIMIT,
    Checkpoint,
    ClaimedNote,
    NoteKey,
    Verify,
    parse_checkpoint,
    parse_note,
    verify_note,
)
from gateway.tlog.cosignature import CosignerKey, verify_cosignatures
from gateway.tlog.errors import NoteError, PolicyError
from gateway.tlog.exported import note_name
from gateway.tlog.fsck import Problem
from gateway.tlog.policy import MAJORITY_GROUP, NONE, POLICY_LIMIT, Policy, majority, parse_policy

_NAME: Final = re.compile(r"([1-9][0-9]{0,18})\.note")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A checkpoint whose signatures hold: under which keys of the log, and whether a quorum of witnesses cosigned it."""

    checkpoint: Checkpoint
    keys: tuple[NoteKey, ...]
    witnessed: bool

    @property
    def size(self) -> int:
        return self.checkpoint.size


def read_policy(folder: ExportFolder, keys: Sequence[NoteKey], problems: list[Problem]) -> Policy | None:
    """Return the export's own policy: its log keys, more than half of its witnesses, in the one form that we write."""

    def wrong(rule: str) -> None:
        problems.append(Problem(index=-1, column=POLICY, rule=rule))

    try:
        data = folder.read(POLICY, POLICY_LIMIT)
        policy = parse_policy(data)
    except (PolicyError, EvidenceError, OSError) as error:
        wrong(str(error) if not isinstance(error, OSError) else "missing")
        return None
    if [log.key for log in policy.logs] != list(keys):
        wrong("other log keys than those of log.vkey")
    if policy.to_bytes() != data or not _more_than_half(policy):
        wrong("not the policy of more than half of the witnesses, as an export writes it")
    return policy


def _more_than_half(policy: Policy) -> bool:
    """Whether it is what `majority_policy` makes: nobody signs the file, so it has one form."""
    if any(log.url is not None for log in policy.logs) or any(one.url is not None for one in policy.witnesses):
        return False
    if policy.quorum == NONE:
        return not policy.witnesses and not policy.groups
    last = policy.groups[-1] if policy.groups else None
    if last is None or (policy.quorum, last.name) != (MAJORITY_GROUP, MAJORITY_GROUP):
        return False
    counted = {name for group in policy.groups for name in group.members}
    return (
        last.threshold == majority(len(last.members))
        and all(group.threshold == 1 and group.name in last.members for group in policy.groups[:-1])
        and all(witness.name in counted for witness in policy.witnesses)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteJudge:
    """By which keys notes are judged: those of the log; the witnesses that `policy` counts; `further` ones that a bundle names,
    whose cosignatures must be good, but make no quorum."""

    keys: Sequence[NoteKey]
    policy: Policy
    further: Collection[CosignerKey]
    verify: Verify

    def judge(self, data: bytes, *, strangers: bool = False) -> SignedHead:
        """Return what a note proves. Raises NoteError; unless `strangers` may have signed it too, also for a signature by
        nobody who is known: in an export there is none, and a changed byte must not make one."""
        note = parse_note(data)
        signed = verify_note(note, self.keys, self.verify)
        checkpoint = parse_checkpoint(signed.text)
        if any(key.name != checkpoint.origin for key in signed.signed_by):
            raise NoteError("that of another log")
        counted = {witness.key for witness in self.policy.witnesses}
        known = dict.fromkeys((*counted, *self.further))
        cosigned = verify_cosignatures(note, known, self.verify)
        if not strangers:
            self._refuse_strangers(note, known)
        witnessed = self.policy.satisfied_by([cosignature.key for cosignature in cosigned])
        return SignedHead(checkpoint=checkpoint, keys=signed.signed_by, witnessed=witnessed)

    def _refuse_strangers(self, note: ClaimedNote, cosigners: Iterable[CosignerKey]) -> None:
        ids = {(key.name, key.id) for key in self.keys} | {(key.name, key.id) for key in cosigners}
        if any((signature.name, signature.key_id) not in ids for signature in note.signatures):
            raise NoteError("signed by somebody whom neither policy nor bundles name")


def read_heads(folder: ExportFolder, judge: NoteJudge, problems: list[Problem]) -> tuple[SignedHead, ...]:
    """Return the checkpoints whose signatures hold, ascending by size."""
    found = []
    for name in folder.names(CHECKPOINTS):
        match = _NAME.fullmatch(name)
        if match is None:
            problems.append(Problem(index=-1, column=f"{CHECKPOINTS}/{name}", rule="no name of a checkpoint"))
            continue
        size = int(match[1])
        try:
            head = judge.judge(folder.read(f"{CHECKPOINTS}/{name}", NOTE_LIMIT))
        except (NoteError, EvidenceError) as error:
            problems.append(Problem(index=size, column=note_name(size), rule=str(error)))
            continue
        if head.size != size:
            problems.append(Problem(index=size, column=note_name(size), rule="another size than its name says"))
        else:
            found.append(head)
    return tuple(sorted(found, key=lambda head: head.size))


KeyEnd = Callable[[NoteKey], tuple[int, int | None] | None]
"""When a key ended, and from when it is revoked (None: it is not), in seconds since 1970; None where nobody lists it."""


def check_times(
    heads: Sequence[SignedHead], entered: Callable[[int], int | None], ends: KeyEnd, problems: list[Problem]
) -> None:
    """Hold each checkpoint to its key's time; `entered(size)` is when its last entry was made, so it was signed no earlier.

    A revoked key matters for the newest alone: an older checkpoint has the same entries under it as that one.
    """
    for head in heads:
        at = entered(head.size)
        for ended in map(ends, head.keys):
            if at is None or ended is None:
                continue
            end, revoked = ended
            if at >= end:
                problems.append(_untimely(head, "signed after its key had ended"))
            elif head is heads[-1] and revoked is not None and at >= revoked:
                problems.append(_untimely(head, "the newest checkpoint is signed by a key that was revoked before"))


def _untimely(head: SignedHead, rule: str) -> Problem:
    return Problem(index=head.size, column=note_name(head.size), rule=rule)
