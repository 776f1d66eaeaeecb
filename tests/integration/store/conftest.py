"""One migrated database is made for the session; every test opens a copy of it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store.migrations import upgrade
from tests.support.store import Lab, open_lab


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "template.sqlite"
    upgrade(path)
    return path


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Path:
    path = tmp_path / "gateway.sqlite"
    shutil.copyfile(template, path)
    return path


@pytest.fixture
async def lab(database: Path) -> AsyncIterator[Lab]:
    async with open_lab(database) as opened:
        yield opened
