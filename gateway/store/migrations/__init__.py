"""Bringing a database to the tables of `schema`: Alembic, run from code, saying nothing.

For installed packages there is no alembic.ini on disk; maintainers have one at the top of the repository, for
`alembic revision --autogenerate` alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gateway.store.migrations.append_only import protect
from gateway.store.sqlite import writer_engine

CONNECTION: Final = "connection"  # the attribute by which env.py is given the connection to use


def upgrade(path: Path) -> None:
    """Create the database where there is none (readable by its owner only), and bring it to the newest revision."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = writer_engine(path)
    try:
        with engine.begin() as connection:
            config = _config()
            config.attributes[CONNECTION] = connection
            command.upgrade(config, "head")
            protect(connection)
    finally:
        engine.dispose()


def at_head(connection: Connection) -> bool:
    """Whether the database is at the newest revision that this code knows."""
    held = MigrationContext.configure(connection).get_current_revision()
    return held == ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
