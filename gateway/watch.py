"""What a running gateway says of itself: one JSON object a line on stderr, and nothing that nobody allowed.

Not the exchange log, which is evidence. An ALLOW-LIST decides: a key that is not on it, a value that is no plain
scalar and an event that is not a bare code print as `[withheld]`; of an exception only the types are told, for its
text and its traceback can hold a record. The standard library's loggers go the same way, without their messages.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, Final, TextIO

import structlog

WITHHELD: Final = "[withheld]"

ALLOWED: Final = frozenset(
    {
        # what structlog adds
        "event",
        "level",
        "timestamp",
        # which thing: identifiers, never a person, a case or a value
        "agreement",
        "delivery",
        "digest",
        "message_id",
        "org",
        "origin",
        "partner",
        "row",
        "table",
        "task",
        "witness",
        "webhook",
        # what happened: codes and rules of ours
        "alarm",
        "cause",
        "code",
        "error",
        "kind",
        "listener",
        "method",
        "outcome",
        "route",
        "rule",
        "source",
        "state",
        "status",
        "step",
        # how much
        "after",
        "attempt",
        "count",
        "ms",
        "seq",
        "size",
    }
)

_EVENT = re.compile(r"[a-z0-9][a-z0-9. _-]{0,79}")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TEXT_LIMIT = 200  # characters: the longest cause of ours has about 100
_CHAIN_LIMIT = 5
_LEVELS: Final = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)

_Record = MutableMapping[str, Any]


def configure_logging(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send structlog's and the standard library's events to `stream` (stderr), through the allow-list."""
    out = stream if stream is not None else sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            name_exception,
            withhold,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(capture=True)
    logging.basicConfig(handlers=[_Withholding()], level=max(level, logging.WARNING), force=True)


def logger(name: str = "safehand") -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose events carry `name` as `source`."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(source=name)
    return bound


def name_exception(_: object, __: str, record: _Record) -> _Record:
    """Replace `exc_info` by `error`: the type of the exception and of its causes, outermost first."""
    found = record.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        record["error"] = " < ".join(_types(error))
    return record


def withhold(_: object, __: str, record: _Record) -> _Record:
    """Keep what the allow-list lets through; the rest is named, where its name is one that code would write."""
    kept: dict[str, Any] = {"event": _event(record.pop("event", None))}
    for key, value in record.items():
        if key in ALLOWED and _is_plain(value):
            kept[key] = value
        else:
            kept[key if _KEY.fullmatch(key) else WITHHELD] = WITHHELD
    return kept


class _Withholding(logging.Handler):
    """Tells that a library said something, who and how bad, never what: its messages hold whatever it handled."""

    def emit(self, record: logging.LogRecord) -> None:
        log = logger(record.name)
        exc_info = record.exc_info if record.exc_info and record.exc_info[1] is not None else None
        # A record without an exception is told by where it was made: a place in code, not a value.
        details: dict[str, Any] = {"exc_info": exc_info} if exc_info else {"step": record.funcName or ""}
        level = max((known for known in _LEVELS if known <= record.levelno), default=logging.WARNING)
        log.log(level, "library", **details)


def _types(error: BaseException) -> Iterator[str]:
    current: BaseException | None = error
    for _ in range(_CHAIN_LIMIT):
        if current is None:
            return
        yield type(current).__name__
        current = current.__cause__ or current.__context__


def _event(value: object) -> str:
    return value if isinstance(value, str) and _EVENT.fullmatch(value) else WITHHELD


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _TEXT_LIMIT and value.isprintable()
    return value is None or isinstance(value, bool | int)
