"""What is made once for all tests: a migrated database, and two running gateways, which cost half a minute."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.api_councils import Councils


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new database, migrated; nobody opens it but to copy it."""
    from gateway.store.migrations import upgrade

    path = tmp_path_factory.mktemp("store") / "template.sqlite"
    upgrade(path)
    return path


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Path:
    """A new database of the test's own."""
    path = tmp_path / "gateway.sqlite"
    shutil.copyfile(template, path)
    return path


@pytest.fixture(scope="session")
def councils() -> Iterator[Councils]:
    """Kensington and Chelsea and Hampshire, their API on, a webhook each; whoever uses them leaves them running."""
    from tests.support.api_councils import two_councils

    with two_councils() as both:
        yield both
