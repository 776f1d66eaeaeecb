"""The face that an own client sees of each error: RFC 9457 problem details, with every breach, and never a value.

One table; partners' faces are elsewhere (`core.receipt`, `web.exchange`). `exit` is what the command line ends with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts.breach import ContractBreachError
from contracts.errors import ContractError
from gateway.core.errors import (
    BusyError,
    HeadsMovedError,
    IdempotencyConflictError,
    IllegalTransitionError,
    LogInconsistentError,
    NotYetError,
    ReceiptRejectedError,
    SafehandError,
    SubmissionRefusedError,
)
from keys.errors import KeysError
from keys.ring import KeyUnavailableError

EXIT_USAGE = 2
EXIT_INTEGRITY = 3
EXIT_REFUSED = 4
EXIT_TEMPORARY = 75

_FACES: tuple[tuple[type[Exception], int, int, str], ...] = (
    (ContractBreachError, 422, EXIT_REFUSED, "The agreement does not allow this message"),
    (SubmissionRefusedError, 422, EXIT_REFUSED, "This cannot be done"),
    (ContractError, 422, EXIT_REFUSED, "The document is not in order"),
    (IdempotencyConflictError, 422, EXIT_REFUSED, "The idempotency key was used for another request"),
    (IllegalTransitionError, 409, EXIT_REFUSED, "Not possible in this state"),
    (ReceiptRejectedError, 422, EXIT_REFUSED, "The receipt proves nothing"),
    (BusyError, 503, EXIT_TEMPORARY, "Too much at once: try again"),
    (NotYetError, 503, EXIT_TEMPORARY, "Not possible yet: try again"),
    (HeadsMovedError, 503, EXIT_TEMPORARY, "The agreement changed meanwhile: try again"),
    (LogInconsistentError, 500, EXIT_INTEGRITY, "The exchange log is not what was written"),
    (KeyUnavailableError, 500, EXIT_REFUSED, "A key is missing"),
    (KeysError, 422, EXIT_REFUSED, "A key or a signature is not in order"),
    (SafehandError, 422, EXIT_REFUSED, "This cannot be done"),
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
    for kind, status, leave, title in _FACES:
        if isinstance(error, kind):
            breaches = error.breaches if isinstance(error, ContractBreachError) else ()
            return Problem(
                status=status,
                exit=leave,
                code=str(getattr(error, "code", "error")),
                title=title,
                detail=str(error),
                breaches=tuple((str(b.code), b.path, b.rule) for b in breaches),
            )
    return None
