"""Bringing a database to the tables of `schema`: Alembic, run from code, saying nothing.

For installed packages there is no alembic.ini on disk; maintainers have one at the top of the repository, for
`alembic revision --autogenerate` alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gateway.store.migrations.append_only import Trigger, protect, restore, triggers_of
from gateway.store.sqlite import writer_engine

CONNECTION: Final = "connection"  # the attribute by which env.py is given the connection to use
_IN_MEMORY: Final = Path(":memory:")
_ONE: Final = threading.Lock()  # Alembic keeps what it is doing in its modules


def upgrade(path: Path) -> None:
    """Create the database where there is none (readable by its owner only), and bring it to the newest revision."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = writer_engine(path)
    try:
        with engine.begin() as connection:
            _upgrade(connection)
            restore(connection, fresh_triggers())
    finally:
        engine.dispose()


@cache
def fresh_triggers() -> Mapping[str, Trigger]:
    """The triggers of a database of the newest revision, as a new one has them; made in memory, once."""
    engine = writer_engine(_IN_MEMORY)
    try:
        with engine.begin() as connection:
            _upgrade(connection)
            return MappingProxyType(triggers_of(connection))
    finally:
        engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes[CONNECTION] = connection
    with _ONE:
        command.upgrade(config, "head")
    protect(connection)


def at_head(connection: Connection) -> bool:
    """Whether the database is at the newest revision that this code knows."""
    held = MigrationContext.configure(connection).get_current_revision()
    return held == head()


def head() -> str:
    """The newest revision that this code knows."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
