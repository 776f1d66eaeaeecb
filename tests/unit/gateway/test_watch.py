"""What reaches stderr of a running gateway: what is allowed, and no canary."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.watch import ALLOWED, WITHHELD, configure_logging, logger, withhold

CANARY = "Okafor-Lind"


class Told:
    """The lines told, as values."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def only(self) -> dict[str, Any]:
        (line,) = self.lines
        return {key: value for key, value in line.items() if key != "timestamp"}


@pytest.fixture
def told() -> Iterator[Told]:
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()
    made = Told()
    configure_logging(made.stream)
    yield made
    assert CANARY not in made.stream.getvalue()
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = handlers, level
    structlog.configure(**config)


def test_allowed_key_is_told_in_one_json_line(told: Told) -> None:
    logger("safehand.worker").info("delivered", message_id="019b", attempt=2)
    assert told.only == {
        "event": "delivered",
        "level": "info",
        "source": "safehand.worker",
        "message_id": "019b",
        "attempt": 2,
    }
    assert told.lines[0]["timestamp"].endswith("Z")


def test_key_that_nobody_allowed_is_withheld(told: Told) -> None:
    logger().info("taken", family=CANARY, body={"child": CANARY}, org="la-207")
    assert (told.only["family"], told.only["body"], told.only["org"]) == (WITHHELD, WITHHELD, "la-207")


def test_key_that_is_itself_a_value_is_withheld(told: Told) -> None:
    logger().info("taken", **{CANARY: 1, f"{CANARY} of 14 Invented Row": 2})
    assert told.only[WITHHELD] == WITHHELD


def test_allowed_key_does_not_let_a_structure_through(told: Told) -> None:
    logger().info("refused", cause={"child": CANARY}, rule=[CANARY], code=RuntimeError(CANARY))
    assert {told.only[key] for key in ("cause", "rule", "code")} == {WITHHELD}


@pytest.mark.parametrize("value", ["x" * 201, "two\nlines", "\x1b[31m"])
def test_long_or_unprintable_text_is_withheld(told: Told, value: str) -> None:
    logger().info("refused", cause=value)
    assert told.only["cause"] == WITHHELD


def test_prose_is_withheld(told: Told) -> None:
    logger().warning(f"could not send {CANARY}")
    logger().warning("could not send %s", CANARY)
    assert [line["event"] for line in told.lines] == [WITHHELD, WITHHELD]


def test_exception_is_told_by_the_types_of_its_chain(told: Told) -> None:
    try:
        try:
            int(CANARY)
        except ValueError as error:
            raise RuntimeError(CANARY) from error
    except RuntimeError as error:
        logger().error("attempt-failed", exc_info=error)
        logger().exception("attempt-failed")
    assert [line["error"] for line in told.lines] == ["RuntimeError < ValueError"] * 2
    assert "Traceback" not in told.stream.getvalue()


def test_library_is_told_without_its_words(told: Told) -> None:
    log = logging.getLogger("aiohttp.server")
    log.error("Error handling request from %s", CANARY)
    try:
        int(CANARY)
    except ValueError:
        log.exception("Unhandled exception: %s", CANARY)
    log.log(35, CANARY)
    log.info(CANARY)
    assert [(line["event"], line["level"], line["source"]) for line in told.lines] == [
        ("library", "error", "aiohttp.server"),
        ("library", "error", "aiohttp.server"),
        ("library", "warning", "aiohttp.server"),
    ]
    assert told.lines[1]["error"] == "ValueError"


def test_warning_is_told_without_its_words(told: Told) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(CANARY, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert told.only["source"] == "py.warnings"


def test_context_variables_pass_the_same_list(told: Told) -> None:
    with structlog.contextvars.bound_contextvars(partner="la-850", child=CANARY):
        logger().info("taken")
    assert (told.only["partner"], told.only["child"]) == ("la-850", WITHHELD)


@given(st.dictionaries(st.text(max_size=40), st.integers() | st.text() | st.lists(st.integers()), max_size=5))
def test_nothing_that_is_not_allowed_has_a_value(record: dict[str, Any]) -> None:
    for key, value in withhold(None, "", dict(record)).items():
        assert value == WITHHELD or key == "event" or (key in ALLOWED and record[key] == value)
