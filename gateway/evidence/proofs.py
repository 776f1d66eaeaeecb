"""One proof that stands alone, judged by a policy that the judge brought along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.core.errors import LogInconsistentError
from gateway.evidence.files import EvidenceError, read_capped
from gateway.quorum import verify
from gateway.tlog.cosignature import verify_cosignatures
from gateway.tlog.entry import ENTRY_LIMIT, leaf_hash, parse
from gateway.tlog.errors import TlogError
from gateway.tlog.policy import Policy
from gateway.tlog.proof_text import PROOF_LIMIT, parse_with_entry, verify_entry


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenEntry:
    """An entry, its place, and the log it is proven to be in."""

    origin: str
    size: int
    index: int
    entry: bytes


def verify_proof(path: Path, policy: Policy) -> ProvenEntry:
    """Return what the file proves: a checkpoint signed by a log of the policy, cosigned by its quorum, has this entry.

    Raises LogInconsistentError where it proves nothing, EvidenceError where it is no such file.
    """
    if not policy.logs:
        raise EvidenceError("the policy names no log")
    data = read_capped(path, PROOF_LIMIT + 2 * ENTRY_LIMIT)
    try:
        claimed, entry = parse_with_entry(data)
        parse(entry)
        checkpoint = verify_entry(claimed, leaf_hash(entry), [log.key for log in policy.logs], verify)
        cosigned = verify_cosignatures(claimed.note, [witness.key for witness in policy.witnesses], verify)
    except TlogError as error:
        raise LogInconsistentError(f"{path.name} proves nothing: {error}") from error
    if not policy.satisfied_by([cosignature.key for cosignature in cosigned]):
        raise LogInconsistentError(f"{path.name} proves nothing: not the quorum of witnesses that the policy asks for")
    return ProvenEntry(origin=checkpoint.origin, size=checkpoint.size, index=claimed.index, entry=entry)
