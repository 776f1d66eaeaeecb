"""One subject after the other for every conformance test of a store; a suite that looks at more of it has its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.subject import Subject, fake, real


@pytest.fixture(params=[real, fake], ids=["store", "memory"])
async def subject(request: pytest.FixtureRequest, database: Path) -> AsyncIterator[Subject]:
    async with request.param(database) as opened:
        yield opened
