"""What can go wrong, by whose fault; every error has a `code`, none holds a secret or a personal value.

The faces that a partner or a client sees of these are elsewhere: `core.receipt` (partners), `web.problems` (own clients).
"""

from __future__ import annotations


class SafehandError(Exception):
    """Base of what the gateway raises on purpose."""

    code = "error"


# --- theirs: what a partner sent


class EnvelopeRejectedError(SafehandError):
    """The bytes of a partner are no message for us; `step` is the numbered reading step (envelope section 2).

    The public answer is the same for every step; step and cause go to the local log only.
    """

    code = "unreadable"

    def __init__(self, step: str, cause: str) -> None:
        self.step = step
        self.cause = cause
        super().__init__(f"step {step}: {cause}")


class ReceiptRejectedError(SafehandError):
    """A receipt that does not prove what it claims (envelope section 4); `cause` names the rule."""

    code = "receipt.rejected"

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(cause)


class ConflictError(SafehandError):
    """The same id came with other bytes: nothing is stored, nothing is signed, a person is told."""

    code = "conflict"


class NotYetError(SafehandError):
    """Cannot be answered now and may be later (503): a wrong clock, keys or events that could not be fetched."""

    code = "not-yet"

    def __init__(self, cause: str, retry_after: int = 30) -> None:
        self.cause = cause
        self.retry_after = retry_after
        super().__init__(cause)


# --- the submitter's


class SubmissionRefusedError(SafehandError):
    """An own client asked for something that cannot be done; `place` names the member or option, `rule` the rule."""

    code = "submission.refused"

    def __init__(self, code: str, place: str, rule: str) -> None:
        self.code = code
        self.place = place
        self.rule = rule
        super().__init__(f"{place}: {rule}")


class IdempotencyConflictError(SafehandError):
    """An idempotency key came back with another request."""

    code = "idempotency.conflict"


# --- ours


class LogInconsistentError(SafehandError):
    """The exchange log in the database is not the one that was written."""

    code = "log.inconsistent"


class LogBehindError(SafehandError):
    """A witness holds a checkpoint of ours that our log does not continue: it went back in time, or was rewritten."""

    code = "log.behind"

    def __init__(self, witness: str, size: int, own: int) -> None:
        self.witness = witness
        self.size = size
        super().__init__(
            f"the witness {witness} cosigned {size} entries of this log, and the {own} here do not continue them: the "
            "database was put back or changed. Bring the newest database back; if it is lost: safehand log new-epoch"
        )


class RowTamperedError(SafehandError):
    """A row that decides does not carry our mac (log A6): it counts as absent."""

    code = "row.tampered"

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(f"a row of {table} fails its mac")


class HeadsMovedError(SafehandError):
    """The agreement's events changed between the check and the commit: the flow runs again."""

    code = "agreement.heads-moved"


class StoreChangedError(HeadsMovedError):
    """Somebody else wrote to the database since the last commit: what was decided on it is decided again."""

    code = "store.changed"


class BusyError(SafehandError):
    """The writer's queue is full: the caller comes back later (503)."""

    code = "busy"


# --- a bug


class IllegalTransitionError(SafehandError):
    """A state change that the table does not know."""

    code = "illegal-transition"
