"""The face that an own client sees of each error: RFC 9457 problem details, with every breach, and never a value.

One table; partners' faces are elsewhere (`core.receipt`, `web.exchange`). `exit` is what the command line ends with; what
each exit code means stands in `EXITS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from contracts.breach import ContractBreachError
from contracts.errors import ContractError
from gateway.core.daily import StatementRejectedError
from gateway.core.errors import (
    BusyError,
    ConflictError,
    EnvelopeRejectedError,
    HeadsMovedError,
    IdempotencyConflictError,
    IllegalTransitionError,
    LogBehindError,
    LogInconsistentError,
    NotYetError,
    ReceiptRejectedError,
    RowTamperedError,
    SafehandError,
    StoreChangedError,
    SubmissionRefusedError,
)
from gateway.core.halves import HalvesMovedError
from gateway.core.tokens import TokenScopeError, TokenUnknownError
from gateway.governing import EventRejectedError
from gateway.home import HomeError
from gateway.submissions import NeedsApproverError
from gateway.web.tls import TlsError
from keys.errors import KeysError, KeystoreError
from keys.ring import KeyUnavailableError

EXIT_FAULT: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTEGRITY: Final = 3
EXIT_REFUSED: Final = 4
EXIT_TEMPORARY: Final = 75

EXITS: Final[Mapping[int, str]] = {
    0: "done",
    EXIT_FAULT: "a fault of ours",
    EXIT_USAGE: "usage or set-up",
    EXIT_INTEGRITY: "integrity",
    EXIT_REFUSED: "refused by policy",
    EXIT_TEMPORARY: "temporary",
}

# A text is the code of an error whose class this package may not know: those of the store and of the composition root.
_FACES: Final[tuple[tuple[type[Exception] | str, int, int, str], ...]] = (
    (ContractBreachError, 422, EXIT_REFUSED, "The agreement does not allow this message"),
    (SubmissionRefusedError, 422, EXIT_REFUSED, "This cannot be done"),
    (ContractError, 422, EXIT_REFUSED, "The document is not in order"),
    (IdempotencyConflictError, 422, EXIT_REFUSED, "The idempotency key was used for another request"),
    (ConflictError, 409, EXIT_REFUSED, "The id was used for other bytes"),
    (IllegalTransitionError, 409, EXIT_REFUSED, "Not possible in this state"),
    (ReceiptRejectedError, 422, EXIT_REFUSED, "The receipt proves nothing"),
    (EnvelopeRejectedError, 422, EXIT_REFUSED, "The envelope cannot be read"),
    (StatementRejectedError, 422, EXIT_REFUSED, "The daily statement proves nothing"),
    (EventRejectedError, 422, EXIT_REFUSED, "The agreement event proves nothing"),
    (TokenUnknownError, 401, EXIT_REFUSED, "No token that is in force"),
    (TokenScopeError, 403, EXIT_REFUSED, "The token does not allow this"),
    (NeedsApproverError, 403, EXIT_REFUSED, "A person with more standing is needed"),
    (BusyError, 503, EXIT_TEMPORARY, "Too much at once: try again"),
    (NotYetError, 503, EXIT_TEMPORARY, "Not possible yet: try again"),
    (HalvesMovedError, 503, EXIT_TEMPORARY, "Other halves of acts came between: try again"),
    (StoreChangedError, 503, EXIT_TEMPORARY, "Somebody else wrote to the database: compared with the log, try again"),
    (HeadsMovedError, 503, EXIT_TEMPORARY, "The agreement changed meanwhile: try again"),
    ("store.stopped", 503, EXIT_TEMPORARY, "The gateway is stopping: try again"),
    (LogInconsistentError, 500, EXIT_INTEGRITY, "The exchange log is not what was written"),
    ("witness.contradiction", 409, EXIT_INTEGRITY, "The log is not the one that was seen before"),
    ("witness.device", 422, EXIT_REFUSED, "The witness cannot do this"),
    (LogBehindError, 500, EXIT_INTEGRITY, "The exchange log is behind its witnesses"),
    (RowTamperedError, 500, EXIT_INTEGRITY, "A row is not what was written"),
    ("rows.unlogged", 500, EXIT_INTEGRITY, "A row would change, and no log entry says so"),
    ("vault.unreadable", 500, EXIT_INTEGRITY, "Stored content is not what was written"),
    (HomeError, 500, EXIT_USAGE, "The gateway is not set up"),
    (TlsError, 500, EXIT_USAGE, "The gateway is not set up"),
    ("not-ready", 500, EXIT_USAGE, "The gateway is not ready"),
    ("store.schema", 500, EXIT_USAGE, "The database is not ready"),
    ("store.unavailable", 500, EXIT_USAGE, "The database is not ready"),
    ("backup", 500, EXIT_USAGE, "The backup cannot be made or used"),
    ("backup.damaged", 500, EXIT_INTEGRITY, "The backup is not what was written"),
    ("log.export", 422, EXIT_USAGE, "The log cannot be exported there"),
    ("evidence.no-log", 422, EXIT_INTEGRITY, "The exported log cannot be judged"),
    ("evidence.unreadable", 422, EXIT_USAGE, "This cannot be judged"),
    ("sqlite.version", 500, EXIT_USAGE, "The database is not ready"),
    (KeystoreError, 500, EXIT_USAGE, "A keystore or passphrase is not in order"),
    (KeyUnavailableError, 500, EXIT_USAGE, "A key is missing"),
    (KeysError, 422, EXIT_REFUSED, "A key or a signature is not in order"),
    (SafehandError, 500, EXIT_FAULT, "A fault of ours"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error as a client or a command shows it."""

    status: int
    exit: int
    code: str
    title: str
    detail: str
    breaches: tuple[tuple[str, str, str], ...]

    def members(self) -> dict[str, Any]:
        """The members of `application/problem+json`."""
        return {
            "type": f"urn:safehand:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "exit": self.exit,
            "breaches": [{"code": code, "path": path, "rule": rule} for code, path, rule in self.breaches],
        }


def problem_of(error: Exception) -> Problem | None:
    """Return the face of an error that was raised on purpose; None for a bug."""
    code = getattr(error, "code", None)
    for kind, status, leave, title in _FACES:
        if code == kind if isinstance(kind, str) else isinstance(error, kind):
            breaches = error.breaches if isinstance(error, ContractBreachError) else ()
            return Problem(
                status=status,
                exit=leave,
                code=str(code),
                title=title,
                detail=str(error),
                breaches=tuple((str(b.code), b.path, b.rule) for b in breaches),
            )
    return None


def fault_of(error: Exception) -> Problem:
    """Return the face of a bug: its type alone, for its text can hold a value."""
    return Problem(
        status=500, exit=EXIT_FAULT, code="fault", title="A fault of ours", detail=type(error).__name__, breaches=()
    )
