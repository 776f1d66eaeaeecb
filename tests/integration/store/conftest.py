"""An open store on a database of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.store import Lab, open_lab


@pytest.fixture
async def lab(database: Path) -> AsyncIterator[Lab]:
    async with open_lab(database) as opened:
        yield opened
