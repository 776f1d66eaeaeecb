"""What can be wrong with a log. No message here repeats what was read: members, rules and indices only."""

from __future__ import annotations


class TlogError(Exception):
    """Base of the errors of log arithmetic."""

    code = "tlog"


class EntryError(TlogError):
    """Bytes, or members, that are no log entry; `member` is the place (empty for the whole), `rule` what it breaks."""

    code = "tlog.entry"

    def __init__(self, member: str, rule: str) -> None:
        self.member = member
        self.rule = rule
        super().__init__(f"{member}: {rule}" if member else rule)


class TreeError(TlogError):
    """Hashes or sizes that no tree can have."""

    code = "tlog.tree"


class ProofError(TlogError):
    """A proof that does not prove what it is asked to."""

    code = "tlog.proof"


class NoteError(TlogError):
    """A signed note or checkpoint that is malformed, or whose signatures do not stand."""

    code = "tlog.note"


class PolicyError(TlogError):
    """A policy file that does not say what the format asks for; `line` is its number, 0 for the whole."""

    code = "tlog.policy"

    def __init__(self, line: int, rule: str) -> None:
        self.line = line
        self.rule = rule
        super().__init__(f"line {line}: {rule}" if line else rule)
