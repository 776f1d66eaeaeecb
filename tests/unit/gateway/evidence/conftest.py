"""The history of two councils is made once for each module; every test works on a copy of an export."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.support.councils import make_history


@pytest.fixture(scope="package")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    asyncio.run(make_history(folder))
    return folder


@pytest.fixture
def export(history: Path, tmp_path: Path) -> Path:
    """A copy of la-207's export, to be changed."""
    return Path(shutil.copytree(history / "export", tmp_path / "export"))


@pytest.fixture
def export_b(history: Path, tmp_path: Path) -> Path:
    """A copy of la-850's, which gave receipts."""
    return Path(shutil.copytree(history / "export-la-850", tmp_path / "export-b"))
