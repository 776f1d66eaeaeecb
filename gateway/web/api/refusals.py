"""What the API refuses before any flow is asked: the request itself is not one that it described.

Each refusal has the status and the code that `openapi.json` lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from gateway.core.errors import SafehandError

Place: TypeAlias = tuple[str, str]
"""A place in the request, and the rule that it breaks."""


class RequestRefusedError(SafehandError):
    """A request that is answered with `status` and `code`; `places` where a rule names some, `wait` in seconds where it helps."""

    def __init__(
        self, status: int, code: str, title: str, *, places: Sequence[Place] = (), wait: int | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.title = title
        self.places = tuple(places)
        self.wait = wait
        super().__init__("; ".join(f"{path}: {rule}" if path else rule for path, rule in places) or title)


def invalid(places: Sequence[Place]) -> RequestRefusedError:
    return RequestRefusedError(422, "request.invalid", "The request is not as described", places=places)


def malformed(rule: str) -> RequestRefusedError:
    return RequestRefusedError(400, "request.malformed", "The request cannot be read", places=[("", rule)])


def bad_query(name: str, rule: str) -> RequestRefusedError:
    return RequestRefusedError(400, "request.query", "The query is not as described", places=[(name, rule)])


def bad_key() -> RequestRefusedError:
    rule = "one header of 1 to 128 printing characters without a space, on every POST"
    return RequestRefusedError(
        400, "request.idempotency-key", "An idempotency key is needed", places=[("Idempotency-Key", rule)]
    )


def still_running() -> RequestRefusedError:
    return RequestRefusedError(409, "idempotency.running", "The first request with this key is still at work", wait=1)


def cursor_expired() -> RequestRefusedError:
    rule = "was given before a restore: begin again from the start, and know what you have by sender and id"
    return RequestRefusedError(409, "cursor.expired", "The cursor is of before a restore", places=[("after", rule)])


def wrong_type() -> RequestRefusedError:
    return RequestRefusedError(415, "request.media-type", "A body is application/json, as it is")


def too_large() -> RequestRefusedError:
    return RequestRefusedError(413, "request.too-large", "More bytes than any request may have")


def too_slow() -> RequestRefusedError:
    return RequestRefusedError(408, "request.time-out", "The body did not come in time")


def too_many(wait: int) -> RequestRefusedError:
    return RequestRefusedError(429, "rate.exceeded", "Too many requests", wait=wait)


def unknown(code: str) -> RequestRefusedError:
    return RequestRefusedError(404, code, "There is no such thing")
