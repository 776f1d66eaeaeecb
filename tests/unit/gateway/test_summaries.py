"""Lines for people: whatever a partner wrote, a list can be shown."""

from __future__ import annotations

import pytest

from gateway.summaries import moment


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_796_000_000, "2026-11-30T00:53:20Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (253_402_300_800, "253402300800"),
        (2**53 - 1, "9007199254740991"),
    ],
)
def test_moment_beyond_every_calendar_is_shown_as_its_number(seconds: int, shown: str) -> None:
    assert moment(seconds) == shown
